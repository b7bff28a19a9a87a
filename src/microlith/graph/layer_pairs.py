"""Pairs of layers between which channels may be scaled: ``W2 f(W1 x) = (W2 s) f((W1 / s) x)``.

That holds for every positive scale a channel where f is positively homogeneous and keeps channels apart: Relu,
LeakyRelu, pooling, padding by zeros, and shapes that keep channels in front. A Clip from 0 is one in a wider sense: its
upper bound becomes one a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import LAYERS, bias_of, channel_axis, output_channels, weights_of
from microlith.graph.values import (
    constant,
    constant_ints,
    constant_scalar,
    input_at,
    integer,
    known_shape,
    sole_consumer,
)

Float64 = NDArray[np.float64]

_HOMOGENEOUS = frozenset(
    ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity")
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two layers, of which the second alone reads what the first makes.

    Attributes:
        first: makes the channels.
        between: nodes that the channels go through.
        second: reads them.
        repeats: inputs of ``second`` for each channel, side by side: more than 1 where an image is flattened.
        clip: the node among ``between`` that has an upper bound.
    """

    first: ir.Node
    between: tuple[ir.Node, ...]
    second: ir.Node
    repeats: int
    clip: ir.Node | None

    @property
    def channels(self) -> int:
        """Number of channels."""
        weights = weights_of(self.first)
        assert weights is not None, "layers have constant weights"
        return output_channels(self.first, weights)


def layer_pairs(graph: ir.Graph) -> tuple[Pair, ...]:
    """All pairs, in graph order."""
    found = (_pair(node) for node in graph if _is_layer(node))
    return tuple(pair for pair in found if pair is not None)


def _is_layer(node: ir.Node) -> bool:
    if node.op_type not in LAYERS or weights_of(node) is None or bias_of(node) is None:
        return False
    grouped_transpose = node.op_type == "ConvTranspose" and integer(node, "group", 1) != 1
    return not grouped_transpose and not integer(node, "transA", 0)


def _pair(first: ir.Node) -> Pair | None:
    value, clip = first.outputs[0], None
    between: list[ir.Node] = []
    if channel_axis(first, value) != 1:
        return None
    while (node := sole_consumer(value)) is not None and node.inputs[0] is value:
        if _is_layer(node):
            return _closed(first, between, node, value, clip)
        if node.op_type == "Clip" and clip is None and constant_scalar(input_at(node, 1)) == 0:
            clip = node if input_at(node, 2) is not None else None
        elif not _passes(node):
            return None
        between.append(node)
        value = node.outputs[0]
    return None


def _closed(
    first: ir.Node, between: list[ir.Node], second: ir.Node, value: ir.Value, clip: ir.Node | None
) -> Pair | None:
    made, read = known_shape(first.outputs[0]), known_shape(value)
    if made is None or read is None or channel_axis(second, value) != 1 or read[1] % made[1]:
        return None
    if clip is not None and constant_scalar(input_at(clip, 2)) is None:
        return None
    return Pair(first, tuple(between), second, read[1] // made[1], clip)


def _passes(node: ir.Node) -> bool:
    before, after = known_shape(node.inputs[0]), known_shape(node.outputs[0])
    if before is None or after is None or len(before) < 2 or len(after) < 2 or before[0] != after[0]:
        return False
    if node.op_type in ("Flatten", "Reshape"):
        return after[1] == before[1] or (len(after) == 2 and after[1] == int(np.prod(before[1:], dtype=np.int64)))
    if node.op_type == "Pad":
        pads, value = constant_ints(input_at(node, 1)), constant_scalar(input_at(node, 2)) or 0.0
        zeros = node.attributes.get_string("mode", "constant") == "constant" and value == 0
        computed = input_at(node, 2) is not None and constant(input_at(node, 2)) is None
        return zeros and not computed and pads is not None and before[1] == after[1]
    if node.op_type == "ReduceMean":
        axes = constant_ints(input_at(node, 1))
        return axes is not None and all(axis % len(before) >= 2 for axis in axes) and before[1] == after[1]
    return node.op_type in _HOMOGENEOUS and len(node.outputs) == 1 and before[1] == after[1]


def output_ranges(node: ir.Node, weights: Float64) -> Float64:
    """Greatest magnitude among the weights of each output channel."""
    axis = 0 if node.op_type == "Conv" or integer(node, "transB", 0) else 1
    moved = np.moveaxis(np.abs(weights), axis, 0)
    return np.asarray(moved.reshape(len(moved), -1).max(axis=1, initial=0.0))


def input_ranges(node: ir.Node, weights: Float64) -> Float64:
    """Greatest magnitude among the weights of each input channel."""
    magnitude = np.abs(weights)
    if node.op_type == "Conv":
        groups = integer(node, "group", 1)
        split = magnitude.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1)
        return np.asarray(split.max(axis=(1, 3), initial=0.0).reshape(-1))
    axis = 1 if integer(node, "transB", 0) else 0
    moved = np.moveaxis(magnitude, axis, 0)
    return np.asarray(moved.reshape(len(moved), -1).max(axis=1, initial=0.0))
