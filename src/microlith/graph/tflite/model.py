"""The content of a ``.tflite`` file, checked: tensors, constants and operators of its subgraphs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.graph.tflite.flatbuffer import Table
from microlith.graph.tflite.schema import (
    IDENTIFIER,
    LAST_DEPRECATED_CODE,
    OPERATORS,
    OPTIONS,
    OTHER_TENSOR_TYPES,
    TENSOR_TYPES,
    Slots,
)
from microlith.quant.types import LIMITS, QParams

MAX_TENSOR_ELEMENTS = 1 << 26
"""Most elements of one tensor; a model for a small device lies far below."""

MAX_RANK = 8

MAX_OPERATORS = 1 << 13
"""Most operators of a subgraph; the largest models have some thousand."""

MAX_SUBGRAPHS = 1 << 10
RESOURCE = "resource"
"""The type of a tensor that names a variable."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor.

    Attributes:
        name: as in the file.
        shape: static; a dimension that the file leaves open has the size that it was exported with.
        dtype: NumPy name, or :data:`RESOURCE`; int4 is held as int8.
        values: of a constant, in ``shape``.
        qparams: None where it is not quantized.
        is_variable: whether it is kept from one inference to the next.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    values: NDArray[Any] | None
    qparams: QParams | None
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator: its built-in name, tensors by number (-1 for an absent input), and its options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A subgraph of a file."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


class File:
    """The subgraphs of a file, each read when it is first asked for: those that nothing refers to are of no concern."""

    def __init__(self, subgraphs: tuple[Table, ...], buffers: tuple[Table, ...], codes: tuple[str, ...]) -> None:
        self._subgraphs, self._buffers, self._codes = subgraphs, buffers, codes
        self._read: dict[int, Graph] = {}

    def graph(self, number: int) -> Graph:
        """A subgraph; the model is number 0.

        Raises:
            ModelError: there is none of that number, or it is malformed.
            UnsupportedError: it uses what cannot be imported.
        """
        if not 0 <= number < len(self._subgraphs):
            raise ModelError(f"subgraph {number} is referred to, and the file holds {len(self._subgraphs)}")
        if number not in self._read:
            self._read[number] = self._parsed(self._subgraphs[number])
        return self._read[number]

    def _parsed(self, graph: Table) -> Graph:
        tensors = tuple(_tensor(item, self._buffers) for item in graph.tables(Slots.GRAPH_TENSORS, "tensor"))
        operators = tuple(
            _operator(item, self._codes, len(tensors))
            for item in graph.tables(Slots.GRAPH_OPERATORS, "operator", MAX_OPERATORS)
        )
        inputs, outputs = (
            _indices(graph, slot, len(tensors), absent=False) for slot in (Slots.GRAPH_INPUTS, Slots.GRAPH_OUTPUTS)
        )
        return Graph(tensors, inputs, outputs, operators)


def parse_tflite(data: bytes, what: str) -> File:
    """The bytes of a file, of which the model itself (subgraph 0) is read and checked.

    Raises:
        ModelError: they are malformed.
        UnsupportedError: they are well-formed and use what cannot be imported.
    """
    if data[4:8] != IDENTIFIER:
        raise ModelError(f"{what} does not begin like a .tflite file", hint="Check that it is a complete .tflite file.")
    model = Table.root(data, "the model")
    version = model.scalar(Slots.MODEL_VERSION, "I", 0)
    if version != 3:
        raise UnsupportedError(f"{what} is of schema version {version}, expected 3")
    subgraphs = model.tables(Slots.MODEL_SUBGRAPHS, "subgraph", MAX_SUBGRAPHS)
    if not subgraphs:
        raise ModelError(f"{what} holds no subgraph")
    buffers = model.tables(Slots.MODEL_BUFFERS, "buffer")
    codes = tuple(_code(item) for item in model.tables(Slots.MODEL_CODES, "operator code"))
    file = File(subgraphs, buffers, codes)
    file.graph(0)
    return file


def _code(item: Table) -> str:
    number = item.scalar(Slots.CODE_DEPRECATED, "b", 0)
    if number < 0 or number >= LAST_DEPRECATED_CODE:
        number = item.scalar(Slots.CODE_BUILTIN, "i", 0)
    else:
        number = max(number, item.scalar(Slots.CODE_BUILTIN, "i", 0))
    name = OPERATORS[number] if 0 <= number < len(OPERATORS) else f"number {number}"
    return f"CUSTOM {item.text(Slots.CODE_CUSTOM)!r}" if name == "CUSTOM" else name


def _operator(item: Table, codes: tuple[str, ...], tensors: int) -> Operator:
    index = item.scalar(Slots.OP_CODE, "I", 0)
    if index >= len(codes):
        raise ModelError(f"{item.what} is of kind {index}, and the model lists {len(codes)} kinds")
    name = codes[index]
    table = item.table(Slots.OP_OPTIONS, f"the options of {item.what} ({name})")
    options: dict[str, Any] = {}
    for key, field in OPTIONS.get(name, {}).items():
        if field.code == "s":
            options[key] = "" if table is None else table.text(field.slot)
        elif field.code == "i*":
            options[key] = () if table is None else tuple(int(v) for v in table.array(field.slot, np.int32))
        else:
            options[key] = field.default if table is None else table.scalar(field.slot, field.code, field.default)
        if isinstance(options[key], float) and not math.isfinite(options[key]):
            raise ModelError(f"the option {key} of {item.what} ({name}) is {options[key]}, expected a finite number")
    inputs = _indices(item, Slots.OP_INPUTS, tensors, absent=True)
    return Operator(name, inputs, _indices(item, Slots.OP_OUTPUTS, tensors, absent=False), options)


