"""InstanceNormalization and GroupNormalization: each group of channels of a sample is brought to a common size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

# From this opset on the scale and the bias of GroupNormalization are per channel; before, they were per group.
_PER_CHANNEL_OPSET = 21


@dataclass(frozen=True)
class GroupNormalizationAttrs:
    """Attributes of both.

    Attributes:
        groups: number of groups; None for one a channel.
        epsilon: added to the variance.
        per_group: whether scale and bias have one number for each group.
    """

    groups: int | None
    epsilon: float
    per_group: bool = False

    def count(self, shape: Shape) -> int:
        """Number of groups of an input of that shape."""
        if len(shape) < 3:
            raise ModelError(f"a normalization of channels got an input of shape {shape}, expected N, C and more axes")
        groups = shape[1] if self.groups is None else self.groups
        if groups < 1 or shape[1] % groups:
            raise ModelError(f"{shape[1]} channels cannot be split into {groups} groups")
        return groups


def _instance(node: ir.Node) -> GroupNormalizationAttrs:
    return GroupNormalizationAttrs(None, nodes.real(node, "epsilon", 1e-5))


def _group(node: ir.Node) -> GroupNormalizationAttrs:
    groups = nodes.required(node, nodes.integer(node, "num_groups", 0) or None, "num_groups")
    per_group = nodes.opset(node) < _PER_CHANNEL_OPSET
    return GroupNormalizationAttrs(groups, nodes.real(node, "epsilon", 1e-5), per_group)


def infer(attrs: GroupNormalizationAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the input."""
    groups = attrs.count(inputs[0])
    expected = (groups if attrs.per_group else inputs[0][1],)
    if tuple(inputs[1]) != expected or tuple(inputs[2]) != expected:
        raise ModelError(f"scale and bias have shapes {inputs[1]} and {inputs[2]}, expected {expected}")
    return (inputs[0],)


def reference(attrs: GroupNormalizationAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32."""
    x, scale, bias = (nodes.f32(inputs, index) for index in range(3))
    groups = attrs.count(x.shape)
    parts = x.reshape(x.shape[0], groups, -1)
    centered = parts - parts.mean(axis=2, keepdims=True, dtype=np.float32)
    variance = np.square(centered).mean(axis=2, keepdims=True, dtype=np.float32)
    normal = centered / np.sqrt(variance + np.float32(attrs.epsilon))
    repeat = x.shape[1] // scale.size
    shape = (-1, *[1] * (x.ndim - 2))
    return np.asarray(
        normal.reshape(x.shape) * np.repeat(scale, repeat).reshape(shape) + np.repeat(bias, repeat).reshape(shape)
    )


def _batches(attrs: GroupNormalizationAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and all(item is None for item in inputs[1:])


INSTANCE_NORMALIZATION = Op(
    "InstanceNormalization",
    _instance,
    infer,
    reference,
    batches=_batches,
    lowering="lower_normalization.lower_group_normalization",
)
GROUP_NORMALIZATION = Op(
    "GroupNormalization",
    _group,
    infer,
    reference,
    batches=_batches,
    lowering="lower_normalization.lower_group_normalization",
)
