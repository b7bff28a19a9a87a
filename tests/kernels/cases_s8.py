"""Calls of the int8 kernels with operands from a generator and results from the integer spec."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.harness import Array, Case, context, in_memory, view
from microlith.kernels import kernel
from microlith.program.attrs import (
    Binary,
    Conv2d,
    Convert,
    ConvertChannels,
    FullyConnected,
    ImageMean,
    Lut,
    MatMul,
    Pool2d,
    ReduceMean,
    Softmax,
    Window,
)
from microlith.program.types import contiguous
from microlith.quant import factors, integer_elementwise, integer_linear, integer_move, integer_pool, integer_softmax
from microlith.quant.lut import exp_table, float_exp_table, lookup
from microlith.quant.requantize import saturate
from microlith.quant.types import LIMITS, QArray, QParams, Requantization, held
from microlith.quant.windows import Geometry

Rng = np.random.Generator

SHORT = {"int4": "s8", "uint4": "u8", "int8": "s8", "int16": "s16", "uint16": "u16", "int32": "s32"}


@dataclass(frozen=True)
class Bounds:
    """Least and greatest integer stored; None for the type's own."""

    low: int | None = None
    high: int | None = None


def random_qparams(rng: Rng, scale: float | None = None) -> QParams:
    """Per tensor, any zero point."""
    scale = float(rng.uniform(0.001, 0.2)) if scale is None else scale
    return QParams.per_tensor(scale, int(rng.integers(-128, 128)), "int8")


def random_values(rng: Rng, shape: tuple[int, ...], extreme: bool = False) -> Array:
    """int8 values: any, or only the least and the greatest."""
    if extreme:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    return rng.integers(-128, 128, shape, dtype=np.int8)


