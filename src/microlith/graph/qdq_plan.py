"""Which values of a float graph are quantized, which of them share parameters, and which nodes become one operation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.qdq_rules import data_inputs, rule_of
from microlith.graph.state import read_states
from microlith.graph.units import delivers_order, fused_activation
from microlith.graph.values import constant, describe, input_at, static_shape
from microlith.quant.types import QParams
from microlith.quant.weights import ACCUMULATOR_LIMIT

Kind = Literal["integer", "float", "raw", "given"]


@dataclass(frozen=True)
class Plan:
    """The structure of a quantization, before any range is known.

    Attributes:
        kinds: of every node: ``integer``, ``float`` (kept at the user's wish), ``raw`` (moves the integers of a graph
            input, or computes on integers and booleans that stand for themselves), or ``given`` (the DequantizeLinear
            that states what those integers mean).
        fused: the Relu or Clip computed together with a node.
        values: values that get QuantizeLinear and DequantizeLinear, graph inputs first, then in graph order.
        given: values that come out of a ``given`` node, with their parameters.
        states: by the graph input that is a state, the graph output that it becomes, where both are quantized.
    """

    kinds: Mapping[ir.Node, Kind]
    fused: Mapping[ir.Node, ir.Node]
    values: tuple[ir.Value, ...]
    given: Mapping[ir.Value, QParams] = field(default_factory=dict)
    states: Mapping[ir.Value, ir.Value] = field(default_factory=dict)

    def integer_nodes(self) -> tuple[ir.Node, ...]:
        """The heads of integer operations in graph order, fused activations left out."""
        followers = set(self.fused.values())
        return tuple(node for node, kind in self.kinds.items() if kind == "integer" and node not in followers)

    def result(self, node: ir.Node) -> ir.Value:
        """The value that an operation delivers: the output of the node, or of the activation fused to it."""
        return self.fused.get(node, node).outputs[0]


def make_plan(model: ir.Model, float_ops: Sequence[str] = ()) -> Plan:
    """Decide what becomes integer.

    Args:
        model: float, with known types; passes have run.
        float_ops: names of nodes, or op types, to keep in float.

    Raises:
        UnsupportedError: a node has no integer form and is not among ``float_ops``, or the graph is quantized already.
        InputError: ``float_ops`` names nothing in the graph.
    """
    graph = model.graph
    check_names(graph, float_ops)
    kinds: dict[ir.Node, Kind] = {}
    given: dict[ir.Value, QParams] = {}
    for node in graph:
        kinds[node] = _kind(node, float_ops)
        if kinds[node] == "given":
            given[node.outputs[0]] = _given_qparams(node)
        elif kinds[node] == "integer":
            _check_operands(node)
    fused = {node: follower for node in graph if (follower := _activation(node, kinds)) is not None}
    values = _quantized_values(graph, kinds, fused, given)
    return Plan(kinds, fused, values, given, _quantized_states(model, values))


def _quantized_states(model: ir.Model, values: Sequence[ir.Value]) -> dict[ir.Value, ir.Value]:
    by_name = {str(value.name): value for value in values}
    pairs = [(state.input, state.output) for state in read_states(model)]
    return {by_name[into]: by_name[out] for into, out in pairs if into in by_name and out in by_name}


def check_names(graph: ir.Graph, float_ops: Sequence[str]) -> None:
    """Refuse names that are neither a node nor an op of the graph."""
    known = {node.name for node in graph if node.name} | {node.op_type for node in graph}
    for name in float_ops:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), 1)
            raise InputError(
                f"{name!r}, to be kept in float, is neither a node nor an op of the model",
                hint=f"Did you mean {near[0]!r}?" if near else "Name a node or an op type such as Softmax.",
            )


def _kind(node: ir.Node, float_ops: Sequence[str]) -> Kind:
    if node.op_type == "DequantizeLinear" and _is_raw(node.inputs[0]):
        return "given"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        raise UnsupportedError("the model is quantized already", node=describe(node), hint="Give the float model.")
    rule = rule_of(node)
    if rule is not None and rule.role == "movement" and _is_raw(node.outputs[0]):
        return "raw"
    if all(value is None or value.dtype not in (None, ir.DataType.FLOAT) for value in (*node.inputs, *node.outputs)):
        return "raw"
    if node.name in float_ops or node.op_type in float_ops:
        return "float"
    if rule is None:
        raise _refusal(node, f"{node.op_type} has no integer form")
    outputs = [value for value in node.outputs if value.name]
    floats = [value for value in outputs[1:] if value.dtype == ir.DataType.FLOAT]
    if any(value.uses() or value.is_graph_output() for value in floats):
        raise _refusal(node, f"the second result of {node.op_type} has no integer form")
    for value in (*(() if rule.role == "order" else outputs[:1]), *data_inputs(node)):
        if value.dtype != ir.DataType.FLOAT:
            raise _refusal(node, f"{value.name!r} is {value.dtype}, expected FLOAT")
    return "integer"


def _refusal(node: ir.Node, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"{what}, so the node cannot be quantized",
        node=describe(node),
        hint=f"Keep it in float: float_ops = [{(node.name or node.op_type)!r}].",
    )


def _is_raw(value: ir.Value | None) -> bool:
    """Whether a value holds the integers of a graph input, moved at most."""
    while value is not None and value.dtype in (ir.DataType.UINT8, ir.DataType.INT8):
        if value.is_graph_input():
            return True
        producer = value.producer()
        rule = rule_of(producer) if producer is not None else None
        if producer is None or rule is None or rule.role != "movement":
            return False
        value = producer.inputs[0]
    return False


def _given_qparams(node: ir.Node) -> QParams:
    integers, scale = node.inputs[0], constant(node.inputs[1])
    assert integers is not None
    assert integers.dtype is not None
    zero = constant(input_at(node, 2))
    if scale is None or scale.size != 1:
        raise UnsupportedError("an input must have one constant quantization scale", node=describe(node))
    zero_point = 0 if zero is None else int(zero.reshape(()))
    return QParams.per_tensor(float(scale.reshape(())), zero_point, integers.dtype.name.lower())


def _check_operands(node: ir.Node) -> None:
    rule = rule_of(node)
    assert rule is not None
    if rule.role == "layer":
        for index, what in ((1, "weights"), (2, "bias")):
            value = input_at(node, index)
            if value is not None and constant(value) is None:
                raise _refusal(node, f"the {what} {value.name!r} are not constant")
    if node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) != 1:
        raise _refusal(node, "ConvTranspose with groups has no integer form")
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        raise _refusal(node, "Gemm with transA has no integer form")
    operands = data_inputs(node)
    if rule.role == "matmul" and all(constant(value) is None for value in operands):
        depth = static_shape(operands[0])[-1]
        if depth * 255 * 255 > ACCUMULATOR_LIMIT:
            raise _refusal(node, f"sums of {depth} products can exceed 32 bits")
    if all(constant(value) is not None for value in operands):
        raise UnsupportedError("all inputs are constant", node=describe(node), hint="Run the graph passes first.")
    if node.op_type == "Pad":
        pad = constant(input_at(node, 2))
        if pad is not None and not np.isfinite(pad).all():
            raise _refusal(node, f"a pad value of {float(pad.reshape(()))} has no integer form")


def _activation(node: ir.Node, kinds: Mapping[ir.Node, Kind]) -> ir.Node | None:
    follower = fused_activation(node) if kinds[node] == "integer" else None
    return follower if follower is not None and kinds[follower] == "integer" else None


def _quantized_values(
    graph: ir.Graph,
    kinds: Mapping[ir.Node, Kind],
    fused: Mapping[ir.Node, ir.Node],
    given: Iterable[ir.Value],
) -> tuple[ir.Value, ...]:
    excluded = set(given) | {head.outputs[0] for head in fused}
    wanted: set[ir.Value] = set()
    for node, kind in kinds.items():
        if kind == "integer":
            wanted.update(value for value in data_inputs(node) if constant(value) is None)
            wanted.update(node.outputs[:0] if delivers_order(node) else node.outputs[:1])
    wanted -= excluded
    ordered = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    for value in graph.inputs:
        if value in wanted and value.is_graph_output():
            raise UnsupportedError(f"{value.name!r} is an input and an output of the graph")
    return tuple(value for value in ordered if value in wanted)
