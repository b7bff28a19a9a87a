"""The fixed list of calls with which every portable kernel is compared with its meaning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernels import cases_f32 as f32
from kernels import cases_s8 as s8
from kernels.cases_s8 import Bounds, Layer
from kernels.harness import Case
from microlith.program.attrs import Copy, MatMul, Window

WINDOWS = (
    (Window((1, 1)), 1),
    (Window((3, 3), pad=(1, 1, 1, 1)), 1),
    (Window((3, 3), (2, 2), pad=(0, 0, 1, 1)), 1),
    (Window((3, 2), (2, 1), (1, 2), (0, 1, 2, 0)), 2),
    # The first and the last windows lie wholly in the padding.
    (Window((2, 2), (1, 1), (1, 1), (3, 2, 2, 3)), 4),
    (Window((5, 5), (2, 2), (2, 2), (4, 4, 4, 4)), 1),
)
# Heads side by side in rows, for the keys transposed; a transposed left operand.
STRIDED = (
    MatMul(2, 5, 4, 11, a_strides=(4, 8, 1), b_strides=(4, 1, 8), y_strides=(11, 22, 1)),
    MatMul(3, 6, 5, 9, a_strides=(30, 1, 6), b_strides=(9, 27, 1)),
)
POOLS = (
    Window((2, 2), (2, 2)),
    Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    Window((2, 3), (1, 2), (2, 1), (1, 0, 1, 2)),
)


def s8_cases() -> tuple[Case, ...]:
    """Calls of the int8 kernels."""
    rng = np.random.default_rng(20)
    return (*_s8_weighted(rng), *_s8_binary(rng), *_s8_pools(rng), *_s8_others(rng))


def _s8_weighted(rng: np.random.Generator) -> Iterator[Case]:
    for mode in ("float", "fixed"):
        layers = (
            Layer(mode),
            Layer(mode, per_channel=False, weight_zeros=True, bounds=Bounds(-100, 50), extreme=True),
            Layer(mode, gain=50.0),
        )
        for index, (window, groups) in enumerate(WINDOWS):
            layer = layers[index % len(layers)]
            yield s8.conv2d(rng, (9, 10, 4), 8, window, groups, layer)
            yield s8.depthwise_conv2d(rng, (9, 10, 7), 1, window, layer)
        yield s8.depthwise_conv2d(rng, (9, 8, 3), 2, WINDOWS[1][0], layers[0])
        yield s8.conv2d(rng, (7, 6, 3), 5, WINDOWS[1][0], 1, Layer(mode, weight_zeros=True))
        yield s8.depthwise_conv2d(rng, (7, 6, 5), 1, WINDOWS[1][0], Layer(mode, weight_zeros=True))
        for rows, depth, outputs, layer in ((1, 300, 10, layers[0]), (3, 17, 5, layers[1]), (2, 1, 1, layers[2])):
            yield s8.fully_connected(rng, rows, depth, outputs, layer)
        for attrs in (MatMul(1, 3, 70, 9), MatMul(2, 3, 4, 5, broadcast_a=True), MatMul(3, 1, 8, 4, False, True)):
            yield s8.matmul(rng, attrs, mode)
        for attrs in STRIDED:
            yield s8.matmul(rng, attrs, mode)


def _s8_binary(rng: np.random.Generator) -> Iterator[Case]:
    for mode in ("float", "fixed"):
        for op in ("add", "sub", "mul"):
            yield s8.binary(rng, f"s8_{op}__flat", (1, 5, 4, 5), (1, 5, 4, 5), mode)
            yield s8.binary(rng, f"s8_{op}__flat", (1, 5, 4, 5), (1, 5, 4, 5), mode, Bounds(0, 90), gain=40)
            yield s8.binary(rng, f"s8_{op}__flat", (2, 3, 1, 5), (2, 3, 1, 5), mode, constant="b")
            yield s8.binary(rng, f"s8_{op}__portable", (1, 5, 4, 5), (1, 5, 4, 5), mode)
            yield s8.binary(rng, f"s8_{op}__portable", (1, 3, 1, 5), (2, 3, 4, 1), mode, Bounds(-20, 100))
            yield s8.binary(rng, f"s8_{op}__portable", (1, 1, 1, 5), (1, 3, 4, 5), mode, constant="a")


def _s8_pools(rng: np.random.Generator) -> Iterator[Case]:
    for window in POOLS:
        yield s8.max_pool2d(rng, (8, 9, 5), window)
        yield s8.max_pool2d(rng, (8, 9, 5), window, Bounds(-3, 100))
        for mode in ("float", "fixed"):
            for include_pad in (False, True):
                yield s8.average_pool2d(rng, (8, 9, 5), window, include_pad, mode)
        for include_pad in (False, True):
            yield s8.average_pool2d(rng, (8, 9, 5), window, include_pad, "fixed", same=True)
    for mode in ("float", "fixed"):
        yield s8.reduce_mean(rng, 1, 49, 30, mode)
        yield s8.reduce_mean(rng, 6, 33, 1, mode)


def _s8_others(rng: np.random.Generator) -> Iterator[Case]:
    for mode in ("float", "fixed"):
        yield s8.softmax(rng, 1, 10, 1, mode)
        yield s8.softmax(rng, 2, 1000, 1, mode)
        yield s8.softmax(rng, 2, 7, 3, mode)
    for shape in ((1, 4, 5, 6), (3, 6)):
        yield s8.lut(rng, shape, per_channel=False)
        yield s8.lut(rng, shape, per_channel=True)
        yield s8.flip_sign(rng, shape, to_signed=True)
        yield s8.flip_sign(rng, shape, to_signed=False)
    for channels, layout in ((3, "nhwc"), (40, "nhwc"), (21, "nchw"), (16, "nhwc")):
        yield s8.image_mean(rng, channels, (4, 8), layout)
    yield s8.quantize(rng, 300)
    yield s8.dequantize(rng, 100)
    for dtype in ("int4", "uint4", "int8", "int16", "uint16"):
        yield s8.quantize_channels(rng, dtype)
        yield s8.dequantize_channels(rng, dtype)
    yield s8.dequantize_channels(rng, "int32")


def f32_cases() -> tuple[Case, ...]:
    """Calls of the float kernels and of those that move elements."""
    rng = np.random.default_rng(21)
    return (*_f32_weighted(rng), *_f32_elementwise(rng), *_f32_pools(rng), *_movement(rng))


def _f32_weighted(rng: np.random.Generator) -> Iterator[Case]:
    limits = (Bounds(), Bounds(0), Bounds(0, 6))
    for index, (window, groups) in enumerate(WINDOWS):
        yield f32.conv2d(rng, (9, 10, 4), 12, window, groups, limits[index % 3])
        yield f32.depthwise_conv2d(rng, (9, 10, 11), 1, window, limits[index % 3])
    yield f32.depthwise_conv2d(rng, (9, 8, 3), 2, WINDOWS[1][0])
    yield f32.conv2d(rng, (8, 8, 3), 16, WINDOWS[1][0])
    for rows, depth, outputs in ((1, 300, 10), (4, 17, 8), (6, 5, 13)):
        yield f32.fully_connected(rng, rows, depth, outputs)
    yield f32.fully_connected(rng, 2, 9, 7, Bounds(-1, 1))
    for attrs in (MatMul(1, 3, 70, 9), MatMul(2, 5, 4, 19, broadcast_a=True), MatMul(3, 4, 8, 8, False, True)):
        yield f32.matmul(rng, attrs)
    for attrs in STRIDED:
        yield f32.matmul(rng, attrs)


def _f32_elementwise(rng: np.random.Generator) -> Iterator[Case]:
    for op in ("add", "sub", "mul"):
        yield f32.binary(rng, f"f32_{op}__flat", (1, 5, 4, 5), (1, 5, 4, 5))
        yield f32.binary(rng, f"f32_{op}__portable", (1, 5, 4, 5), (1, 5, 4, 5))
        yield f32.binary(rng, f"f32_{op}__portable", (1, 3, 1, 5), (2, 3, 4, 1), Bounds(0, 1))
        yield f32.binary(rng, f"f32_{op}__portable", (1, 1, 1, 5), (1, 3, 4, 5), constant="a")
    for function in f32.UNARY:
        yield f32.unary(rng, function, (1, 4, 50, 3))
        yield f32.unary(rng, function, (4, 50))
    yield f32.affine(rng, (1, 4, 5, 3))
    yield f32.affine(rng, (4, 3), Bounds(0))
    for outer, count, inner in ((1, 10, 1), (2, 1000, 1), (2, 7, 3)):
        yield f32.softmax(rng, outer, count, inner)


def _f32_pools(rng: np.random.Generator) -> Iterator[Case]:
    for window in POOLS:
        yield f32.max_pool2d(rng, (8, 9, 5), window)
        yield f32.max_pool2d(rng, (8, 9, 5), window, Bounds(0))
        yield f32.average_pool2d(rng, (8, 9, 5), window, include_pad=False)
        yield f32.average_pool2d(rng, (8, 9, 5), window, include_pad=True)
    yield f32.reduce_mean(rng, 1, 49, 30)
    yield f32.reduce_mean(rng, 6, 53, 1, Bounds(0))


def _movement(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in ("s8", "f32"):
        yield f32.transpose(rng, (2, 3, 4), (2, 0, 1), dtype)
        yield f32.transpose(rng, (2, 3, 2, 2, 3, 2), (5, 4, 3, 2, 1, 0), dtype)
        yield f32.transpose(rng, (3, 1, 4), (0, 1, 2), dtype)
        # x[1:, ::-2] of (3, 4, 2), and x written reversed.
        yield f32.copy(rng, Copy((2, 2, 2), 14, (8, -4, 1), 0, (4, 2, 1)), (3, 4, 2), (2, 2, 2), dtype)
        yield f32.copy(rng, Copy((6,), 0, (1,), 5, (-1,)), (6,), (6,), dtype)
        for value in (0.0, -7.0, 3.0):
            yield f32.fill(value, (3, 5), dtype)