def output_size(window: Window, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the result."""
    pads = (window.pad[0] + window.pad[2], window.pad[1] + window.pad[3])
    height, width = (
        (size[axis] + pads[axis] - (window.kernel[axis] - 1) * window.dilation[axis] - 1) // window.stride[axis] + 1
        for axis in (0, 1)
    )
    return height, width


def geometry(window: Window, size: tuple[int, int]) -> Geometry:
    """The same windows for the spec."""
    return Geometry(window.kernel, window.stride, window.dilation, window.pad, size, output_size(window, size))


def nchw(values: Array) -> Array:
    return np.moveaxis(values, -1, 1)


def nhwc(values: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(values, 1, -1))


def weight_qparams(rng: Rng, channels: int, per_channel: bool, zeros: bool) -> QParams:
    """Scales and zero points of weights."""
    count = channels if per_channel else 1
    scale = rng.uniform(0.001, 0.05, count).astype(np.float32)
    zero = rng.integers(-128, 128, count).astype(np.int32) if zeros else np.zeros(count, np.int32)
    if per_channel:
        return QParams(scale, zero, "int8", axis=0)
    return QParams(scale[0], np.asarray(zero[0]), "int8")


@dataclass(frozen=True)
class Layer:
    """What a layer with weights looks like, whatever its op."""

    mode: Requantization = "float"
    per_channel: bool = True
    weight_zeros: bool = False
    bounds: Bounds = Bounds()
    extreme: bool = False
    symmetric: bool = False
    """Whether weights of int8 are at least -127."""
    gain: float = 1.0


def linear_parts(rng: Rng, layer: Layer, shape: tuple[int, ...]) -> tuple[QArray, QArray, QParams, QParams]:
    """Weights (O, ...), bias, and parameters of input and output that spread the results over their range."""
    fan_in = int(np.prod(shape[1:]))
    x = random_qparams(rng)
    weights = QArray(
        np.maximum(random_values(rng, shape, layer.extreme), -127 if layer.symmetric else -128),
        weight_qparams(rng, shape[0], layer.per_channel, layer.weight_zeros),
    )
    product = (x.scale.astype(np.float64) * weights.qparams.scale).astype(np.float32)
    values = rng.integers(-5000, 5000, shape[0]).astype(np.int32)
    bias = QArray(values, QParams(product, np.zeros_like(product, np.int32), "int32", weights.qparams.axis))
    spread = float(np.mean(product)) * 74 * 74 * np.sqrt(fan_in) / 60
    return weights, bias, x, random_qparams(rng, spread / layer.gain)


def linear_consts(weights: QArray, bias: QArray, order: tuple[int, ...]) -> dict[str, Array]:
    """Consts in Program order."""
    consts = {"weights": np.ascontiguousarray(weights.values.transpose(order)), "bias": bias.values}
    zero = np.broadcast_to(weights.qparams.zero_point.reshape(-1), bias.values.shape)
    return consts | ({"weight_zero": zero.astype(np.int32)} if zero.any() else {})


def conv2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    out_channels: int,
    window: Window,
    groups: int = 1,
    layer: Layer = Layer(),
    name: str = "s8_conv2d__portable",
) -> Case:
    """A convolution of an image (H, W, C); depthwise where the name says so."""
    height, width, channels = x_shape
    weights, bias, x, y = linear_parts(rng, layer, (out_channels, channels // groups, *window.kernel))
    values = random_values(rng, (1, height, width, channels), layer.extreme)
    bounds = layer.bounds
    scaled = integer_linear.conv2d(
        QArray(nchw(values), x), weights, bias, geometry(window, (height, width)), groups, y, layer.mode
    )
    expected = nhwc(saturate(scaled, y, bounds.low, bounds.high))
    requant = factors.linear_requant(x, weights.qparams, y, layer.mode)
    op = name.removeprefix("s8_").split("__")[0]
    ctx = context(
        op,
        Conv2d(window, groups),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        linear_consts(weights, bias, (0, 2, 3, 1)),
        requant,
        bounds.low,
        bounds.high,
    )
    return Case(
        f"{op} {x_shape}->{out_channels} {window} groups {groups} {layer}", kernel(name), ctx, (values,), expected
    )


def depthwise_conv2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    filters: int,
    window: Window,
    layer: Layer = Layer(),
    name: str = "s8_depthwise_conv2d__portable",
) -> Case:
    """A depthwise convolution with that many filters a channel."""
    return conv2d(rng, x_shape, x_shape[2] * filters, window, x_shape[2], layer, name)


def fully_connected(
    rng: Rng,
    rows: int,
    depth: int,
    outputs: int,
    layer: Layer = Layer(),
    name: str = "s8_fully_connected__portable",
) -> Case:
    """Rows of depth values by weights (outputs, depth)."""
    weights, bias, x, y = linear_parts(rng, layer, (outputs, depth))
    values = random_values(rng, (rows, depth), layer.extreme)
    scaled = integer_linear.fully_connected(QArray(values, x), weights, bias, y, layer.mode)
    expected = saturate(scaled, y, layer.bounds.low, layer.bounds.high)
    ctx = context(
        "fully_connected",
        FullyConnected(),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        linear_consts(weights, bias, (0, 1)),
        factors.linear_requant(x, weights.qparams, y, layer.mode),
        layer.bounds.low,
        layer.bounds.high,
    )
    return Case(f"fully_connected {rows}x{depth}->{outputs} {layer}", kernel(name), ctx, (values,), expected)


def matmul(rng: Rng, attrs: MatMul, mode: Requantization) -> Case:
    """A product of two activations."""
    a = QArray(
        random_values(rng, (1 if attrs.broadcast_a else attrs.batch, attrs.rows, attrs.depth)), random_qparams(rng)
    )
    b = QArray(
        random_values(rng, (1 if attrs.broadcast_b else attrs.batch, attrs.depth, attrs.columns)), random_qparams(rng)
    )
    y = random_qparams(rng, float(a.qparams.scale * b.qparams.scale) * 74 * 74 * attrs.depth**0.5 / 60)
    expected = in_memory(saturate(integer_linear.matmul(a, b, y, mode), y), attrs.y_strides)
    held = in_memory(a.values, attrs.a_strides), in_memory(b.values, attrs.b_strides)
    ctx = context(
        "matmul",
        attrs,
        [view("a", held[0].shape, "s8", a.qparams), view("b", held[1].shape, "s8", b.qparams)],
        view("y", expected.shape, "s8", y),
        requant=factors.linear_requant(a.qparams, b.qparams, y, mode),
    )
    return Case(f"matmul {attrs} {mode}", kernel("s8_matmul__portable"), ctx, held, expected)


def strides_of(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Strides of an operand of 4 axes along the axes of the result."""
    dense = contiguous(shape)
    a, b, c, d = (
        0 if size == 1 and wide != 1 else stride for size, wide, stride in zip(shape, out, dense, strict=True)
    )
    return a, b, c, d


def binary(
    rng: Rng,
    name: str,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    mode: Requantization,
    bounds: Bounds = Bounds(),
    constant: str = "",
    gain: float = 1.0,
) -> Case:
    """Elementwise sum, difference or product; ``constant`` names the operand that is a const."""
    op = name.removeprefix("s8_").split("__")[0]
    operands = {
        role: QArray(random_values(rng, shape), random_qparams(rng)) for role, shape in (("a", a_shape), ("b", b_shape))
    }
    a, b = operands["a"], operands["b"]
    product = float(a.qparams.scale) * float(b.qparams.scale) * 100
    spread = product if op == "mul" else float(max(a.qparams.scale, b.qparams.scale)) * 1.5
    y = random_qparams(rng, spread / gain)
    if op == "mul":
        scaled = integer_elementwise.mul(a, b, y, mode)
        requant = factors.mul_requant(a.qparams, b.qparams, y, mode)
    else:
        scaled = integer_elementwise.add(a, b, y, mode, subtract=op == "sub")
        requant = factors.sum_requant(a.qparams, b.qparams, y, mode)
    expected = saturate(scaled, y, bounds.low, bounds.high)
    zeros = [int(item.qparams.zero_point) if role == constant else 0 for role, item in operands.items()]
    strides = [strides_of(shape, expected.shape) for shape in (a_shape, b_shape)]
    attrs = Binary(expected.shape, strides[0], strides[1], zeros[0], zeros[1])
    read = {role: item for role, item in operands.items() if role != constant}
    ctx = context(
        op,
        attrs,
        [view(role, item.values.shape, "s8", item.qparams) for role, item in read.items()],
        view("y", expected.shape, "s8", y),
        {constant: operands[constant].values} if constant else {},
        requant,
        bounds.low,
        bounds.high,
    )
    inputs = tuple(item.values for item in read.values())
    return Case(f"{name} {a_shape} {b_shape} {mode} {bounds} const {constant}", kernel(name), ctx, inputs, expected)


def lut(rng: Rng, shape: tuple[int, ...], per_channel: bool) -> Case:
    """A table, or one a channel."""
    x, y = random_qparams(rng), random_qparams(rng)
    tables = shape[-1] if per_channel else 1
    table = random_values(rng, (tables, 256))
    values = random_values(rng, shape)
    flat = values.reshape(-1, shape[-1])
    expected = lookup(QArray(flat, x), table).reshape(shape)
    ctx = context("lut", Lut(tables), [view("x", shape, "s8", x)], view("y", shape, "s8", y), {"table": table})
    return Case(f"lut {shape} {tables}", kernel("s8_lut__portable"), ctx, (values,), expected)


def max_pool2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    window: Window,
    bounds: Bounds = Bounds(),
    name: str = "s8_max_pool2d__portable",
) -> Case:
    """Maxima, clamped."""
    x = random_qparams(rng)
    values = random_values(rng, (1, *x_shape))
    limits = (-128 if bounds.low is None else bounds.low, 127 if bounds.high is None else bounds.high)
    spec = integer_pool.max_pool2d(QArray(nchw(values), x), geometry(window, x_shape[:2]), x, *limits)
    expected = nhwc(spec)
    ctx = context(
        "max_pool2d",
        Pool2d(window),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", x),
        low=bounds.low,
        high=bounds.high,
    )
    return Case(f"max_pool2d {x_shape} {window} {bounds}", kernel(name), ctx, (values,), expected)


