"""Transposes that undo each other, next to each other or with operators between that work in any order of axes.

``T_q(T_p(x)) = T_r(x)`` with ``r[i] = p[q[i]]``, nothing where r is the identity. A permutable f (elementwise and
broadcasting operators, Concat, Split, Softmax, Pad, Slice, Q/DQ, reductions that keep their axes; see
:mod:`microlith.graph.permutable`) commutes: ``f(T_p(x)) = T_p(f'(x))``. A reduction that drops axes takes a Transpose
in where the axes that remain keep their order.

For one p, every permutable node either stays or moves to the order before ``T_p``. A value between a node that moves
and one that stays needs a Transpose, one that joins two of a kind needs none; what other operators read and write is in
the order that they know. The choice that transposes the fewest bytes is a minimum cut between "moves" (Transposes by
p and those that undo p) and "stays" (all other operators and the borders of the graph). Of equal choices the one that
moves the fewest nodes is taken, so that every change lowers the number of bytes that are transposed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import onnx_ir as ir

from microlith.graph.minimum_cut import UNBOUNDED, Network
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.passes.rewrite_transpose_as_reshape import moves_nothing, permutation
from microlith.graph.permutable import (
    REDUCTIONS,
    Permutation,
    data_inputs,
    inverse_of,
    is_one_number,
    is_permutable,
    permute_node,
    permuted_constant,
    reduce_along,
    reduction_axes,
)
from microlith.graph.values import (
    bypass,
    can_bypass,
    insert_node,
    new_value,
    set_ints,
    static_shape,
    unique_name,
)

_MOVES, _STAYS = "moves", "stays"


class CancelTransposes:
    """Composes Transposes in a row, and moves operators to the order of axes in which the fewest are needed."""

    name = "CancelTransposes"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "a reduction adds in another order")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: pairs composed, operators moved and reductions that took a Transpose in."""
        changes = _compose_all(model)
        for node in list(model.graph):
            if node.op_type in REDUCTIONS:
                changes += _into_reduction(node)
        for perm in _permutations(model):
            changes += _move(model, perm)
        return PassResult(changes)


def _compose_all(model: ir.Model) -> int:
    return sum(_compose(node) for node in list(model.graph) if node.graph is not None and node.op_type == "Transpose")


def _transpose_before(value: ir.Value | None) -> ir.Node | None:
    producer = None if value is None else value.producer()
    return producer if producer is not None and producer.op_type == "Transpose" else None


def _compose(node: ir.Node) -> int:
    first = _transpose_before(node.inputs[0])
    if first is None:
        return 0
    source = first.inputs[0]
    assert source is not None
    _set_or_bypass(node, source, permutation(first))
    _remove_if_unused(first)
    return 1


def _set_or_bypass(node: ir.Node, source: ir.Value, inner: Permutation) -> None:
    """Let a Transpose read ``source``, of which it read the transposition by ``inner``; gone where nothing is left."""
    composed = tuple(inner[axis] for axis in permutation(node))
    if composed == tuple(range(len(composed))) and can_bypass(node, source):
        bypass(node, source)
    else:
        node.replace_input_with(0, source)
        set_ints(node, "perm", composed)


def _remove_if_unused(node: ir.Node) -> None:
    if node.graph is not None and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
        node.graph.remove(node, safe=True)


def _into_reduction(node: ir.Node) -> int:
    transpose = _transpose_before(node.inputs[0])
    axes = None if transpose is None else reduction_axes(node, permutation(transpose))
    if transpose is None or axes is None:
        return 0
    reduce_along(node, axes)
    node.replace_input_with(0, transpose.inputs[0])
    _remove_if_unused(transpose)
    return 1


def _permutations(model: ir.Model) -> tuple[Permutation, ...]:
    """Those of all Transposes, and those that undo them."""
    found = [permutation(node) for node in model.graph if node.op_type == "Transpose"]
    return tuple(dict.fromkeys((*found, *map(inverse_of, found))))


def _move(model: ir.Model, perm: Permutation) -> int:
    """Bring operators into the order of axes before ``perm`` where that saves; the number of operators moved.

    What moves behind a Transpose reads the operand of that Transpose, whose maker therefore stays.
    """
    if perm == tuple(range(len(perm))):
        return 0
    candidates = {node for node in model.graph if is_permutable(node, len(perm))}
    side = _network(candidates, perm).source_side(_MOVES, _STAYS)
    chosen = [node for node in model.graph if node in candidates and node in side]
    if chosen:
        _Mover(model.graph, perm, chosen).move()
        _compose_all(model)
    return len(chosen)


def _network(candidates: set[ir.Node], perm: Permutation) -> Network:
    network = Network()
    values = {value: None for node in candidates for value in (*data_inputs(node), *node.outputs)}
    for value in values:
        if value is None or not value.name or value.is_initializer() or is_one_number(value):
            continue
        producer = value.producer()
        if producer in candidates:
            start: Hashable = producer
        else:
            start = _MOVES if producer is not None and _is_transpose(producer, perm) else _STAYS
        readers = {_side_of(item, value, candidates, perm) for item in value.consumers()}
        if start is _MOVES and producer is not None and (maker := _maker(producer)) in candidates:
            network.add(maker, _STAYS, UNBOUNDED)
        if value.is_graph_output():
            readers.add(_STAYS)
        _connect(network, value, start, {item for item in readers if item is not None}, perm)
    return network


