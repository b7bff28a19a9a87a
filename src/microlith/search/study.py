"""Scores of candidates that were computed before: an interrupted search goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path

import microlith
from microlith.core.errors import InputError
from microlith.core.files import write_text
from microlith.graph.save import model_bytes
from microlith.search.prepare import Prepared

_FIGURES = 3


class Study:
    """Scores by settings, kept in a file of the user's cache that is named after what they depend on.

    Args:
        key: hash of the graph, the data and the parts.
        directory: where studies are kept; the user's cache by default.

    Raises:
        InputError: the directory cannot be made.
    """

    def __init__(self, key: str, directory: Path | None = None) -> None:
        root = user_cache_path("microlith") / "studies" if directory is None else directory
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the cache directory {root} cannot be made: {error.strerror}",
                hint="Set XDG_CACHE_HOME to a place that can be written.",
            ) from error
        self._path = root / f"{key}.json"
        self._lock = FileLock(str(self._path.with_suffix(".lock")))

    def get(self, settings: str) -> tuple[float, float, float] | None:
        """Metric, its standard error and the noise of settings that were tried before."""
        found = self._load().get(settings)
        return None if found is None else (float(found[0]), float(found[1]), float(found[2]))

    def put(self, settings: str, score: tuple[float, float, float]) -> None:
        """Keep a score."""
        with self._lock:
            write_text(self._path, json.dumps({**self._load(), settings: list(score)}))

    def _load(self) -> dict[str, list[float]]:
        if not self._path.is_file():
            return {}
        try:
            content = json.loads(self._path.read_text())
        except ValueError:
            # Written by rename, so this is damage from outside; the scores can be computed again.
            return {}
        return {str(name): list(score) for name, score in content.items() if len(score) == _FIGURES}


def study_key(prepared: Prepared, requantization: str) -> str:
    """A hash over everything that a score depends on."""
    digest = hashlib.sha256(f"{_code()}\0{requantization}\0{prepared.metric.name}\0".encode())
    digest.update(model_bytes(prepared.model))
    for indices in (prepared.split.calibration, prepared.split.selection):
        chosen = prepared.data.select(indices)
        for x, y in chosen.batches(256):
            digest.update(np.ascontiguousarray(x).tobytes())
            digest.update(b"" if y is None else np.ascontiguousarray(y).tobytes())
    return digest.hexdigest()[:32]


@cache
def _code() -> str:
    """A hash over this package's own code, since a score depends on every part of it."""
    root = Path(microlith.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