def average_pool2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    window: Window,
    include_pad: bool,
    mode: Requantization,
    same: bool = False,
    name: str = "s8_average_pool2d__portable",
    bounds: Bounds = Bounds(-100, 120),
) -> Case:
    """Means; ``same`` parameters of input and output make a division of ``fixed`` ones."""
    x = random_qparams(rng)
    y = x if same else random_qparams(rng, float(x.scale) * float(rng.uniform(0.3, 2)))
    requant = factors.average_pool_requant(x, y, window.kernel[0] * window.kernel[1], mode)
    values = random_values(rng, (1, *x_shape))
    scaled = integer_pool.average_pool2d(QArray(nchw(values), x), geometry(window, x_shape[:2]), include_pad, y, mode)
    expected = nhwc(saturate(scaled, y, bounds.low, bounds.high))
    ctx = context(
        "average_pool2d",
        Pool2d(window, include_pad),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        requant=None if factors.mean_is_division(x, y, mode) else requant,
        low=bounds.low,
        high=bounds.high,
    )
    label = f"average_pool2d {x_shape} {window} include_pad {include_pad} {mode} {same}"
    return Case(label, kernel(name), ctx, (values,), expected)


def image_mean(
    rng: Rng, channels: int, size: tuple[int, int], layout: str, name: str = "s8_reduce_mean__portable"
) -> Case:
    """Means over rows and columns as LiteRT's kernel for images rounds them."""
    x = random_qparams(rng, 2.0**-6)
    y = random_qparams(rng, 2.0**-7)  # factors are powers of two where the count is one: ties are frequent
    values = random_values(rng, (1, *size, channels))
    expected = saturate(integer_pool.image_mean(QArray(values, x), y), y)
    up = channels // factors.IMAGE_MEAN_GROUP * factors.IMAGE_MEAN_GROUP
    count, image = size[0] * size[1], ImageMean(factors.image_mean_offset(x, y), channels, up)
    given = values if layout == "nhwc" else np.ascontiguousarray(np.moveaxis(values, -1, 1))
    outer, inner = (1, channels) if layout == "nhwc" else (channels, 1)
    attrs = ReduceMean(outer, count, inner, image)
    ctx = context(
        "reduce_mean",
        attrs,
        [view("x", given.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        requant=factors.image_mean_requant(x, y, count),
    )
    return Case(f"image_mean {size} {channels} {layout}", kernel(name), ctx, (given,), expected)


def reduce_mean(
    rng: Rng, outer: int, count: int, inner: int, mode: Requantization, name: str = "s8_reduce_mean__portable"
) -> Case:
    """Means over one axis."""
    x = random_qparams(rng)
    y = random_qparams(rng, float(x.scale) * float(rng.uniform(0.05, 1)))
    values = random_values(rng, (outer, count, inner))
    expected = saturate(integer_pool.reduce_mean(QArray(values, x), (1,), False, y, mode), y)
    ctx = context(
        "reduce_mean",
        ReduceMean(outer, count, inner),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        requant=factors.mean_requant(x, y, count, mode),
    )
    label = f"reduce_mean {outer}x{count}x{inner} {mode}"
    return Case(label, kernel(name), ctx, (values,), expected)


def softmax(rng: Rng, outer: int, count: int, inner: int, mode: Requantization) -> Case:
    """Probabilities along one axis; of ``fixed`` by floats."""
    x, y = random_qparams(rng), QParams.per_tensor(1 / 256, -128, "int8")
    values = random_values(rng, (outer, count, inner))
    expected = saturate(integer_softmax.softmax(QArray(values, x), 1, y, mode), y)
    ctx = context(
        "softmax",
        Softmax(outer, count, inner),
        [view("x", values.shape, "s8", x)],
        view("y", expected.shape, "s8", y),
        {"table": exp_table(x) if mode == "float" else float_exp_table(x)},
        factors.softmax_requant(y, mode) if mode == "float" else None,
    )
    label = f"softmax {outer}x{count}x{inner} {mode}"
    name = "s8_softmax__portable" if mode == "float" else "s8_softmax_float__portable"
    return Case(label, kernel(name), ctx, (values,), expected)


def flip_sign(rng: Rng, shape: tuple[int, ...], to_signed: bool) -> Case:
    """uint8 to int8 or back."""
    values = rng.integers(0, 256, shape, dtype=np.uint8)
    flipped = (values.astype(np.int32) - 128).astype(np.int8)
    types = ("u8", "s8") if to_signed else ("s8", "u8")
    operand, expected = (values, flipped) if to_signed else (flipped, values)
    ctx = context("flip_sign", Convert(), [view("x", shape, types[0])], view("y", shape, types[1]))
    return Case(f"flip_sign {shape} {types}", kernel("x8_flip_sign__portable"), ctx, (operand,), expected)


def quantize(rng: Rng, count: int) -> Case:
    """Floats to int8, ties and saturation included."""
    y = random_qparams(rng, 0.25)
    ties = (np.arange(count) - count // 2).astype(np.float32) * np.float32(0.125)
    values = np.concatenate([ties, rng.normal(0, 60, count), [3e38, -3e38, 1e-40, 0.0]]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = integer_move.quantize(values, y)
    ctx = context(
        "quantize", Convert(), [view("x", values.shape, "f32")], view("y", values.shape, "s8", y), low=None, high=None
    )
    return Case(f"quantize {count}", kernel("f32_quantize_s8__portable"), ctx, (values,), expected)


def _channels(rng: Rng, dtype: str) -> QParams:
    low, high = LIMITS[dtype]
    zero = np.zeros(3, np.int32) if dtype == "int32" else rng.integers(low, high + 1, 3).astype(np.int32)
    return QParams(rng.uniform(0.01, 0.5, 3).astype(np.float32), zero, dtype, 1)


def quantize_channels(rng: Rng, dtype: str) -> Case:
    """Floats to integers along the middle axis, saturation included."""
    y, short = _channels(rng, dtype), SHORT[dtype]
    values = rng.normal(0, 40, (2, 3, 5)).astype(np.float32)
    values[0, :, :3] = [3e38, -3e38, 0]
    with np.errstate(over="ignore"):
        expected = integer_move.quantize(values, y)
    consts = {"scale": y.scale, "zero": y.zero_point}
    views = [view("x", values.shape, "f32")], view("y", values.shape, short)
    ctx = context("quantize_channels", ConvertChannels(2, 3, 5), *views, consts, low=y.low, high=y.high)
    name = f"f32_quantize_channels_{short}__portable"
    return Case(f"quantize channels {dtype}", kernel(name), ctx, (values,), expected)


def dequantize_channels(rng: Rng, dtype: str) -> Case:
    """Integers to floats along the middle axis, those at the ends of the type included."""
    x, short = _channels(rng, dtype), SHORT[dtype]
    values = rng.integers(x.low, x.high + 1, (2, 3, 5)).astype(held(dtype))
    values[0, :, :2] = [x.low, x.high]
    consts = {"scale": x.scale, "zero": x.zero_point}
    views = [view("x", values.shape, short)], view("y", values.shape, "f32")
    ctx = context("dequantize_channels", ConvertChannels(2, 3, 5), *views, consts)
    name = f"{short}_dequantize_channels_f32__portable"
    return Case(f"dequantize channels {dtype}", kernel(name), ctx, (values,), QArray(values, x).dequantize())


def dequantize(rng: Rng, count: int) -> Case:
    """int8 to floats."""
    x = random_qparams(rng)
    values = random_values(rng, (count,))
    ctx = context("dequantize", Convert(), [view("x", (count,), "s8", x)], view("y", (count,), "f32"))
    expected = QArray(values, x).dequantize()
    return Case(f"dequantize {count}", kernel("s8_dequantize_f32__portable"), ctx, (values,), expected)
