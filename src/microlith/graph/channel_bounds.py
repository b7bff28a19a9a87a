"""Bounds of each channel of a quantized graph, whatever the input, and which channels belong together.

The bounds of a convolution's accumulator follow from its weights and from the bounds of what it reads; requantization
never falls, so those of its result follow by the integer arithmetic itself. Other operations keep channels apart: where
their operands are constant the result is computed.

Channels belong together where an operation keeps them apart: a channel can leave the graph only with all of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.graph.linear_layers import own_pads
from microlith.graph.metadata import requantization
from microlith.graph.qdq_constants import output_axis
from microlith.graph.reference import required_output
from microlith.graph.units import Unit, units
from microlith.graph.values import constant, integer, integer_limits, known_shape, real
from microlith.ops import op_of
from microlith.ops.base import Array, Output
from microlith.ops.nodes import where
from microlith.quant.factors import linear_requant
from microlith.quant.requantize import saturate, scale_accumulator
from microlith.quant.types import QArray, Requantization

Int64 = NDArray[np.int64]

_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_SUMS = frozenset({"Add", "Sub", "Mul"})
_SHAPES = frozenset({"Reshape", "Flatten", "Squeeze"})


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that mixes its input channels: a Conv of one group, a Gemm, or a MatMul by a constant matrix.

    Attributes:
        unit: the operation.
        weights: integers less their zero points, (O, I, taps).
        bias: integers (O,), zeros where there is none.
        has_bias: whether there is one.
        padded: whether windows reach beyond the input.
    """

    unit: Unit
    weights: Int64
    bias: Int64
    has_bias: bool
    padded: bool


@dataclass(frozen=True, eq=False)
class Channels:
    """What is known of the channels (axis 1) of a quantized graph.

    Attributes:
        bounds: of each integer value: least and greatest integer of each channel.
        layers: the layers that mix channels, in order.
        apart: the units that keep channels apart.
        groups: channels that belong together, as (value, channel); those of which one must stay are left out.
    """

    bounds: Mapping[ir.Value, tuple[Int64, Int64]]
    layers: tuple[Layer, ...]
    apart: tuple[Unit, ...]
    groups: tuple[tuple[tuple[ir.Value, int], ...], ...]


def channels_of(model: ir.Model) -> Channels:
    """Bounds and groups of the channels of a graph whose shapes are known."""
    mode = requantization(model)
    found = units(model)
    bounds: dict[ir.Value, tuple[Int64, Int64]] = {}
    layers: list[Layer] = []
    apart: list[Unit] = []
    groups = _Groups()
    groups.pin((*model.graph.inputs, *model.graph.outputs))
    for unit in found:
        try:
            output = required_output(unit, mode)
            layer = _layer(unit)
            if layer is not None:
                layers.append(layer)
                bounds[unit.output.value] = _mixed(layer, _bounds(bounds, unit, 0), mode)
            elif _keeps_apart(unit):
                apart.append(unit)
                bounds[unit.output.value] = _kept_apart(
                    unit, [_bounds(bounds, unit, i) for i in _data(unit)], output, mode
                )
                groups.join(
                    [item.value for item in unit.inputs if item is not None][: len(_data(unit))], unit.output.value
                )
            else:
                operands = (*unit.inputs, unit.output, *unit.others)
                groups.pin(operand.value for operand in operands if operand is not None)
        except ModelError as error:
            error.node = error.node or where(unit.node)
            raise
    return Channels(bounds, tuple(layers), tuple(apart), groups.free(found))


class _Groups:
    """Sets of channels that are joined; a set with a pinned channel stays."""

    def __init__(self) -> None:
        self._parent: dict[tuple[ir.Value, int], tuple[ir.Value, int]] = {}
        self._pinned: set[ir.Value] = set()

    def join(self, operands: Sequence[ir.Value], result: ir.Value) -> None:
        """Channel by channel."""
        for operand in operands:
            for channel in range(_channels(result)):
                self._parent[self._root((operand, channel))] = self._root((result, channel))

    def pin(self, values: Iterable[ir.Value]) -> None:
        """Nothing may leave these."""
        self._pinned.update(values)

    def free(self, found: Sequence[Unit]) -> tuple[tuple[tuple[ir.Value, int], ...], ...]:
        """The sets without a pinned channel, of the results of these units."""
        members: dict[tuple[ir.Value, int], list[tuple[ir.Value, int]]] = {}
        pinned = {self._root((value, c)) for value in self._pinned for c in range(_channels(value))}
        for unit in found:
            for channel in range(_channels(unit.output.value)):
                key = unit.output.value, channel
                members.setdefault(self._root(key), []).append(key)
        return tuple(tuple(keys) for root, keys in members.items() if root not in pinned)

    def _root(self, key: tuple[ir.Value, int]) -> tuple[ir.Value, int]:
        path = []
        while (parent := self._parent.get(key, key)) != key:
            path.append(key)
            key = parent
        self._parent.update(dict.fromkeys(path, key))
        return key


