"""GridSample: images read at places that a grid names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

_TAPS = {"nearest": 1, "bilinear": 2, "linear": 2, "bicubic": 4, "cubic": 4}
_PADDINGS = ("zeros", "border", "reflection")
# Coordinates farther away, or that are no numbers, count as this far, so that they fit an integer.
_FAR = np.float32(1 << 20)
_CUBIC = -0.75

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class GridSampleAttrs:
    """Attributes of GridSample.

    Attributes:
        taps: neighbours along each axis: 1 nearest, 2 linear, 4 cubic.
        padding: beyond the borders: ``zeros``, ``border`` or ``reflection``.
        align_corners: whether -1 and 1 are the centres of the outermost elements, or their outer edges.
    """

    taps: int
    padding: str
    align_corners: bool


def parse(node: ir.Node) -> GridSampleAttrs:
    """Attributes of a GridSample node."""
    mode, padding = nodes.text(node, "mode", "linear"), nodes.text(node, "padding_mode", "zeros")
    if mode not in _TAPS or padding not in _PADDINGS:
        raise ModelError(f"its mode is {mode!r} and its padding_mode {padding!r}", node=nodes.where(node))
    shape = nodes.input_shape(node, 0)
    if len(shape) != 4:
        raise nodes.unsupported(node, f"its input has shape {shape}, and images N,C,H,W alone are supported")
    return GridSampleAttrs(_TAPS[mode], padding, bool(nodes.integer(node, "align_corners", 0)))


def infer(attrs: GridSampleAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Channels of the image, rows and columns of the grid."""
    image, grid = inputs
    if len(image) != 4 or len(grid) != 4 or grid[0] != image[0] or grid[3] != 2:
        raise ModelError(f"GridSample got an image of shape {image} and a grid of shape {grid}")
    return ((*image[:2], *grid[1:3]),)


def reference(attrs: GridSampleAttrs, inputs: Sequence[Array | None]) -> Array:
    """Coordinates in float32, so that all agree between which elements a place lies; sums in float64."""
    image, grid = nodes.f32(inputs, 0), nodes.f32(inputs, 1)
    (shape,) = infer(attrs, (image.shape, grid.shape))
    across = _along(attrs, grid[..., 0], image.shape[3])
    down = _along(attrs, grid[..., 1], image.shape[2])
    batch = np.arange(shape[0]).reshape(-1, 1, 1)
    result = np.zeros((shape[0], *shape[2:], shape[1]))
    channels_last = image.transpose(0, 2, 3, 1).astype(np.float64)
    for row, row_weight in zip(*down, strict=True):
        for column, column_weight in zip(*across, strict=True):
            weight = np.where((row < 0) | (column < 0), 0.0, row_weight * column_weight)
            result += weight[..., None] * channels_last[batch, np.maximum(row, 0), np.maximum(column, 0)]
    return np.ascontiguousarray(result.transpose(0, 3, 1, 2)).astype(np.float32)


def _along(attrs: GridSampleAttrs, given: F32, size: int) -> tuple[list[NDArray[np.int64]], list[F64]]:
    """Neighbours along one axis, -1 for none, and their weights."""
    one, half = np.float32(1), np.float32(0.5)
    if attrs.align_corners:
        place = (given + one) * half * np.float32(size - 1)
    else:
        place = ((given + one) * np.float32(size) - one) * half
    place = np.where(np.isnan(place), -_FAR, np.clip(place, -_FAR, _FAR)).astype(np.float32)
    if attrs.taps < 4:
        # The neighbours of a cubic are brought within the borders one by one instead.
        place = _bounded(attrs, np.rint(place) if attrs.taps == 1 else place, size)
    below = np.floor(place).astype(np.int64)
    first = below - 1 if attrs.taps == 4 else below
    weights = _weights((place - below.astype(np.float32)).astype(np.float64), attrs.taps)
    return [_neighbour(attrs, first + tap, size) for tap in range(attrs.taps)], weights


def _bounded(attrs: GridSampleAttrs, place: F32, size: int) -> F32:
    low, high = (0.0, size - 1.0) if attrs.align_corners else (-0.5, size - 0.5)
    if attrs.padding == "zeros":
        return place
    inside = np.clip(place, 0, size - 1) if attrs.padding == "border" else _reflected(place, low, high)
    return np.asarray(np.where((place < low) | (place > high), inside, place), np.float32)


def _reflected(place: F32, low: float, high: float) -> F32:
    start, end = np.float32(low), np.float32(high)
    length = end - start
    if length <= 0:
        return np.full_like(place, start)
    way: F32 = np.where(place < start, start - place, place - start).astype(np.float32)
    turns = np.floor(way / length)
    way = way - turns * length
    return np.asarray(np.where(turns % 2 == 1, end - way, start + way), np.float32)


def _neighbour(attrs: GridSampleAttrs, place: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    inside = (place >= 0) & (place < size)
    if attrs.padding == "zeros":
        return np.where(inside, place, -1)
    moved = np.floor(_bounded(attrs, place.astype(np.float32), size) + np.float32(0.5)).astype(np.int64)
    return np.where(inside, place, np.clip(moved, 0, size - 1))


def _weights(t: F64, taps: int) -> list[F64]:
    if taps == 1:
        return [np.ones_like(t)]
    if taps == 2:
        return [1 - t, t]
    a, s = _CUBIC, 1 - t

    def far(x: F64) -> F64:
        return np.asarray(((a * x - 5 * a) * x + 8 * a) * x - 4 * a)

    def near(x: F64) -> F64:
        return np.asarray(((a + 2) * x - (a + 3)) * x * x + 1)

    return [far(t + 1), near(t), near(s), far(s + 1)]


GRID_SAMPLE = Op("GridSample", parse, infer, reference, lowering="lower_indexing.lower_grid_sample")
