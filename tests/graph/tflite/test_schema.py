"""The positions of fields against the code that TensorFlow Lite's schema compiler makes."""

from __future__ import annotations

import inspect
import re

import pytest
from ai_edge_litert import schema_py_generated as generated

from microlith.graph.tflite import schema
from microlith.graph.tflite.read import HANDLERS

# Ours by theirs, where the names differ in more than their spelling.
RENAMED = {
    "activation": "FusedActivationFunction",
    "dilation_d": "DilationDFactor",
    "dilation_h": "DilationHFactor",
    "dilation_w": "DilationWFactor",
    "filter_h": "FilterHeight",
    "filter_w": "FilterWidth",
    "multiplier": "DepthMultiplier",
    "block": "BlockSize",
    "axes": "SqueezeDims",
    "count": "NumSplits",
    "diagonal": "DiagonalRecurrentTensors",
    "then_subgraph": "ThenSubgraphIndex",
    "else_subgraph": "ElseSubgraphIndex",
    "cond_subgraph": "CondSubgraphIndex",
    "body_subgraph": "BodySubgraphIndex",
}
TABLES = {
    "L2_NORMALIZATION": "L2NormOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "LSTM": "LSTMOptions",
    "RNN": "RNNOptions",
    "SVDF": "SVDFOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2DOptions"),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "ReducerOptions"
    ),
}
CODES = {"Int8": "b", "Bool": "?", "Int32": "i", "Float32": "f", "Uint32": "I", "Uint8": "B", "Uint64": "Q"}


def _slot(table: str, name: str) -> tuple[int, str | None]:
    method = getattr(getattr(generated, table), name)
    source = inspect.getsource(method)
    found = re.search(r"_tab\.Offset\((\d+)\)", source)
    assert found is not None
    kind = re.search(r"number_types\.(\w+)Flags, ", source)
    return (int(found[1]) - 4) // 2, CODES.get(kind[1]) if kind else None


def _camel(name: str) -> str:
    return "".join(part[0].upper() + part[1:].lower() for part in name.split("_"))


def _table(op: str) -> str:
    return TABLES.get(op, _camel(op).replace("2d", "2D").replace("3d", "3D") + "Options")


@pytest.mark.parametrize("op", schema.OPTIONS)
def test_options(op: str) -> None:
    table = _table(op)
    for name, field in schema.OPTIONS[op].items():
        theirs = "InitSubgraphIndex" if (op, name) == ("CALL_ONCE", "subgraph") else RENAMED.get(name, _camel(name))
        slot, code = _slot(table, theirs)
        assert field.slot == slot, name
        assert field.code[0] == (code or "s"), name


@pytest.mark.parametrize(
    ("table", "field", "slot"),
    [
        ("Model", "Version", schema.Slots.MODEL_VERSION),
        ("Model", "OperatorCodes", schema.Slots.MODEL_CODES),
        ("Model", "Subgraphs", schema.Slots.MODEL_SUBGRAPHS),
        ("Model", "Description", schema.Slots.MODEL_DESCRIPTION),
        ("Model", "Buffers", schema.Slots.MODEL_BUFFERS),
        ("SubGraph", "Tensors", schema.Slots.GRAPH_TENSORS),
        ("SubGraph", "Inputs", schema.Slots.GRAPH_INPUTS),
        ("SubGraph", "Outputs", schema.Slots.GRAPH_OUTPUTS),
        ("SubGraph", "Operators", schema.Slots.GRAPH_OPERATORS),
        ("Tensor", "Shape", schema.Slots.TENSOR_SHAPE),
        ("Tensor", "Type", schema.Slots.TENSOR_TYPE),
        ("Tensor", "Buffer", schema.Slots.TENSOR_BUFFER),
        ("Tensor", "Name", schema.Slots.TENSOR_NAME),
        ("Tensor", "Quantization", schema.Slots.TENSOR_QUANTIZATION),
        ("Tensor", "IsVariable", schema.Slots.TENSOR_IS_VARIABLE),
        ("Tensor", "Sparsity", schema.Slots.TENSOR_SPARSITY),
        ("QuantizationParameters", "Scale", schema.Slots.QUANT_SCALE),
        ("QuantizationParameters", "ZeroPoint", schema.Slots.QUANT_ZERO),
        ("QuantizationParameters", "DetailsType", schema.Slots.QUANT_DETAILS),
        ("QuantizationParameters", "QuantizedDimension", schema.Slots.QUANT_AXIS),
        ("Buffer", "Data", schema.Slots.BUFFER_DATA),
        ("Buffer", "Offset", schema.Slots.BUFFER_OFFSET),
        ("Buffer", "Size", schema.Slots.BUFFER_SIZE),
        ("OperatorCode", "DeprecatedBuiltinCode", schema.Slots.CODE_DEPRECATED),
        ("OperatorCode", "CustomCode", schema.Slots.CODE_CUSTOM),
        ("OperatorCode", "Version", schema.Slots.CODE_VERSION),
        ("OperatorCode", "BuiltinCode", schema.Slots.CODE_BUILTIN),
        ("Operator", "OpcodeIndex", schema.Slots.OP_CODE),
        ("Operator", "Inputs", schema.Slots.OP_INPUTS),
        ("Operator", "Outputs", schema.Slots.OP_OUTPUTS),
        ("Operator", "BuiltinOptionsType", schema.Slots.OP_OPTIONS_TYPE),
        ("Operator", "BuiltinOptions", schema.Slots.OP_OPTIONS),
    ],
)
def test_tables(table: str, field: str, slot: int) -> None:
    assert _slot(table, field)[0] == slot


def test_numbers() -> None:
    assert all(getattr(generated.BuiltinOperator, name) == i for i, name in enumerate(schema.OPERATORS))
    assert set(schema.OPTIONS) <= set(HANDLERS)
    for number, (name, _) in schema.TENSOR_TYPES.items():
        assert getattr(generated.TensorType, name.upper()) == number
    for number, name in schema.OTHER_TENSOR_TYPES.items():
        assert getattr(generated.TensorType, name.upper()) == number
    for names, kind in ((schema.PADDINGS, generated.Padding), (schema.ACTIVATIONS, generated.ActivationFunctionType)):
        assert all(getattr(kind, name) == number for number, name in enumerate(names))


def test_unions() -> None:
    assert {op: getattr(generated.BuiltinOptions, _table(op)) for op in schema.UNIONS} == schema.UNIONS
    assert set(schema.UNIONS) <= set(schema.OPTIONS)
