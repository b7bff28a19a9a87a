"""Transposes that undo each other, next to each other or with elementwise operators between.

``T_q(T_p(x)) = T_r(x)`` with ``r[i] = p[q[i]]``, nothing where r is the identity. An elementwise f commutes with any
transposition, ``f(T(x)) = T(f(x))``; so do a binary operator on two operands transposed alike or on one and a constant
(which is transposed back), Concat and Softmax with their axis mapped, Q/DQ with theirs, and ReduceMean with its axes
mapped. A Transpose sinks through such an operator only where that lets it meet another Transpose or vanish.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.passes.rewrite_transpose_as_reshape import permutation
from microlith.graph.values import (
    add_initializer,
    bypass,
    can_bypass,
    constant,
    constant_ints,
    input_at,
    insert_node,
    integer,
    new_value,
    replace_node,
    set_ints,
    sole_consumer,
    static_shape,
    unique_name,
)

_UNARY = frozenset(
    (
        "Abs",
        "Cast",
        "Clip",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Neg",
        "Relu",
        "Sigmoid",
        "Tanh",
    )
)
_BINARY = frozenset(("Add", "Div", "Mul", "Sub"))
_WITH_AXIS = frozenset(("Concat", "DequantizeLinear", "LogSoftmax", "QuantizeLinear", "Softmax"))
_DEFAULT_AXIS = {"DequantizeLinear": 1, "QuantizeLinear": 1, "Softmax": -1, "LogSoftmax": -1}


class CancelTransposes:
    """Composes Transposes in a row and sinks them through elementwise operators to where they meet another."""

    name = "CancelTransposes"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: pairs composed, operators passed and ReduceMeans that took a Transpose in."""
        changes = 0
        for node in list(model.graph):
            if node.graph is None:
                continue
            if node.op_type == "Transpose":
                changes += _compose(node)
            elif node.op_type == "ReduceMean":
                changes += _into_reduction(node)
            elif node.op_type in _UNARY | _BINARY | _WITH_AXIS:
                changes += _sink(node)
        return PassResult(changes)


def _transpose_before(value: ir.Value | None) -> ir.Node | None:
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type == "Transpose" else None


def _compose(node: ir.Node) -> int:
    first = _transpose_before(node.inputs[0])
    if first is None:
        return 0
    source, inner = first.inputs[0], permutation(first)
    assert source is not None
    composed = tuple(inner[axis] for axis in permutation(node))
    if composed == tuple(range(len(composed))) and can_bypass(node, source):
        bypass(node, source)
    else:
        node.replace_input_with(0, source)
        set_ints(node, "perm", composed)
    graph, middle = first.graph, first.outputs[0]
    if graph is not None and not middle.uses() and not middle.is_graph_output():
        graph.remove(first, safe=True)
    return 1


def _sink(node: ir.Node) -> int:
    """Move the Transposes in front of a node behind it, where all its data is transposed alike and it is worth it."""
    data = _data_inputs(node)
    sources = [_transpose_before(value) for value in data]
    transposes = [item for item in sources if item is not None]
    if not transposes or node.outputs[0].is_graph_output():
        return 0
    perm = permutation(transposes[0])
    if any(permutation(item) != perm for item in transposes):
        return 0
    if any(sole_consumer(item.outputs[0]) is not node and transposes.count(item) < 2 for item in transposes):
        return 0
    others = [value for value, item in zip(data, sources, strict=True) if item is None]
    if not all(_can_follow(node, value, len(perm)) for value in others):
        return 0
    if len(set(transposes)) < 2 and not _meets_transpose(node.outputs[0], perm):
        return 0
    _move_behind(node, perm, sources)
    return 1


def _data_inputs(node: ir.Node) -> Sequence[ir.Value | None]:
    return node.inputs if node.op_type in _BINARY or node.op_type == "Concat" else node.inputs[:1]


def _can_follow(node: ir.Node, value: ir.Value | None, rank: int) -> bool:
    """Whether an operand that is not transposed can be brought into the other order: a constant can."""
    array = constant(value)
    return array is not None and node.op_type in _BINARY and array.ndim <= rank


