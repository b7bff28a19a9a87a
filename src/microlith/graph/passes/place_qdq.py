"""Places QuantizeLinear and DequantizeLinear so that every operation computes on integers.

Around a float operation ``y = f(x)`` stand ``DequantizeLinear`` on each input and ``QuantizeLinear`` on the result. A
Relu or Clip that alone reads a result belongs to the operation, so nothing is quantized in between. Weights and biases
become integer initializers behind DequantizeLinear: of at most 8 bits, and int32 with the scale ``sx * sw``. The result
is standard ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.metadata import io_qparams, keep_in_float, set_io_qparams, set_requantization
from microlith.graph.qdq_constants import (
    Constants,
    Roundings,
    add_qparams,
    constant_operands,
    dequantize,
    prepend,
    to_nearest,
)
from microlith.graph.qdq_plan import Plan, make_plan
from microlith.graph.qdq_qparams import Ranges, assign_qparams, observed_values
from microlith.graph.qdq_rules import data_inputs, rule_of
from microlith.graph.qdq_schemes import node_schemes
from microlith.graph.state import State, initial_values, read_states, set_states
from microlith.graph.values import Names, static_shape
from microlith.quant.integer_move import quantize
from microlith.quant.schemes import Scheme
from microlith.quant.types import QParams, Requantization

Interface = Literal["int", "float"]

# Per-channel DequantizeLinear came with opset 13.
_LEAST_OPSET = 13


def values_to_observe(model: ir.Model, float_ops: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the values whose ranges :func:`place_qdq` needs, in graph order.

    Raises:
        UnsupportedError: a node has no integer form; see :func:`microlith.graph.qdq_plan.make_plan`.
    """
    return observed_values(make_plan(model, float_ops))


def place_qdq(
    model: ir.Model,
    ranges: Ranges,
    scheme: Scheme,
    requantization: Requantization,
    *,
    float_ops: Sequence[str] = (),
    io: Interface = "int",
    rounding: Roundings = to_nearest,
) -> ir.Model:
    """A quantized copy of a float model.

    Args:
        model: float, after the passes (BatchNorm folded, constants lifted, types known); left as it is.
        ranges: least and greatest value of every value of :func:`values_to_observe`, by name.
        scheme: of weights and activations; its calibration method has done its work in ``ranges``.
        requantization: written into the model's metadata.
        float_ops: names of nodes, or op types, to keep in float.
        io: ``int`` makes graph inputs and outputs integer tensors of the same names and records what they mean in the
            metadata; ``float`` keeps them, with QuantizeLinear and DequantizeLinear at the borders. States are integer
            tensors in any case, unless one end stays in float at the user's wish.
        rounding: chooses the integers of weights; given each node of ``model``'s copy that has some.

    Raises:
        UnsupportedError: a node cannot be quantized; the message names it and says how to keep it in float.
        ModelError: a range is missing, or a range or a weight is not finite.
    """
    opset = model.graph.opset_imports.get("", 0)
    if opset < _LEAST_OPSET:
        raise UnsupportedError(f"the model has opset {opset}, expected {_LEAST_OPSET} or later")
    result = model.clone()
    states = read_states(result)
    plan = make_plan(result, float_ops)
    schemes = node_schemes(result.graph, scheme)
    grids = {str(plan.result(node).name): schemes[node].grid for node in plan.integer_nodes()}
    qparams = assign_qparams(plan, ranges, scheme.grid, initial_values(model), grids)
    for node in (node for node, kind in plan.kinds.items() if kind == "float"):
        keep_in_float(node)
    names = Names(result.graph)
    _quantize_constants(Constants(result.graph, names, schemes, rounding), plan, qparams)
    placer = _Placer(result, names, _interfaces(result, plan, io))
    inputs = [value for value in plan.values if value.producer() is None]
    for value in reversed(inputs):
        placer.graph_input(value, qparams[value])
    for value in plan.values:
        if value.producer() is not None:
            placer.produced(value, qparams[value])
    _record_given(result, plan)
    set_states(result, [_quantized_state(state, qparams, plan) for state in states])
    drop_unused_initializers(result.graph)
    set_requantization(result, requantization)
    return result


def _quantize_constants(constants: Constants, plan: Plan, qparams: dict[ir.Value, QParams]) -> None:
    for node in plan.integer_nodes():
        rule = rule_of(node)
        assert rule is not None
        operands = data_inputs(node)
        if rule.role == "layer":
            constants.layer(node, qparams[operands[0]])
        for index in constant_operands(node):
            if rule.role == "matmul":
                constants.matmul(node, index, qparams[operands[1 - index]])
            else:
                constants.operand(node, index, qparams[node.outputs[0]] if rule.role == "concat" else None)


