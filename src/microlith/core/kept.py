"""Numbers that took long to obtain, kept by name in a file of the user's cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from microlith.core.errors import InputError
from microlith.core.files import write_text


class Kept:
    """Numbers by name; what is added is there for every later run, also where this one is interrupted.

    Args:
        kind: folder of the user's cache.
        key: hash of what all of the numbers depend on.
        count: of numbers under each name; entries of another length are not taken.
        directory: takes the place of the folder.

    Raises:
        InputError: the directory cannot be made.
    """

    def __init__(self, kind: str, key: str, count: int, directory: Path | None = None) -> None:
        root = user_cache_path("microlith") / kind if directory is None else directory
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the cache directory {root} cannot be made: {error.strerror}",
                hint="Set XDG_CACHE_HOME to a place that can be written.",
            ) from error
        self._path = root / f"{key}.json"
        self._lock = FileLock(str(self._path.with_suffix(".lock")))
        self._count = count

    def add(self, numbers: Mapping[str, Sequence[float]]) -> None:
        """Keep these too."""
        with self._lock:
            write_text(self._path, json.dumps({**self.load(), **{name: list(item) for name, item in numbers.items()}}))

    def load(self) -> dict[str, tuple[float, ...]]:
        """All that is kept."""
        if not self._path.is_file():
            return {}
        try:
            content = json.loads(self._path.read_text())
        except ValueError:
            # Written by rename, so this is damage from outside; the numbers can be obtained again.
            return {}
        return {str(name): tuple(map(float, item)) for name, item in content.items() if len(item) == self._count}
