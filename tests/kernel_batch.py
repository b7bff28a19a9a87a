"""Many kernel calls in one program: each call is written as the descriptor says, and compared with the integer spec.

One program holds a batch of calls, so that compiling and starting an emulator is paid once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from kernels.harness import Case as CheckedCase
from microlith.device.profile import Device
from microlith.device.support import support_files
from microlith.device.toolchain import Toolchain
from microlith.kernels import header_text, headers_needed
from microlith.kernels.base import CallContext, Kernel, Literal, Packed, Pointer, RowRange, Runtime
from microlith.program.attrs import Conv2d, FullyConnected, Window
from microlith.program.types import ConstRef, Epilogue, OpCall, View, contiguous
from microlith.quant import integer_linear
from microlith.quant.factors import linear_requant
from microlith.quant.requantize import FloatRequant, Requant, saturate
from microlith.quant.types import QArray, QParams, Requantization
from microlith.quant.windows import Geometry

GUARD_BYTES = 32
GUARD_VALUE = 0x5A


@dataclass(frozen=True)
class Case:
    """A layer with int8 weights.

    Attributes:
        op: of the Program.
        x_shape: N,H,W,C, or rows of a fully connected layer.
        out_channels: of the result.
        window: None for a fully connected layer.
        mode: requantization.
        per_channel: whether weights have a scale for each output channel.
        low: of the epilogue.
        high: of the epilogue.
        rows: output rows computed; None for all.
        x_ring: rows of the input buffer where it is a ring.
        y_ring: rows of the output buffer where it is a ring.
        extreme: whether inputs and weights take the ends of their range only.
        least_weight: the least that weights take.
        gain: by which results are larger than those that fill their type's range.
        schedule: of the kernel; empty for the one that it prefers.
    """

    op: str
    x_shape: tuple[int, ...]
    out_channels: int
    window: Window | None = None
    mode: Requantization = "float"
    per_channel: bool = True
    low: int = -128
    high: int = 127
    rows: tuple[int, int] | None = None
    x_ring: int | None = None
    y_ring: int | None = None
    extreme: bool = False
    least_weight: int = -128
    gain: float = 1.0
    schedule: str = ""


@dataclass(frozen=True)
class Shared:
    """Bytes from the start of what the buffer of y holds, where x lies in it too.

    Attributes:
        x: of the input.
        y: of the output.
        scratch: of the scratch; None where that has a buffer of its own.
        compared: how many bytes from the start must be as expected.
    """

    x: int
    y: int
    scratch: int | None
    compared: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case with values: the call, what its buffers hold before, and what the output must hold after."""

    kernel: Kernel
    ctx: CallContext
    rows: tuple[int, int]
    x: np.ndarray
    y_before: np.ndarray
    y_after: np.ndarray
    shared: Shared | None = None


def conv(height: int, width: int, channels: int, out: int, kernel: int | tuple[int, int], **options: object) -> Case:
    """A ``conv2d`` with a batch of one; ``stride``, ``dilation`` and ``pad`` go to the window."""
    shape = (1, height, width, channels)
    return Case("conv2d", shape, out, _window(kernel, options), **options)  # type: ignore[arg-type]


def depthwise(height: int, width: int, channels: int, kernel: int | tuple[int, int] = 3, **options: object) -> Case:
    """A ``depthwise_conv2d`` with one filter a channel."""
    window = _window(kernel, options)
    return Case("depthwise_conv2d", (1, height, width, channels), channels, window, **options)  # type: ignore[arg-type]


def fully_connected(rows: int, depth: int, out: int, **options: object) -> Case:
    """A ``fully_connected`` over rows of x."""
    return Case("fully_connected", (rows, depth), out, **options)  # type: ignore[arg-type]


def _window(kernel: int | tuple[int, int], options: dict[str, object]) -> Window:
    def pair(name: str) -> tuple[int, int]:
        value = options.pop(name, 1)
        return (value, value) if isinstance(value, int) else value  # type: ignore[return-value]

    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    pad = options.pop("pad", 0)
    return Window(size, pair("stride"), pair("dilation"), (pad,) * 4 if isinstance(pad, int) else pad)  # type: ignore[arg-type]


