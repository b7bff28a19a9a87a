"""One file for each op: attributes, shape rule, MACs, NumPy reference. ``ALL`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.ops.average_pool import AVERAGE_POOL
from microlith.ops.base import Op
from microlith.ops.batch_normalization import BATCH_NORMALIZATION
from microlith.ops.clip import CLIP
from microlith.ops.concat import CONCAT
from microlith.ops.conv import CONV
from microlith.ops.conv_transpose import CONV_TRANSPOSE
from microlith.ops.dequantize_linear import DEQUANTIZE_LINEAR
from microlith.ops.elementwise import ADD, MUL, SUB
from microlith.ops.flatten import FLATTEN
from microlith.ops.gemm import GEMM
from microlith.ops.global_average_pool import GLOBAL_AVERAGE_POOL
from microlith.ops.hard_sigmoid import HARD_SIGMOID
from microlith.ops.hard_swish import HARD_SWISH
from microlith.ops.leaky_relu import LEAKY_RELU
from microlith.ops.matmul import MATMUL
from microlith.ops.max_pool import MAX_POOL
from microlith.ops.nodes import where
from microlith.ops.pad import PAD
from microlith.ops.quantize_linear import QUANTIZE_LINEAR
from microlith.ops.reduce import REDUCTIONS
from microlith.ops.relu import RELU
from microlith.ops.reshape import RESHAPE
from microlith.ops.sigmoid import SIGMOID
from microlith.ops.slice import SLICE
from microlith.ops.softmax import SOFTMAX
from microlith.ops.squeeze import SQUEEZE
from microlith.ops.tanh import TANH
from microlith.ops.transpose import TRANSPOSE
from microlith.ops.unsqueeze import UNSQUEEZE

ALL: tuple[Op[Any], ...] = (
    ADD,
    AVERAGE_POOL,
    BATCH_NORMALIZATION,
    CLIP,
    CONCAT,
    CONV,
    CONV_TRANSPOSE,
    DEQUANTIZE_LINEAR,
    FLATTEN,
    GEMM,
    GLOBAL_AVERAGE_POOL,
    HARD_SIGMOID,
    HARD_SWISH,
    LEAKY_RELU,
    MATMUL,
    MAX_POOL,
    MUL,
    PAD,
    QUANTIZE_LINEAR,
    *REDUCTIONS,
    RELU,
    RESHAPE,
    SIGMOID,
    SLICE,
    SOFTMAX,
    SQUEEZE,
    SUB,
    TANH,
    TRANSPOSE,
    UNSQUEEZE,
)

OPS: Mapping[str, Op[Any]] = {op.op_type: op for op in ALL}


def op_of(node: ir.Node) -> Op[Any]:
    """What is known of the op of a node.

    Raises:
        UnsupportedError: nothing is.
    """
    found = OPS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if found is None:
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        raise UnsupportedError(
            f"op {name} of node {node.name or '(unnamed)'} is not supported",
            node=where(node),
            hint=f"Replace it by supported ops: {', '.join(OPS)}.",
        )
    return found