def _channels(value: ir.Value) -> int:
    shape = known_shape(value) or ()
    return shape[1] if len(shape) > 1 else 0


def _data(unit: Unit) -> range:
    """Positions of the operands whose channels are those of the result."""
    return range(2 if unit.node.op_type in _SUMS else 1)


def _bounds(bounds: Mapping[ir.Value, tuple[Int64, Int64]], unit: Unit, index: int) -> tuple[Int64, Int64]:
    """Of an operand; the limits of its type where nothing else is known."""
    operand = unit.inputs[index]
    assert operand is not None
    if operand.value in bounds:
        return bounds[operand.value]
    count = _channels(operand.value)
    if operand.qparams is not None:
        limits = operand.qparams.low, operand.qparams.high
    else:
        assert operand.value.dtype is not None, "types are known"
        limits = integer_limits(operand.value.dtype)
    return np.full(count, limits[0], np.int64), np.full(count, limits[1], np.int64)


def is_depthwise(node: ir.Node) -> bool:
    """Whether a Conv has one filter for each input channel."""
    if node.op_type != "Conv":
        return False
    weights, groups = known_shape(node.inputs[1]), integer(node, "group", 1)
    return weights is not None and groups > 1 and weights[:2] == (groups, 1)


def _layer(unit: Unit) -> Layer | None:
    node = unit.node
    if unit.kind != "integer" or not _mixes(node) or len(unit.inputs) < 2:
        return None
    data, weights = unit.inputs[0], unit.inputs[1]
    bias = unit.inputs[2] if len(unit.inputs) > 2 else None
    if data is None or data.qparams is None or weights is None or weights.qparams is None:
        return None
    stored, shift = constant(weights.value), None if bias is None else constant(bias.value)
    if stored is None or (bias is not None and shift is None):
        return None
    axis = output_axis(node, 1, stored.ndim)
    if weights.qparams.axis not in (None, axis):
        return None
    centered = QArray(stored, weights.qparams).centered().astype(np.int64)  # type: ignore[arg-type]
    rows = np.moveaxis(centered, axis, 0)
    rows = rows.reshape(*rows.shape[:2], -1)
    if shift is not None and shift.size != len(rows):
        return None
    start = np.zeros(len(rows), np.int64) if shift is None else shift.reshape(-1).astype(np.int64)
    return Layer(unit, rows, start, shift is not None, _is_padded(node))


def _mixes(node: ir.Node) -> bool:
    shape = known_shape(node.inputs[0])
    if node.op_type == "Conv":
        return integer(node, "group", 1) == 1
    if node.op_type == "Gemm":
        return not integer(node, "transA", 0) and real(node, "alpha", 1.0) == 1 and real(node, "beta", 1.0) == 1
    weights = known_shape(node.inputs[1]) if node.op_type == "MatMul" else None
    return weights is not None and len(weights) == 2 and shape is not None and len(shape) == 2


def _is_padded(node: ir.Node) -> bool:
    pads = own_pads(node) if node.op_type == "Conv" else ()
    return pads is None or any(pads)


def _mixed(layer: Layer, data: tuple[Int64, Int64], mode: Requantization) -> tuple[Int64, Int64]:
    unit = layer.unit
    assert unit.inputs[0] is not None and unit.inputs[0].qparams is not None
    zero = int(unit.inputs[0].qparams.zero_point)
    low, high = ((bound - zero)[None, :, None] for bound in data)
    if layer.padded:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    least = np.minimum(layer.weights * low, layer.weights * high).sum(axis=(1, 2)) + layer.bias
    greatest = np.maximum(layer.weights * low, layer.weights * high).sum(axis=(1, 2)) + layer.bias
    return _requantized(unit, np.stack([least, greatest]), mode)


def _requantized(unit: Unit, ends: Int64, mode: Requantization) -> tuple[Int64, Int64]:
    """What accumulators (2, C) of a linear unit become."""
    data, weights, output = unit.inputs[0], unit.inputs[1], required_output(unit, mode)
    assert data is not None and data.qparams is not None and weights is not None and weights.qparams is not None
    assert output is not None
    how = linear_requant(data.qparams, weights.qparams, output.qparams, mode)
    stored = saturate(scale_accumulator(ends, how), output.qparams, output.low, output.high).astype(np.int64)
    return stored[0], stored[1]