def _interfaces(model: ir.Model, plan: Plan, io: Interface) -> dict[str, Interface]:
    """How the graph inputs and outputs are to be, by name: a state is kept as integers where both of its ends are."""
    found = {str(value.name): io for value in (*model.graph.inputs, *model.graph.outputs)}
    for state in read_states(model):
        found[state.input] = found[state.output] = "float"
    for into, out in plan.states.items():
        found[str(into.name)] = found[str(out.name)] = "int"
    return found


def _quantized_state(state: State, qparams: Mapping[ir.Value, QParams], plan: Plan) -> State:
    """The state with its initial value as the graph now holds it; zeros stay zeros."""
    into = next((value for value in plan.states if value.name == state.input), None)
    if into is None or state.initial is None:
        return state
    return replace(state, initial=quantize(np.asarray(state.initial, np.float32), qparams[into]))


class _Placer:
    def __init__(self, model: ir.Model, names: Names, interfaces: Mapping[str, Interface]) -> None:
        self._model = model
        self._names = names
        self._graph = model.graph
        self._io = interfaces

    def graph_input(self, value: ir.Value, qparams: QParams) -> None:
        """Quantize a graph input, or make it an integer tensor."""
        name = str(value.name)
        scale, zero = add_qparams(self._names, name, qparams)
        if self._io[name] == "float":
            quantized = self._quantized(value, f"{name}_quantized", qparams)
            result = self._dequantized(quantized, scale, zero, f"{name}_dequantized")
            self._redirect(value, result)
            first = self._quantize_node(value, scale, zero, quantized)
            prepend(self._graph, first)
            self._graph.insert_after(first, _producer(result))
            return
        result = self._dequantized(self._integer_input(value, qparams), scale, zero, f"{name}_dequantized")
        self._redirect(value, result)
        prepend(self._graph, _producer(result))

    def _integer_input(self, value: ir.Value, qparams: QParams) -> ir.Value:
        integers = self._quantized(value, str(value.name), qparams)
        self._graph.inputs[self._graph.inputs.index(value)] = integers
        set_io_qparams(self._model, str(value.name), qparams)
        return integers

    def produced(self, value: ir.Value, qparams: QParams) -> None:
        """Quantize the result of a node for all its readers and, where it is one, for the graph output."""
        name, producer, is_output = str(value.name), _producer(value), value.is_graph_output()
        scale, zero = add_qparams(self._names, name, qparams)
        if is_output:
            value.name = self._names.value(f"{name}_float")
            self._names.release(name)
        as_integers = is_output and self._io[name] == "int"
        quantized = self._quantized(value, name if as_integers else f"{name}_quantized", qparams)
        if as_integers:
            self._graph.outputs[self._graph.outputs.index(value)] = quantized
            set_io_qparams(self._model, name, qparams)
        result = None
        if value.uses() or not as_integers:
            as_output = is_output and not as_integers
            result = self._dequantized(quantized, scale, zero, name if as_output else f"{name}_dequantized")
            if as_output:
                self._graph.outputs[self._graph.outputs.index(value)] = result
            self._redirect(value, result)
        node = self._quantize_node(value, scale, zero, quantized)
        self._graph.insert_after(producer, node)
        if result is not None:
            self._graph.insert_after(node, _producer(result))

    def _quantized(self, value: ir.Value, name: str, qparams: QParams) -> ir.Value:
        if name != value.name:
            name = self._names.value(name)
        return ir.Value(
            name=name, type=ir.TensorType(ir.DataType[qparams.dtype.upper()]), shape=ir.Shape(static_shape(value))
        )

    def _quantize_node(self, value: ir.Value, scale: ir.Value, zero: ir.Value, quantized: ir.Value) -> ir.Node:
        name = self._names.node(f"{value.name}_QuantizeLinear")
        return ir.Node("", "QuantizeLinear", [value, scale, zero], outputs=[quantized], name=name)

    def _dequantized(self, integers: ir.Value, scale: ir.Value, zero: ir.Value, name: str) -> ir.Value:
        return dequantize(self._names, integers, scale, zero, self._names.value(name))

    def _redirect(self, value: ir.Value, result: ir.Value) -> None:
        for use in tuple(value.uses()):
            use.node.replace_input_with(use.idx, result)


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node


def _record_given(model: ir.Model, plan: Plan) -> None:
    """State what the integers of an input mean that the model already dequantizes itself."""
    for value, qparams in plan.given.items():
        source = _producer(value).inputs[0]
        while source is not None and source.producer() is not None:
            source = _producer(source).inputs[0]
        assert source is not None
        if io_qparams(model, str(source.name)) is None:
            set_io_qparams(model, str(source.name), qparams)


def drop_unused_initializers(graph: ir.Graph) -> None:
    """Remove the constants that nothing reads."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
