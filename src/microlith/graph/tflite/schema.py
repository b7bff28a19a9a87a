"""Where the fields of a ``.tflite`` file lie: the part of TensorFlow Lite's schema that is used.

Source: tensorflow/lite/schema/schema.fbs, version 3 (Apache-2.0). Slots are the positions of fields in their tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

IDENTIFIER = b"TFL3"

OPERATORS: tuple[str, ...] = (
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
    "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU",
    "RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH",
    "CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB",
    "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP",
    "TOPK_V2", "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM",
    "ARG_MAX", "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE",
    "SIN", "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT",
    "RSQRT", "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT",
    "LOGICAL_AND", "LOGICAL_NOT", "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE",
    "FILL", "FLOOR_MOD", "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD",
    "ABS", "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU",
    "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM",
    "BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D",
    "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE",
    "REDUCE_ALL", "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL", "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2",
    "UNSORTED_SEGMENT_MIN", "SIGN", "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT",
)  # fmt: skip
"""Names of the built-in operators by number; later ones exist and are unknown here."""

# Greatest number that fits in the field that files had before there were more than 127 operators.
LAST_DEPRECATED_CODE = 127

# TensorType by number: NumPy name, and bits of one element.
TENSOR_TYPES: dict[int, tuple[str, int]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    6: ("bool", 8),
    7: ("int16", 16),
    9: ("int8", 8),
    10: ("float64", 64),
    13: ("resource", 32),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
}
OTHER_TENSOR_TYPES = {
    5: "string", 8: "complex64", 11: "complex128", 12: "uint64", 14: "variant", 18: "bfloat16",
    19: "int2", 20: "uint4",
}  # fmt: skip

PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")


class Slots:
    """Positions of the fields that are read or written, by table."""

    MODEL_VERSION, MODEL_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS = 0, 1, 2, 3, 4
    GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 1, 2, 3
    TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
    TENSOR_IS_VARIABLE, TENSOR_SPARSITY, TENSOR_SIGNATURE = 5, 6, 7
    QUANT_SCALE, QUANT_ZERO, QUANT_DETAILS, QUANT_AXIS = 2, 3, 4, 6
    BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE = 0, 1, 2
    CODE_DEPRECATED, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN = 0, 1, 2, 3
    OP_CODE, OP_INPUTS, OP_OUTPUTS, OP_OPTIONS_TYPE, OP_OPTIONS = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Field:
    """A field of an options table: its slot, its code and its default.

    The code is that of :mod:`struct`, ``i*`` for a list of int32, ``s`` for a text.
    """

    slot: int
    code: str
    default: Any = 0


def _fields(**codes: str) -> dict[str, Field]:
    """Fields in the order of their slots; a default other than 0 follows the code after a colon."""
    found = {}
    for slot, (name, text) in enumerate(codes.items()):
        code, _, default = text.partition(":")
        found[name] = Field(slot, code, "" if code == "s" else int(default or 0))
    return found


_ARITHMETIC = _fields(activation="b")
_POOL = _fields(padding="b", stride_w="i", stride_h="i", filter_w="i", filter_h="i", activation="b")
_REDUCER = _fields(keep_dims="?")

OPTIONS: dict[str, dict[str, Field]] = {
    "ADD": _ARITHMETIC,
    "SUB": _ARITHMETIC,
    "MUL": _ARITHMETIC,
    "DIV": _ARITHMETIC,
    "L2_NORMALIZATION": _ARITHMETIC,
    "CONV_2D": _fields(padding="b", stride_w="i", stride_h="i", activation="b", dilation_w="i:1", dilation_h="i:1"),
    "CONV_3D": _fields(
        padding="b",
        stride_d="i",
        stride_w="i",
        stride_h="i",
        activation="b",
        dilation_d="i:1",
        dilation_w="i:1",
        dilation_h="i:1",
    ),
    "DEPTHWISE_CONV_2D": _fields(
        padding="b", stride_w="i", stride_h="i", multiplier="i", activation="b", dilation_w="i:1", dilation_h="i:1"
    ),
    "TRANSPOSE_CONV": _fields(padding="b", stride_w="i", stride_h="i", activation="b"),
    "FULLY_CONNECTED": _fields(activation="b", weights_format="b", keep_num_dims="?"),
    "BATCH_MATMUL": _fields(adj_x="?", adj_y="?"),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "L2_POOL_2D": _POOL,
    "SOFTMAX": _fields(beta="f"),
    "LEAKY_RELU": _fields(alpha="f"),
    "GELU": _fields(approximate="?"),
    "CONCATENATION": _fields(axis="i", activation="b"),
    "MEAN": _REDUCER,
    "SUM": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_MIN": _REDUCER,
    "REDUCE_PROD": _REDUCER,
    "REDUCE_ANY": _REDUCER,
    "REDUCE_ALL": _REDUCER,
    "CUMSUM": _fields(exclusive="?", reverse="?"),
    "GATHER": _fields(axis="i", batch_dims="i"),
    "PACK": _fields(values_count="i", axis="i"),
    "UNPACK": _fields(num="i", axis="i"),
    "MIRROR_PAD": _fields(mode="b"),
    "SPLIT": _fields(count="i"),
    "SQUEEZE": _fields(axes="i*"),
    "STRIDED_SLICE": _fields(
        begin_mask="i", end_mask="i", ellipsis_mask="i", new_axis_mask="i", shrink_axis_mask="i", offset="?"
    ),
    "SPACE_TO_DEPTH": _fields(block="i"),
    "DEPTH_TO_SPACE": _fields(block="i"),
    "ONE_HOT": _fields(axis="i"),
    "LOCAL_RESPONSE_NORMALIZATION": _fields(radius="i", bias="f", alpha="f", beta="f"),
    "RNN": _fields(activation="b"),
    "SVDF": _fields(rank="i", activation="b"),
    "LSTM": _fields(activation="b", cell_clip="f", proj_clip="f", kernel_type="b"),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _fields(time_major="?", activation="b"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": {
        **_fields(activation="b", cell_clip="f", proj_clip="f", time_major="?"),
        "diagonal": Field(5, "?"),
    },
    "CALL": _fields(subgraph="I"),
    "CALL_ONCE": _fields(subgraph="i"),
    "IF": _fields(then_subgraph="i", else_subgraph="i"),
    "WHILE": _fields(cond_subgraph="i", body_subgraph="i"),
    "VAR_HANDLE": _fields(container="s", shared_name="s"),
    "RESIZE_BILINEAR": {"align_corners": Field(2, "?"), "half_pixel_centers": Field(3, "?")},
    "RESIZE_NEAREST_NEIGHBOR": _fields(align_corners="?", half_pixel_centers="?"),
}
"""Options of the operators that have any and are imported, by the operator's name."""

