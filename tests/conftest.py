"""Fixtures shared by every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from platformdirs import user_cache_path

import models


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(0)


@pytest.fixture
def tiny_cnn_file(tmp_path: Path) -> Path:
    """``models.tiny_cnn()`` as a file."""
    path = tmp_path / "tiny_cnn.onnx"
    onnx.save(models.tiny_cnn(), path)
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scores of searches go into a cache of the tests; compiled files stay in the user's, where zig keeps its own."""
    build = user_cache_path("microlith", appauthor=False) / "build"
    build.mkdir(parents=True, exist_ok=True)
    place = tmp_path_factory.mktemp("cache")
    (place / "microlith").mkdir()
    (place / "microlith" / "build").symlink_to(build)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place))
        yield
