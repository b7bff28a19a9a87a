"""Calls of the float kernels with operands from a generator, results in float64 and bounds on the rounding error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.cases_s8 import Bounds, Rng, geometry, nchw, nhwc, strides_of
from kernels.harness import Array, Case, context, in_memory, view
from microlith.kernels import kernel
from microlith.program.attrs import (
    Affine,
    Binary,
    Conv2d,
    Copy,
    Fill,
    FullyConnected,
    MatMul,
    Pool2d,
    ReduceMean,
    Softmax,
    Unary,
    Window,
)
from microlith.program.types import ITEM_BYTES, NUMPY, contiguous
from microlith.quant.windows import correlate, padded, taps

EPSILON = float(np.finfo(np.float32).eps)


def normal(rng: Rng, shape: tuple[int, ...]) -> Array:
    return rng.normal(0, 1, shape).astype(np.float32)


def wide(values: Array) -> np.ndarray:
    return values.astype(np.float64)


def clamped(values: np.ndarray, bounds: Bounds) -> np.ndarray:
    low = -np.inf if bounds.low is None else bounds.low
    return np.clip(values, low, np.inf if bounds.high is None else bounds.high)


def conv2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    out_channels: int,
    window: Window,
    groups: int = 1,
    bounds: Bounds = Bounds(),  # noqa: B008
    name: str = "f32_conv2d__portable",
) -> Case:
    """A convolution; depthwise where the name says so."""
    weights = normal(rng, (out_channels, x_shape[2] // groups, *window.kernel))
    bias, values = normal(rng, (out_channels,)), normal(rng, (1, *x_shape))
    shape = geometry(window, x_shape[:2])
    exact = correlate(wide(nchw(values)), wide(weights), shape, groups) + wide(bias).reshape(-1, 1, 1)
    size = correlate(np.abs(wide(nchw(values))), np.abs(wide(weights)), shape, groups)
    size += np.abs(bias).reshape(-1, 1, 1)
    op = name.removeprefix("f32_").split("__")[0]
    expected = clamped(nhwc(exact), bounds)
    ctx = context(
        op,
        Conv2d(window, groups),
        [view("x", values.shape, "f32")],
        view("y", expected.shape, "f32"),
        {"weights": np.ascontiguousarray(weights.transpose(0, 2, 3, 1)), "bias": bias},
        low=bounds.low,
        high=bounds.high,
    )
    tolerance = (weights[0].size + 2) * EPSILON * nhwc(size)
    if kernel(name).rounds_more:
        # Products of sums and sums of products: no bound by a single output's terms, so by the greatest of all.
        tolerance = np.full_like(tolerance, 8 * tolerance.max())
    return Case(f"{op} {x_shape}->{out_channels} {window} {groups}", kernel(name), ctx, (values,), expected, tolerance)


def depthwise_conv2d(
    rng: Rng,
    x_shape: tuple[int, int, int],
    filters: int,
    window: Window,
    bounds: Bounds = Bounds(),  # noqa: B008
) -> Case:
    """A depthwise convolution with that many filters a channel."""
    channels = x_shape[2]
    return conv2d(rng, x_shape, channels * filters, window, channels, bounds, "f32_depthwise_conv2d__portable")


def fully_connected(rng: Rng, rows: int, depth: int, outputs: int, bounds: Bounds = Bounds()) -> Case:  # noqa: B008
    """Rows of depth values by weights (outputs, depth)."""
    values, weights, bias = normal(rng, (rows, depth)), normal(rng, (outputs, depth)), normal(rng, (outputs,))
    expected = clamped(wide(values) @ wide(weights).T + bias, bounds)
    tolerance = (depth + 2) * EPSILON * (np.abs(wide(values)) @ np.abs(wide(weights)).T + np.abs(bias))
    ctx = context(
        "fully_connected",
        FullyConnected(),
        [view("x", values.shape, "f32")],
        view("y", expected.shape, "f32"),
        {"weights": weights, "bias": bias},
        low=bounds.low,
        high=bounds.high,
    )
    chosen = kernel("f32_fully_connected__portable")
    return Case(f"fully_connected {rows}x{depth}->{outputs}", chosen, ctx, (values,), expected, tolerance)


def matmul(rng: Rng, attrs: MatMul) -> Case:
    """A product of two activations."""
    a = normal(rng, (1 if attrs.broadcast_a else attrs.batch, attrs.rows, attrs.depth))
    b = normal(rng, (1 if attrs.broadcast_b else attrs.batch, attrs.depth, attrs.columns))
    expected = in_memory(wide(a) @ wide(b), attrs.y_strides)
    tolerance = in_memory((attrs.depth + 2) * EPSILON * (np.abs(wide(a)) @ np.abs(wide(b))), attrs.y_strides)
    held = in_memory(a, attrs.a_strides), in_memory(b, attrs.b_strides)
    reads = [view("a", held[0].shape, "f32"), view("b", held[1].shape, "f32")]
    ctx = context("matmul", attrs, reads, view("y", expected.shape, "f32"))
    return Case(f"matmul {attrs}", kernel("f32_matmul__portable"), ctx, held, expected, tolerance)


def binary(
    rng: Rng,
    name: str,
    a_shape: tuple[int, ...],
    b_shape: tuple[int, ...],
    bounds: Bounds = Bounds(),  # noqa: B008
    constant: str = "",
) -> Case:
    """Elementwise sum, difference or product."""
    op = name.removeprefix("f32_").split("__")[0]
    operands = {"a": normal(rng, a_shape), "b": normal(rng, b_shape)}
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op]
    expected = clamped(function(operands["a"], operands["b"]), bounds).astype(np.float32)
    strides = [strides_of(shape, expected.shape) for shape in (a_shape, b_shape)]
    read = {role: item for role, item in operands.items() if role != constant}
    ctx = context(
        op,
        Binary(expected.shape, strides[0], strides[1]),
        [view(role, item.shape, "f32") for role, item in read.items()],
        view("y", expected.shape, "f32"),
        {constant: operands[constant]} if constant else {},
        low=bounds.low,
        high=bounds.high,
    )
    return Case(f"{name} {a_shape} {b_shape} const {constant}", kernel(name), ctx, tuple(read.values()), expected)


UNARY: dict[str, tuple[tuple[float, ...], Callable[[np.ndarray], np.ndarray], float]] = {
    "clamp": ((-1.0, float("inf")), lambda x: np.maximum(x, -1.0), 0.0),
    "leaky_relu": ((0.125,), lambda x: np.where(x < 0, x * 0.125, x), 1.0),
    "sigmoid": ((), lambda x: 1 / (1 + np.exp(-x)), 4.0),
    "tanh": ((), np.tanh, 4.0),
    "hard_sigmoid": ((0.25, 0.5), lambda x: np.clip(0.25 * x + 0.5, 0, 1), 1.0),
    "hard_swish": ((), lambda x: x * np.clip(x / 6 + 0.5, 0, 1), 4.0),
}


def unary(rng: Rng, function: str, shape: tuple[int, ...]) -> Case:
    """One function; the tolerance is a number of relative roundings, and one near the zero of hard_swish at -3."""
    parameters, exact, roundings = UNARY[function]
    values = (normal(rng, shape) * 4).astype(np.float32)
    expected = exact(wide(values))
    tolerance = roundings * EPSILON * (np.abs(expected) + (np.abs(values) if function.startswith("hard") else 0))
    ctx = context("unary", Unary(function, parameters), [view("x", shape, "f32")], view("y", shape, "f32"))
    return Case(f"unary {function} {shape}", kernel("f32_unary__portable"), ctx, (values,), expected, tolerance)


def affine(rng: Rng, shape: tuple[int, ...], bounds: Bounds = Bounds()) -> Case:  # noqa: B008
    """Products and sums by channel."""
    values, scale, offset = normal(rng, shape), normal(rng, shape[-1:]), normal(rng, shape[-1:])
    expected = clamped(wide(values) * scale + offset, bounds)
    tolerance = 2 * EPSILON * (np.abs(wide(values) * scale) + np.abs(offset))
    ctx = context(
        "affine",
        Affine(),
        [view("x", shape, "f32")],
        view("y", shape, "f32"),
        {"scale": scale, "offset": offset},
        low=bounds.low,
        high=bounds.high,
    )
    return Case(f"affine {shape} {bounds}", kernel("f32_affine__portable"), ctx, (values,), expected, tolerance)


def max_pool2d(rng: Rng, x_shape: tuple[int, int, int], window: Window, bounds: Bounds = Bounds()) -> Case:  # noqa: B008
    """Maxima."""
    values = normal(rng, (1, *x_shape))
    shape = geometry(window, x_shape[:2])
    seen = [item for _, _, item in taps(padded(nchw(values), shape, -np.inf), shape)]
    expected = clamped(nhwc(np.max(seen, axis=0)), bounds).astype(np.float32)
    views = [view("x", values.shape, "f32")], view("y", expected.shape, "f32")
    ctx = context("max_pool2d", Pool2d(window), *views, low=bounds.low, high=bounds.high)
    return Case(f"max_pool2d {x_shape} {window}", kernel("f32_max_pool2d__portable"), ctx, (values,), expected)


def average_pool2d(rng: Rng, x_shape: tuple[int, int, int], window: Window, include_pad: bool) -> Case:
    """Means."""
    values = normal(rng, (1, *x_shape))
    shape = geometry(window, x_shape[:2])
    counts = shape.counts(include_pad)
    exact, size = (
        nhwc(sum(item for _, _, item in taps(padded(wide(nchw(array)), shape, 0), shape)) / counts)
        for array in (values, np.abs(values))
    )
    ctx = context(
        "average_pool2d", Pool2d(window, include_pad), [view("x", values.shape, "f32")], view("y", exact.shape, "f32")
    )
    tolerance = (window.kernel[0] * window.kernel[1] + 3) * EPSILON * size
    label = f"average_pool2d {x_shape} {window} include_pad {include_pad}"
    return Case(label, kernel("f32_average_pool2d__portable"), ctx, (values,), exact, tolerance)


def reduce_mean(rng: Rng, outer: int, count: int, inner: int, bounds: Bounds = Bounds()) -> Case:  # noqa: B008
    """Means over one axis."""
    values = normal(rng, (outer, count, inner))
    expected = clamped(wide(values).mean(axis=1), bounds)
    ctx = context(
        "reduce_mean",
        ReduceMean(outer, count, inner),
        [view("x", values.shape, "f32")],
        view("y", expected.shape, "f32"),
        low=bounds.low,
        high=bounds.high,
    )
    tolerance = (count + 3) * EPSILON * np.abs(wide(values)).mean(axis=1)
    label = f"reduce_mean {outer}x{count}x{inner}"
    return Case(label, kernel("f32_reduce_mean__portable"), ctx, (values,), expected, tolerance)


def softmax(rng: Rng, outer: int, count: int, inner: int) -> Case:
    """Probabilities along one axis."""
    values = (normal(rng, (outer, count, inner)) * 5).astype(np.float32)
    powers = np.exp(wide(values) - wide(values).max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    views = [view("x", values.shape, "f32")], view("y", values.shape, "f32")
    ctx = context("softmax", Softmax(outer, count, inner), *views)
    tolerance = (count + 40) * EPSILON * expected
    chosen = kernel("f32_softmax__portable")
    return Case(f"softmax {outer}x{count}x{inner}", chosen, ctx, (values,), expected, tolerance)


def copy(rng: Rng, attrs: Copy, x_shape: tuple[int, ...], y_shape: tuple[int, ...], dtype: str) -> Case:
    """A strided copy that covers the whole result."""
    values = normal(rng, x_shape) if dtype == "f32" else rng.integers(-128, 128, x_shape, dtype=NUMPY[dtype])
    index = np.indices(attrs.shape).reshape(len(attrs.shape), -1)
    source = attrs.read_offset + np.asarray(attrs.read_strides) @ index
    target = attrs.write_offset + np.asarray(attrs.write_strides) @ index
    expected = np.zeros(y_shape, values.dtype)
    assert len(np.unique(target)) == expected.size, "the case must write every element once"
    expected.reshape(-1)[target] = values.reshape(-1)[source]
    name = f"x{8 * ITEM_BYTES[dtype]}_copy__portable"
    ctx = context("copy", attrs, [view("x", x_shape, dtype)], view("y", y_shape, dtype))
    return Case(f"copy {dtype} {attrs}", kernel(name), ctx, (values,), expected)


def transpose(rng: Rng, shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> Case:
    """A transposition as a copy in the order of the result."""
    out = tuple(shape[axis] for axis in axes)
    strides = contiguous(shape)
    attrs = Copy(out, 0, tuple(strides[axis] for axis in axes), 0, contiguous(out))
    case = copy(rng, attrs, shape, out, dtype)
    assert np.array_equal(case.expected, case.inputs[0].transpose(axes))
    return case


def fill(value: float, shape: tuple[int, ...], dtype: str) -> Case:
    """One value everywhere."""
    expected = np.full(shape, value, np.float32 if dtype == "f32" else np.int8)
    name = "x32_fill__portable" if dtype == "f32" else "x8_fill__portable"
    ctx = context("fill", Fill(value), [], view("y", shape, dtype))
    return Case(f"fill {value} {shape} {dtype}", kernel(name), ctx, (), expected)
