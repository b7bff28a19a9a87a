"""Looks into a ``.pt2`` archive before torch reads it: what would be unpickled or evaluated as code is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from microlith.core.errors import ModelError, UnsupportedError
from microlith.core.units import format_bytes
from microlith.graph.onnx_file import MAX_TENSOR_BYTES

_HINT = "Write it with torch.export.save from a torch of 2.9 or later."
_SAFE_PREFIXES = ("weight_", "tensor_")


def check_pt2(data: bytes, origin: str, torch: Any) -> None:
    """Refuse an archive that is malformed, or whose reading would run code that it carries.

    Refused are: pickled weights, pickled and scripted constants, compiled libraries, example inputs that torch's
    restricted unpickler does not take, and symbolic sizes, which torch's reader hands to an evaluator of expressions.

    Args:
        data: the file.
        origin: what it is called in errors.
        torch: the package.

    Raises:
        ModelError: it is malformed, or holds a part of that kind.
        UnsupportedError: its shapes are dynamic.
    """
    try:
        members = _members(data, origin)
        program = json.loads(members["models/model.json"])
        configs = [json.loads(content) for name, content in members.items() if name.endswith("_config.json")]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RecursionError) as error:
        raise ModelError(f"{origin} is not a .pt2 archive, or is cut short: {error}", hint=_HINT) from error
    except KeyError as error:
        raise ModelError(f"{origin} holds no exported program", hint=_HINT) from error
    for name in members:
        if name.startswith("data/aotinductor/") or (name.startswith("data/") and name.endswith((".so", ".pkl"))):
            raise ModelError(f"{origin} holds compiled code ({name!r}), expected weights and a graph only", hint=_HINT)
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
            raise ModelError(f"{origin} holds pickled weights ({name!r})", hint=_HINT)
    for config in configs:
        _check_config(config, origin)
    for item in _dictionaries(program):
        if "expr_str" in item or item.get("guards_code") or item.get("range_constraints"):
            raise UnsupportedError(
                f"{origin} was exported with dynamic shapes, expected static ones",
                hint="Export it with one example input, without dynamic_shapes.",
            )
    _check_examples(members, origin, torch)


def _members(data: bytes, origin: str) -> dict[str, bytes]:
    """Contents by name, without the folder that all lie in; weights are left empty."""
    found: dict[str, bytes] = {}
    total = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            name = entry.filename.partition("/")[2]
            total += entry.file_size
            if name in found:
                raise ModelError(f"{origin} holds {name!r} twice, expected once")
            if total > MAX_TENSOR_BYTES:
                raise ModelError(f"{origin} unpacks to more than {format_bytes(MAX_TENSOR_BYTES)}")
            content = name.endswith((".json", ".pt"))
            found[name] = archive.read(entry) if content else b""
    return found


def _check_config(config: Any, origin: str) -> None:
    for item in _dictionaries(config):
        if item.get("use_pickle"):
            raise ModelError(
                f"{origin} holds pickled weights ({item.get('path_name')!r}); they are not loaded",
                hint="Export the module with plain dense tensors on the CPU.",
            )
        name = item.get("path_name")
        if name is not None and not (isinstance(name, str) and name.startswith(_SAFE_PREFIXES)):
            raise ModelError(f"{origin} holds an object that is not a tensor ({name!r}); it is not loaded")


def _check_examples(members: dict[str, bytes], origin: str, torch: Any) -> None:
    """Torch's reader falls back to the unrestricted unpickler where the restricted one refuses; this does not."""
    import pickle

    for name, content in members.items():
        if name.endswith(".pt") and content:
            try:
                torch.load(io.BytesIO(content), weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
                raise ModelError(
                    f"{origin} holds pickled objects that are no tensors ({name!r})", hint=_HINT
                ) from error


def _dictionaries(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