def _meets_transpose(value: ir.Value, perm: tuple[int, ...]) -> bool:
    """Whether a Transpose that follows this value would meet another before it meets anything that stops it."""
    while True:
        consumers = value.consumers()
        if value.is_graph_output() or not consumers:
            return False
        if all(item.op_type == "Transpose" for item in consumers):
            return True
        node = sole_consumer(value)
        if node is None or len(node.outputs) > 1:
            return False
        if node.op_type in _BINARY or node.op_type == "Concat":
            rest = [item for item in node.inputs if item is not value]
            if rest and all(_is_transposed_by(item, perm) for item in rest):
                return True
            if node.op_type == "Concat" or not all(_can_follow(node, item, len(perm)) for item in rest):
                return False
        elif node.op_type == "ReduceMean":
            return _reduction_axes(node, perm) is not None
        elif node.op_type not in _UNARY | _WITH_AXIS:
            return False
        value = node.outputs[0]


def _is_transposed_by(value: ir.Value | None, perm: tuple[int, ...]) -> bool:
    node = _transpose_before(value)
    return node is not None and permutation(node) == perm


def _move_behind(node: ir.Node, perm: tuple[int, ...], sources: Sequence[ir.Node | None]) -> None:
    graph, output = node.graph, node.outputs[0]
    assert graph is not None
    inverse = tuple(int(axis) for axis in np.argsort(perm))
    inputs = list(node.inputs)
    for index, transpose in enumerate(sources):
        inputs[index] = _permute_constant(inputs[index], inverse) if transpose is None else transpose.inputs[0]
    attributes = dict(node.attributes)
    if node.op_type in _WITH_AXIS:
        axis = integer(node, "axis", _DEFAULT_AXIS.get(node.op_type, 0))
        attributes["axis"] = ir.AttrInt64("axis", perm[axis] if -len(perm) <= axis < len(perm) else axis)
    shape = tuple(static_shape(output)[axis] for axis in inverse)
    moved = new_value(unique_name(graph, f"{output.name}_untransposed"), output, shape)
    insert_node(node, node.op_type, inputs, moved, attributes)
    replace_node(node, "Transpose", [moved], {"perm": ir.AttrInt64s("perm", list(perm))})
    for transpose in dict.fromkeys(item for item in sources if item is not None):
        if not transpose.outputs[0].uses():
            graph.remove(transpose, safe=True)


def _permute_constant(value: ir.Value | None, inverse: tuple[int, ...]) -> ir.Value | None:
    array = constant(value)
    if value is None or array is None or array.size == 1 or not inverse:
        return value
    full = array.reshape((1,) * (len(inverse) - array.ndim) + array.shape)
    graph = value.graph
    assert graph is not None
    return add_initializer(graph, f"{value.name}_transposed", full.transpose(inverse))


def _reduction_axes(node: ir.Node, perm: tuple[int, ...]) -> tuple[int, ...] | None:
    """Axes of a ReduceMean before a Transpose, where what remains keeps its order without it; None otherwise."""
    axes = constant_ints(input_at(node, 1))
    if not axes or integer(node, "keepdims", 1):
        return None
    mapped = {perm[axis] for axis in axes}
    rest = [axis for axis in perm if axis not in mapped]
    return tuple(sorted(mapped)) if rest == sorted(rest) else None


def _into_reduction(node: ir.Node) -> int:
    transpose = _transpose_before(node.inputs[0])
    axes = None if transpose is None else _reduction_axes(node, permutation(transpose))
    if transpose is None or axes is None:
        return 0
    graph = node.graph
    assert graph is not None
    value = add_initializer(graph, f"{node.outputs[0].name}_axes", np.asarray(axes, np.int64))
    node.replace_input_with(1, value)
    node.replace_input_with(0, transpose.inputs[0])
    if not transpose.outputs[0].uses() and not transpose.outputs[0].is_graph_output():
        graph.remove(transpose, safe=True)
    return 1