def _indices(item: Table, slot: int, tensors: int, *, absent: bool) -> tuple[int, ...]:
    found = tuple(int(index) for index in item.array(slot, np.int32))
    for index in found:
        if not (0 <= index < tensors or (absent and index == -1)):
            raise ModelError(f"{item.what} refers to tensor {index}, and there are {tensors}")
    return found


def _tensor(item: Table, buffers: tuple[Table, ...]) -> Tensor:
    name = item.text(Slots.TENSOR_NAME)
    what = f"the tensor {name!r}"
    number = item.scalar(Slots.TENSOR_TYPE, "b", 0)
    if number not in TENSOR_TYPES:
        kind = OTHER_TENSOR_TYPES.get(number, f"number {number}")
        raise UnsupportedError(f"{what} has type {kind}, which cannot be imported")
    dtype, bits = TENSOR_TYPES[number]
    if item.table(Slots.TENSOR_SPARSITY, what) is not None:
        raise UnsupportedError(f"{what} is sparse", hint="Export the model with dense weights.")
    shape = _shape(item, what)
    if dtype == RESOURCE:
        return Tensor(name, shape, dtype, None, None)
    values = _values(item, buffers, shape, (dtype, bits), what)
    dtype = "int8" if dtype == "int4" else dtype
    qparams = _qparams(item, shape, dtype, what)
    return Tensor(name, shape, dtype, values, qparams, item.scalar(Slots.TENSOR_IS_VARIABLE, "?", False))


def _shape(item: Table, what: str) -> tuple[int, ...]:
    sizes = item.array(Slots.TENSOR_SHAPE, np.int32)
    if len(sizes) > MAX_RANK:
        raise UnsupportedError(f"{what} has {len(sizes)} dimensions; at most {MAX_RANK} can be imported")
    shape = tuple(int(size) for size in sizes)
    if any(size < 0 for size in shape) or math.prod(shape) > MAX_TENSOR_ELEMENTS:
        raise ModelError(f"{what} has the shape {list(shape)}, expected at most {MAX_TENSOR_ELEMENTS:,} elements")
    return shape


def _values(
    item: Table, buffers: tuple[Table, ...], shape: tuple[int, ...], kind: tuple[str, int], what: str
) -> NDArray[Any] | None:
    index = item.scalar(Slots.TENSOR_BUFFER, "I", 0)
    if index == 0:
        return None  # by convention buffer 0 is empty and stands for no data
    if index >= len(buffers):
        raise ModelError(f"{what} keeps its data in buffer {index}, and there are {len(buffers)}")
    raw = _buffer(buffers[index])
    if not raw:
        return None if math.prod(shape) else np.zeros(shape, kind[0] if kind[0] != "int4" else "int8")
    dtype, bits = kind
    count = math.prod(shape)
    expected = (count * bits + 7) // 8
    if len(raw) != expected:
        raise ModelError(f"{what} of shape {list(shape)} holds {len(raw):,} B, expected {expected:,} B of {dtype}")
    if dtype == "int4":
        return _unpacked(raw, count).reshape(shape)
    values = np.frombuffer(raw, np.dtype(np.uint8 if dtype == "bool" else dtype).newbyteorder("<"))
    return values.astype(dtype).reshape(shape)


def _buffer(item: Table) -> bytes:
    offset, size = item.scalar(Slots.BUFFER_OFFSET, "Q", 0), item.scalar(Slots.BUFFER_SIZE, "Q", 0)
    if offset > 1:  # data that lies behind the tables, as in files above 2 GiB
        if offset + size > len(item.data):
            raise ModelError(f"{item.what} lies at bytes {offset:,} to {offset + size:,}, beyond the end of the file")
        return item.data[offset : offset + size]
    return item.array(Slots.BUFFER_DATA, np.uint8).tobytes()


def _unpacked(raw: bytes, count: int) -> NDArray[np.int8]:
    """Two signed 4-bit integers from each byte, the low half first."""
    packed = np.frombuffer(raw, np.int8)
    low, high = (packed << 4).astype(np.int8) >> 4, packed >> 4
    return np.stack([low, high], axis=1).reshape(-1)[:count].astype(np.int8)


def _qparams(item: Table, shape: tuple[int, ...], dtype: str, what: str) -> QParams | None:
    table = item.table(Slots.TENSOR_QUANTIZATION, f"the quantization of {what}")
    if table is None:
        return None
    scale = table.array(Slots.QUANT_SCALE, np.float32)
    if not scale.size or dtype not in (*LIMITS, "int64"):
        return None
    if table.scalar(Slots.QUANT_DETAILS, "B", 0):
        raise UnsupportedError(f"{what} is quantized in a way of its own (custom or blockwise)")
    zero = table.array(Slots.QUANT_ZERO, np.int64)
    zero = np.zeros(scale.shape, np.int64) if not zero.size else zero
    if zero.size not in (1, scale.size) or (np.abs(zero) >= 2**31).any():
        raise ModelError(f"{what} has {scale.size} scales and the zero points {zero[:4].tolist()}")
    zero = np.broadcast_to(zero, scale.shape).astype(np.int32)
    kind = "int32" if dtype == "int64" else dtype
    try:
        if scale.size == 1:
            return QParams(scale.reshape(()), zero.reshape(()), kind)
        axis = table.scalar(Slots.QUANT_AXIS, "i", 0)
        if not 0 <= axis < len(shape) or shape[axis] != scale.size:
            raise ModelError(f"{scale.size} scales along axis {axis} do not fit the shape {list(shape)}")
        return QParams(scale, zero, kind, axis)
    except ModelError as error:
        raise ModelError(f"{what}: {error.what}") from error
