"""Scores of candidates that were computed before: an interrupted search goes on where it stopped."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

import microlith
from microlith.core.kept import Kept
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
        self._kept = Kept("studies", key, _FIGURES, directory)

    def get(self, settings: str) -> tuple[float, float, float] | None:
        """Metric, its standard error and the noise of settings that were tried before."""
        found = self._kept.load().get(settings)
        return None if found is None else (found[0], found[1], found[2])

    def put(self, settings: str, score: tuple[float, float, float]) -> None:
        """Keep a score."""
        self._kept.add({settings: score})


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