def _keeps_apart(unit: Unit) -> bool:
    """Whether channel c of the result depends on channel c of each operand alone, by the same rule for all channels."""
    node = unit.node
    data, result = known_shape(node.inputs[0]), known_shape(unit.output.value)
    if data is None or result is None or len(data) < 2 or len(result) < 2 or data[:2] != result[:2]:
        return False
    if any(item is not None for item in unit.others):
        return False
    if unit.kind == "raw":
        dtype = unit.output.value.dtype
        is_integer = dtype is not None and dtype.is_integer()
        return is_integer and node.op_type in _SHAPES and all(size == 1 for size in (*data[2:], *result[2:]))
    if unit.kind != "integer":
        return False
    if is_depthwise(node):
        return all(item is None or constant(item.value) is not None for item in unit.inputs[1:])
    if node.op_type in _SUMS:
        return _same_tensors(unit)
    if node.op_type in _SHAPES:
        return all(size == 1 for size in (*data[2:], *result[2:]))
    others = [array for value in node.inputs[1:] if (array := constant(value)) is not None and array.size > 1]
    is_table = op_of(node).tables is not None and node.op_type != "BatchNormalization" and not others
    return node.op_type in _POOLS or (is_table and len(unit.inputs) == 1 and node.op_type != "QuantizeLinear")


def _same_tensors(unit: Unit) -> bool:
    a, b = unit.inputs[0], unit.inputs[1]
    if a is None or b is None or constant(a.value) is not None or constant(b.value) is not None:
        return False
    return known_shape(a.value) == known_shape(b.value) == known_shape(unit.output.value)


def _kept_apart(
    unit: Unit, data: Sequence[tuple[Int64, Int64]], output: Output | None, mode: Requantization
) -> tuple[Int64, Int64]:
    if unit.kind == "raw":
        return data[0]
    assert output is not None
    if is_depthwise(unit.node):
        return _filtered(unit, data[0], mode)
    fixed = np.logical_and.reduce([low == high for low, high in data])
    low, high = (np.full(fixed.shape, limit, np.int64) for limit in (output.low, output.high))
    if not fixed.any():
        return low, high
    results = _computed(unit, [bounds[0] for bounds in data], output)
    least, greatest = results.min(axis=1), results.max(axis=1)
    return np.where(fixed, least, low), np.where(fixed, greatest, high)


def _computed(unit: Unit, channels: Sequence[Int64], output: Output) -> Int64:
    """The result (C, elements) where the operands hold one integer in every place of a channel."""
    op = op_of(unit.node)
    arrays: list[QArray | None] = [None] * len(unit.inputs)
    for index, held in enumerate(channels):
        operand = unit.inputs[index]
        assert operand is not None and operand.qparams is not None
        shape = known_shape(operand.value)
        assert shape is not None
        spread = np.broadcast_to(held.reshape(1, -1, *(1,) * (len(shape) - 2)), shape)
        arrays[index] = QArray(spread.astype(operand.qparams.dtype), operand.qparams)
    assert op.quantized is not None
    result: Array = op.quantized(op.parse(unit.node), arrays, output)
    return np.moveaxis(result, 1, 0).reshape(result.shape[1], -1).astype(np.int64)


def _filtered(unit: Unit, data: tuple[Int64, Int64], mode: Requantization) -> tuple[Int64, Int64]:
    """Bounds of a depthwise convolution."""
    operand, weights = unit.inputs[0], unit.inputs[1]
    assert operand is not None and operand.qparams is not None and weights is not None and weights.qparams is not None
    stored = constant(weights.value)
    bias = constant(unit.inputs[2].value) if len(unit.inputs) > 2 and unit.inputs[2] is not None else None
    assert stored is not None
    taps = QArray(stored, weights.qparams).centered().astype(np.int64).reshape(len(stored), -1)  # type: ignore[arg-type]
    low, high = (bound[:, None] - int(operand.qparams.zero_point) for bound in data)
    if _is_padded(unit.node):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    start = 0 if bias is None else bias.reshape(-1).astype(np.int64)
    ends = [chosen(taps * low, taps * high).sum(axis=1) + start for chosen in (np.minimum, np.maximum)]
    return _requantized(unit, np.stack(ends), mode)
