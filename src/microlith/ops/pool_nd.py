"""Pools over any windows: those over three spatial axes, those with indices, and LpPool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.unary import always
from microlith.ops.volume import Volume, parse_volume
from microlith.quant.volumes import VolumeGeometry

Function = Literal["max", "average", "lp"]


@dataclass(frozen=True)
class PoolNdAttrs:
    """A pool.

    Attributes:
        volume: the windows.
        function: what becomes of the elements of one.
        p: of ``lp``: the exponent.
        count_include_pad: of ``average``: whether padding counts in the divisor.
        column_major: of the indices of ``max``: whether they count along the spatial axes in reverse order.
    """

    volume: Volume
    function: Function
    p: int = 2
    count_include_pad: bool = False
    column_major: bool = False


def kernel_of(node: ir.Node) -> tuple[int, ...]:
    """The kernel shape, which pools must state."""
    return nodes.required(node, nodes.integers(node, "kernel_shape"), "kernel_shape")


def parse_max(node: ir.Node) -> PoolNdAttrs:
    """A MaxPool."""
    return PoolNdAttrs(
        parse_volume(node, kernel_of(node)), "max", column_major=bool(nodes.integer(node, "storage_order", 0))
    )


def parse_average(node: ir.Node) -> PoolNdAttrs:
    """An AveragePool."""
    include = bool(nodes.integer(node, "count_include_pad", 0))
    return PoolNdAttrs(parse_volume(node, kernel_of(node)), "average", count_include_pad=include)


def parse_lp(node: ir.Node) -> PoolNdAttrs:
    """An LpPool."""
    return PoolNdAttrs(parse_volume(node, kernel_of(node)), "lp", parse_p(node))


def parse_p(node: ir.Node) -> int:
    """The exponent of a norm."""
    p = nodes.integer(node, "p", 2)
    if p < 1:
        raise nodes.unsupported(node, f"its p is {p}, expected 1 or more")
    return p


def infer(attrs: PoolNdAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """(N, C, ...), twice for the greatest elements and their indices."""
    shape = (*inputs[0][:2], *attrs.volume.geometry(inputs[0]).output)
    return (shape, shape) if attrs.function == "max" else (shape,)


def power_sum_root(powers: NDArray[np.float32], p: int) -> NDArray[np.float32]:
    """The p-th root of sums of p-th powers."""
    return np.asarray(powers if p == 1 else np.power(powers, np.float32(1.0 / p)), np.float32)


def reference(attrs: PoolNdAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32; padding takes no part but in the divisor of an average that counts it."""
    x = nodes.f32(inputs)
    geometry = attrs.volume.geometry(x.shape)
    if attrs.function == "max":
        return _greatest(x, geometry)
    values = np.abs(x) ** np.float32(attrs.p) if attrs.function == "lp" else x
    total = np.zeros((*x.shape[:2], *geometry.output), np.float32)
    for tap in geometry.taps():
        total += geometry.seen(values, tap, 0)
    if attrs.function == "lp":
        return power_sum_root(total, attrs.p)
    return np.asarray(total / geometry.counts(attrs.count_include_pad), np.float32)


def results(attrs: PoolNdAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """The greatest elements and their places in the whole tensor, int64; the first of equal ones."""
    x = nodes.f32(inputs)
    geometry = attrs.volume.geometry(x.shape)
    greatest = _greatest(x, geometry)
    order = "F" if attrs.column_major else "C"
    within = np.arange(int(np.prod(geometry.size))).reshape(geometry.size, order=order)  # type: ignore[call-overload]
    found = np.full(greatest.shape, -1, np.int64)
    for tap in geometry.taps():
        place = geometry.seen(within, tap, -1)
        first = (found < 0) & (geometry.seen(x, tap, np.nan) == greatest) & (place >= 0)
        found = np.where(first, place, found)
    start = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * attrs.volume.rank) * within.size
    return greatest, np.asarray(found + start, np.int64)


def _greatest(x: NDArray[np.float32], geometry: VolumeGeometry) -> NDArray[np.float32]:
    result = np.full((*x.shape[:2], *geometry.output), -np.inf, np.float32)
    for tap in geometry.taps():
        np.maximum(result, geometry.seen(x, tap, -np.inf), out=result)
    return result


LP_POOL = Op("LpPool", parse_lp, infer, reference, batches=always, lowering="lower_volume.lower_pool_nd")