def prepare(case: Case, kernel: Kernel, device: Device, rng: np.random.Generator) -> Prepared:
    """Random values for a case, and the result by the integer spec; the kernel must fit."""
    x, weights, bias, y_params = _values(case, rng)
    scaled, requant = _spec(case, x, weights, bias, y_params)
    y = saturate(scaled, y_params, case.low, case.high).astype(np.int8)
    ctx = _context(case, x, weights, bias, y_params, requant, y.shape)
    fit = kernel.fits(ctx, device)
    assert fit, f"{kernel.name} does not take {case}: {fit.reason}"
    return _with_buffers(case, kernel, ctx, x.values, y, rng)


def _values(case: Case, rng: np.random.Generator) -> tuple[QArray, QArray, QArray, QParams]:
    depth = case.x_shape[-1] if case.op != "depthwise_conv2d" else 1
    taps = case.window.kernel if case.window else ()

    def draw(size: tuple[int, ...], least: int = -128) -> np.ndarray:
        return rng.choice([least, 127], size) if case.extreme else rng.integers(least, 128, size)

    w_shape = (case.out_channels, depth, *taps)
    w_scale = rng.uniform(0.5, 1.5, case.out_channels if case.per_channel else None)
    w_params = QParams(
        np.asarray(w_scale, np.float32),
        np.zeros(np.shape(w_scale), np.int32),
        "int8",
        0 if case.per_channel else None,
    )
    x_params = QParams.per_tensor(0.02, int(rng.integers(-128, 128)), "int8")
    size = int(np.prod(w_shape[1:]))
    y_params = QParams.per_tensor(0.02 * 90 * size**0.5 / case.gain, int(rng.integers(-30, 30)), "int8")
    b_scale = (x_params.scale * w_params.scale).astype(np.float32)
    b_params = QParams(b_scale, np.zeros(b_scale.shape, np.int32), "int32", w_params.axis)
    bias = rng.integers(-5000, 5000, case.out_channels).astype(np.int32)
    return (
        QArray(draw(case.x_shape).astype(np.int8), x_params),
        QArray(draw(w_shape, case.least_weight).astype(np.int8), w_params),
        QArray(bias, b_params),
        y_params,
    )


def _spec(case: Case, x: QArray, w: QArray, bias: QArray, y: QParams) -> tuple[np.ndarray, Requant]:
    requant = linear_requant(x.qparams, w.qparams, y, case.mode)
    if case.window is None:
        return integer_linear.fully_connected(x, w, bias, y, case.mode), requant
    window = case.window
    size = (case.x_shape[1], case.x_shape[2])
    output = tuple(
        (size[i] + window.pad[i] + window.pad[i + 2] - (window.kernel[i] - 1) * window.dilation[i] - 1)
        // window.stride[i]
        + 1
        for i in (0, 1)
    )
    geometry = Geometry(window.kernel, window.stride, window.dilation, window.pad, size, (output[0], output[1]))
    groups = case.x_shape[3] if case.op == "depthwise_conv2d" else 1
    planes = QArray(np.moveaxis(x.values, -1, 1), x.qparams)
    scaled = integer_linear.conv2d(planes, w, bias, geometry, groups, y, case.mode)
    return np.moveaxis(scaled, 1, -1), requant


def _context(
    case: Case, x: QArray, w: QArray, bias: QArray, y: QParams, requant: Requant, y_shape: tuple[int, ...]
) -> CallContext:
    consts: dict[str, np.ndarray] = {
        "weights": w.values if w.values.ndim == 2 else np.moveaxis(w.values, 1, -1),
        "bias": bias.values,
    }
    if isinstance(requant, FloatRequant):
        consts["scale"] = np.atleast_1d(requant.scale)
    else:
        consts["multiplier"] = np.atleast_1d(requant.multiplier)
        consts["shift"] = np.atleast_1d(requant.shift)
    groups = case.x_shape[-1] if case.op == "depthwise_conv2d" else 1
    attrs: object = FullyConnected() if case.window is None else Conv2d(case.window, groups)
    call = OpCall(
        case.op,
        attrs,
        ("x",),
        ("y",),
        {role: ConstRef(role) for role in consts},
        Epilogue(case.low, case.high),
        requant,
        rows=case.rows,
        schedule=case.schedule,
    )
    reads = _view("x", case.x_shape, x.qparams, case.x_ring)
    return CallContext(call, (reads,), (_view("y", y_shape, y, case.y_ring),), consts)


