"""One file for each op: attributes, shape rule, MACs, NumPy reference. ``ALL`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.ops.arg_extreme import ARG_MAX, ARG_MIN, TOP_K
from microlith.ops.average_pool import AVERAGE_POOL
from microlith.ops.base import Op
from microlith.ops.batch_normalization import BATCH_NORMALIZATION
from microlith.ops.binary import BINARY
from microlith.ops.cast import CAST, CAST_LIKE
from microlith.ops.celu import CELU
from microlith.ops.center_crop_pad import CENTER_CROP_PAD
from microlith.ops.clip import CLIP
from microlith.ops.col2im import COL2IM
from microlith.ops.concat import CONCAT
from microlith.ops.conv import CONV
from microlith.ops.conv_transpose import CONV_TRANSPOSE
from microlith.ops.cum_sum import CUM_SUM
from microlith.ops.depth_space import DEPTH_TO_SPACE, SPACE_TO_DEPTH
from microlith.ops.dequantize_linear import DEQUANTIZE_LINEAR
from microlith.ops.einsum import EINSUM
from microlith.ops.elementwise import ADD, MUL, SUB
from microlith.ops.elu import ELU, SELU
from microlith.ops.expand import EXPAND
from microlith.ops.flatten import FLATTEN
from microlith.ops.float_tests import IS_INF, IS_NAN
from microlith.ops.gather import GATHER
from microlith.ops.gather_elements import GATHER_ELEMENTS
from microlith.ops.gather_nd import GATHER_ND
from microlith.ops.gelu import GELU
from microlith.ops.gemm import GEMM
from microlith.ops.global_average_pool import GLOBAL_AVERAGE_POOL
from microlith.ops.global_pool import GLOBAL_LP_POOL, GLOBAL_MAX_POOL
from microlith.ops.grid_sample import GRID_SAMPLE
from microlith.ops.group_normalization import GROUP_NORMALIZATION, INSTANCE_NORMALIZATION
from microlith.ops.hard_sigmoid import HARD_SIGMOID
from microlith.ops.hard_swish import HARD_SWISH
from microlith.ops.identity import IDENTITY
from microlith.ops.layer_normalization import LAYER_NORMALIZATION, RMS_NORMALIZATION
from microlith.ops.leaky_relu import LEAKY_RELU
from microlith.ops.lp_normalization import LP_NORMALIZATION, MEAN_VARIANCE_NORMALIZATION
from microlith.ops.lrn import LRN
from microlith.ops.math_functions import MATH
from microlith.ops.matmul import MATMUL
from microlith.ops.max_pool import MAX_POOL
from microlith.ops.max_unpool import MAX_UNPOOL
from microlith.ops.negation import BITWISE_NOT, NOT
from microlith.ops.nodes import where as node_name
from microlith.ops.one_hot import ONE_HOT
from microlith.ops.pad import PAD
from microlith.ops.pool_nd import LP_POOL
from microlith.ops.prelu import PRELU
from microlith.ops.quantize_linear import QUANTIZE_LINEAR
from microlith.ops.recurrent import GRU, LSTM, RNN
from microlith.ops.reduce import REDUCTIONS
from microlith.ops.relu import RELU
from microlith.ops.reshape import RESHAPE
from microlith.ops.resize import RESIZE
from microlith.ops.reverse_sequence import REVERSE_SEQUENCE
from microlith.ops.scatter import SCATTER_ELEMENTS, SCATTER_ND
from microlith.ops.shrink import SHRINK
from microlith.ops.sigmoid import SIGMOID
from microlith.ops.slice import SLICE
from microlith.ops.softmax import SOFTMAX
from microlith.ops.softmax_family import HARDMAX, LOG_SOFTMAX
from microlith.ops.split import SPLIT
from microlith.ops.squeeze import SQUEEZE
from microlith.ops.swish import SWISH
from microlith.ops.tanh import TANH
from microlith.ops.thresholded_relu import THRESHOLDED_RELU
from microlith.ops.tile import TILE
from microlith.ops.transpose import TRANSPOSE
from microlith.ops.trilu import TRILU
from microlith.ops.unsqueeze import UNSQUEEZE
from microlith.ops.where import WHERE

ALL: tuple[Op[Any], ...] = (
    *BINARY,
    *MATH,
    BITWISE_NOT,
    CAST,
    CAST_LIKE,
    CELU,
    ELU,
    GELU,
    IDENTITY,
    IS_INF,
    IS_NAN,
    NOT,
    PRELU,
    SELU,
    SHRINK,
    SWISH,
    THRESHOLDED_RELU,
    WHERE,
    ADD,
    ARG_MAX,
    ARG_MIN,
    AVERAGE_POOL,
    BATCH_NORMALIZATION,
    CENTER_CROP_PAD,
    CLIP,
    COL2IM,
    CONCAT,
    CONV,
    CONV_TRANSPOSE,
    CUM_SUM,
    DEPTH_TO_SPACE,
    DEQUANTIZE_LINEAR,
    EINSUM,
    EXPAND,
    FLATTEN,
    GATHER,
    GATHER_ELEMENTS,
    GATHER_ND,
    GEMM,
    GLOBAL_AVERAGE_POOL,
    GLOBAL_LP_POOL,
    GLOBAL_MAX_POOL,
    GRID_SAMPLE,
    HARD_SIGMOID,
    HARD_SWISH,
    LEAKY_RELU,
    LP_POOL,
    GRU,
    LSTM,
    RNN,
    LOG_SOFTMAX,
    HARDMAX,
    LRN,
    MEAN_VARIANCE_NORMALIZATION,
    LP_NORMALIZATION,
    INSTANCE_NORMALIZATION,
    GROUP_NORMALIZATION,
    RMS_NORMALIZATION,
    LAYER_NORMALIZATION,
    MATMUL,
    MAX_POOL,
    MAX_UNPOOL,
    MUL,
    ONE_HOT,
    PAD,
    QUANTIZE_LINEAR,
    *REDUCTIONS,
    RELU,
    RESHAPE,
    RESIZE,
    REVERSE_SEQUENCE,
    SCATTER_ELEMENTS,
    SCATTER_ND,
    SIGMOID,
    SLICE,
    SOFTMAX,
    SPACE_TO_DEPTH,
    SPLIT,
    SQUEEZE,
    SUB,
    TANH,
    TILE,
    TOP_K,
    TRANSPOSE,
    TRILU,
    UNSQUEEZE,
)

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
