"""Writes out small loops whose number of turns is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.graph.loop_turns import loop_turns
from microlith.graph.pass_base import EXACT, PassResult, Property
from microlith.graph.subgraphs import MAX_NODES, inline, node_count, replace_outputs, subgraph
from microlith.graph.values import add_initializer, integer, ints, known_shape, unique_name


class UnrollLoops:
    """Repeats the body of a Loop or Scan as often as it runs, if that is known and makes few nodes.

    ``Loop(n, true, v)`` with a body that lets its condition be: v1 = body(0, v), v2 = body(1, v1) ... ``Scan`` over an
    axis of n elements likewise, each turn on one element. What a turn yields is stacked by a Concat.
    A loop whose condition is computed runs as often as a counter of its own says, if that starts as a constant.
    """

    name = "UnrollLoops"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: loops written out."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "Loop":
                changes += _unroll_loop(node)
            elif node.op_type == "Scan":
                changes += _unroll_scan(node)
        return PassResult(changes)


def _fits(body: ir.Graph, turns: int, least: int = 1) -> bool:
    return turns >= least and turns * max(node_count(body), 1) <= MAX_NODES


def _unroll_loop(node: ir.Node) -> bool:
    body, graph, carried = subgraph(node, "body"), node.graph, len(node.inputs) - 2
    if body is None or len(body.inputs) != carried + 2:
        return False
    turns = loop_turns(node, body)
    if turns is None or not _fits(body, turns, least=0 if len(body.outputs) == carried + 1 else 1):
        return False
    assert graph is not None
    state = list(node.inputs[2:])
    if any(value is None for value in state):
        return False
    true = add_initializer(graph, f"{node.name}_true", np.asarray(True))
    stacks: list[list[ir.Value]] = [[] for _ in body.outputs[carried + 1 :]]
    for turn in range(turns):
        number = add_initializer(graph, f"{node.name}_turn", np.asarray(turn, np.int64))
        found = inline(node, body, [number, true, *_present(state)], f"_{node.name}_{turn}")
        state = list(found[1 : carried + 1])
        for stack, value in zip(stacks, found[carried + 1 :], strict=True):
            stack.append(value)
    replace_outputs(node, [*_present(state), *(_stacked(node, stack, 0) for stack in stacks)])
    return True


def _present(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    return [value for value in values if value is not None]


def _unroll_scan(node: ir.Node) -> bool:
    body, scanned = subgraph(node, "body"), integer(node, "num_scan_inputs", 0)
    carried = len(node.inputs) - scanned
    if body is None or scanned < 1 or carried < 0 or len(body.inputs) != len(node.inputs):
        return False
    made = len(node.outputs) - carried
    shapes = [known_shape(value) for value in node.inputs[carried:]]
    axes = ints(node, "scan_input_axes", (0,) * scanned)
    if any(shape is None for shape in shapes) or len(axes) != scanned or made < 0:
        return False
    sizes = {shape[axis] for shape, axis in zip(shapes, axes, strict=True) if shape is not None}
    if len(sizes) != 1 or not _fits(body, turns := sizes.pop()):
        return False
    back_in, back_out = ints(node, "scan_input_directions", (0,) * scanned), _directions_out(node, made)
    out_axes = ints(node, "scan_output_axes", (0,) * made)
    state = _present(node.inputs[:carried])
    stacks: list[list[ir.Value]] = [[] for _ in range(made)]
    for turn in range(turns):
        elements = [
            _element(node, value, turns - 1 - turn if back else turn, axis)
            for value, axis, back in zip(_present(node.inputs[carried:]), axes, back_in, strict=True)
        ]
        found = inline(node, body, [*state, *elements], f"_{node.name}_{turn}")
        state = list(found[:carried])
        for stack, value, back in zip(stacks, found[carried:], back_out, strict=True):
            stack.insert(0 if back else len(stack), value)
    stacked = [_stacked(node, stack, axis) for stack, axis in zip(stacks, out_axes, strict=True)]
    replace_outputs(node, [*state, *stacked])
    return True


def _directions_out(node: ir.Node, made: int) -> tuple[int, ...]:
    return ints(node, "scan_output_directions", (0,) * made)


def _element(node: ir.Node, value: ir.Value, index: int, axis: int) -> ir.Value:
    assert node.graph is not None
    place = add_initializer(node.graph, f"{node.name}_index", np.asarray(index, np.int64))
    return _insert(node, "Gather", [value, place], ir.AttrInt64("axis", axis))


def _stacked(node: ir.Node, values: Sequence[ir.Value], axis: int) -> ir.Value:
    """The values along a new axis, in order."""
    assert node.graph is not None
    axes = add_initializer(node.graph, f"{node.name}_axes", np.asarray([axis], np.int64))
    rows = [_insert(node, "Unsqueeze", [value, axes]) for value in values]
    return _insert(node, "Concat", rows, ir.AttrInt64("axis", axis))


def _insert(node: ir.Node, op_type: str, inputs: Sequence[ir.Value], *attributes: ir.Attr) -> ir.Value:
    graph = node.graph
    assert graph is not None
    value = ir.Value(name=unique_name(graph, f"{node.name}_{op_type}"))
    made = ir.Node("", op_type, inputs, attributes=attributes, outputs=[value], name=value.name)
    graph.insert_before(node, made)
    return value
