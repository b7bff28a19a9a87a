"""Windows that slide over the two last axes of an array: what convolution and pooling share.

Nothing here knows whether the numbers are real or integer: sums are formed in the type of the operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", np.float32, np.float64)
S = TypeVar("S", bound=np.generic)

# Columns of one turn of `correlate`, in elements: they stay in the cache between being gathered and being multiplied.
_COLUMN_ELEMENTS = 1 << 18


@dataclass(frozen=True)
class Geometry:
    """Windows with every implicit choice (automatic padding, rounding up) made.

    Attributes:
        kernel: rows, columns.
        stride: rows, columns.
        dilation: rows, columns.
        pad: top, left, bottom, right.
        size: rows, columns of the input.
        output: rows, columns of the output; windows may reach beyond the padding where it was rounded up.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]
    size: tuple[int, int]
    output: tuple[int, int]

    @property
    def is_pointwise(self) -> bool:
        """Whether every window is one element of the input."""
        return self.kernel == (1, 1) and not any(self.pad)

    def counts(self, include_pad: bool) -> NDArray[np.int64]:
        """Elements of each window, shape ``output``: those of the input, or those of the input and its padding."""
        top, left, bottom, right = self.pad
        sides = []
        for axis, (before, after) in enumerate(((top, bottom), (left, right))):
            first = np.arange(self.output[axis]) * self.stride[axis] - before
            places = first[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
            low, high = (-before, self.size[axis] + after) if include_pad else (0, self.size[axis])
            sides.append(((places >= low) & (places < high)).sum(axis=1))
        return np.asarray(np.outer(sides[0], sides[1]), np.int64)


def padded(x: NDArray[S], geometry: Geometry, fill: float) -> NDArray[S]:
    """``x`` with as much of ``fill`` around its two last axes as the windows reach."""
    widths = [(0, 0)] * (x.ndim - 2)
    for axis in (0, 1):
        before = geometry.pad[axis]
        reach = (geometry.output[axis] - 1) * geometry.stride[axis]
        reach += (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
        widths.append((before, max(0, reach - before - geometry.size[axis])))
    if not any(map(any, widths)):
        return x
    return np.pad(x, widths, constant_values=fill)


def taps(x: NDArray[S], geometry: Geometry) -> Iterator[tuple[int, int, NDArray[S]]]:
    """For each row and column of the kernel, the element that it sees at every output; ``x`` is padded already."""
    for row in range(geometry.kernel[0]):
        for column in range(geometry.kernel[1]):
            top, left = row * geometry.dilation[0], column * geometry.dilation[1]
            bottom = top + (geometry.output[0] - 1) * geometry.stride[0] + 1
            right = left + (geometry.output[1] - 1) * geometry.stride[1] + 1
            yield row, column, x[..., top : bottom : geometry.stride[0], left : right : geometry.stride[1]]


def correlate(x: NDArray[F], weights: NDArray[F], geometry: Geometry, groups: int) -> NDArray[F]:
    """Grouped cross-correlation of ``x`` (N, C, H, W) with ``weights`` (O, C/groups, KH, KW), in their type."""
    filters, depth = weights.shape[:2]
    result = np.empty((x.shape[0], filters, *geometry.output), x.dtype)
    if depth == 1 and groups > 1:
        _depthwise(x, weights, geometry, result)
        return result
    area = geometry.output[0] * geometry.output[1]
    fan_in = depth * geometry.kernel[0] * geometry.kernel[1]
    matrix = weights.reshape(groups, filters // groups, fan_in)
    flat = result.reshape(x.shape[0], groups, filters // groups, area)
    step = max(1, _COLUMN_ELEMENTS // max(1, groups * fan_in * area))
    for start in range(0, x.shape[0], step):
        gathered = columns(x[start : start + step], geometry).reshape(-1, groups, fan_in, area)
        np.matmul(matrix, gathered, out=flat[start : start + step])
    return result


def columns(x: NDArray[F], geometry: Geometry) -> NDArray[F]:
    """Every window as a column: (N, C, KH, KW, OH, OW)."""
    if geometry.is_pointwise:
        return next(taps(x, geometry))[2]
    found = np.empty((*x.shape[:2], *geometry.kernel, *geometry.output), x.dtype)
    for row, column, seen in taps(padded(x, geometry, 0), geometry):
        found[:, :, row, column] = seen
    return found


def _depthwise(x: NDArray[F], weights: NDArray[F], geometry: Geometry, result: NDArray[F]) -> None:
    images, channels = x.shape[:2]
    each = weights.shape[0] // channels
    kernels = weights.reshape(channels, each, 1, 1, *geometry.kernel)
    sums = result.reshape(images, channels, each, *geometry.output)
    step = max(1, _COLUMN_ELEMENTS // max(1, sums[0].size if images else 1))
    for start in range(0, images, step):
        part = sums[start : start + step]
        product = np.empty_like(part)
        for row, column, seen in taps(padded(x[start : start + step], geometry, 0), geometry):
            kernel = kernels[..., row, column]
            if row == column == 0:
                np.multiply(seen[:, :, None], kernel, out=part)
            else:
                np.multiply(seen[:, :, None], kernel, out=product)
                np.add(part, product, out=part)
