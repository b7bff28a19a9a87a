"""Calls of the kernels of reductions, volumes, normalizations and recurrent layers, with their meaning in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kernels.cases_f32 import normal, wide
from kernels.cases_s8 import Rng, random_qparams, random_values
from kernels.harness import Array, Case, context, in_memory, view
from microlith.kernels import kernel
from microlith.kernels.reductions import INTEGER_FUNCTIONS
from microlith.ops import attention
from microlith.ops.recurrent import FUNCTIONS, Activation, RecurrentAttrs, results
from microlith.program.attrs import Softmax
from microlith.program.neural_attrs import Attention, ConvNd, Lrn, Normalize, PoolNd, Recurrent, Reduce, Volume
from microlith.program.types import NUMPY, contiguous
from microlith.quant.factors import linear_requant
from microlith.quant.integer_linear import conv_transpose, output_rows
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray, QParams
from microlith.quant.volumes import VolumeGeometry, correlate, correlate_transposed

ONES, NONE = (1, 1, 1), (0, 0, 0)
RELATIVE = 1e-5

REDUCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "sum": lambda x: x.sum(axis=1, dtype=x.dtype),
    "max": lambda x: x.max(axis=1),
    "min": lambda x: x.min(axis=1),
    "prod": lambda x: x.prod(axis=1, dtype=x.dtype),
    "l1": lambda x: np.abs(x).sum(axis=1, dtype=x.dtype),
    "sum_square": lambda x: (x * x).sum(axis=1, dtype=x.dtype),
    "l2": lambda x: np.sqrt((x * x).sum(axis=1)),
    "log_sum": lambda x: np.log(x.sum(axis=1)),
    "log_sum_exp": lambda x: np.log(np.exp(x).sum(axis=1)),
}


def neural_cases() -> tuple[Case, ...]:
    """All calls."""
    rng = np.random.default_rng(23)
    return (*_reductions(rng), *_volumes(rng), *_normalizations(rng), *_layers(rng), *_attention(rng))


def _near(expected: np.ndarray) -> np.ndarray:
    """A tolerance relative to the greatest magnitude."""
    return np.full(expected.shape, RELATIVE * max(1e-3, float(np.abs(expected).max())))


def _reductions(rng: Rng) -> Iterator[Case]:
    for function, compute in REDUCTIONS.items():
        for outer, count, inner in ((2, 37, 1), (3, 5, 6)):
            x = normal(rng, (outer, count, inner))
            x = np.abs(x) if function == "log_sum" else x
            expected = compute(wide(x))
            yield _reduce(function, "f32", x, expected, _near(expected))
    flags = rng.integers(0, 2, (2, 3, 4)).astype(np.bool_)
    for function in ("max", "min"):
        yield _reduce(function, "bool", flags, REDUCTIONS[function](flags), None)
    for dtype in ("s8", "u8", "s32", "u32", "s64", "u64"):
        info = np.iinfo(NUMPY[dtype])
        for function in INTEGER_FUNCTIONS:
            x = rng.integers(max(info.min, -(1 << 40)), min(info.max, 1 << 40), (2, 3, 4), info.dtype, endpoint=True)
            yield _reduce(function, dtype, x, REDUCTIONS[function](x), None)


def _reduce(function: str, dtype: str, x: Array, expected: Array, tolerance: Array | None) -> Case:
    ctx = context("reduce", Reduce(function, *x.shape), [view("x", x.shape, dtype)], view("y", expected.shape, dtype))
    name = f"{dtype}_reduce__portable"
    return Case(f"reduce {function} {dtype} {x.shape}", kernel(name), ctx, (x,), expected, tolerance)


def _geometry(volume: Volume, size: tuple[int, ...], output: tuple[int, ...]) -> VolumeGeometry:
    return VolumeGeometry(volume.kernel, volume.stride, volume.dilation, volume.before, volume.after, size, output)


def _last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _conv(
    rng: Rng,
    volume: Volume,
    groups: int,
    output: tuple[int, int, int],
    transposed: bool,
    computed: bool,
    name: str = "f32_conv_nd__portable",
    depth: int = 3,
) -> Case:
    """A convolution of two images of depth x 5 x 4, by constants or by operands that are computed."""
    x = normal(rng, (2, 4, depth, 5, 4))
    filters = 10
    shape = (4, filters // groups) if transposed else (filters, 4 // groups)
    weights, bias = normal(rng, (*shape, *volume.kernel)), normal(rng, (filters,))
    geometry = _geometry(volume, x.shape[2:], output)
    compute = correlate_transposed if transposed else correlate
    expected = _last(compute(wide(x), wide(weights), geometry, groups)) + wide(bias)
    packed = np.ascontiguousarray(weights.transpose((2, 3, 4, 0, 1) if transposed else (2, 3, 4, 1, 0)))
    images = _last(x)
    reads = [view("x", images.shape, "f32")]
    consts = {} if computed else {"weights": packed, "bias": bias}
    if computed:
        reads += [view("w", packed.shape, "f32"), view("b", bias.shape, "f32")]
    attrs = ConvNd(volume, groups, transposed, ("x", "weights", "bias"))
    ctx = context("conv_nd", attrs, reads, view("y", expected.shape, "f32"), consts)
    inputs = (images, packed, bias) if computed else (images,)
    label = f"conv_nd {volume} {groups} {transposed} {computed}"
    return Case(label, kernel(name), ctx, inputs, expected, _near(expected))


def _flat(case: Case) -> Case:
    """The same over two spatial axes, as images are."""
    (x,), (y,) = case.ctx.reads, case.ctx.writes
    weights = case.ctx.consts["weights"][0]
    ctx = dataclasses.replace(
        case.ctx,
        reads=(view(x.id, (x.shape[0], *x.shape[2:]), "f32"),),
        writes=(view(y.id, (y.shape[0], *y.shape[2:]), "f32"),),
        consts={**case.ctx.consts, "weights": weights},
    )
    return dataclasses.replace(
        case,
        ctx=ctx,
        inputs=(case.inputs[0][:, 0],),
        expected=case.expected[:, 0],
        tolerance=None if case.tolerance is None else case.tolerance[:, 0],
    )


def f32_transposed_by_rows(rng: Rng) -> Iterator[Case]:
    """Float ones whose rows are rows of ordinary convolutions."""
    for taps, stride, before, size in (
        ((2, 2), (2, 2), (0, 0), (10, 8)),
        ((3, 2), (1, 2), (1, 0), (5, 8)),
        ((5, 3), (3, 1), (1, 1), (14, 4)),
        ((2, 3), (2, 3), (1, 0), (8, 12)),
    ):
        volume = Volume((1, *taps), (1, *stride), ONES, (0, *before))
        yield _conv(rng, volume, 1, (1, *size), True, False, "f32_conv_nd__rows", depth=1)
        yield _flat(_conv(rng, volume, 1, (1, *size), True, False, "f32_conv_nd__rows", depth=1))


def _volumes(rng: Rng) -> Iterator[Case]:
    yield _conv(rng, Volume((2, 3, 3), (1, 2, 1), ONES, (0, 1, 1), (0, 1, 1)), 1, (2, 3, 4), False, False)
    yield _conv(rng, Volume((1, 2, 2), ONES, (1, 2, 1), NONE), 2, (3, 3, 3), False, True)
    yield _conv(rng, Volume((2, 3, 2), (2, 2, 1), ONES, (0, 1, 0)), 1, (6, 10, 5), True, True)
    yield _conv(rng, Volume((1, 2, 3), (1, 3, 2), (1, 1, 2), NONE), 2, (3, 14, 11), True, False)
    for mode in ("float", "fixed"):
        for groups, per_channel in ((1, True), (2, False)):
            yield _s8_transposed(rng, groups, per_channel, mode)
    yield from transposed_by_rows(rng, "s8_conv_transpose2d__rows", symmetric=False)
    yield from f32_transposed_by_rows(rng)
    window = Volume((2, 3, 2), (1, 2, 2), (1, 1, 2), (1, 1, 0), (0, 1, 1))
    for function, p in (("max", 2), ("average", 2), ("lp", 1), ("lp", 2), ("lp", 3)):
        for include in (False, True) if function == "average" else (False,):
            yield _pool(rng, PoolNd(window, function, p, include))


def _s8_transposed(rng: Rng, groups: int, per_channel: bool, mode: str) -> Case:
    volume = Volume((1, 3, 2), (1, 2, 1), (1, 1, 2), (0, 1, 0))
    return s8_transposed(rng, (2, 4, 5, 3), 6, volume, (10, 5), mode, groups=groups, per_channel=per_channel)


def s8_transposed(
    rng: Rng,
    x_shape: tuple[int, int, int, int],
    filters: int,
    volume: Volume,
    size: tuple[int, int],
    mode: str,
    *,
    groups: int = 1,
    per_channel: bool = True,
    least: int = -128,
    low: int | None = None,
    name: str = "s8_conv_transpose2d__portable",
) -> Case:
    """A transposed convolution of images N,C,H,W; weights by tensor have a zero point unless they are symmetric."""
    x_q = random_qparams(rng)
    x = random_values(rng, x_shape)
    weights = np.maximum(random_values(rng, (x_shape[1], filters // groups, *volume.kernel[1:])), least)
    if per_channel:
        w_q = QParams(rng.uniform(0.01, 0.02, filters).astype(np.float32), np.zeros(filters, np.int32), "int8", 1)
    else:
        w_q = QParams.per_tensor(0.015, 7 if least == -128 else 0, "int8")
    scale = np.asarray(x_q.scale * w_q.scale, np.float32)
    axis = 0 if per_channel else None
    bias_q = QParams(scale, np.zeros(scale.shape, np.int32), "int32", axis)
    bias = rng.integers(-5000, 5000, filters).astype(np.int32)
    y_q = QParams.per_tensor(float(x_q.scale) * 0.015 * 150, -9, "int8")
    planes = (volume.kernel[1:], volume.stride[1:], volume.dilation[1:], volume.before[1:])
    geometry = VolumeGeometry(*planes, (0, 0), x_shape[2:], size)
    found = conv_transpose(QArray(x, x_q), QArray(weights, w_q), QArray(bias, bias_q), geometry, groups, y_q, mode)
    expected = _last(saturate(found, y_q, low, None))
    rows = np.ascontiguousarray(output_rows(weights, groups).transpose(0, 2, 3, 1))
    consts: dict[str, Array] = {"weights": rows, "bias": bias}
    if not per_channel and w_q.zero_point:
        consts["weight_zero"] = np.full(filters, 7, np.int32)
    images = _last(x)
    ctx = context(
        "conv_transpose2d", ConvNd(volume, groups, True, ("x",)), [view("x", images.shape, "s8", x_q)],
        view("y", expected.shape, "s8", y_q), consts, linear_requant(x_q, w_q, y_q, mode), low,
    )  # fmt: skip
    label = f"conv_transpose2d {x_shape}->{filters} {volume} {groups} {per_channel} {mode} {least} {low}"
    return Case(label, kernel(name), ctx, (images,), expected)


# Kernel, stride, padding before, size of the result of an image of 5x3, filters.
TRANSPOSED = (
    ((2, 2), (2, 2), (0, 0), (10, 6), 4),
    ((3, 3), (2, 2), (1, 1), (10, 6), 3),
    ((3, 3), (2, 2), (0, 0), (10, 6), 2),
    ((4, 4), (2, 2), (1, 1), (10, 6), 5),
    ((3, 5), (1, 1), (1, 2), (5, 3), 4),
    ((5, 4), (3, 2), (1, 0), (14, 8), 3),
    ((2, 3), (2, 3), (0, 0), (9, 9), 1),
    ((5, 1), (1, 1), (4, 0), (1, 3), 2),
)


def transposed_by_rows(rng: Rng, name: str, *, symmetric: bool) -> Iterator[Case]:
    """Those whose rows are rows of ordinary convolutions."""
    for index, (taps, stride, before, size, filters) in enumerate(TRANSPOSED):
        volume = Volume((1, *taps), (1, *stride), ONES, (0, *before))
        channels, mode = (4, 3, 8)[index % 3], ("float", "fixed")[index % 2]
        yield s8_transposed(
            rng, (1 + index % 2, channels, 5, 3), filters, volume, size, mode, per_channel=index % 4 != 3,
            least=-127 if symmetric else -128, low=-100 if index == 2 else None, name=name,
        )  # fmt: skip


def _pool(rng: Rng, attrs: PoolNd) -> Case:
    x = normal(rng, (2, 3, 4, 5, 6))
    geometry = _geometry(attrs.volume, (4, 5, 6), (4, 3, 3))
    fill = -np.inf if attrs.function == "max" else 0.0
    seen = np.stack([geometry.seen(wide(x), tap, fill) for tap in geometry.taps()])
    if attrs.function == "max":
        expected = seen.max(axis=0)
    elif attrs.function == "average":
        expected = seen.sum(axis=0) / geometry.counts(attrs.count_include_pad)
    else:
        expected = (np.abs(seen) ** attrs.p).sum(axis=0) ** (1 / attrs.p)
    expected, images = _last(expected), _last(x)
    ctx = context("pool_nd", attrs, [view("x", images.shape, "f32")], view("y", expected.shape, "f32"))
    label = f"pool_nd {attrs.function} {attrs.p} {attrs.count_include_pad}"
    return Case(label, kernel("f32_pool_nd__portable"), ctx, (images,), expected, _near(expected))


def _normalizations(rng: Rng) -> Iterator[Case]:
    for size in ("deviation", "root_mean_square", "l2", "l1"):
        yield _normalize(rng, Normalize(size, 3, 20, 1, epsilon=1e-3, operands=("x", "scale", "bias")))
        yield _normalize(rng, Normalize(size, 2, 7, 4, offset=0.5 if size == "deviation" else 0.0))
        yield _normalize(rng, Normalize(size, 6, 20, 1, 3, 4, 5, 1e-5, operands=("x", "scale")))
    x = normal(rng, (3, 7))
    square, lrn = wide(x) ** 2, Lrn(1, 2, 0.4, 0.75, 1.5)
    sums = np.stack([square[:, max(0, c - 1) : c + 3].sum(axis=1) for c in range(7)], axis=1)
    expected = wide(x) / (1.5 + np.float64(np.float32(0.4)) * sums) ** 0.75
    ctx = context("lrn", lrn, [view("x", x.shape, "f32")], view("y", x.shape, "f32"))
    yield Case("lrn", kernel("f32_lrn__portable"), ctx, (x,), expected, _near(expected))
    for outer, count, inner in ((2, 30, 1), (2, 7, 3)):
        x = (normal(rng, (outer, count, inner)) * 4).astype(np.float32)
        logarithm = wide(x) - np.log(np.exp(wide(x)).sum(axis=1, keepdims=True))
        hard = (np.arange(count)[:, None] == x.argmax(axis=1)[:, None]).astype(np.float64)
        for op, meaning in (("log_softmax", logarithm), ("hardmax", hard)):
            views = [view("x", x.shape, "f32")], view("y", x.shape, "f32")
            ctx = context(op, Softmax(outer, count, inner), *views)
            yield Case(f"{op} {x.shape}", kernel(f"f32_{op}__portable"), ctx, (x,), meaning, _near(meaning))


def _normalize(rng: Rng, attrs: Normalize) -> Case:
    x = normal(rng, (attrs.outer, attrs.count, attrs.inner))
    entries = (attrs.groups - 1) * attrs.per_group + attrs.count // attrs.span
    scale, bias = normal(rng, (entries,)), normal(rng, (entries,))
    centered = wide(x) - (wide(x).mean(axis=1, keepdims=True) if attrs.size == "deviation" else 0)
    if attrs.size in ("l1", "l2"):
        size = np.linalg.norm(centered, ord=int(attrs.size[1]), axis=1, keepdims=True)
    else:
        size = np.sqrt((centered**2).mean(axis=1, keepdims=True) + attrs.epsilon) + attrs.offset
    lane = np.arange(attrs.outer * attrs.inner).reshape(attrs.outer, 1, attrs.inner)
    place = lane % attrs.groups * attrs.per_group + np.arange(attrs.count)[:, None] // attrs.span
    expected = centered / size
    reads, inputs, consts = [view("x", x.shape, "f32")], [x], {}
    if "scale" in attrs.operands:
        expected = expected * wide(scale)[place]
        consts["scale"] = scale
    if "bias" in attrs.operands:
        expected = expected + wide(bias)[place]
        reads.append(view("b", bias.shape, "f32"))
        inputs.append(bias)
    ctx = context("normalize", attrs, reads, view("y", x.shape, "f32"), consts)
    return Case(f"{attrs}", kernel("f32_normalize__portable"), ctx, tuple(inputs), expected, _near(expected))


def _layers(rng: Rng) -> Iterator[Case]:
    for kind, names in (("lstm", ("HardSigmoid", "Tanh", "Softsign")), ("gru", ("Sigmoid", "Tanh")), ("rnn", ("Elu",))):
        for flag in (False, True):
            yield _layer(rng, kind, names, flag)


def _layer(rng: Rng, kind: str, names: tuple[str, ...], flag: bool) -> Case:
    steps, batch, depth, hidden, directions = 4, 2, 9, 3, 2
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    activations = tuple(Activation(name, 0.3, 0.4) for name in names) * directions
    meaning = RecurrentAttrs(kind, hidden, "bidirectional", activations, False, 0.5 if flag else 0.0, flag, flag)
    operands: dict[str, Array] = {
        "x": normal(rng, (steps, batch, depth)),
        "w": normal(rng, (directions, gates * hidden, depth)),
        "r": normal(rng, (directions, gates * hidden, hidden)),
        "b": normal(rng, (directions, 2 * gates * hidden)),
    }
    if flag:
        operands |= {"lengths": np.array([4, 2], np.int32), "initial_h": normal(rng, (directions, batch, hidden))}
    order = ("x", "w", "r", "b", "lengths", "initial_h")
    expected = results(meaning, [operands.get(role) for role in order])[0].astype(np.float64)
    index = {name: number for number, name in enumerate(FUNCTIONS)}
    consts: dict[str, Array] = {role: operands[role] for role in ("w", "r", "b")}
    consts["functions"] = np.array([index[item.name] for item in activations], np.int32)
    consts["parameters"] = np.array([[item.alpha, item.beta] for item in activations], np.float32)
    attrs = Recurrent(
        kind, steps, batch, depth, hidden, directions, False, (batch * depth, depth),
        (directions * batch * hidden, batch * hidden, hidden), (batch * hidden, hidden), flag, flag, meaning.clip,
        tuple(operands),
    )  # fmt: skip
    reads = [
        view(role, values.shape, "s32" if role == "lengths" else "f32")
        for role, values in operands.items()
        if role not in consts
    ]
    ctx = context("recurrent", attrs, reads, view("y", expected.shape, "f32"), consts)
    states = [view(name, (directions, batch, hidden), "f32") for name in ("h", "c")[: 2 if kind == "lstm" else 1]]
    writes = (*ctx.writes, *states)
    call = dataclasses.replace(ctx.call, writes=tuple(item.id for item in writes))
    ctx = dataclasses.replace(ctx, writes=writes, call=call)
    inputs = tuple(values for role, values in operands.items() if role not in consts)
    return Case(f"{kind} {flag}", kernel("f32_recurrent__portable"), ctx, inputs, expected, _near(expected))


# batch, heads, heads of keys, rows, keys, depth, columns
ATTENTIONS = (
    ((1, 2, 2, 9, 17, 8, 8), False, False, 0.0, ""),
    ((2, 4, 2, 5, 3, 5, 11), True, False, 0.0, ""),
    ((1, 1, 1, 6, 6, 3, 4), False, True, 0.0, "mask"),
    ((1, 3, 1, 4, 10, 9, 16), True, True, 2.0, "keys"),
    ((1, 2, 2, 1, 9, 1, 1), False, False, 0.5, ""),
)


def _attention(rng: Rng) -> Iterator[Case]:
    """Heads next to each other in rows, or one after another; masks that are read, constant, and that are repeated."""
    for (batch, heads, kv_heads, rows, keys, depth, columns), inside, causal, cap, mask in ATTENTIONS:
        shapes = {
            "q": (batch, heads, rows, depth),
            "k": (batch, kv_heads, keys, depth),
            "v": (batch, kv_heads, keys, columns),
        }
        if mask:
            shapes["mask"] = (batch, 1, rows, keys) if mask == "mask" else (1, 1, 1, keys)
        arrays = {role: normal(rng, shape) for role, shape in shapes.items()}
        y_shape = (batch, heads, rows, columns)
        strides = {
            role: _inside(shape) if inside and role != "mask" else contiguous(shape) for role, shape in shapes.items()
        }
        repeated = tuple(
            0 if size == 1 else stride
            for size, stride in zip(shapes.get("mask", (1,) * 4), strides.get("mask", (0,) * 4), strict=True)
        )
        y_strides = _inside(y_shape) if inside else contiguous(y_shape)
        attrs = Attention(
            batch, heads, kv_heads, rows, keys, depth, columns, strides["q"], strides["k"], strides["v"], repeated,
            y_strides, causal, 0.25, cap, tuple(arrays),
        )  # fmt: skip
        meaning = attention.AttentionAttrs(0.25, causal, cap, None)
        expected = in_memory(attention.reference(meaning, list(arrays.values())), y_strides)
        consts = {"mask": arrays.pop("mask")} if mask == "keys" else {}
        held = tuple(in_memory(array, strides[role]) for role, array in arrays.items())
        reads = [view(role, array.shape, "f32") for role, array in zip(arrays, held, strict=True)]
        ctx = context("attention", attrs, reads, view("y", expected.shape, "f32"), consts)
        label = f"attention {shapes} {inside} {causal} {cap}"
        yield Case(label, kernel("f32_attention__portable"), ctx, held, expected, _near(expected))


def _inside(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of heads that lie next to each other in a row."""
    _, heads, rows, columns = shape
    return heads * rows * columns, columns, heads * columns, 1