UNIONS: dict[str, int] = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 2, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5, "L2_POOL_2D": 5,
    "FULLY_CONNECTED": 8, "SOFTMAX": 9, "CONCATENATION": 10, "ADD": 11, "L2_NORMALIZATION": 12,
    "LOCAL_RESPONSE_NORMALIZATION": 13, "RESIZE_BILINEAR": 15, "SPACE_TO_DEPTH": 19, "MUL": 21, "GATHER": 23,
    "MEAN": 27, "SUM": 27, "REDUCE_MAX": 27, "REDUCE_MIN": 27, "REDUCE_PROD": 27, "REDUCE_ANY": 27, "REDUCE_ALL": 27,
    "SUB": 28, "DIV": 29, "STRIDED_SLICE": 32, "SPLIT": 35, "TRANSPOSE_CONV": 49, "PACK": 59, "ONE_HOT": 61,
    "UNPACK": 64, "RESIZE_NEAREST_NEIGHBOR": 74, "LEAKY_RELU": 75, "MIRROR_PAD": 77, "DEPTH_TO_SPACE": 94,
    "BATCH_MATMUL": 101, "CUMSUM": 102, "CONV_3D": 106, "GELU": 116,
}  # fmt: skip
"""Number of the table of options in the union of all of them, for the operators that are written."""

_INT8_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "TRANSPOSE_CONV": 3, "AVERAGE_POOL_2D": 2,
    "MAX_POOL_2D": 2, "MEAN": 2, "SOFTMAX": 2, "LOGISTIC": 2, "TANH": 2, "RELU": 2, "RELU6": 2, "ADD": 2, "SUB": 2,
    "MUL": 2, "MAXIMUM": 2, "MINIMUM": 2, "LEAKY_RELU": 2, "CONCATENATION": 2, "PAD": 2, "PADV2": 2, "TRANSPOSE": 2,
    "SLICE": 2, "STRIDED_SLICE": 2, "SPLIT": 2, "RESIZE_BILINEAR": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "QUANTIZE": 1,
    "DEQUANTIZE": 2, "BATCH_MATMUL": 2, "SPACE_TO_DEPTH": 2, "DEPTH_TO_SPACE": 1, "GATHER": 2, "REDUCE_MAX": 2,
    "REDUCE_MIN": 2, "SUM": 1, "TILE": 1,
}  # fmt: skip


INT16_OPERATORS = frozenset(
    (
        *("ADD", "SUB", "MUL", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"),
        *("AVERAGE_POOL_2D", "MAX_POOL_2D", "MEAN", "SUM", "SOFTMAX", "LOGISTIC", "TANH", "RELU", "RELU6"),
        *("LEAKY_RELU", "MAXIMUM", "MINIMUM", "PAD", "PADV2", "CONCATENATION", "RESHAPE", "TRANSPOSE", "SLICE"),
        *("STRIDED_SLICE", "GATHER", "QUANTIZE", "DEQUANTIZE", "RESIZE_NEAREST_NEIGHBOR"),
    )
)
"""Operators that take int16 activations, beside int8 weights and int64 biases."""


def version_of(operator: str, dtypes: Sequence[str]) -> int:
    """The version of an operator that a runtime must have to compute it on inputs of these types.

    Source: tensorflow/lite/tools/versioning/op_version.cc.
    """
    if operator == "BROADCAST_TO":
        return 2
    return _INT8_VERSIONS.get(operator, 1) if "int8" in dtypes else 1
