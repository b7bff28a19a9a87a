"""Fixtures shared by every test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

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
