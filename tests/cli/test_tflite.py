"""Commands take ``.tflite`` files as they take ``.onnx`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.running import Cli
from tflite_networks import int8_network

DEVICE = ("--device", "nrf52840")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(int8_network(np.random.default_rng(5)))
    return path


def test_check(cli: Cli, file: Path) -> None:
    done = cli("check", file, *DEVICE)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("net.tflite on Nordic nRF52840\n")


def test_layers_keep_their_names(cli: Cli, file: Path, tmp_path: Path) -> None:
    done = cli("compile", file, *DEVICE, "-o", tmp_path / "out")
    assert done.code == 0
    source = (tmp_path / "out" / "src" / "net.c").read_text()
    assert "conv/relu6" in source
    assert "pointwise" in source
    header = (tmp_path / "out" / "include" / "net.h").read_text()
    assert "image" in header


def test_a_damaged_file_is_an_error_of_the_user(cli: Cli, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])
    done = cli("check", file, *DEVICE)
    assert done.code == 2
    assert "of the file, which has 300 B" in " ".join(done.err.split())
    assert "Traceback" not in done.err