def _maker(node: ir.Node) -> ir.Node | None:
    """The node that computes what another reads."""
    return None if node.inputs[0] is None else node.inputs[0].producer()


def _is_transpose(node: ir.Node, perm: Permutation) -> bool:
    return node.op_type == "Transpose" and permutation(node) == perm


def _side_of(node: ir.Node, value: ir.Value, candidates: set[ir.Node], perm: Permutation) -> Hashable | None:
    """Where a reader belongs; None where it reads either order at the same price."""
    if node in candidates and value in data_inputs(node):
        return node
    if node.op_type == "Transpose":
        return _MOVES if permutation(node) == inverse_of(perm) else None
    if reduction_axes(node, perm) is not None:
        return None
    return _STAYS


def _connect(network: Network, value: ir.Value, start: Hashable, readers: set[Hashable], perm: Permutation) -> None:
    """One Transpose serves all readers on the other side than the producer."""
    shape = static_shape(value)
    assert value.dtype is not None
    price = 1 if moves_nothing(shape, inverse_of(perm)) else 1 + math.ceil(math.prod(shape) * value.dtype.itemsize)
    forward, backward = ("to stays", value), ("to moves", value)
    network.add(start, forward, price)
    network.add(backward, start, price)
    for reader in readers:
        network.add(forward, reader, UNBOUNDED)
        network.add(reader, backward, UNBOUNDED)


class _Mover:
    """Carries out one choice."""

    def __init__(self, graph: ir.Graph, perm: Permutation, chosen: list[ir.Node]) -> None:
        self.graph, self.perm, self.inverse = graph, perm, inverse_of(perm)
        self.chosen = dict.fromkeys(chosen)
        self.arrived: dict[ir.Value, ir.Value] = {}

    def move(self) -> None:
        """Move every chosen node: its operands, its axes, then what reads its results."""
        made = {value for node in self.chosen for value in node.outputs}
        for node in self.chosen:
            for index, value in enumerate(data_inputs(node)):
                if value is not None and value not in made:
                    node.replace_input_with(index, self._before(node, value))
        for node in self.chosen:
            permute_node(node, self.perm)
            for value in node.outputs:
                if value.name and not is_one_number(value):
                    self._serve(node, value)
        for value in self.arrived:
            if (producer := _transpose_before(value)) is not None:
                _remove_if_unused(producer)

    def _before(self, node: ir.Node, value: ir.Value) -> ir.Value:
        """An operand from outside in the order before the transposition."""
        if value not in self.arrived:
            producer = value.producer()
            if is_one_number(value):
                self.arrived[value] = value
            elif value.is_initializer():
                self.arrived[value] = permuted_constant(self.graph, value, self.inverse)
            elif producer is not None and _is_transpose(producer, self.perm):
                source = producer.inputs[0]
                assert source is not None
                self.arrived[value] = source
            else:
                self.arrived[value] = self._transposed_before(node, value)
        return self.arrived[value]

    def _transposed_before(self, node: ir.Node, value: ir.Value) -> ir.Value:
        shape = static_shape(value)
        result = new_value(unique_name(self.graph, f"{value.name}_transposed"), value, [shape[i] for i in self.inverse])
        insert_node(node, "Transpose", [value], result, {"perm": ir.AttrInt64s("perm", list(self.inverse))})
        return result

    def _serve(self, node: ir.Node, value: ir.Value) -> None:
        """Give every reader that stays the order it knows."""
        staying = [use for use in value.uses() if use.node not in self.chosen]
        is_output = value.is_graph_output()  # before a Transpose that makes one vanishes
        others = []
        for use in staying:
            axes = reduction_axes(use.node, self.perm) if use.idx == 0 else None
            if axes is not None:
                reduce_along(use.node, axes)
            else:
                others.append(use)
        for use in [use for use in others if use.node.op_type == "Transpose"]:
            _set_or_bypass(use.node, value, self.perm)
        rest = [use for use in others if use.node.graph is not None and use.node.op_type != "Transpose"]
        if rest or is_output:
            self._transposed_after(node, value, rest, is_output)

    def _transposed_after(
        self, node: ir.Node, value: ir.Value, uses: Sequence[tuple[ir.Node, int]], is_output: bool
    ) -> None:
        shape = static_shape(value)
        name = unique_name(self.graph, f"{value.name}_transposed")
        result = new_value(name, value, [shape[axis] for axis in self.perm])
        attributes = [ir.AttrInt64s("perm", list(self.perm))]
        transpose = ir.Node("", "Transpose", [value], attributes=attributes, outputs=[result], name=name)
        self.graph.insert_after(node, transpose)
        for reader, index in uses:
            reader.replace_input_with(index, result)
        if is_output:
            self.graph.outputs[list(self.graph.outputs).index(value)] = result
            value.name, result.name = unique_name(self.graph, f"{value.name}_untransposed"), value.name
