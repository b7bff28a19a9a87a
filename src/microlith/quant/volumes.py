"""Windows over any number of trailing axes: correlation and its transpose, in the type of the operands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", np.float32, np.float64)
S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True)
class VolumeGeometry:
    """Windows with every implicit choice made; each field has one number for each spatial axis.

    Attributes:
        kernel: taps.
        stride: steps between windows.
        dilation: steps between taps.
        before: padding before the input.
        after: padding after it.
        size: of the input.
        output: number of windows.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    size: tuple[int, ...]
    output: tuple[int, ...]

    def taps(self) -> Iterator[tuple[int, ...]]:
        """Every tap of a window."""
        return product(*(range(size) for size in self.kernel))

    def counts(self, include_pad: bool) -> NDArray[np.int64]:
        """Elements of each window, shape ``output``: those of the input, or those of the input and its padding."""
        result = np.ones((), np.int64)
        for axis, places in enumerate(self._places()):
            low = -self.before[axis] if include_pad else 0
            high = self.size[axis] + (self.after[axis] if include_pad else 0)
            result = np.asarray(np.multiply.outer(result, ((places >= low) & (places < high)).sum(axis=1)))
        return result

    def seen(self, x: NDArray[S], tap: tuple[int, ...], fill: float) -> NDArray[S]:
        """The element under a tap of every window, ``fill`` outside of ``x`` (..., *size)."""
        for axis, places in enumerate(self._places()):
            at = places[:, tap[axis]]
            inside = (at >= 0) & (at < self.size[axis])
            index = x.ndim - len(self.kernel) + axis
            x = np.take(x, np.clip(at, 0, self.size[axis] - 1), axis=index)
            if not inside.all():
                shape = [1] * x.ndim
                shape[index] = -1
                x = np.where(inside.reshape(shape), x, np.asarray(fill, x.dtype))
        return x

    def _places(self) -> list[NDArray[np.int64]]:
        return [
            (np.arange(self.output[axis]) * self.stride[axis] - self.before[axis])[:, None]
            + np.arange(self.kernel[axis]) * self.dilation[axis]
            for axis in range(len(self.kernel))
        ]


def correlate(x: NDArray[F], weights: NDArray[F], geometry: VolumeGeometry, groups: int) -> NDArray[F]:
    """Grouped cross-correlation of ``x`` (N, C, *size) with ``weights`` (O, C/groups, *kernel)."""
    filters, depth = weights.shape[:2]
    batch, area = x.shape[0], int(np.prod(geometry.output, dtype=np.int64))
    result = np.zeros((batch, groups, filters // groups, area), x.dtype)
    for tap in geometry.taps():
        seen = geometry.seen(x, tap, 0).reshape(batch, groups, depth, area)
        kernel = weights[_kernel_at(tap)].reshape(groups, filters // groups, depth)
        result += np.matmul(kernel, seen)
    return result.reshape(batch, filters, *geometry.output)


def correlate_transposed(x: NDArray[F], weights: NDArray[F], geometry: VolumeGeometry, groups: int) -> NDArray[F]:
    """The transpose of a correlation: each element of ``x`` (N, C, *size) adds its multiple of the weights.

    Args:
        x: (N, C, *size).
        weights: (C, O/groups, *kernel).
        geometry: ``output`` is the size of the result, ``before`` what is cut off in front of it; ``after`` is unused.
        groups: number of groups.
    """
    batch, channels = x.shape[:2]
    filters = weights.shape[1]
    axes = range(len(geometry.kernel))
    reach = [(geometry.size[i] - 1) * geometry.stride[i] + 1 for i in axes]
    extent: list[int] = [
        max(reach[i] + (geometry.kernel[i] - 1) * geometry.dilation[i], geometry.before[i] + geometry.output[i])
        for i in axes
    ]
    full = np.zeros((batch, groups * filters, *extent), x.dtype)
    parts = x.reshape(batch, groups, channels // groups, -1)
    for tap in geometry.taps():
        kernel = weights[_kernel_at(tap)].reshape(groups, channels // groups, filters)
        added = np.matmul(kernel.swapaxes(1, 2), parts).reshape(batch, groups * filters, *geometry.size)
        first = [tap[i] * geometry.dilation[i] for i in axes]
        full[_inner(slice(first[i], first[i] + reach[i], geometry.stride[i]) for i in axes)] += added
    return full[_inner(slice(geometry.before[i], geometry.before[i] + geometry.output[i]) for i in axes)]


def _kernel_at(tap: tuple[int, ...]) -> tuple[slice | int, ...]:
    return (slice(None), slice(None), *tap)


def _inner(places: Iterable[slice]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *places)
