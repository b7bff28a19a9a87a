"""Data from an ``.npz`` file, a function of the user's, or any iterable."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.data.dataset import Dataset, check_labels, check_values
from microlith.data.function import load_function, running
from microlith.data.samples import StreamSamples, checksums, split_item, to_array

Array = NDArray[np.generic]
KEEP_BYTES = 1 << 30
_NPZ = re.compile(r"^(?P<path>.*\.npz)(?::(?P<names>[^:]*))?$", re.IGNORECASE)
_FORMS = "Give FILE.npz, FILE.npz:X,Y or MODULE.py:FUNCTION."


def load_data(source: object, *, keep_bytes: int = KEEP_BYTES) -> Dataset:
    """Load samples and labels.

    Args:
        source: the path of an ``.npz`` file with arrays ``x`` and, optionally, ``y`` (``file.npz:X,Y`` names others,
            ``file.npz:X`` has no labels); ``module.py:function``, which is called without arguments; a Dataset; an
            array (N, ...); a tuple ``(x, y)``; or any iterable, such as a DataLoader, whose items are batches
            ``x`` or ``(x, y)`` (see :func:`microlith.data.samples.split_item`). A function may return any of these.
        keep_bytes: an iterable with more than this is not held in memory but gone through again at every use; it
            must then give the same items each time.

    Raises:
        InputError: the source is missing, malformed, empty, or holds values or labels that cannot be used.
    """
    if isinstance(source, str | Path):
        return _load_text(str(source), keep_bytes)
    return _from_python(source, f"the {type(source).__name__} given as data", keep_bytes)


def _load_text(source: str, keep_bytes: int) -> Dataset:
    match = _NPZ.match(source)
    if match is not None:
        return _load_npz(Path(match["path"]), match["names"])
    if ".py" not in source:
        raise InputError(f"data {source!r} is neither an .npz file nor module.py:function", hint=_FORMS)
    function = load_function(source, "data")
    with running(source):
        return _from_python(function(), source, keep_bytes)


def _load_npz(path: Path, names: str | None) -> Dataset:
    chosen = ("x", "y") if names is None else tuple(name.strip() for name in names.split(","))
    if len(chosen) > 2 or not all(chosen):
        raise InputError(f"data {path}:{names} names no arrays", hint="Write it like file.npz:images,labels.")
    with _opened(path) as stream, _archive(path, stream) as archive:
        keys = archive.files
        wanted = chosen if names is not None or "y" in keys else chosen[:1]
        for name in wanted:
            if name not in keys:
                there = ", ".join(keys) if keys else "none"
                raise InputError(
                    f"{path} has no array {name!r}; the arrays there are: {there}",
                    hint=f"Name the arrays of samples and labels: --data {path}:X,Y.",
                )
        arrays = [_read(archive, name, path) for name in wanted]
    return Dataset.of(arrays[0], arrays[1] if len(arrays) == 2 else None, str(path))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"data file {path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _archive(path: Path, stream: BinaryIO) -> NpzFile:
    try:
        archive = np.load(stream, allow_pickle=False)
    except (OSError, zipfile.BadZipFile, ValueError, EOFError) as error:
        raise InputError(
            f"{path} is not an .npz file, or is damaged", hint="Write it with numpy.savez(path, x=..., y=...)."
        ) from error
    if not isinstance(archive, NpzFile):
        raise InputError(
            f"{path} holds one bare array and is no .npz file", hint="Write it with numpy.savez(path, x=..., y=...)."
        )
    return archive


def _read(archive: NpzFile, name: str, path: Path) -> Array:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"array {name!r} of {path} has type object, expected numbers of one shape",
                hint="Make every sample the same shape, and save numbers, not Python objects.",
            ) from error
        raise InputError(f"array {name!r} of {path} is damaged: {error}") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"array {name!r} of {path} is damaged: {error}") from error


def _from_python(source: object, name: str, keep_bytes: int) -> Dataset:
    if isinstance(source, Dataset):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise InputError(f"{name} is a tuple of {len(source)}, expected (x, y)", hint="Give arrays x and y.")
        return Dataset.of(to_array(source[0], name), to_array(source[1], name), name)
    if isinstance(source, np.ndarray) or (hasattr(source, "detach") and hasattr(source, "cpu")):
        return Dataset.of(to_array(source, name), None, name)
    if isinstance(source, str | bytes | dict) or not isinstance(source, Iterable):
        raise InputError(
            f"{name} is of type {type(source).__name__}, expected arrays or an iterable of batches",
            hint="Give an array, a pair (x, y), or an iterable of x or of (x, y).",
        )
    return _from_iterable(source, name, keep_bytes)


def _from_iterable(source: Iterable[Any], name: str, keep_bytes: int) -> Dataset:
    """Go through the items once; keep them where they are few, else only labels and checksums."""
    held: list[Array] | None = []
    labels: list[Array] = []
    sums: list[NDArray[np.uint32]] = []
    first: Array | None = None
    count = total_bytes = unlabelled = 0
    for item in source:
        x, y = split_item(item, name)
        first = x if first is None else first
        _check_item(x, first, count, name)
        count += len(x)
        total_bytes += x.nbytes
        labels.extend([] if y is None else [y])
        unlabelled += y is None
        if held is not None and total_bytes > keep_bytes:
            _require_repeatable(source, name, total_bytes)
            sums, held = [checksums(part) for part in held], None
        if held is None:
            sums.append(checksums(x))
        else:
            held.append(x.copy())
    if first is None:
        raise InputError(f"{name} gave no samples")
    if labels and unlabelled:
        raise InputError(f"{name} gave labels with some items and none with others")
    y_all = _join_labels(labels, name)
    if held is not None:
        return Dataset.of(np.concatenate(held), y_all, name)
    check_labels(y_all, count, name)
    stream = StreamSamples(source, name, first.shape[1:], first.dtype, np.concatenate(sums), np.arange(count))
    return Dataset(stream, y_all, name)


def _check_item(x: Array, first: Array, start: int, name: str) -> None:
    if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
        raise InputError(
            f"{name} gave samples of shape {first.shape[1:]} and type {first.dtype} first, then of {x.shape[1:]} and "
            f"{x.dtype}",
            hint="Give every sample with one shape and type.",
        )
    check_values(x, start, name)


def _require_repeatable(source: Iterable[Any], name: str, total_bytes: int) -> None:
    if iter(source) is source:
        raise InputError(
            f"{name} can be gone through only once and holds more than {total_bytes:,} bytes",
            hint="Give an object whose __iter__ starts anew, such as a list or a DataLoader.",
        )


def _join_labels(labels: list[Array], name: str) -> Array | None:
    try:
        return np.concatenate(labels) if labels else None
    except ValueError as error:
        raise InputError(f"{name} gave labels of different shapes: {error}") from error
