"""LpNormalization and MeanVarianceNormalization: lanes along some axes are divided by their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.unary import same_shape

# What MeanVarianceNormalization adds to the deviation. Source: its function body in the ONNX operator set.
DEVIATION_OFFSET = 1e-9


@dataclass(frozen=True)
class LaneNormalizationAttrs:
    """Attributes of both.

    Attributes:
        axes: of the lanes, as written.
        p: 1 or 2 for the sum of magnitudes or the root of the sum of squares; None for the deviation from the mean.
    """

    axes: tuple[int, ...]
    p: int | None

    def lanes(self, rank: int) -> tuple[int, ...]:
        """Axes counted from the front, ascending."""
        return nodes.axes_of(self.axes, rank, "a normalization")


def _lp(node: ir.Node) -> LaneNormalizationAttrs:
    p = nodes.integer(node, "p", 2)
    if p not in (1, 2):
        raise nodes.unsupported(node, f"its p is {p}, expected 1 or 2")
    return LaneNormalizationAttrs((nodes.integer(node, "axis", -1),), p)


def _mean_variance(node: ir.Node) -> LaneNormalizationAttrs:
    return LaneNormalizationAttrs(nodes.integers(node, "axes", (0, 2, 3)) or (), None)


def reference(attrs: LaneNormalizationAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32; lanes of zeros stay zeros."""
    x = nodes.f32(inputs)
    axes = attrs.lanes(x.ndim)
    if attrs.p is None:
        x = x - x.mean(axis=axes, keepdims=True, dtype=np.float32)
        size = np.sqrt(np.square(x).mean(axis=axes, keepdims=True, dtype=np.float32)) + np.float32(DEVIATION_OFFSET)
        return np.asarray(x / size, np.float32)
    powers = np.abs(x) if attrs.p == 1 else np.square(x)
    total = powers.sum(axis=axes, keepdims=True, dtype=np.float32)
    size = total if attrs.p == 1 else np.sqrt(total)
    return np.asarray(np.where(size == 0, np.float32(0), x / np.where(size == 0, np.float32(1), size)), np.float32)


def _batches(attrs: LaneNormalizationAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return 0 not in attrs.lanes(len(output))


LP_NORMALIZATION = Op(
    "LpNormalization",
    _lp,
    same_shape,
    reference,
    batches=_batches,
    lowering="lower_normalization.lower_lane_normalization",
)
MEAN_VARIANCE_NORMALIZATION = Op(
    "MeanVarianceNormalization",
    _mean_variance,
    same_shape,
    reference,
    batches=_batches,
    lowering="lower_normalization.lower_lane_normalization",
)
