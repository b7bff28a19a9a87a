"""Constants of a quantized graph: integer initializers behind DequantizeLinear."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.graph.qdq_qparams import layer_axis, layer_constants
from microlith.graph.qdq_rules import data_positions
from microlith.graph.values import Array, Names, constant, describe, static_shape
from microlith.quant.schemes import Grid, Scheme, qparams_from_range, quantize_array
from microlith.quant.types import QArray, QParams
from microlith.quant.weights import layer_integers


class Constants:
    """Replaces the float constants of one graph; equal integers of one constant are stored once.

    Args:
        graph: changed in place.
        names: that are taken in the graph.
        scheme: of weights.
    """

    def __init__(self, graph: ir.Graph, names: Names, scheme: Scheme) -> None:
        self._graph = graph
        self._names = names
        self._scheme = scheme
        self._made: dict[tuple[object, ...], ir.Value] = {}

    def layer(self, node: ir.Node, inputs: QParams) -> None:
        """Weights and bias of a Conv or Gemm whose input has the parameters given."""
        weights, bias = layer_constants(node)
        try:
            integers = layer_integers(
                weights,
                bias,
                inputs,
                axis=layer_axis(node),
                per_channel=self._scheme.per_channel,
                symmetric=self._scheme.weights_symmetric,
                search=self._scheme.weights_calibration == "mse",
            )
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, 1, integers.weights)
        if integers.bias is not None:
            self._replace(node, 2, integers.bias)
        for name in ("alpha", "beta"):
            if name in node.attributes:
                node.attributes.add(ir.AttrFloat32(name, 1.0))

    def matmul(self, node: ir.Node, index: int, other: QParams) -> None:
        """The constant operand of a MatMul whose other operand has the parameters given."""
        array = _constant_at(node, index)
        columns = array.reshape((-1, 1) if index == 1 else (1, -1)) if array.ndim == 1 else array
        try:
            integers = layer_integers(
                columns.astype(np.float32),
                None,
                other,
                axis=columns.ndim - 1 if index == 1 else columns.ndim - 2,
                per_channel=False,
                symmetric=self._scheme.weights_symmetric,
                search=self._scheme.weights_calibration == "mse",
            ).weights
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, index, QArray(integers.values.reshape(array.shape), integers.qparams))

    def operand(self, node: ir.Node, index: int, qparams: QParams | None = None) -> None:
        """A constant operand of an elementwise op, or of a Concat with the parameters of its result."""
        array = _constant_at(node, index).astype(np.float32)
        low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
        try:
            integers = quantize_array(array, qparams or qparams_from_range(low, high, Grid()))
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, index, integers)

    def _replace(self, node: ir.Node, index: int, integers: QArray) -> None:
        value = node.inputs[index]
        assert value is not None
        node.replace_input_with(index, self._dequantized(value, integers, node))

    def _dequantized(self, value: ir.Value, integers: QArray, before: ir.Node) -> ir.Value:
        qparams, name = integers.qparams, str(value.name)
        key = (name, qparams.dtype, qparams.axis, qparams.scale.tobytes(), integers.values.tobytes())
        if key not in self._made:
            stored = self._names.initializer(f"{name}_quantized", integers.values)
            scale, zero = add_qparams(self._names, name, qparams)
            result = dequantize(self._names, stored, scale, zero, self._names.value(f"{name}_dequantized"))
            producer = result.producer()
            assert producer is not None
            if qparams.axis is not None:
                producer.attributes.add(ir.AttrInt64("axis", qparams.axis))
            self._graph.insert_before(before, producer)
            self._made[key] = result
        return self._made[key]


def constant_operands(node: ir.Node) -> tuple[int, ...]:
    """Positions of the data inputs of a node that are constant."""
    return tuple(index for index in data_positions(node) if constant(node.inputs[index]) is not None)


def _constant_at(node: ir.Node, index: int) -> Array:
    array = constant(node.inputs[index])
    assert array is not None
    return array


def add_qparams(names: Names, name: str, qparams: QParams) -> tuple[ir.Value, ir.Value]:
    """Initializers ``<name>_scale`` and ``<name>_zero_point``."""
    scale = names.initializer(f"{name}_scale", qparams.scale)
    return scale, names.initializer(f"{name}_zero_point", qparams.zero_point.astype(qparams.dtype))


def dequantize(names: Names, integers: ir.Value, scale: ir.Value, zero: ir.Value, name: str) -> ir.Value:
    """The result of a new DequantizeLinear, not yet placed in the graph."""
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(static_shape(integers)))
    ir.Node(
        "",
        "DequantizeLinear",
        [integers, scale, zero],
        outputs=[value],
        name=names.node(f"{integers.name}_DequantizeLinear"),
    )
    return value


def prepend(graph: ir.Graph, node: ir.Node) -> None:
    """Put a node at the start of the graph."""
    graph.insert_before(graph[0], node)
