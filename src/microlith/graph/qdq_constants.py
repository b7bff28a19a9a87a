"""Constants of a quantized graph: integer initializers behind DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.graph.metadata import set_weight_kind
from microlith.graph.qdq_qparams import layer_axis, layer_constants
from microlith.graph.qdq_rules import data_positions
from microlith.graph.values import (
    Array,
    Names,
    as_stored,
    constant,
    describe,
    insert_node,
    new_value,
    static_shape,
)
from microlith.quant.schemes import Grid, Scheme, qparams_from_range, quantize_array
from microlith.quant.types import QArray, QParams
from microlith.quant.weights import (
    Rounding,
    layer_integers,
    quantize_weights,
    weight_qparams,
    weight_settings,
)

Roundings = Callable[[ir.Node], Rounding]
"""The rounding of the weights of each layer."""


def to_nearest(node: ir.Node) -> Rounding:
    """The nearest integers, in every layer."""
    return quantize_weights


class Constants:
    """Replaces the float constants of one graph; equal integers of one constant are stored once.

    Args:
        graph: changed in place.
        names: that are taken in the graph.
        schemes: of the weights of each node.
        rounding: of the weights of each node.
    """

    def __init__(
        self, graph: ir.Graph, names: Names, schemes: Mapping[ir.Node, Scheme], rounding: Roundings = to_nearest
    ) -> None:
        self._graph = graph
        self._names = names
        self._schemes = schemes
        self._rounding = rounding
        self._made: dict[tuple[object, ...], ir.Value] = {}

    def layer(self, node: ir.Node, inputs: QParams) -> None:
        """Weights and bias of a Conv or Gemm whose input has the parameters given."""
        weights, bias = layer_constants(node)
        scheme = self._schemes[node]
        try:
            integers = layer_integers(
                weights,
                bias,
                inputs,
                axis=layer_axis(node),
                per_channel=scheme.per_channel,
                **weight_settings(scheme),
                rounding=self._rounding(node),
            )
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, 1, integers.weights, scheme)
        if integers.bias is not None:
            self._replace(node, 2, integers.bias)
        for name in ("alpha", "beta"):
            if name in node.attributes:
                node.attributes.add(ir.AttrFloat32(name, 1.0))

    def matmul(self, node: ir.Node, index: int, other: QParams) -> None:
        """The constant operand of a MatMul whose other operand has the parameters given."""
        array = _constant_at(node, index)
        scheme = self._schemes[node]
        columns = array.reshape((-1, 1) if index == 1 else (1, -1)) if array.ndim == 1 else array
        try:
            integers = layer_integers(
                columns.astype(np.float32),
                None,
                other,
                axis=columns.ndim - 1 if index == 1 else columns.ndim - 2,
                per_channel=False,
                **weight_settings(scheme),
                rounding=self._rounding(node),
            ).weights
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, index, QArray(integers.values.reshape(array.shape), integers.qparams), scheme)

    def weights(self, node: ir.Node, index: int) -> None:
        """The weights of a layer whose activations stay floats; its bias and its attributes stay as they are."""
        array, scheme = _constant_at(node, index).astype(np.float32), self._schemes[node]
        axis = output_axis(node, index, array.ndim)
        if scheme.group_size is not None:
            self._grouped(node, index, np.moveaxis(array, axis, 0), scheme.group_size)
            return
        try:
            qparams = weight_qparams(
                array,
                axis if scheme.per_channel else None,
                **weight_settings(scheme),
            )
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, index, self._rounding(node)(array, qparams, scheme.weight_grid), scheme)

    def _grouped(self, node: ir.Node, index: int, rows: Array, size: int) -> None:
        """Weights (O, ...) with a scale for every ``size`` of a row: rows of that size, shaped as the layer reads them.

        A matrix that is read with its rows across is transposed, a Gemm's by its own attribute.
        """
        if node.op_type == "ConvTranspose" or (node.op_type == "MatMul" and (rows.ndim != 2 or index != 1)):
            raise UnsupportedError("its weights cannot be quantized in groups", node=describe(node))
        count = int(np.prod(rows.shape[1:], dtype=np.int64))
        if count % size:
            raise UnsupportedError(
                f"its {count} weights of an output channel are no multiple of the group size {size}",
                node=describe(node),
                hint="Give it a group size of its own in overrides.",
            )
        scheme = self._schemes[node]
        parts = rows.reshape(-1, size).astype(np.float32)
        qparams = weight_qparams(parts, 0, **weight_settings(scheme))
        stored = self._replace(node, index, quantize_weights(parts, qparams, scheme.weight_grid), scheme)
        names, name = self._names, str(stored.name)
        result = new_value(names.value(f"{name}_shaped"), stored, rows.shape)
        shape = names.initializer(f"{name}_shape", np.array(rows.shape, np.int64))
        insert_node(node, "Reshape", [stored, shape], result)
        if node.op_type == "Gemm":
            node.attributes.add(ir.AttrInt64("transB", 1))
        elif node.op_type == "MatMul":
            across = new_value(names.value(f"{name}_across"), stored, rows.shape[::-1])
            turn = insert_node(node, "Transpose", [result], across)
            turn.attributes.add(ir.AttrInt64s("perm", [1, 0]))
            result = across
        node.replace_input_with(index, result)

    def operand(self, node: ir.Node, index: int, qparams: QParams | None = None) -> None:
        """A constant operand of an elementwise op, or of a Concat with the parameters of its result."""
        array = _constant_at(node, index).astype(np.float32)
        low, high = float(array.min(initial=0.0)), float(array.max(initial=0.0))
        wide = self._schemes[node].activations == "int16"
        try:
            integers = quantize_array(
                array, qparams or qparams_from_range(low, high, Grid("int16", symmetric=True) if wide else Grid())
            )
        except ModelError as error:
            error.node = error.node or describe(node)
            raise
        self._replace(node, index, integers)

    def _replace(self, node: ir.Node, index: int, integers: QArray, scheme: Scheme | None = None) -> ir.Value:
        value = node.inputs[index]
        assert value is not None
        if node.op_type == "Gemm" and integers.qparams.dtype == "int2":
            # ONNX Runtime takes a Gemm of int2 for one that its integer kernel computes, which then refuses it.
            integers = QArray(integers.values, replace(integers.qparams, dtype="int4"))
        result = self._dequantized(value, integers, node)
        producer = result.producer()
        assert producer is not None
        if scheme is not None and scheme.weight_grid.narrower_than(integers.qparams.dtype):
            set_weight_kind(producer, scheme.weights)
        node.replace_input_with(index, result)
        return result

    def _dequantized(self, value: ir.Value, integers: QArray, before: ir.Node) -> ir.Value:
        qparams, name = integers.qparams, str(value.name)
        key = (name, qparams.dtype, qparams.axis, qparams.scale.tobytes(), integers.values.tobytes())
        if key not in self._made:
            stored = self._names.initializer(f"{name}_quantized", as_stored(integers.values, qparams.dtype))
            scale, zero = add_qparams(self._names, name, qparams)
            result = dequantize(self._names, stored, scale, zero, self._names.value(f"{name}_dequantized"))
            producer = result.producer()
            assert producer is not None
            if qparams.axis is not None:
                producer.attributes.add(ir.AttrInt64("axis", qparams.axis))
            self._graph.insert_before(before, producer)
            self._made[key] = result
        return self._made[key]


def output_axis(node: ir.Node, index: int, rank: int) -> int:
    """The axis of the output channels in the weights of a layer."""
    if node.op_type == "MatMul":
        return max(rank - 1, 0) if index == 1 else max(rank - 2, 0)
    return layer_axis(node)


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
    return scale, names.initializer(f"{name}_zero_point", as_stored(qparams.zero_point, qparams.dtype))


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
