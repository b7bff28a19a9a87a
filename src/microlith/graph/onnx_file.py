"""Reads an ONNX file as untrusted bytes: sizes bounded, tensors complete, external data from beside the model only."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from microlith.core.errors import InputError, ModelError, UnsupportedError
from microlith.core.units import format_bytes

MAX_FILE_BYTES = 1 << 30
"""Largest model file read; Protocol Buffers end at 2 GiB, and a model for a small device lies far below."""

MAX_TENSOR_BYTES = 1 << 30
"""Most bytes of all constants together, external data included."""

MAX_VALUE_ELEMENTS = 1 << 26
"""Most elements of an input or a computed value: 256 MiB of floats."""

_ONNX_HINT = "Check that the file is a complete .onnx file, for instance by opening it in Netron."
_FIELDS = {
    "FLOAT": ("float_data", 32),
    "DOUBLE": ("double_data", 64),
    "INT64": ("int64_data", 64),
    "UINT64": ("uint64_data", 64),
    "UINT32": ("uint64_data", 32),
    "INT32": ("int32_data", 32),
    "INT16": ("int32_data", 16),
    "UINT16": ("int32_data", 16),
    "INT2": ("int32_data", 2),
    "UINT2": ("int32_data", 2),
    "INT4": ("int32_data", 4),
    "UINT4": ("int32_data", 4),
    "INT8": ("int32_data", 8),
    "UINT8": ("int32_data", 8),
    "BOOL": ("int32_data", 8),
    "FLOAT16": ("int32_data", 16),
    "BFLOAT16": ("int32_data", 16),
}
"""Where a tensor keeps its elements that has no raw data, and the bits of one; of 2 and 4 bits a byte shares one."""


def read_onnx(path: Path) -> Any:
    """The ModelProto of a file, all strings valid UTF-8, all tensors complete and in memory.

    Raises:
        InputError: the file cannot be read.
        ModelError: it is too large, no ONNX model, cut short, or its external data cannot be used.
        UnsupportedError: it holds sparse tensors or tensors of a type that cannot be loaded.
    """
    return parse_onnx(read_file(path, "an .onnx file"), str(path), path.parent)


def parse_onnx(data: bytes, origin: str, folder: Path | None = None) -> Any:
    """The ModelProto of the bytes of a file; see :func:`read_onnx`.

    Args:
        data: the bytes.
        origin: what they are called in errors.
        folder: where external data may lie; None where there may be none.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{origin} is not an ONNX model, or is cut short", hint=_ONNX_HINT) from error
    _check_text(proto)
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{origin} holds no graph, expected an ONNX model", hint=_ONNX_HINT)
    if not proto.opset_import:
        raise ModelError(f"{origin} does not say which operator set it uses, expected opset_import", hint=_ONNX_HINT)
    _load_tensors(proto, folder)
    return proto


def read_file(path: Path, expected: str) -> bytes:
    """The bytes of a regular file of bounded size.

    Args:
        path: the file.
        expected: what it should be, for errors, such as "an .onnx file".

    Raises:
        InputError: it is missing or no regular file.
        ModelError: it is empty or too large.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a directory, expected {expected}")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file, expected {expected}")
        if status.st_size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path} is {format_bytes(status.st_size)}, and at most {format_bytes(MAX_FILE_BYTES)} are read"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    if not data:
        raise ModelError(f"{path} is empty, expected {expected}")
    return data


def _check_text(message: Any) -> None:
    from google.protobuf.message import Message

    for field, content in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for item in (content,) if isinstance(content, str | bytes | Message) else content:
            if field.type == field.TYPE_MESSAGE:
                _check_text(item)
            elif isinstance(item, bytes):
                raise ModelError(f"the text {item[:40]!r} in the model is not valid UTF-8", hint=_ONNX_HINT)


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor, those of subgraphs included, with what to call it."""
    if graph.sparse_initializer:
        raise UnsupportedError("the model has sparse constants", hint="Export the model with dense tensors.")
    for tensor in graph.initializer:
        yield f"the constant {tensor.name!r}", tensor
    for node in graph.node:
        for attribute in node.attribute:
            owner = f"attribute {attribute.name!r} of node {node.name!r} ({node.op_type})"
            if attribute.HasField("t"):
                yield owner, attribute.t
            for tensor in attribute.tensors:
                yield owner, tensor
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _tensors(inner)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise UnsupportedError(f"{owner} is a sparse tensor", hint="Export the model with dense tensors.")


