"""Mutations of TensorFlow Lite files that know the format: each changes the unpacked tables of a file in place.

A table is packed again afterwards, with offsets in good order, so that the reader gets past them and meets contents
that contradict each other. What breaks offsets is in ``byte_mutations``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from fuzz.onnx_mutations import FLOATS, NAMES, pick

Rng = np.random.Generator
Mutation = Callable[[Any, Rng], None]

SIZES = (0, -1, 1, 2, 3, 7, 64, 1 << 12, 1 << 16, (1 << 31) - 1, -(1 << 31))
ZEROS = (0, 1, -1, 127, -128, 255, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
CLAIMS = (1, 2, 100, 1 << 20, 1 << 32, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_BYTE = (0, 1, 2, 3, 5, 17, 100, 127, -1, -128)
_TEXTS = (*(name.encode() for name in NAMES), b"\xff\xfe", b"a\xc3", b"\xed\xa0\x80")


def parse(data: bytes) -> Any:
    """The unpacked model."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def serialize(model: Any) -> bytes:
    """The packed model."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _graph(model: Any, rng: Rng) -> Any:
    return pick(rng, model.subgraphs)


def _tensor(model: Any, rng: Rng) -> Any:
    return pick(rng, _graph(model, rng).tensors)


def _operator(model: Any, rng: Rng) -> Any:
    return pick(rng, _graph(model, rng).operators)


def option_changed(model: Any, rng: Rng) -> None:
    """One option of an operator has an extreme value."""
    options = _operator(model, rng).builtinOptions
    name = pick(rng, sorted(vars(options)))
    old = getattr(options, name)
    if isinstance(old, bool):
        setattr(options, name, not old)
    elif isinstance(old, float):
        setattr(options, name, pick(rng, FLOATS))
    elif isinstance(old, int):
        # Enumerations are single bytes, sizes are not; what does not fit cannot be packed.
        wide = name.startswith(("stride", "dilation", "filter", "depth", "axis", "num", "block", "begin", "end"))
        setattr(options, name, pick(rng, SIZES if wide else _BYTE))
    else:
        setattr(options, name, [pick(rng, SIZES) for _ in range(int(rng.integers(6)))])


def option_kind(model: Any, rng: Rng) -> None:
    """An operator has the options of another one, claims another kind, or has none."""
    operator = _operator(model, rng)
    choice = rng.integers(3)
    if choice == 0:
        operator.builtinOptions, operator.builtinOptionsType = None, 0
    elif choice == 1:
        operator.builtinOptionsType = int(rng.integers(130))
    else:
        other = _operator(model, rng)
        kind = pick(rng, ("Conv2DOptions", "ReshapeOptions", "WhileOptions", "SplitOptions", "LSTMOptions"))
        operator.builtinOptions = other.builtinOptions if other is not operator else getattr(schema, f"{kind}T")()
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(operator.builtinOptions).__name__[:-1])


def tensor_shape(model: Any, rng: Rng) -> None:
    """A dimension is absurd, one of too many, or gone; or the shape has a signature of another length."""
    tensor = _tensor(model, rng)
    shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
    choice = rng.integers(5)
    if choice == 0:
        shape.append(pick(rng, SIZES))
    elif choice == 1:
        shape = pick(rng, ([], shape[1:], shape[::-1], [1] * 1000, [65536] * 4, [2] * 64))
    elif choice == 2:
        tensor.shapeSignature = [pick(rng, SIZES) for _ in range(int(rng.integers(6)))]
    elif shape:
        shape[int(rng.integers(len(shape)))] = pick(rng, SIZES)
    tensor.shape = shape


def tensor_type(model: Any, rng: Rng) -> None:
    """A tensor is of another type, or of none that there is."""
    _tensor(model, rng).type = int(rng.integers(-1, 24))


def tensor_buffer(model: Any, rng: Rng) -> None:
    """A tensor is another constant, none, becomes one, or lies in a buffer that is not there."""
    tensor = _tensor(model, rng)
    count = len(model.buffers)
    tensor.buffer = pick(rng, (0, *range(count), *range(count), count, 1 << 20, (1 << 32) - 1))
    if rng.random() < 0.2:
        tensor.isVariable = not tensor.isVariable


def tensor_name(model: Any, rng: Rng) -> None:
    """A tensor, graph or the model has a hostile name, that of another, or none; also one that is no UTF-8."""
    graph, choice = _graph(model, rng), rng.integers(5)
    if choice == 0:
        graph.name = pick(rng, _TEXTS)
    elif choice == 1:
        model.description = pick(rng, _TEXTS)
    elif choice == 2:
        pick(rng, graph.tensors).name = pick(rng, graph.tensors).name
    else:
        pick(rng, graph.tensors).name = pick(rng, (None, *_TEXTS))


def quantization(model: Any, rng: Rng) -> None:
    """Scales, zero points or the axis are extreme, of other lengths, or gone."""
    found = [tensor for graph in model.subgraphs for tensor in graph.tensors if tensor.quantization is not None]
    tensor = pick(rng, found) or _tensor(model, rng)
    if tensor.quantization is None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.1], [0]
    quant, choice = tensor.quantization, rng.integers(6)
    count = 0 if quant.scale is None else len(quant.scale)
    if choice == 0:
        tensor.quantization = None
    elif choice == 1:
        quant.scale = [pick(rng, FLOATS)] * pick(rng, (count, 1, 2, 0, 1000))
    elif choice == 2:
        quant.zeroPoint = [pick(rng, ZEROS)] * pick(rng, (count, 1, 2, 0, 1000))
    elif choice == 3:
        quant.quantizedDimension = pick(rng, SIZES)
    elif choice == 4:
        quant.detailsType, quant.details = 1, schema.CustomQuantizationT()
    elif count:
        quant.scale = np.array(quant.scale, np.float32)
        quant.scale[int(rng.integers(count))] = np.float32(pick(rng, FLOATS))


def sparsity(model: Any, rng: Rng) -> None:
    """A tensor claims to be sparse."""
    made = schema.SparsityParametersT()
    made.traversalOrder = [pick(rng, SIZES) for _ in range(int(rng.integers(4)))]
    made.blockMap, made.dimMetadata = [0], [schema.DimensionMetadataT() for _ in range(int(rng.integers(3)))]
    _tensor(model, rng).sparsity = made


def constant_values(model: Any, rng: Rng) -> None:
    """Values of a constant are extreme: NaN, infinity, indices and sizes beyond what is there."""
    buffer = pick(rng, [buffer for buffer in model.buffers if buffer.data is not None and len(buffer.data)])
    data = np.array(buffer.data, np.uint8)
    kind = pick(rng, (np.float32, np.int32, np.int64, np.uint8))
    size = np.dtype(kind).itemsize
    item = np.array(pick(rng, FLOATS) if kind is np.float32 else pick(rng, SIZES), np.float64)
    with np.errstate(all="ignore"):
        raw = np.frombuffer(item.astype(kind).tobytes(), np.uint8)
    if rng.random() < 0.5:
        place = size * int(rng.integers(max(len(data) // size, 1)))
        data[place : place + size] = raw[: len(data[place : place + size])]
    else:
        data = np.resize(raw, len(data))
    buffer.data = data


def constant_storage(model: Any, rng: Rng) -> None:
    """A constant is shorter or longer than its shape, missing, there twice, or claims to lie elsewhere in the file."""
    buffer, choice = pick(rng, model.buffers), rng.integers(5)
    data = np.zeros(0, np.uint8) if buffer.data is None else np.array(buffer.data, np.uint8)
    if choice == 0:
        buffer.data = data[: int(rng.integers(len(data) + 1))]
    elif choice == 1:
        buffer.data = np.concatenate([data, np.zeros(int(rng.choice((1, 4, 4096))), np.uint8)])
    elif choice == 2:
        buffer.data = None
    elif choice == 3:
        model.buffers = model.buffers[: int(rng.integers(len(model.buffers) + 1))]
    else:
        buffer.offset, buffer.size = pick(rng, CLAIMS), pick(rng, CLAIMS)


def operand(model: Any, rng: Rng) -> None:
    """An operator reads or writes another tensor: a cycle, a constant, what is not there; or more, or fewer."""
    graph = _graph(model, rng)
    operator = pick(rng, graph.operators)
    name = pick(rng, ("inputs", "inputs", "outputs"))
    items = [int(item) for item in (() if getattr(operator, name) is None else getattr(operator, name))]
    there = range(len(graph.tensors))
    number = int(pick(rng, (*there, *there, -1, -2, len(graph.tensors), (1 << 31) - 1)))
    choice = rng.integers(4)
    if choice == 0:
        items.append(number)
    elif choice == 1 and items:
        del items[int(rng.integers(len(items)))]
    elif choice == 2:
        items += [number] * int(rng.choice((2, 300)))
    elif items:
        items[int(rng.integers(len(items)))] = number
    setattr(operator, name, items)


def operator_code(model: Any, rng: Rng) -> None:
    """A kind of operator is another one, a custom one, of an odd version, or not listed."""
    code, choice = pick(rng, model.operatorCodes), rng.integers(4)
    if choice == 0:
        code.builtinCode = code.deprecatedBuiltinCode = int(rng.integers(127))
        code.builtinCode = pick(rng, (code.builtinCode, code.builtinCode, int(rng.integers(-2, 240))))
    elif choice == 1:
        code.customCode, code.builtinCode = pick(rng, _TEXTS), 32
    elif choice == 2:
        code.version = pick(rng, SIZES)
    else:
        _operator(model, rng).opcodeIndex = pick(rng, (len(model.operatorCodes), (1 << 32) - 1, 0))


def operator_list(model: Any, rng: Rng) -> None:
    """An operator is dropped, there twice, or stands elsewhere."""
    operators = _graph(model, rng).operators
    index, choice = int(rng.integers(len(operators))), rng.integers(3)
    copy = deepcopy(operators[index])
    if choice != 1:
        del operators[index]
    if choice != 0:
        operators.insert(int(rng.integers(len(operators) + 1)), copy)


def many_operators(model: Any, rng: Rng) -> None:
    """Some hundred operators stand in a row before the first output."""
    graph = model.subgraphs[0]
    count, last = int(rng.choice((50, 300, 600))), int(graph.outputs[0])
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = pick(rng, (19, 14, 59))  # RELU, LOGISTIC, NEG
    model.operatorCodes.append(code)
    first = len(graph.tensors)
    for operator in graph.operators:
        operator.outputs = [first if item == last else int(item) for item in operator.outputs]
    for index in range(count):
        tensor = deepcopy(graph.tensors[last])
        tensor.name, tensor.buffer = f"many{index}".encode(), 0
        graph.tensors.append(tensor)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [first + index], [last if index == count - 1 else first + index + 1]
        graph.operators.append(operator)


def io_list(model: Any, rng: Rng) -> None:
    """Inputs and outputs of a graph are dropped, repeated, or name another tensor."""
    graph = _graph(model, rng)
    name = pick(rng, ("inputs", "outputs"))
    items, choice = [int(item) for item in getattr(graph, name)], rng.integers(3)
    number = int(pick(rng, (*range(len(graph.tensors)), -1, len(graph.tensors), (1 << 31) - 1)))
    if choice == 0 and items:
        del items[int(rng.integers(len(items)))]
    elif choice == 1 and items:
        items[int(rng.integers(len(items)))] = number
    else:
        items.append(number)
    setattr(graph, name, items)


def subgraphs(model: Any, rng: Rng) -> None:
    """Subgraphs are none, doubled or many; an operator calls one, perhaps the one that it stands in."""
    choice = rng.integers(4)
    if choice == 0:
        model.subgraphs = model.subgraphs[: int(rng.integers(len(model.subgraphs)))]
    elif choice == 1:
        model.subgraphs += [deepcopy(model.subgraphs[0]) for _ in range(int(rng.choice((1, 3, 40))))]
    else:
        model.subgraphs += [deepcopy(model.subgraphs[0]) for _ in range(int(rng.integers(3)))]
        for graph in model.subgraphs:
            _call(model, pick(rng, graph.operators), rng)


def _call(model: Any, operator: Any, rng: Rng) -> None:
    kind, number = pick(rng, (("IfOptions", 118), ("WhileOptions", 119), ("CallOptions", 57), ("CallOnceOptions", 129)))
    operator.builtinOptions = getattr(schema, f"{kind}T")()
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
    for name in vars(operator.builtinOptions):
        setattr(operator.builtinOptions, name, pick(rng, (0, 1, 2, len(model.subgraphs) - 1, 1000)))
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    model.operatorCodes.append(code)
    operator.opcodeIndex = len(model.operatorCodes) - 1


def extras(model: Any, rng: Rng) -> None:
    """Another schema version; metadata and signatures that refer to what is not there; external buffers."""
    choice = rng.integers(4)
    if choice == 0:
        model.version = pick(rng, (0, 1, 2, 4, (1 << 32) - 1))
    elif choice == 1:
        made = schema.MetadataT()
        made.name, made.buffer = pick(rng, _TEXTS), pick(rng, (0, 1, (1 << 32) - 1))
        model.metadata = [made]
    elif choice == 2:
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = pick(rng, _TEXTS), pick(rng, (0, 7, (1 << 32) - 1))
        model.signatureDefs = [made]
    else:
        _tensor(model, rng).externalBuffer = pick(rng, (1, (1 << 32) - 1))


_ALL: tuple[Mutation, ...] = (
    option_changed, option_kind, tensor_shape, tensor_type, tensor_buffer, tensor_name, quantization, sparsity,
    constant_values, constant_storage, operand, operator_code, operator_list, many_operators, io_list, subgraphs,
    extras,
)  # fmt: skip
MUTATIONS: Mapping[str, Mutation] = {item.__name__: item for item in _ALL}
