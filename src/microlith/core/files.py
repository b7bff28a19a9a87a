"""Writing so that nothing is ever left half-written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from microlith.core.errors import InputError


def write_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file through a temporary one beside it and a rename.

    Args:
        path: of the file.
        data: its content.
        durable: wait until the disk holds the file and its name, so that it outlives a loss of power as well.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        if durable:
            _sync_directory(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise _cannot_write(path, error.strerror) from error


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Like :func:`write_bytes`, as UTF-8 with newlines kept."""
    write_bytes(path, text.encode())


def check_directory(path: Path) -> None:
    """Refuse a place where :func:`directory` could not write, before any work is done for it.

    Raises:
        InputError: ``path`` holds something other than an earlier artifact, or cannot be made there.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / "manifest.json").is_file())):
        raise InputError(f"{path} exists and is not an artifact of microlith", hint="Name a new or an empty directory.")
    check_parent(path)


def check_parent(path: Path) -> None:
    """Refuse a file or directory whose nearest parent that exists is no directory, or cannot be written.

    Raises:
        InputError: it says which parent.
    """
    parent = path.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise _cannot_write(path, f"{parent} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _cannot_write(path, f"permission denied in {parent}")


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """A temporary directory that replaces ``path`` when the block ends without an error.

    Errors of the block are its own and are passed on as they are.

    Raises:
        InputError: ``path`` cannot be made there, or holds something other than an earlier artifact.
    """
    check_directory(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _cannot_write(path, error.strerror) from error
    try:
        yield temporary
        try:
            temporary.chmod(0o755)
            _swap(temporary, path)
        except OSError as error:
            raise _cannot_write(path, error.strerror) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_tree(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a directory of files, by relative path, in one step; an earlier artifact there is replaced.

    Raises:
        InputError: ``path`` cannot be written, or holds something other than an earlier artifact.
    """
    with directory(path) as temporary:
        try:
            for name, content in contents.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        except OSError as error:
            raise _cannot_write(path, error.strerror) from error


def _cannot_write(path: Path, reason: str | None) -> InputError:
    return InputError(f"cannot write {path}: {reason}", hint="Choose a place that can be written.")


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
