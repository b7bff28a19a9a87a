"""LayerNormalization and RMSNormalization: the axes from one on are brought to a common size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape


@dataclass(frozen=True)
class LayerNormalizationAttrs:
    """Attributes of both.

    Attributes:
        axis: the first axis that is normalized, as written.
        epsilon: added to the variance or the mean square.
        centers: whether the mean is subtracted first.
    """

    axis: int
    epsilon: float
    centers: bool

    def split(self, shape: Shape) -> int:
        """The first axis that is normalized, counted from the front."""
        return nodes.axis_of(self.axis, len(shape), "a normalization")


def _parse(node: ir.Node, centers: bool) -> LayerNormalizationAttrs:
    return LayerNormalizationAttrs(nodes.integer(node, "axis", -1), nodes.real(node, "epsilon", 1e-5), centers)


def infer(attrs: LayerNormalizationAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the input; those of the means and of the inverse deviations."""
    shape = inputs[0]
    at = attrs.split(shape)
    for item in inputs[1:]:
        if item and np.broadcast_shapes(item, shape[at:]) != shape[at:]:
            raise ModelError(f"a normalization of axes of sizes {shape[at:]} got a scale or bias of shape {item}")
    reduced = (*shape[:at], *[1] * (len(shape) - at))
    return shape, reduced, reduced


def results(attrs: LayerNormalizationAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """Float32: the result, the means, and one divided by each deviation."""
    x = nodes.f32(inputs)
    axes = tuple(range(attrs.split(x.shape), x.ndim))
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float32) if attrs.centers else np.float32(0)
    centered = x - mean
    square = np.asarray(np.square(centered).mean(axis=axes, keepdims=True, dtype=np.float32))
    inverse = np.asarray(1 / np.sqrt(square + np.float32(attrs.epsilon)), np.float32)
    y = centered * inverse * nodes.f32(inputs, 1)
    if len(inputs) > 2 and inputs[2] is not None:
        y = y + nodes.f32(inputs, 2)
    return np.asarray(y, np.float32), np.broadcast_to(mean, square.shape), inverse


def reference(attrs: LayerNormalizationAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32."""
    return results(attrs, inputs)[0]


def _batches(attrs: LayerNormalizationAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.split(output) > 0 and inputs[0] is not None and all(item is None for item in inputs[1:])


LAYER_NORMALIZATION = Op(
    "LayerNormalization",
    lambda node: _parse(node, True),
    infer,
    reference,
    batches=_batches,
    results=results,
    lowering="lower_normalization.lower_layer_normalization",
)
RMS_NORMALIZATION = Op(
    "RMSNormalization",
    lambda node: _parse(node, False),
    infer,
    reference,
    batches=_batches,
    lowering="lower_normalization.lower_layer_normalization",
)
