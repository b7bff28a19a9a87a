"""One file for each op: attributes, shape rule, MACs, NumPy reference. ``FILES`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.ops.base import Op
from microlith.ops.nodes import where as node_name

FILES = (
    "arg_extreme.ARG_MAX",
    "arg_extreme.ARG_MIN",
    "arg_extreme.TOP_K",
    "attention.ATTENTION",
    "average_pool.AVERAGE_POOL",
    "batch_normalization.BATCH_NORMALIZATION",
    "binary.BINARY",
    "cast.CAST",
    "cast.CAST_LIKE",
    "celu.CELU",
    "center_crop_pad.CENTER_CROP_PAD",
    "clip.CLIP",
    "col2im.COL2IM",
    "concat.CONCAT",
    "conv.CONV",
    "conv_integer.CONV_INTEGER",
    "conv_transpose.CONV_TRANSPOSE",
    "cum_sum.CUM_SUM",
    "depth_space.DEPTH_TO_SPACE",
    "depth_space.SPACE_TO_DEPTH",
    "dequantize_linear.DEQUANTIZE_LINEAR",
    "dynamic_quantize_linear.DYNAMIC_QUANTIZE_LINEAR",
    "einsum.EINSUM",
    "elementwise.ADD",
    "elementwise.MUL",
    "elementwise.SUB",
    "elu.ELU",
    "elu.SELU",
    "expand.EXPAND",
    "flatten.FLATTEN",
    "float_tests.IS_INF",
    "float_tests.IS_NAN",
    "gather.GATHER",
    "gather_elements.GATHER_ELEMENTS",
    "gather_nd.GATHER_ND",
    "gelu.GELU",
    "gemm.GEMM",
    "global_average_pool.GLOBAL_AVERAGE_POOL",
    "global_pool.GLOBAL_LP_POOL",
    "global_pool.GLOBAL_MAX_POOL",
    "grid_sample.GRID_SAMPLE",
    "group_normalization.GROUP_NORMALIZATION",
    "group_normalization.INSTANCE_NORMALIZATION",
    "hard_sigmoid.HARD_SIGMOID",
    "hard_swish.HARD_SWISH",
    "identity.IDENTITY",
    "layer_normalization.LAYER_NORMALIZATION",
    "layer_normalization.RMS_NORMALIZATION",
    "leaky_relu.LEAKY_RELU",
    "lp_normalization.LP_NORMALIZATION",
    "lp_normalization.MEAN_VARIANCE_NORMALIZATION",
    "lrn.LRN",
    "math_functions.MATH",
    "matmul.MATMUL",
    "matmul_integer.MATMUL_INTEGER",
    "max_pool.MAX_POOL",
    "max_unpool.MAX_UNPOOL",
    "negation.BITWISE_NOT",
    "negation.NOT",
    "non_max_suppression.NON_MAX_SUPPRESSION",
    "one_hot.ONE_HOT",
    "pad.PAD",
    "pool_nd.LP_POOL",
    "prelu.PRELU",
    "quantize_linear.QUANTIZE_LINEAR",
    "recurrent.GRU",
    "recurrent.LSTM",
    "recurrent.RNN",
    "reduce.REDUCTIONS",
    "relu.RELU",
    "reshape.RESHAPE",
    "resize.RESIZE",
    "reverse_sequence.REVERSE_SEQUENCE",
    "scatter.SCATTER_ELEMENTS",
    "scatter.SCATTER_ND",
    "shrink.SHRINK",
    "sigmoid.SIGMOID",
    "slice.SLICE",
    "softmax.SOFTMAX",
    "softmax_family.HARDMAX",
    "softmax_family.LOG_SOFTMAX",
    "split.SPLIT",
    "squeeze.SQUEEZE",
    "swish.SWISH",
    "tanh.TANH",
    "thresholded_relu.THRESHOLDED_RELU",
    "tile.TILE",
    "transpose.TRANSPOSE",
    "trilu.TRILU",
    "unsqueeze.UNSQUEEZE",
    "where.WHERE",
)
"""Every op, or tuple of ops, as the file in this folder and the name in it."""


def _read(reference: str) -> tuple[Op[Any], ...]:
    found = resolve_name(f"{__name__}.{reference.replace('.', ':')}")
    return found if isinstance(found, tuple) else (found,)


ALL: tuple[Op[Any], ...] = tuple(op for reference in FILES for op in _read(reference))

OPS: Mapping[str, Op[Any]] = {op.op_type: op for op in ALL}


def op_at(domain: str, op_type: str) -> Op[Any] | None:
    """What is known of an op; None where nothing is."""
    found = OPS.get(op_type)
    return found if found is not None and found.domain == ("" if domain == "ai.onnx" else domain) else None


def op_of(node: ir.Node) -> Op[Any]:
    """What is known of the op of a node.

    Raises:
        UnsupportedError: nothing is.
    """
    found = op_at(node.domain, node.op_type)
    if found is None:
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        raise UnsupportedError(
            f"op {name} of node {node.name or '(unnamed)'} is not supported",
            node=node_name(node),
            hint=f"Replace it by supported ops: {', '.join(OPS)}.",
        )
    return found