def _load_tensors(proto: Any, folder: Path | None) -> None:
    total = 0
    for owner, tensor in _tensors(proto.graph):
        field, size = _storage(owner, tensor)
        total += size
        if total > MAX_TENSOR_BYTES:
            raise ModelError(f"the constants of the model exceed {format_bytes(MAX_TENSOR_BYTES)}")
        if tensor.data_location == tensor.EXTERNAL:
            if folder is None:
                raise ModelError(f"{owner} keeps its data in another file, and there is none")
            _load_external(owner, tensor, size, folder)
        else:
            _check_complete(owner, tensor, field, size)


def _storage(owner: str, tensor: Any) -> tuple[str, int]:
    import onnx

    names = onnx.TensorProto.DataType.DESCRIPTOR.values_by_number
    name = names[tensor.data_type].name if tensor.data_type in names else f"number {tensor.data_type}"
    if name not in _FIELDS:
        raise UnsupportedError(
            f"{owner} has type {name}, expected one of {', '.join(_FIELDS)}", hint="Export the model in float32."
        )
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"{owner} has the shape {list(tensor.dims)}, expected sizes of at least 0")
    field, bits = _FIELDS[name]
    return field, (math.prod(tensor.dims) * bits + 7) // 8


def _check_complete(owner: str, tensor: Any, field: str, size: int) -> None:
    import onnx

    types = onnx.TensorProto
    packed = tensor.data_type in (types.INT2, types.UINT2, types.INT4, types.UINT4)
    elements = size if packed else math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        got, expected, unit = len(tensor.raw_data), size, "bytes"
    else:
        got, expected, unit = len(getattr(tensor, field)), elements, "elements"
    if got != expected:
        raise ModelError(f"{owner} of shape {list(tensor.dims)} holds {got} {unit}, expected {expected}")


def _load_external(owner: str, tensor: Any, size: int, folder: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _external_path(owner, entries.get("location", ""), folder)
    offset = _external_number(owner, entries, "offset", 0)
    length = _external_number(owner, entries, "length", size)
    if length != size:
        raise ModelError(f"{owner} needs {size} bytes of external data, and its length says {length}")
    try:
        with file.open("rb") as stream:
            end = os.fstat(stream.fileno()).st_size
            if offset + length > end:
                raise ModelError(
                    f"{owner} lies at bytes {offset} to {offset + length} of {file.name!r}, which ends at {end}"
                )
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise ModelError(f"cannot read the external data {file.name!r} of {owner}: {error.strerror}") from error
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    tensor.raw_data = data


def _external_path(owner: str, location: str, folder: Path) -> Path:
    hint = "Keep external data in the folder of the model, and load only models that you trust."
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    outside = posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts)
    if not location or "\0" in location or outside:
        raise ModelError(f"{owner} keeps its data in {location!r}, outside the folder of the model", hint=hint)
    try:
        root = folder.resolve()
        file = (root / posix).resolve()
        regular = file.is_file()
    except (OSError, RuntimeError) as error:
        raise ModelError(f"cannot find the external data {location!r} of {owner}: {error}") from error
    if not file.is_relative_to(root):
        raise ModelError(f"{owner} keeps its data in {location!r}, a link out of the model's folder", hint=hint)
    if not regular:
        raise ModelError(f"the external data {location!r} of {owner} is missing", hint=hint)
    return file


def _external_number(owner: str, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ModelError(f"the {key} of the external data of {owner} is {text!r}, expected a number")
    return int(text)
