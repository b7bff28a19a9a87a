"""Removes channels of a quantized graph that are constant whatever the input, or that nothing reads.

Training with weight decay in front of a Relu lets whole channels die: their weights become zeros. Algebra, with x a
channel that is always the integer c, z the zero point of its tensor, and w the weights of a layer that reads it:

    acc = b + sum_i w_i (x_i - z) = (b + w (c - z)) + sum over the other channels

so the layer goes without the channel, and its bias takes up ``w (c - z)``, exactly, in integers. Where windows reach
into padding, which holds z, that is so for ``c = z`` alone. A channel that a layer's weights leave out, because all of
its weights are zero, need not be constant.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.channel_bounds import Channels, Layer, channels_of, is_depthwise
from microlith.graph.pass_base import CONSTANTS_LIFTED, EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.qdq_constants import add_qparams, dequantize, output_axis
from microlith.graph.units import Operand, Unit, node_qparams, units
from microlith.graph.values import Array, Names, constant, input_at, static_shape
from microlith.quant.types import QParams

Mask = NDArray[np.bool_]
Group = tuple[tuple[ir.Value, int], ...]


class EliminateConstantChannels:
    """Removes channels that are constant whatever the input, and those that nothing reads, from a quantized graph.

    Proven by the bounds of every accumulator from weights and bias; biases of the layers that read a constant take it
    up. A value keeps at least one channel.
    """

    name = "EliminateConstantChannels"
    requires = (SHAPES_KNOWN, CONSTANTS_LIFTED)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: channels that are no longer computed."""
        nodes = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        if not any(node.op_type == "QuantizeLinear" for node in nodes) or not all(map(_is_plain, nodes)):
            return PassResult(0)
        found = channels_of(model)
        needed = {key for layer in found.layers for key in _needed(layer, found)}
        kept = _kept([group for group in found.groups if needed.isdisjoint(group)])
        removed = sum(int(np.count_nonzero(~mask)) for mask in kept.values())
        if removed:
            _Editor(model, found, kept).run()
        return PassResult(removed, f"{removed} channels of {len(kept)} results" if removed else "")


def _is_plain(node: ir.Node) -> bool:
    """Whether the scale is constant, and one a tensor or a channel."""
    scale = constant(input_at(node, 1))
    return scale is not None and scale.ndim <= 1


def _needed(layer: Layer, found: Channels) -> list[tuple[ir.Value, int]]:
    """The channels that a layer cannot go without."""
    data = layer.unit.inputs[0]
    assert data is not None and data.qparams is not None
    read = layer.weights.any(axis=(0, 2))
    if data.value in found.bounds:
        low, high = found.bounds[data.value]
        foldable = layer.has_bias and not layer.padded
        read &= ~((low == high) & (foldable | (low == int(data.qparams.zero_point))))
    return [(data.value, int(channel)) for channel in np.flatnonzero(read)]


def _kept(leaving: list[Group]) -> dict[ir.Value, Mask]:
    """By value that loses channels: which of its channels stay."""
    while True:
        kept: dict[ir.Value, Mask] = {}
        for value, channel in (key for group in leaving for key in group):
            kept.setdefault(value, np.ones(static_shape(value)[1], np.bool_))[channel] = False
        empty = {value for value, mask in kept.items() if not mask.any()}
        if not empty:
            return kept
        # The first channel stays, and what belongs to it.
        leaving = [group for group in leaving if not any((value, 0) in group for value in empty)]


