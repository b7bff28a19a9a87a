"""The bytes of a ``.tflite`` file from its tensors and operators: what :mod:`microlith.graph.tflite.model` reads back.

Equal graphs are equal bytes. Constants are aligned to 16 bytes, equal ones are held once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microlith.core.errors import ModelError
from microlith.graph.tflite.model import Graph, Operator, Tensor
from microlith.graph.tflite.schema import (
    IDENTIFIER,
    LAST_DEPRECATED_CODE,
    OPERATORS,
    OPTIONS,
    TENSOR_TYPES,
    UNIONS,
    Slots,
    version_of,
)

if TYPE_CHECKING:
    from flatbuffers import Builder

SCHEMA_VERSION = 3
ALIGNMENT = 16
"""Of the data of a constant, in bytes: vector instructions of the runtimes load so much at once."""
_MOST_BYTES = (1 << 31) - 1
_TYPE_NUMBERS = {name: number for number, (name, _) in TENSOR_TYPES.items()}
_PREPEND = {"b": "Int8", "B": "Uint8", "?": "Bool", "i": "Int32", "I": "Uint32", "f": "Float32", "Q": "Uint64"}


def tflite_bytes(graph: Graph, description: str) -> bytes:
    """The file of a model with one subgraph.

    Raises:
        ModelError: it would be larger than the 2 GiB that a file can be.
    """
    from flatbuffers import Builder

    if sum(0 if item.values is None else item.values.nbytes for item in graph.tensors) > _MOST_BYTES // 2:
        raise ModelError("the model is too large for a .tflite file, of which offsets have 31 bits")
    builder = Builder(1 << 16)
    return _Encoder(builder, graph).file(description)


class _Encoder:
    """Writes tables from the leaves to the root, as a FlatBuffer is built."""

    def __init__(self, builder: Builder, graph: Graph) -> None:
        self.builder, self.graph = builder, graph
        versions: dict[str, int] = {}
        for item in graph.operators:
            needed = version_of(item.name, [graph.tensors[index].dtype for index in item.inputs if index >= 0])
            versions[item.name] = max(versions.get(item.name, 1), needed)
        self.versions = versions
        self.codes = {name: number for number, name in enumerate(versions)}

    def file(self, description: str) -> bytes:
        """Everything."""
        numbers, contents = self._buffers()
        buffers = [self._table({Slots.BUFFER_DATA: self._data(item)} if item else {}) for item in contents]
        tensors = [self._tensor(item, numbers[index]) for index, item in enumerate(self.graph.tensors)]
        operators = [self._operator(item) for item in self.graph.operators]
        subgraph = self._table(
            {
                Slots.GRAPH_TENSORS: self._offsets(tensors),
                Slots.GRAPH_INPUTS: self._array(self.graph.inputs, np.int32),
                Slots.GRAPH_OUTPUTS: self._array(self.graph.outputs, np.int32),
                Slots.GRAPH_OPERATORS: self._offsets(operators),
            }
        )
        codes = [self._code(name) for name in self.codes]
        model = self._table(
            {
                Slots.MODEL_CODES: self._offsets(codes),
                Slots.MODEL_SUBGRAPHS: self._offsets([subgraph]),
                Slots.MODEL_DESCRIPTION: self.builder.CreateString(description),
                Slots.MODEL_BUFFERS: self._offsets(buffers),
            },
            {Slots.MODEL_VERSION: ("I", SCHEMA_VERSION)},
        )
        self.builder.Finish(model, IDENTIFIER)
        return bytes(self.builder.Output())

    def _buffers(self) -> tuple[list[int], list[bytes]]:
        """The buffer of each tensor, and the content of each buffer; number 0 is empty and stands for no data."""
        known: dict[bytes, int] = {b"": 0}
        numbers = []
        for tensor in self.graph.tensors:
            content = b"" if tensor.values is None else _little(tensor.values)
            numbers.append(known.setdefault(content, len(known)))
        return numbers, list(known)

    def _tensor(self, tensor: Tensor, buffer: int) -> int:
        fields = {
            Slots.TENSOR_SHAPE: self._array(tensor.shape, np.int32),
            Slots.TENSOR_NAME: self.builder.CreateString(tensor.name),
        }
        qparams = tensor.qparams
        if qparams is not None:
            scalars = {} if qparams.axis is None else {Slots.QUANT_AXIS: ("i", qparams.axis)}
            fields[Slots.TENSOR_QUANTIZATION] = self._table(
                {
                    Slots.QUANT_SCALE: self._array(qparams.scale.reshape(-1), np.float32),
                    Slots.QUANT_ZERO: self._array(qparams.zero_point.reshape(-1), np.int64),
                },
                scalars,
            )
        numbers = {
            Slots.TENSOR_TYPE: ("b", _TYPE_NUMBERS[tensor.dtype]),
            Slots.TENSOR_BUFFER: ("I", buffer),
        }
        return self._table(fields, numbers)

    def _operator(self, operator: Operator) -> int:
        fields = {
            Slots.OP_INPUTS: self._array(operator.inputs, np.int32),
            Slots.OP_OUTPUTS: self._array(operator.outputs, np.int32),
        }
        numbers: dict[int, tuple[str, Any]] = {Slots.OP_CODE: ("I", self.codes[operator.name])}
        if operator.name in OPTIONS:
            fields[Slots.OP_OPTIONS] = self._options(operator)
            numbers[Slots.OP_OPTIONS_TYPE] = ("B", UNIONS[operator.name])
        return self._table(fields, numbers)

    def _options(self, operator: Operator) -> int:
        """The options that are given; the others have the defaults of the schema."""
        known = OPTIONS[operator.name]
        numbers = {known[name].slot: (known[name].code, value) for name, value in operator.options.items()}
        return self._table({}, numbers, {known[name].slot: known[name].default for name in operator.options})

    def _code(self, name: str) -> int:
        number = OPERATORS.index(name)
        numbers = {
            Slots.CODE_DEPRECATED: ("b", min(number, LAST_DEPRECATED_CODE)),
            Slots.CODE_VERSION: ("i", self.versions[name]),
            Slots.CODE_BUILTIN: ("i", number),
        }
        return self._table({}, numbers, {Slots.CODE_VERSION: 1})

    def _table(
        self,
        offsets: Mapping[int, int],
        numbers: Mapping[int, tuple[str, Any]] | None = None,
        defaults: Mapping[int, Any] | None = None,
    ) -> int:
        """A table of what is written already and of numbers; a number that is the default is left out."""
        numbers = numbers or {}
        self.builder.StartObject(1 + max((*offsets, *numbers), default=0))
        for slot, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, (code, value) in numbers.items():
            prepend = getattr(self.builder, f"Prepend{_PREPEND[code]}Slot")
            prepend(slot, value, (defaults or {}).get(slot, 0))
        return int(self.builder.EndObject())

    def _offsets(self, items: Sequence[int]) -> int:
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependUOffsetTRelative(item)
        return int(self.builder.EndVector())

    def _array(self, values: Any, dtype: type[np.generic]) -> int:
        return int(self.builder.CreateNumpyVector(np.ascontiguousarray(values, dtype)))

    def _data(self, content: bytes) -> int:
        """The vector of a constant's bytes, at a multiple of :data:`ALIGNMENT` from the start of the file."""
        builder = self.builder
        builder.StartVector(1, len(content), ALIGNMENT)
        head = int(builder.Head()) - len(content)
        builder.head = head
        builder.Bytes[head : head + len(content)] = content
        return int(builder.EndVector())


def _little(values: Any) -> bytes:
    array = np.ascontiguousarray(values)
    return bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
