"""Compiled files kept by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from microlith.core.errors import ToolchainError

_LOCK_TIMEOUT_S = 900
_OBJECTS = "objects-"
_KEPT_BYTES_AT_MOST = 512 * 1024 * 1024


def cache_directory() -> Path:
    """Where compiled files are kept; it is made if it is not there.

    Raises:
        ToolchainError: it cannot be made.
    """
    path = user_cache_path("microlith", appauthor=False) / "build"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(
            f"cannot make the cache directory {path}: {error.strerror}",
            hint="Set XDG_CACHE_HOME to a directory that can be written.",
        ) from error
    return path


def object_directory() -> Path:
    """Where zig keeps object files that several links share: one directory a week, older ones are dropped."""
    this_week, last_week = (_week(days) for days in (0, 7))
    for path in cache_directory().glob(f"{_OBJECTS}*"):
        if path.name not in (this_week, last_week):
            shutil.rmtree(path, ignore_errors=True)
    return cache_directory() / this_week


def _week(days_ago: int) -> str:
    year, week, _ = (date.today() - timedelta(days=days_ago)).isocalendar()
    return f"{_OBJECTS}{year}-{week:02}"


def content_key(words: Iterable[str], files: Sequence[Path], include_dirs: Sequence[Path]) -> str:
    """A SHA-256 over words, files and every file that an include directory holds, by content and relative name."""
    digest = hashlib.sha256()
    for word in words:
        _feed(digest, "word", word.encode())
    for path in files:
        _feed(digest, path.name, path.read_bytes())
    for directory in include_dirs:
        _feed(digest, "directory", b"")
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                _feed(digest, path.relative_to(directory).as_posix(), path.read_bytes())
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, name: str, data: bytes) -> None:
    for part in (name.encode(), data):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def cached(key: str, out: Path, build: Callable[[Path], None]) -> None:
    """Copy the file of that key to ``out``, building it first where it is not kept yet.

    Two processes that want one key build it once. ``out`` appears whole or not at all.
    """
    directory = cache_directory()
    kept = directory / key
    if not kept.is_file():
        with FileLock(directory / f"{key}.lock", timeout=_LOCK_TIMEOUT_S):
            if not kept.is_file():
                fresh(kept, build)
        _prune(directory, kept)
    else:
        os.utime(kept)
    fresh(out, lambda temporary: _copy(kept, temporary))


def _prune(directory: Path, newest: Path) -> None:
    """Drop the files that were used longest ago where all of them take too much; the newest always stays."""
    found = []
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # another process may prune as well
            if path.is_file() and path != newest:
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
    room = _KEPT_BYTES_AT_MOST - newest.stat().st_size
    for _, size, path in sorted(found, reverse=True):
        room -= size
        if room < 0:
            path.unlink(missing_ok=True)


def fresh(out: Path, build: Callable[[Path], None]) -> None:
    """Build into a temporary file beside ``out`` and rename it.

    Raises:
        ToolchainError: ``out`` cannot be written.
    """
    try:
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:16]}."))
    except OSError as error:
        raise ToolchainError(f"cannot write {out}: {error.strerror}") from error
    try:
        build(temporary / out.name)
        os.replace(temporary / out.name, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755)
