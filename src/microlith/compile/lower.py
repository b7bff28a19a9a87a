"""Lowering: from units of the graph to kernel calls. It changes no bit; it decides layout and what is fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from microlith.compile.lower_elementwise import (
    lower_batch_norm,
    lower_binary,
    lower_border,
    lower_requantize,
    lower_unary,
)
from microlith.compile.lower_linear import lower_conv, lower_gemm, lower_matmul
from microlith.compile.lower_movement import (
    lower_concat,
    lower_pad,
    lower_reshape,
    lower_slice,
    lower_transpose,
)
from microlith.compile.lower_pool import (
    lower_average_pool,
    lower_global_average_pool,
    lower_max_pool,
    lower_softmax,
)
from microlith.compile.lower_reduce import lower_reduce, lower_reduce_mean, lower_reduce_sum
from microlith.compile.lower_volume import lower_conv_transpose
from microlith.compile.lowering import Lowering
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.units import Unit, units
from microlith.program.types import Call, Entry, Program

Handler = Callable[[Lowering, Unit], None]

HANDLERS: Mapping[str, Handler] = {
    "Add": lower_binary,
    "AveragePool": lower_average_pool,
    "BatchNormalization": lower_batch_norm,
    "Clip": lower_unary,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "DequantizeLinear": lower_border,
    "Flatten": lower_reshape,
    "Gemm": lower_gemm,
    "GlobalAveragePool": lower_global_average_pool,
    "HardSigmoid": lower_unary,
    "HardSwish": lower_unary,
    "LeakyRelu": lower_unary,
    "MatMul": lower_matmul,
    "MaxPool": lower_max_pool,
    "Mul": lower_binary,
    "Pad": lower_pad,
    "ReduceL1": lower_reduce,
    "ReduceL2": lower_reduce,
    "ReduceLogSum": lower_reduce,
    "ReduceLogSumExp": lower_reduce,
    "ReduceMax": lower_reduce,
    "ReduceMean": lower_reduce_mean,
    "ReduceMin": lower_reduce,
    "ReduceProd": lower_reduce,
    "ReduceSum": lower_reduce_sum,
    "ReduceSumSquare": lower_reduce,
    "Relu": lower_unary,
    "Reshape": lower_reshape,
    "Sigmoid": lower_unary,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "Squeeze": lower_reshape,
    "Sub": lower_binary,
    "Tanh": lower_unary,
    "Transpose": lower_transpose,
    "Unsqueeze": lower_reshape,
}

_NOT_RAW = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "ReduceMean",
        "Sigmoid",
        "Softmax",
        "Tanh",
    }
)
"""Ops whose handlers know floats and quantized integers, and not integers that stand for themselves."""


def lower(model: ir.Model, name: str) -> Program:
    """The Program of a graph, without kernels, storage and offsets.

    Args:
        model: after the graph passes; static shapes.
        name: prefix of every C symbol.

    Raises:
        UnsupportedError: a node cannot be compiled; the message names it and says why.
    """
    low = Lowering(model)
    for value in model.graph.inputs:
        low.add_input(value)
    for unit in units(model):
        if unit.kind == "raw" and unit.node.op_type in _NOT_RAW:
            raise UnsupportedError(f"{unit.node.op_type} of integers cannot be compiled", node=low.where(unit))
        handler = lower_requantize if _is_requantize(unit) else _handler(low, unit)
        handler(low, unit)
    outputs, taken = [], {view.buffer for view in low.inputs}
    for value in model.graph.outputs:
        view = low.output(value, taken)
        taken.add(view.buffer)
        outputs.append(view.id)
    if not low.builder.calls:
        raise InputError("the graph computes nothing", hint="Give a model with at least one op.")
    body = tuple(Call(call) for call in low.builder.calls)
    entry = Entry("run", tuple(view.id for view in low.inputs), tuple(outputs), body)
    builder = low.builder
    return Program(name, (entry,), builder.buffers, builder.views, builder.consts, requantization=low.mode)


def _is_requantize(unit: Unit) -> bool:
    return unit.kind == "integer" and unit.node.op_type == "QuantizeLinear"


def _handler(low: Lowering, unit: Unit) -> Handler:
    if unit.kind == "quantize":
        return lower_border
    found = HANDLERS.get(unit.node.op_type)
    if found is None:
        raise UnsupportedError(f"{unit.node.op_type} cannot be compiled", node=low.where(unit))
    return found