class _Editor:
    """Takes channels out of a graph, in place."""

    def __init__(self, model: ir.Model, found: Channels, kept: Mapping[ir.Value, Mask]) -> None:
        self._graph = model.graph
        self._names = Names(model.graph)
        self._found = found
        self._kept = kept
        self._units = units(model)

    def run(self) -> None:
        """Edit every operation that reads or makes a channel that goes."""
        layers = {layer.unit.node: layer for layer in self._found.layers}
        for unit in self._units:
            if unit.node in layers:
                self._layer(layers[unit.node])
            elif is_depthwise(unit.node) and unit.output.value in self._kept:
                self._depthwise(unit)
        for unit in self._units:
            if unit.output.value in self._kept:
                self._shrink(unit)
        self._sweep()

    def _mask(self, value: ir.Value) -> Mask:
        return self._kept.get(value, np.ones(static_shape(value)[1], np.bool_))

    def _layer(self, layer: Layer) -> None:
        unit, node = layer.unit, layer.unit.node
        data = unit.inputs[0]
        assert data is not None and data.qparams is not None
        rows, columns = self._mask(unit.output.value), self._mask(data.value)
        if rows.all() and columns.all():
            return
        if layer.has_bias:
            self._replace(node, 2, layer.bias + self._taken_up(layer, data, columns), rows)
        weights = unit.inputs[1]
        assert weights is not None
        stored = constant(weights.value)
        assert stored is not None
        first = rows if output_axis(node, 1, stored.ndim) == 0 else columns
        second = columns if first is rows else rows
        self._replace(node, 1, stored[first][:, second], rows)

    def _taken_up(self, layer: Layer, data: Operand, columns: Mask) -> NDArray[np.int64]:
        """What the channels that go add to each accumulator."""
        if columns.all():
            return np.zeros(len(layer.weights), np.int64)
        assert data.qparams is not None
        held = self._found.bounds[data.value][0] - int(data.qparams.zero_point)
        # A channel that is not constant goes only where its weights are zero.
        return np.asarray((layer.weights.sum(axis=2) * held)[:, ~columns].sum(axis=1))

    def _depthwise(self, unit: Unit) -> None:
        rows = self._mask(unit.output.value)
        for index in (1, 2):
            operand = unit.inputs[index] if len(unit.inputs) > index else None
            if operand is not None:
                stored = constant(operand.value)
                assert stored is not None
                self._replace(unit.node, index, stored[rows] if index == 1 else stored.reshape(-1), rows)
        unit.node.attributes.add(ir.AttrInt64("group", int(rows.sum())))

    def _replace(self, node: ir.Node, index: int, integers: Array, rows: Mask) -> None:
        """Give a node other integers behind a DequantizeLinear of its own.

        Args:
            node: a layer.
            index: 1 for weights, which are cut already, 2 for the bias, which is not.
            integers: of the type of those there, or wider.
            rows: output channels that stay; scales follow them.
        """
        value = node.inputs[index]
        old = None if value is None else value.producer()
        assert old is not None and old.inputs[0] is not None
        qparams = _cut(node_qparams(old), rows)
        name = str(old.inputs[0].name)
        if index == 2:
            integers = integers[rows].reshape([-1 if size > 1 else 1 for size in static_shape(old.inputs[0])])
        stored = self._names.initializer(name, integers.astype(qparams.dtype))
        scale, zero = add_qparams(self._names, name, qparams)
        result = dequantize(self._names, stored, scale, zero, self._names.value(f"{name}_dequantized"))
        producer = result.producer()
        assert producer is not None
        if qparams.axis is not None:
            producer.attributes.add(ir.AttrInt64("axis", qparams.axis))
        self._graph.insert_before(node, producer)
        node.replace_input_with(index, result)

    def _shrink(self, unit: Unit) -> None:
        """State the new number of channels on everything that holds this result."""
        count = int(self._kept[unit.output.value].sum())
        stored = unit.output.value
        held = [node.outputs[0] for node in unit.nodes]
        held += [use.node.outputs[0] for use in stored.uses() if use.node.op_type == "DequantizeLinear"]
        for value in dict.fromkeys((stored, *held)):
            shape = list(static_shape(value))
            value.shape = ir.Shape([shape[0], count, *shape[2:]])
        target = input_at(unit.node, 1) if unit.node.op_type == "Reshape" else None
        if target is not None:
            sizes = np.array(static_shape(stored), np.int64)
            unit.node.replace_input_with(1, self._names.initializer(str(target.name), sizes))

    def _sweep(self) -> None:
        """Remove the DequantizeLinear nodes and constants that nothing reads any more."""
        for node in list(self._graph):
            if (
                node.op_type == "DequantizeLinear"
                and not node.outputs[0].uses()
                and not node.outputs[0].is_graph_output()
            ):
                self._graph.remove(node, safe=True)
        for name, value in list(self._graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self._graph.initializers[name]


def _cut(qparams: QParams, rows: Mask) -> QParams:
    if qparams.axis is None:
        return qparams
    return QParams(qparams.scale[rows], qparams.zero_point[rows], qparams.dtype, qparams.axis)
