"""Lowering: from units of the graph to kernel calls. It changes no bit; it decides layout and what is fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from microlith.compile.join import join_copies
from microlith.compile.lower_elementwise import (
    UNARY_HANDLERS,
    lower_batch_norm,
    lower_binary,
    lower_border,
    lower_prelu,
    lower_requantize,
)
from microlith.compile.lower_indexing import (
    lower_arg_extreme,
    lower_col2im,
    lower_cum_sum,
    lower_gather,
    lower_gather_elements,
    lower_gather_nd,
    lower_grid_sample,
    lower_max_unpool,
    lower_one_hot,
    lower_reverse_sequence,
    lower_scatter,
    lower_top_k,
)
from microlith.compile.lower_linear import lower_gemm, lower_matmul
from microlith.compile.lower_movement import (
    lower_concat,
    lower_pad,
    lower_reshape,
    lower_slice,
    lower_transpose,
)
from microlith.compile.lower_normalization import (
    lower_group_normalization,
    lower_lane_normalization,
    lower_layer_normalization,
    lower_lrn,
)
from microlith.compile.lower_plain import PLAIN_HANDLERS
from microlith.compile.lower_pool import (
    lower_average_pool,
    lower_global_average_pool,
    lower_global_lp_pool,
    lower_global_max_pool,
    lower_max_pool,
    lower_softmax,
)
from microlith.compile.lower_recurrent import lower_recurrent
from microlith.compile.lower_reduce import lower_reduce, lower_reduce_mean, lower_reduce_sum
from microlith.compile.lower_remap import (
    lower_center_crop_pad,
    lower_depth_space,
    lower_expand,
    lower_resize,
    lower_tile,
    lower_trilu,
)
from microlith.compile.lower_volume import lower_conv, lower_conv_transpose, lower_pool_nd
from microlith.compile.lowering import Lowering
from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.graph.units import Unit, units
from microlith.program.types import Call, Entry, Program

Handler = Callable[[Lowering, Unit], None]

HANDLERS: Mapping[str, Handler] = {
    "GRU": lower_recurrent,
    "LSTM": lower_recurrent,
    "RNN": lower_recurrent,
    "Add": lower_binary,
    "ArgMax": lower_arg_extreme,
    "ArgMin": lower_arg_extreme,
    "AveragePool": lower_average_pool,
    "BatchNormalization": lower_batch_norm,
    "CenterCropPad": lower_center_crop_pad,
    "Col2Im": lower_col2im,
    "Concat": lower_concat,
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "CumSum": lower_cum_sum,
    "DepthToSpace": lower_depth_space,
    "DequantizeLinear": lower_border,
    "Expand": lower_expand,
    "Flatten": lower_reshape,
    "Gather": lower_gather,
    "GatherElements": lower_gather_elements,
    "GatherND": lower_gather_nd,
    "Gemm": lower_gemm,
    "GlobalAveragePool": lower_global_average_pool,
    "GlobalLpPool": lower_global_lp_pool,
    "GlobalMaxPool": lower_global_max_pool,
    "GridSample": lower_grid_sample,
    "GroupNormalization": lower_group_normalization,
    "Hardmax": lower_softmax,
    "Identity": lower_reshape,
    "InstanceNormalization": lower_group_normalization,
    "LRN": lower_lrn,
    "LayerNormalization": lower_layer_normalization,
    "LogSoftmax": lower_softmax,
    "LpNormalization": lower_lane_normalization,
    "LpPool": lower_pool_nd,
    "MatMul": lower_matmul,
    "MaxPool": lower_max_pool,
    "MaxUnpool": lower_max_unpool,
    "MeanVarianceNormalization": lower_lane_normalization,
    "Mul": lower_binary,
    "OneHot": lower_one_hot,
    "PRelu": lower_prelu,
    "Pad": lower_pad,
    "RMSNormalization": lower_layer_normalization,
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
    "Reshape": lower_reshape,
    "Resize": lower_resize,
    "ReverseSequence": lower_reverse_sequence,
    "ScatterElements": lower_scatter,
    "ScatterND": lower_scatter,
    "Slice": lower_slice,
    "Softmax": lower_softmax,
    "SpaceToDepth": lower_depth_space,
    "Squeeze": lower_reshape,
    "Sub": lower_binary,
    "Tile": lower_tile,
    "TopK": lower_top_k,
    "Transpose": lower_transpose,
    "Trilu": lower_trilu,
    "Unsqueeze": lower_reshape,
    **PLAIN_HANDLERS,
    **UNARY_HANDLERS,
}

_NOT_RAW = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "Hardmax",
        "LogSoftmax",
        "LRN",
        "LpNormalization",
        "MeanVarianceNormalization",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "LpPool",
        "MatMul",
        "MaxPool",
        "ReduceMean",
        "Softmax",
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
        try:
            handler(low, unit)
        except MicrolithError as error:
            error.node = error.node or low.where(unit)
            raise
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
    made = Program(name, (entry,), builder.buffers, builder.views, builder.consts, requantization=low.mode)
    return join_copies(made)


def _is_requantize(unit: Unit) -> bool:
    return unit.kind == "integer" and unit.node.op_type == "QuantizeLinear"


def _handler(low: Lowering, unit: Unit) -> Handler:
    if unit.kind == "quantize":
        return lower_border
    found = HANDLERS.get(unit.node.op_type)
    if found is None:
        raise UnsupportedError(f"{unit.node.op_type} cannot be compiled", node=low.where(unit))
    return found
