"""How large a graph is, as far as the graph alone says: what passes change, before a compiler plans memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.graph.macs import node_macs
from microlith.graph.values import known_shape

_VIEWS = frozenset(("DequantizeLinear", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators whose result need not be stored beside their input; a dequantized tensor is read as its integers."""


@dataclass(frozen=True)
class GraphSize:
    """Figures of one graph.

    Attributes:
        nodes: their number.
        macs: multiply-accumulates of one inference; None where a node cannot be counted.
        weight_bytes: constants in use, without shapes and axes.
        peak_activation_bytes: most bytes of tensors that are alive at one node, in the graph's order, inputs and
            outputs included, where nothing is computed in place; None where a shape is not known.
    """

    nodes: int
    macs: int | None
    weight_bytes: int
    peak_activation_bytes: int | None


def graph_size(model: ir.Model) -> GraphSize:
    """Measure a graph."""
    return GraphSize(len(model.graph), _macs(model), _weight_bytes(model), peak_activation_bytes(model))


def _macs(model: ir.Model) -> int | None:
    try:
        return sum(node_macs(model).values())
    except ModelError:
        # A node that the compiler will refuse, with this reason, has no count; passes may still remove it.
        return None


def _weight_bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.dtype != ir.DataType.INT64 and value.uses()
    )


def peak_activation_bytes(model: ir.Model) -> int | None:
    """Most bytes alive at one node; see :class:`GraphSize`."""
    first: dict[ir.Value, int] = {}
    last: dict[ir.Value, int] = {}
    root: dict[ir.Value, ir.Value] = {}
    nodes = list(model.graph)
    for value in model.graph.inputs:
        first[value] = last[value] = 0
    weights = set(model.graph.initializers.values())
    for index, node in enumerate(nodes):
        for item in node.inputs:
            if item is not None and (read := root.get(item, item)) in first:
                last[read] = index
        for value in node.outputs:
            source = node.inputs[0] if node.inputs else None
            stored = root.get(source, source) if source is not None else None
            if stored in weights and _is_view(node):
                weights.add(value)
            elif stored in first and _is_view(node):
                assert stored is not None
                root[value] = stored
            else:
                early = source is not None and source in first and _is_stored_quantized(source)
                first[value] = first[source] if early and source is not None else index
                last[value] = index
    for value in model.graph.outputs:
        last[root.get(value, value)] = len(nodes)
    change = [0] * (len(nodes) + 2)
    for value, begin in first.items():
        size = _stored_bytes(value)
        if size is None:
            return None
        change[begin] += size
        change[last[value] + 1] -= size
    alive = most = 0
    for difference in change:
        alive += difference
        most = max(most, alive)
    return most


def _is_view(node: ir.Node) -> bool:
    return node.op_type in _VIEWS and not (node.op_type == "DequantizeLinear" and node.outputs[0].is_graph_output())


def _is_stored_quantized(value: ir.Value) -> bool:
    """Whether only a QuantizeLinear reads a result, which then is stored as the integers that it becomes."""
    readers = value.consumers()
    border = value.is_graph_input() or value.is_graph_output()
    return len(readers) == 1 and readers[0].op_type == "QuantizeLinear" and not border


def _stored_bytes(value: ir.Value) -> int | None:
    if not value.name or _is_stored_quantized(value):
        return 0
    shape = known_shape(value)
    if shape is None or value.dtype is None:
        return None
    return math.ceil(math.prod(shape) * value.dtype.itemsize)
