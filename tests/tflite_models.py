"""Small ``.tflite`` files made in memory, and the interpreter that is the outside check of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Array = np.ndarray
VERSION = 3
# The oldest version of an operator that LiteRT registers, where that is not 1.
_VERSIONS = {"BROADCAST_TO": 2}
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
    "int4": schema.TensorType.INT4,
    "resource": schema.TensorType.RESOURCE,
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: computed, or constant where ``values`` is given.

    Attributes:
        shape: as stored.
        dtype: NumPy name, or int4 (``values`` then holds the packed bytes).
        values: of a constant.
        scale: one number, or one for each channel along ``axis``.
        zero_point: of the same length.
        axis: of per-channel scales.
        variable: whether it is kept from one inference to the next.
    """

    shape: Sequence[int]
    dtype: str = "float32"
    values: Array | None = None
    scale: float | Sequence[float] | None = None
    zero_point: int | Sequence[int] = 0
    axis: int = 0
    variable: bool = False


@dataclass(frozen=True)
class Node:
    """An operator: names of tensors in and out (``""`` for an absent one), and its options."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Any = None


def constant(values: Array, **fields: Any) -> Tensor:
    """A constant tensor."""
    values = np.asarray(values)
    return Tensor(values.shape, values.dtype.name, values, **fields)


@dataclass(frozen=True)
class Part:
    """A further subgraph of a file."""

    tensors: Mapping[str, Tensor]
    nodes: Sequence[Node]
    inputs: Sequence[str]
    outputs: Sequence[str]


def build(
    tensors: Mapping[str, Tensor],
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
    parts: Sequence[Part] = (),
) -> bytes:
    """The bytes of a file; ``parts`` are its subgraphs from number 1 on."""
    model = schema.ModelT()
    model.buffers = [schema.BufferT()]
    everything = [Part(tensors, nodes, inputs, outputs), *parts]
    codes = list(dict.fromkeys(node.op for part in everything for node in part.nodes))
    model.operatorCodes = [_code(code) for code in codes]
    model.subgraphs = [_subgraph(part, codes, model.buffers, f"part_{i}") for i, part in enumerate(everything)]
    model.version, model.description = VERSION, "test"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _subgraph(part: Part, codes: list[str], buffers: list[Any], name: str) -> Any:
    graph, names = schema.SubGraphT(), list(part.tensors)
    graph.name = name
    graph.tensors = [_tensor(name, tensor, buffers) for name, tensor in part.tensors.items()]
    graph.inputs, graph.outputs = ([names.index(name) for name in listed] for listed in (part.inputs, part.outputs))
    graph.operators = []
    for node in part.nodes:
        operator = schema.OperatorT()
        operator.opcodeIndex = codes.index(node.op)
        operator.inputs = [names.index(name) if name else -1 for name in node.inputs]
        operator.outputs = [names.index(name) for name in node.outputs]
        if node.options is not None:
            kind = type(node.options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = node.options
        graph.operators.append(operator)
    return graph


def _code(name: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = _VERSIONS.get(name, 1)
    return code


def _tensor(name: str, tensor: Tensor, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type = name, list(tensor.shape), _TYPES[tensor.dtype]
    made.isVariable = tensor.variable
    if tensor.values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.values).tobytes(), np.uint8)
        made.buffer = len(buffers)
        buffers.append(buffer)
    if tensor.scale is not None:
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        zero = np.broadcast_to(np.asarray(tensor.zero_point, np.int64), quantization.scale.shape)
        quantization.zeroPoint = np.ascontiguousarray(zero)
        quantization.quantizedDimension = tensor.axis
        made.quantization = quantization
    return made


def options(kind: str, **fields: Any) -> Any:
    """Options of an operator, such as ``options("Conv2DOptions", strideW=1)``."""
    made = getattr(schema, kind + "T")()
    for name, value in fields.items():
        assert hasattr(made, name), name
        setattr(made, name, value)
    return made


class Oracle:
    """LiteRT without delegates, whose built-in kernels define the integers of a ``.tflite`` file."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            num_threads=1,
        )
        self._interpreter.allocate_tensors()

    def run(self, *inputs: Array) -> list[Array]:
        """Outputs of one inference."""
        details = self._interpreter.get_input_details()
        for detail, values in zip(details, inputs, strict=True):
            self._interpreter.set_tensor(detail["index"], np.asarray(values, detail["dtype"]))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(item["index"]) for item in self._interpreter.get_output_details()]
