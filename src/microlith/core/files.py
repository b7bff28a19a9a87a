"""Writing so that nothing is ever left half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microlith.core.errors import InputError


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file through a temporary one beside it and a rename."""
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Choose a place that can be written."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Like :func:`write_bytes`, as UTF-8 with newlines kept."""
    write_bytes(path, text.encode())


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """A temporary directory that replaces ``path`` when the block ends without an error.

    Raises:
        InputError: ``path`` cannot be made there, or holds something other than an earlier artifact.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / "manifest.json").is_file())):
        raise InputError(f"{path} exists and is not an artifact of microlith", hint="Name a new or an empty directory.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Choose a place that can be written."
        ) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        _swap(temporary, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Choose a place that can be written."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        os.replace(new, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    os.replace(path, old / "artifact")
    try:
        os.replace(new, path)
    except OSError:
        os.replace(old / "artifact", path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
