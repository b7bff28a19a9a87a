"""Commands take ``.tflite`` files as they take ``.onnx`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import microlith as ml
import models
from cli.running import Cli
from microlith.graph.metadata import requantization
from tflite_models import Oracle
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


def test_written_by_a_technique(cli: Cli, tmp_path: Path) -> None:
    model, data, out = tmp_path / "net.onnx", tmp_path / "data.npz", tmp_path / "net.tflite"
    onnx.save(models.tiny_cnn(), model)
    np.savez(data, x=models.images(np.random.default_rng(0), 8))
    done = cli("apply", "ptq", model, "--data", data, "-o", out, "--quiet")
    assert (done.code, done.out.split()[0], done.err) == (0, "Wrote", "")
    assert requantization(ml.load(out)) == "fixed"
    done = cli("apply", "ptq", model, "--data", data, "--device", "nrf52840", "-o", out, "--quiet")
    assert done.code == 0
    assert done.err.startswith("Note: LiteRT requantizes in fixed point")
    done = cli("apply", "ptq", model, "--data", data, "--opset", "17", "-o", out, "--quiet")
    assert done.code == 2
    assert "Leave out the opset" in done.err


def test_converted_as_it_is(cli: Cli, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.tflite"
    done = cli("check", file, *DEVICE, "--stop-after", "InferShapes", "-o", out)
    assert (done.code, done.err) == (0, "")
    feeds = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 4)).astype(np.int8)
    for before, after in zip(Oracle(file.read_bytes()).run(feeds), Oracle(out.read_bytes()).run(feeds), strict=True):
        np.testing.assert_array_equal(before, after)
