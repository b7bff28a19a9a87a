"""Calls kernels exactly as the emitter does: an instance for each key, arguments and packing from the descriptor.

All instances of a test module are compiled into one shared library, with every warning an error and undefined behaviour
a trap. Buffers end at a page that must not be touched.
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.base import CallContext, Kernel, Literal, Packed, Pointer, RowRange, Runtime
from microlith.program.types import NUMPY, ConstRef, Epilogue, OpCall, View, contiguous
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant
from microlith.quant.types import QParams

Array = NDArray[np.generic]
COMMAND = (sys.executable, "-m", "ziglang", "cc")
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-O2", "-ffreestanding")
CHECKS = ("-fsanitize=undefined", "-fsanitize-trap=undefined")
CANARY = 0xA5


def view(
    id: str, shape: Sequence[int], dtype: str = "s8", qparams: QParams | None = None, ring_rows: int | None = None
) -> View:
    """A contiguous view."""
    shape = tuple(shape)
    layout = tuple(range(len(shape)))
    return View(id, id, 0, shape, contiguous(shape), layout, dtype, qparams, ring_rows)  # type: ignore[arg-type]


def in_memory(values: Array, strides: tuple[int, ...] | None) -> Array:
    """The values as they lie in memory: axes of greater strides first; as they are where there are none."""
    return values if strides is None else np.ascontiguousarray(values.transpose(np.argsort(strides)[::-1]))


def context(
    op: str,
    attrs: object,
    reads: Sequence[View],
    write: View,
    consts: dict[str, Array] | None = None,
    requant: Requant | None = None,
    low: float | None = None,
    high: float | None = None,
) -> CallContext:
    """A call with its views; the requantization becomes consts, as lowering does."""
    values = dict(consts or {})
    if isinstance(requant, FloatRequant):
        values["scale"] = requant.scale
    elif isinstance(requant, FixedRequant):
        values |= {"multiplier": requant.multiplier, "shift": requant.shift}
    references = {role: ConstRef(role) for role in values}
    names = tuple(item.id for item in reads)
    call = OpCall(op, attrs, names, (write.id,), references, Epilogue(low, high), requant, scratch="scratch")
    return CallContext(call, tuple(reads), (write,), values)


def guarded(values: Array) -> Array:
    """A copy that ends at a page that must not be touched."""
    copy = _guarded_bytes(values.nbytes).view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def _guarded_bytes(count: int) -> NDArray[np.uint8]:
    page = mmap.PAGESIZE
    whole = -(-max(count, 1) // page) * page
    area = mmap.mmap(-1, whole + page)
    memory = np.frombuffer(area, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(memory.ctypes.data + whole), ctypes.c_size_t(page), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    memory[:whole] = CANARY
    return memory[whole - count : whole]


@dataclass(frozen=True, eq=False)
class Case:
    """One call, its operands in Program order, and what it must deliver.

    Attributes:
        label: for messages.
        kernel: its descriptor.
        ctx: the call.
        inputs: operands that are read.
        expected: result.
        tolerance: greatest difference of each element; None for bit-exact.
    """

    label: str
    kernel: Kernel
    ctx: CallContext
    inputs: tuple[Array, ...]
    expected: Array
    tolerance: Array | None = None

    def check(self, got: Array) -> None:
        """Compare a result with what was expected."""
        got = got.reshape(self.expected.shape)
        if self.tolerance is None:
            # NaN stands for itself.
            wrong = np.argwhere((got != self.expected) & ((got == got) | (self.expected == self.expected)))
        else:
            with np.errstate(invalid="ignore"):
                near = np.abs(got.astype(np.float64) - self.expected) <= self.tolerance
            both_nan = (got != got) & (self.expected != self.expected)
            wrong = np.argwhere(~(near | both_nan | (got == self.expected)))
        assert wrong.size == 0, (
            f"{self.label}: {len(wrong)} of {got.size} differ, first at {tuple(wrong[0])}: "
            f"{got[tuple(wrong[0])]} instead of {self.expected[tuple(wrong[0])]}"
        )


@dataclass
class Library:
    """Compiled instances of kernels.

    Attributes:
        directory: for the source and the library.
        defines: macros set before the first include.
        flags: compiler flags beyond the usual ones.
        checks: flags of the checks that it is compiled with; none where it shall be timed.
    """

    directory: Path
    defines: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    checks: tuple[str, ...] = CHECKS
    instances: dict[tuple[object, ...], str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    headers: dict[str, None] = field(default_factory=dict)
    library: ctypes.CDLL | None = None

    def add(self, kernel: Kernel, ctx: CallContext) -> None:
        """Include the instance that this call needs."""
        key = kernel.instance_key(ctx)
        if key in self.instances:
            return
        name = f"instance_{len(self.instances)}"
        parameters, passed = [], []
        for argument in kernel.arguments(ctx):
            if isinstance(argument, Literal):
                passed.append(argument.value)
            elif isinstance(argument, RowRange):
                parameters += ["int32_t row_begin", "int32_t row_end"]
                passed += ["row_begin", "row_end"]
            else:
                parameters.append(f"{argument.ctype} {argument.name}")
                passed.append(argument.name)
        head = f"void {name}({', '.join(parameters)})"
        self.instances[key] = name
        self.headers[kernel.header] = None
        self.sources[name] = f"{head};\n{head}\n{{\n    {kernel.name}({', '.join(passed)});\n}}\n"

    def compile(self, cases: Iterable[Case] = (), extra: str = "") -> Library:
        """Compile the instances of these cases, and more C text."""
        for case in cases:
            self.add(case.kernel, case.ctx)
        text = "".join(f"#define {name}\n" for name in self.defines)
        text += "".join(f'#include "{name}"\n' for name in ("ml_common.h", *self.headers))
        source, target = self.directory / "kernels.c", self.directory / "kernels.so"
        source.write_text(text + "".join(self.sources.values()) + extra)
        with resources.as_file(resources.files("microlith.kernels") / "c") as include:
            command = [*COMMAND, *FLAGS, *self.checks, *self.flags, f"-I{include}", "-shared", "-fPIC"]
            result = subprocess.run([*command, str(source), "-o", str(target)], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        self.library = ctypes.CDLL(str(target))
        return self

    def run(
        self, kernel: Kernel, ctx: CallContext, inputs: Sequence[Array], rows: Sequence[tuple[int, int]] = ()
    ) -> Array:
        """The written view of a call.

        Args:
            kernel: its descriptor.
            ctx: the call.
            inputs: contents of the read views, as their buffers hold them.
            rows: row ranges to compute one after another; all rows at once unless given.
        """
        write = ctx.writes[0]
        reads = [guarded(np.ascontiguousarray(item)) for item in inputs]
        shape = list(write.shape)
        if write.ring_rows is not None:
            shape[1] = write.ring_rows
        output = _guarded_bytes(int(np.prod(shape)) * np.dtype(NUMPY[write.dtype]).itemsize)
        output = output.view(NUMPY[write.dtype]).reshape(shape)
        for begin, end in rows or [(0, write.shape[1] if len(write.shape) > 1 else 1)]:
            self.invoke(kernel, ctx, [item.ctypes.data for item in reads], output.ctypes.data, begin, end)
        for before, after in zip(inputs, reads, strict=True):
            assert np.array_equal(before.reshape(-1), after.reshape(-1), equal_nan=after.dtype.kind == "f"), (
                "an operand was written"
            )
        return output.copy()

    def invoke(self, kernel: Kernel, ctx: CallContext, reads: Sequence[int], write: int, begin: int, end: int) -> None:
        """One call with operands and result at these addresses."""
        self.prepared(kernel, ctx, reads, write, begin, end)()

    def prepared(
        self, kernel: Kernel, ctx: CallContext, reads: Sequence[int], write: int, begin: int, end: int
    ) -> Callable[[], None]:
        """What makes one call with operands and result at these addresses, as often as it is called."""
        assert self.library is not None
        packed = kernel.pack(ctx)
        consts = {role: guarded(item.values) for role, item in packed.items()}
        scratch = _guarded_bytes(kernel.scratch_bytes(ctx))
        others = [_guarded_bytes(item.bytes) for item in ctx.writes[1:]]
        results = [write, *(item.ctypes.data for item in others)]
        arguments: list[object] = []
        for argument in kernel.arguments(ctx):
            if isinstance(argument, Pointer):
                address = {
                    "read": lambda key: reads[int(key)],
                    "write": lambda key: results[int(key)],
                    "const": lambda key: consts[key].ctypes.data,
                    "scratch": lambda key: scratch.ctypes.data,
                }[argument.source](argument.key)
                _check_alignment(argument, address, packed)
                arguments.append(ctypes.c_void_p(address))
            elif isinstance(argument, RowRange):
                arguments += [ctypes.c_int32(begin), ctypes.c_int32(end)]
            elif isinstance(argument, Runtime):
                arguments.append(_c_value(argument))
        function = self.library[self.instances[kernel.instance_key(ctx)]]
        function.restype = None
        alive = (consts, scratch, others)

        def call() -> None:
            assert alive
            function(*arguments)

        return call


def _check_alignment(argument: Pointer, address: int, packed: dict[str, Packed]) -> None:
    if argument.source == "const":
        assert packed[argument.key].align >= packed[argument.key].values.itemsize
        assert address % packed[argument.key].values.itemsize == 0


def _c_value(argument: Runtime) -> object:
    if argument.ctype == "float":
        text = argument.value.replace("ML_INFINITY", "inf").removesuffix("f" if "x" in argument.value else "")
        return ctypes.c_float(float.fromhex(text))
    name = argument.ctype.removesuffix("_t").replace("ml_x", "uint")
    text = argument.value.replace("INT64_MIN", str(-(2**63)))
    number = int(text.removeprefix("U").removeprefix("INT64_C(").rstrip("ul)"))
    return getattr(ctypes, f"c_{name}")(number)


def as_ring(values: Array, rows: int, last: int) -> Array:
    """What a ring of ``rows`` rows holds once rows up to ``last`` (excluded) of (1, H, ...) were written."""
    ring = np.full((1, rows, *values.shape[2:]), 77, values.dtype)
    for row in range(max(0, last - rows), last):
        ring[0, row % rows] = values[0, row]
    return ring
