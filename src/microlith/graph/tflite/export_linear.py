"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from microlith.graph.tflite.exporter import Exporter
from microlith.graph.units import Unit
from microlith.graph.values import constant, static_shape


def _gemm(exp: Exporter, unit: Unit) -> None:
    attrs = exp.attrs(unit)
    if attrs.alpha != 1.0 or attrs.trans_a or (attrs.beta != 1.0 and len(unit.inputs) > 2):
        raise exp.refuse(unit, "Gemm with factors, or of a transposed input, cannot be written")
    _layer(exp, unit, transposed=attrs.trans_b)


def _layer(exp: Exporter, unit: Unit, *, transposed: bool) -> None:
    """FULLY_CONNECTED: rows by weights O,K."""
    x = exp.operand(unit, 0)
    weights = exp.weights(unit, 1, (0, 1) if transposed else (1, 0))
    count, depth = exp.shape(weights)
    shape = exp.shape(x)
    if len(shape) < 2 or shape[-1] != depth:
        raise exp.refuse(unit, f"rows of shape {list(shape)} cannot be written, expected at least two dimensions")
    inputs = [x, weights, exp.bias(unit, x, weights, count)]
    exp.finish(unit, "FULLY_CONNECTED", inputs, shape=(*shape[:-1], count), keep_num_dims=len(shape) > 2)


def _matmul(exp: Exporter, unit: Unit) -> None:
    """MatMul: FULLY_CONNECTED by a constant matrix, else BATCH_MATMUL."""
    right = exp.given(unit, 1).value
    ranks = [len(static_shape(exp.given(unit, position).value)) for position in (0, 1)]
    is_constant = constant(right) is not None or _is_dequantized(right)
    if is_constant and ranks[1] == 2 and ranks[0] > 1:
        _layer(exp, unit, transposed=False)
        return
    if min(ranks) < 2:
        raise exp.refuse(unit, "MatMul by a vector cannot be written")
    exp.finish(unit, "BATCH_MATMUL", [exp.operand(unit, position) for position in (0, 1)])


def _is_dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear" and constant(producer.inputs[0]) is not None


HANDLERS: Mapping[str, Callable[[Exporter, Unit], None]] = {"Gemm": _gemm, "MatMul": _matmul}
