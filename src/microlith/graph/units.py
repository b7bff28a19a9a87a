"""Units: the nodes that one integer or float operation computes together.

Quantization stands in the graph as QuantizeLinear and DequantizeLinear around float ops. An op whose data inputs all
come from DequantizeLinear and whose result goes, perhaps through one Relu or Clip, into one QuantizeLinear is a single
integer operation. Which nodes form such a unit is decided here and nowhere else, so that the reference executor and the
compiler cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.metadata import is_kept_in_float
from microlith.ops import op_of
from microlith.quant.fixed_curves import quantized_bounds
from microlith.quant.types import QParams, Requantization


@dataclass(frozen=True, eq=False)
class Operand:
    """A data input or the result of a unit.

    Attributes:
        value: the integer tensor where ``qparams`` is set (what DequantizeLinear reads or QuantizeLinear writes), else
            the tensor itself. A constant has ``value.const_value``.
        qparams: meaning of the integers; None for floats and for integers that stand for themselves.
    """

    value: ir.Value
    qparams: QParams | None


@dataclass(frozen=True, eq=False)
class Unit:
    """One operation.

    Attributes:
        kind: ``integer`` (quantized in and out), ``float`` (floats in or out, perhaps beside integers that stand for
            themselves), ``quantize`` or ``dequantize`` (a node at the border between the two), or ``raw`` (integers and
            booleans alone, computed as they are, such as a Transpose of an uint8 input or a sum of int64; quantized
            ones where their order alone matters).
        node: the op itself.
        nodes: every node computed, in order: the op, a fused activation, the closing QuantizeLinear.
        inputs: data inputs of the op in order; None for an absent one.
        output: the result.
        activation: the fused Relu or Clip.
        others: further outputs of the op, never quantized; None for those that nothing reads.
    """

    kind: Literal["integer", "float", "quantize", "dequantize", "raw"]
    node: ir.Node
    nodes: tuple[ir.Node, ...]
    inputs: tuple[Operand | None, ...]
    output: Operand
    activation: ir.Node | None
    others: tuple[Operand | None, ...] = ()


FUSING_OPS = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "Add",
        "Sub",
        "Mul",
        "BatchNormalization",
        "AveragePool",
        "GlobalAveragePool",
        "ReduceMean",
        "ReduceSum",
    }
)
"""Ops whose result can be clamped before it is stored; they absorb a Relu or Clip that follows."""

_ACTIVATIONS = frozenset({"Relu", "Clip"})
_ORDER = frozenset({"ArgMax", "ArgMin"})


def fused_activation(node: ir.Node) -> ir.Node | None:
    """The Relu or Clip (with constant bounds) that is computed together with ``node``, or None."""
    if node.op_type not in FUSING_OPS:
        return None
    follower = _only_consumer(node.outputs[0])
    if follower is None or follower.op_type not in _ACTIVATIONS or not _is_float(node.outputs[0]):
        return None
    bounds = follower.inputs[1:]
    return follower if all(bound is None or bound.const_value is not None for bound in bounds) else None


def delivers_order(node: ir.Node) -> bool:
    """Whether the result depends on the order of elements only, which integers share with what they stand for."""
    return node.op_type in _ORDER


def activation_bounds(activation: ir.Node | None) -> tuple[float, float]:
    """Least and greatest value that a fused activation lets through; infinite without one."""
    if activation is None:
        return -np.inf, np.inf
    if activation.op_type == "Relu":
        return 0.0, np.inf
    low, high = (_scalar(activation, index) for index in (1, 2))
    return -np.inf if low is None else low, np.inf if high is None else high


def clamp_limits(bounds: tuple[float, float], out: QParams, mode: Requantization = "float") -> tuple[int, int]:
    """Integers between which a result stays that lies between ``bounds`` in real values.

    Quantization is monotonic, so clamping the integers equals quantizing the clamped values. ``fixed`` rounds the
    bounds half away from zero.
    """
    if mode == "fixed":
        limits = [item + int(out.zero_point) for item in quantized_bounds(bounds, out)]
        return int(np.clip(limits[0], out.low, out.high)), int(np.clip(limits[1], out.low, out.high))
    low, high = (
        limit
        if np.isinf(bound)
        else int(np.clip(np.rint(bound / float(out.scale)) + int(out.zero_point), out.low, out.high))
        for bound, limit in zip(bounds, (out.low, out.high), strict=True)
    )
    return low, high


def units(model: ir.Model) -> tuple[Unit, ...]:
    """The units of a graph, in an order in which every input is there before it is read."""
    found: list[Unit] = []
    absorbed: set[ir.Node] = set()
    integer: dict[ir.Node, bool] = {}

    def is_integer(node: ir.Node) -> bool:
        if node not in integer:
            integer[node] = _is_integer(node)
        return integer[node]

    for node in model.graph:
        if node in absorbed:
            continue
        if node.op_type == "DequantizeLinear":
            unit = _border(node, "dequantize") if _read_as_float(node, is_integer) else None
        elif node.op_type == "QuantizeLinear":
            unit = _requantize(node) or _border(node, "quantize")
        else:
            unit = _computed(node, is_integer(node))
        if unit is not None:
            found.append(unit)
            absorbed.update(unit.nodes)
    return tuple(found)


def node_qparams(node: ir.Node) -> QParams:
    """Scale, zero point and axis of a QuantizeLinear or DequantizeLinear, which must be constants."""
    where = f"{node.name} ({node.op_type})"
    if len(node.inputs) < 2 or node.inputs[1] is None or node.inputs[1].const_value is None:
        raise UnsupportedError("the scale is not a constant", node=where)
    scale = np.asarray(node.inputs[1].const_value.numpy(), np.float32)
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None:
        stored = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
        dtype = stored.dtype if stored is not None and stored.dtype is not None else ir.DataType.UINT8
        values = np.zeros(scale.shape, np.int32)
    elif zero.const_value is None:
        raise UnsupportedError("the zero point is not a constant", node=where)
    else:
        dtype, values = zero.const_value.dtype, np.asarray(zero.const_value.numpy()).astype(np.int32)
    if scale.ndim > 1:
        raise UnsupportedError(f"a scale of shape {scale.shape} (blocked quantization) cannot be used", node=where)
    if scale.size == 1:
        return QParams(scale.reshape(()), values.reshape(()), dtype.name.lower())
    attribute = node.attributes.get("axis")
    axis = 1 if attribute is None else attribute.as_int()
    rank = len(node.inputs[0].shape) if node.inputs[0] is not None and node.inputs[0].shape is not None else 1
    return QParams(scale, values, dtype.name.lower(), axis % rank)


def _scalar(node: ir.Node, index: int) -> float | None:
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        return None
    return float(value.const_value.numpy().reshape(()))


def _only_consumer(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == op_type else None


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)


def _operand(value: ir.Value | None) -> Operand | None:
    if value is None:
        return None
    dequantize = _producer(value, "DequantizeLinear")
    if dequantize is None or dequantize.inputs[0] is None:
        return Operand(value, None)
    return Operand(dequantize.inputs[0], node_qparams(dequantize))


def _data_inputs(node: ir.Node) -> tuple[ir.Value | None, ...]:
    chosen = op_of(node).data_inputs
    return tuple(node.inputs) if chosen is None else tuple(node.inputs[i] for i in chosen if i < len(node.inputs))


def _closing(node: ir.Node) -> tuple[ir.Node | None, ir.Node | None]:
    """The fused activation of ``node`` and the QuantizeLinear that takes the result, where there is one."""
    activation = fused_activation(node)
    last = activation or node
    follower = _only_consumer(last.outputs[0])
    quantize = follower if follower is not None and follower.op_type == "QuantizeLinear" else None
    if quantize is not None and quantize.inputs[0] is not last.outputs[0]:
        quantize = None
    return activation, quantize


def _is_integer(node: ir.Node) -> bool:
    """Whether a node is computed on integers: dequantized data in, quantized data out.

    Data that is no float, such as a condition or indices, is read as it is.
    """
    if is_kept_in_float(node):
        return False
    operands = [_operand(value) for value in _data_inputs(node) if value is not None and _is_float(value)]
    return (
        bool(operands)
        and all(item is not None and item.qparams is not None for item in operands)
        and (delivers_order(node) or _closing(node)[1] is not None)
    )


def _read_as_float(dequantize: ir.Node, is_integer: Callable[[ir.Node], bool]) -> bool:
    """Whether some reader of a DequantizeLinear needs its floats."""
    value = dequantize.outputs[0]
    if value.is_graph_output():
        return True
    return any(use.node.op_type != "QuantizeLinear" and not is_integer(use.node) for use in value.uses())


def _border(node: ir.Node, kind: Literal["quantize", "dequantize"]) -> Unit:
    source = node.inputs[0]
    if source is None:
        raise UnsupportedError("the input is missing", node=f"{node.name} ({node.op_type})")
    qparams = node_qparams(node)
    if kind == "quantize":
        return Unit(kind, node, (node,), (Operand(source, None),), Operand(node.outputs[0], qparams), None)
    return Unit(kind, node, (node,), (Operand(source, qparams),), Operand(node.outputs[0], None), None)


def _requantize(quantize: ir.Node) -> Unit | None:
    """A QuantizeLinear straight after a DequantizeLinear: a change of parameters, on integers."""
    operand = _operand(quantize.inputs[0])
    if operand is None or operand.qparams is None:
        return None
    output = Operand(quantize.outputs[0], node_qparams(quantize))
    return Unit("integer", quantize, (quantize,), (operand,), output, None)


def _computed(node: ir.Node, integer: bool) -> Unit:
    activation, quantize = _closing(node)
    data = _data_inputs(node)
    if quantize is not None and integer:
        nodes = tuple(item for item in (node, activation, quantize) if item is not None)
        output = Operand(quantize.outputs[0], node_qparams(quantize))
        return Unit("integer", node, nodes, tuple(_operand(value) for value in data), output, activation, _others(node))
    last = activation or node
    if delivers_order(node) and integer:
        operands = tuple(_operand(value) for value in data)
        return Unit("raw", node, (node,), operands, Operand(node.outputs[0], None), None)
    inputs = tuple(None if value is None else Operand(value, None) for value in data)
    nodes = (node,) if activation is None else (node, activation)
    values = [value for value in (*data, last.outputs[0]) if value is not None]
    kind: Literal["raw", "float"] = "float" if any(_is_float(value) for value in values) else "raw"
    return Unit(kind, node, nodes, inputs, Operand(last.outputs[0], None), activation, _others(node))


def _others(node: ir.Node) -> tuple[Operand | None, ...]:
    return tuple(
        Operand(value, None) if value.name and (value.uses() or value.is_graph_output()) else None
        for value in node.outputs[1:]
    )