def prepared(
    case: CheckedCase,
    rng: np.random.Generator,
    rows: tuple[int, int] | None = None,
    x_ring: int | None = None,
    y_ring: int | None = None,
) -> Prepared:
    """A case of one operand with values, on a range of rows, from and to rings of rows."""
    (x,), y, kernel, height = case.inputs, case.expected, case.kernel, case.ctx.writes[0].shape[1]
    read, write = case.ctx.reads[0], case.ctx.writes[0]
    ctx = replace(case.ctx, reads=(replace(read, ring_rows=x_ring),), writes=(replace(write, ring_rows=y_ring),))
    begin, end = rows or (0, height)
    if x_ring is not None:
        need = kernel.input_rows(ctx)
        assert need is not None
        first, last = need.rows(begin, end, x.shape[1])
        x = _ring(x, first, last, x_ring, rng.integers(-128, 128, (1, x_ring, *x.shape[2:]), np.int8))
    size = (1, y_ring, *y.shape[2:]) if y_ring is not None else y.shape
    before = rng.integers(-128, 128, size, np.int8)
    after = _ring(y, begin, end, y_ring or height, before.copy()) if len(y.shape) == 4 else y
    return Prepared(kernel, ctx, (begin, end), x, before, after)


def over_input(item: Prepared, distance: int) -> Prepared:
    """The same call where y starts that many bytes before x; what surrounds them must stay."""
    x, y = item.x.reshape(-1), item.y_after.reshape(-1)
    shared = Shared(max(0, distance), max(0, -distance), None, 0)
    size = -(-max(shared.x + x.size, shared.y + y.size) // 8) * 8
    before = np.zeros(size, np.int8)
    before[shared.x : shared.x + x.size] = x
    after = before.copy()
    after[shared.y : shared.y + y.size] = y
    return replace(item, y_before=before, y_after=after, shared=replace(shared, compared=size))


def scratch_over_input(item: Prepared, distance: int) -> Prepared:
    """The same call where the scratch starts that many bytes before x, behind y."""
    x, y = item.x.reshape(-1), item.y_after.reshape(-1)
    start = -(-y.size // 8) * 8
    size = -(-max(distance + x.size, item.kernel.scratch_bytes(item.ctx)) // 8) * 8
    before = np.zeros(start + size, np.int8)
    before[start + distance : start + distance + x.size] = x
    after = before.copy()
    after[: y.size] = y
    return replace(item, y_before=before, y_after=after, shared=Shared(start + distance, 0, start, y.size))


def in_place(item: Prepared) -> list[Prepared]:
    """The call with y, and where permitted the scratch, over x: as near as may be, and further away."""
    found = []
    for leads, over in (
        (item.kernel.overlap(item.ctx), over_input),
        (item.kernel.scratch_overlap(item.ctx), scratch_over_input),
    ):
        lead = leads[0]
        if lead is not None:
            step = np.lcm(lead.multiple, 1 if over is over_input else 8)
            nearest = -(-lead.least // step) * step
            found += [over(item, int(distance)) for distance in (nearest, nearest + 3 * step)]
    return found


def _view(name: str, shape: tuple[int, ...], qparams: QParams, ring: int | None) -> View:
    return View(name, name, 0, shape, contiguous(shape), tuple(range(len(shape))), "s8", qparams, ring_rows=ring)


def _with_buffers(
    case: Case, kernel: Kernel, ctx: CallContext, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> Prepared:
    return prepared(CheckedCase("", kernel, ctx, (x,), y), rng, case.rows, case.x_ring, case.y_ring)


def _ring(rows: np.ndarray, begin: int, end: int, ring: int, into: np.ndarray) -> np.ndarray:
    """Rows [begin, end) placed at row modulo ring."""
    assert end - begin <= ring, "the rows do not fit the ring"
    for row in range(begin, end):
        into[:, row % ring] = rows[:, row]
    return into


@dataclass
class Batch:
    """C source of a program with the ``mlrun`` interface: input 0 is every x, input 1 and output 0 are every y."""

    prepared: Sequence[Prepared]
    lines: list[str] = field(default_factory=list)
    instances: dict[tuple[object, ...], str] = field(default_factory=dict)

    def source(self) -> str:
        """The whole program but start-up code."""
        headers = dict.fromkeys(item.kernel.header for item in self.prepared)
        self.lines = [f'#include "{name}"' for name in headers]
        x_bytes, y_bytes = sum(p.x.nbytes for p in self.prepared), sum(p.y_before.nbytes for p in self.prepared)
        sizes = {"x_bytes": x_bytes, "y_bytes": y_bytes}
        self.lines.append(_BUFFERS.format(**sizes, guard_bytes=GUARD_BYTES, guard_value=GUARD_VALUE))
        calls = [self._call(i, item) for i, item in enumerate(self.prepared)]
        self.lines.append(_RUNNER.format(body="\n    ".join(calls)))
        return "\n".join(self.lines)

    def inputs(self) -> list[bytes]:
        """Every x, then what every y holds before."""
        return [b"".join(p.x.tobytes() for p in self.prepared), b"".join(p.y_before.tobytes() for p in self.prepared)]

    def check(self, output: bytes) -> None:
        """Every y equals the spec, bit for bit."""
        offset = 0
        for item in self.prepared:
            got = np.frombuffer(output, np.int8, item.y_after.size, offset).reshape(item.y_after.shape)
            offset += item.y_after.size
            wanted = item.y_after
            if item.shared is not None:
                got, wanted = got[: item.shared.compared], wanted[: item.shared.compared]
            what = f"{item.kernel.name} {item.ctx.call.attrs} rows {item.rows} of {item.ctx.reads[0].shape}"
            np.testing.assert_array_equal(got, wanted, err_msg=what)
        assert offset == len(output)

    def _call(self, index: int, item: Prepared) -> str:
        packed = item.kernel.pack(item.ctx)
        self._consts(index, packed)
        scratch = item.kernel.scratch_bytes(item.ctx)
        self.lines.append(
            f"static ML_ALIGN(8) uint8_t scratch_{index}[{scratch + GUARD_BYTES}];  /* {scratch} and a guard */"
        )
        addresses = {
            "read": f"mlrun_x + {sum(p.x.nbytes for p in self.prepared[:index])}",
            "write": f"mlrun_y + {sum(p.y_before.nbytes for p in self.prepared[:index])}",
            "scratch": f"scratch_{index}",
        }
        if item.shared is not None:
            base = addresses["write"]
            addresses |= {"read": f"{base} + {item.shared.x}", "write": f"{base} + {item.shared.y}"}
            if item.shared.scratch is not None:
                addresses["scratch"] = f"{base} + {item.shared.scratch}"
        values: list[str] = []
        for argument in item.kernel.arguments(item.ctx):
            if isinstance(argument, Pointer):
                const = argument.source == "const"
                values.append(f"{argument.key}_{index}" if const else addresses[argument.source])
            elif isinstance(argument, RowRange):
                values.extend(str(row) for row in item.rows)
            elif isinstance(argument, Runtime):
                values.append(argument.value)
        name = self._instance(item)
        return (
            f"ml_guard(scratch_{index} + {scratch}); {name}({', '.join(values)}); "
            f"failed |= ml_broken(scratch_{index} + {scratch});"
        )

    def _consts(self, index: int, packed: Mapping[str, Packed]) -> None:
        types = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
        for role, value in packed.items():
            flat = value.values.reshape(-1)
            text = ", ".join(f"{float(v).hex()}f" if flat.dtype == np.float32 else str(int(v)) for v in flat)
            ctype = types[flat.dtype.name]
            self.lines.append(f"static const ML_ALIGN({value.align}) {ctype} {role}_{index}[] = {{{text}}};")

    def _instance(self, item: Prepared) -> str:
        key = item.kernel.instance_key(item.ctx)
        if key in self.instances:
            return self.instances[key]
        name = self.instances[key] = f"instance_{len(self.instances)}"
        parameters: list[str] = []
        values: list[str] = []
        for argument in item.kernel.arguments(item.ctx):
            if isinstance(argument, Literal):
                values.append(argument.value)
            elif isinstance(argument, RowRange):
                parameters += [f"int32_t {argument.name}_begin", f"int32_t {argument.name}_end"]
                values += [f"{argument.name}_begin", f"{argument.name}_end"]
            else:
                parameters.append(f"{argument.ctype} {argument.name}")
                values.append(argument.name)
        self.lines.append(f"ML_NOINLINE void {name}({', '.join(parameters)})")
        self.lines.append(f"{{\n    {item.kernel.name}({', '.join(values)});\n}}")
        return name


def write_sources(batch: Batch, device: Device, directory: Path) -> list[Path]:
    """The batch, its headers and what the device needs to start, as files; returns the C files."""
    files = {"batch.c": batch.source()}
    for item in batch.prepared:
        files.update({name: header_text(name) for name in headers_needed(item.kernel)})
    if not device.is_host:
        files.update(support_files(device))
        files["batch.c"] += "\nint main(void);\nint main(void)\n{\n    return 0;\n}\n"
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in files if name.endswith(".c")]


RUNNER_SYMBOLS = (
    "mlrun_arena",
    "mlrun_init",
    "mlrun_arena_bytes",
    "mlrun_inputs",
    "mlrun_outputs",
    "mlrun_input",
    "mlrun_output",
    "mlrun_input_bytes",
    "mlrun_output_bytes",
    "mlrun_run",
)


def link(batch: Batch, toolchain: Toolchain, directory: Path) -> Path:
    """An ELF file of the batch for the toolchain's device, or a shared library for the host."""
    sources = write_sources(batch, toolchain.device, directory)
    if toolchain.device.is_host:
        out = directory / "batch.so"
        toolchain.compile_shared(sources, [directory], out)
        return out
    out = directory / "batch.elf"
    toolchain.link_elf(sources, [directory], directory / "linker.ld", out, keep=RUNNER_SYMBOLS)
    return out


def with_modes(case: Case) -> list[Case]:
    """The case with either requantization, per channel or not, and with clamps inside the type's range."""
    return [
        case,
        replace(case, mode="fixed"),
        replace(case, per_channel=False, low=-90, high=100),
        replace(case, mode="fixed", per_channel=False, low=-3),
    ]


_BUFFERS = """
static ML_ALIGN(8) int8_t mlrun_x[{x_bytes}];
static ML_ALIGN(8) int8_t mlrun_y[{y_bytes}];

static void ml_guard(uint8_t *at)
{{
    for (int i = 0; i < {guard_bytes}; ++i) {{
        at[i] = {guard_value};
    }}
}}

static int32_t ml_broken(const uint8_t *at)
{{
    int32_t broken = 0;
    for (int i = 0; i < {guard_bytes}; ++i) {{
        broken |= at[i] != {guard_value};
    }}
    return broken;
}}
"""

_RUNNER = """
ML_ALIGN(8) uint8_t mlrun_arena[8];

int32_t mlrun_init(void *arena, uint32_t arena_bytes)
{{
    return arena == 0 || arena_bytes < sizeof(mlrun_arena);
}}

uint32_t mlrun_arena_bytes(void)
{{
    return sizeof(mlrun_arena);
}}

uint32_t mlrun_inputs(void)
{{
    return 2;
}}

uint32_t mlrun_outputs(void)
{{
    return 1;
}}

void *mlrun_input(uint32_t i)
{{
    return i == 0 ? mlrun_x : mlrun_y;
}}

uint32_t mlrun_input_bytes(uint32_t i)
{{
    return i == 0 ? sizeof(mlrun_x) : sizeof(mlrun_y);
}}

void *mlrun_output(uint32_t i)
{{
    return i == 0 ? mlrun_y : 0;
}}

uint32_t mlrun_output_bytes(uint32_t i)
{{
    return i == 0 ? sizeof(mlrun_y) : 0;
}}

int32_t mlrun_run(void)
{{
    int32_t failed = 0;
    {body}
    return failed;
}}
"""
