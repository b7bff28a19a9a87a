"""What cannot work is refused with one message and exit code 2, and nothing is left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import models
from cli.running import Cli, Inputs, everything_in, forget_toolchains

DEVICE = ("--device", "nrf52840")
SHAPES = {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files lie where the tests see them."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must be refused: exit code 2, one message, nothing on stdout, no file made or changed."""

    def call(*words: str | Path) -> str:
        before = everything_in(tmp_path)
        done = cli(*words)
        assert done.code == 2, done.err
        assert done.out == ""
        assert "Traceback" not in done.err
        assert [line.startswith("microlith: ") for line in done.err.splitlines()].count(True) == 1, done.err
        assert everything_in(tmp_path) == before
        return done.err

    return call


def _truncated(inputs: Inputs) -> bytes:
    return inputs.model.read_bytes()[:-200]


def _text(inputs: Inputs) -> bytes:
    return b"This is not a model.\n" * 20


def _unsupported(inputs: Inputs) -> bytes:
    return models.one_node("RandomNormalLike", *SHAPES, opset=22).SerializeToString()


def _foreign(inputs: Inputs) -> bytes:
    model = models.one_node("Relu", *SHAPES)
    model.graph.node[0].CopyFrom(helper.make_node("Magic", ["image"], ["y"], name="node", domain="my.company"))
    model.opset_import.append(helper.make_opsetid("my.company", 1))
    return bytes(model.SerializeToString())


def _nan(inputs: Inputs) -> bytes:
    model = onnx.load(inputs.model)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "pointwise.weight")
    array = numpy_helper.to_array(weight).copy()
    array.flat[3] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (_truncated, ["bad.onnx"]),
        (_text, ["bad.onnx"]),
        (_unsupported, ["RandomNormalLike", "node"]),
        (_foreign, ["Magic", "my.company"]),
        (_nan, ["pointwise.weight", "NaN"]),
    ],
)
@pytest.mark.parametrize("command", ["compile", "optimize", "apply"])
def test_a_model_that_cannot_be_used(
    refused: Callable[..., str],
    inputs: Inputs,
    tmp_path: Path,
    make: Callable[[Inputs], bytes],
    parts: list[str],
    command: str,
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(make(inputs))
    words = {
        "compile": ("compile", bad, *DEVICE, "-o", "out"),
        "optimize": ("optimize", bad, *DEVICE, "--data", inputs.data, "--max-drop", "1pp", "-o", "out", "--quiet"),
        "apply": ("apply", "ptq", bad, "--data", inputs.data, "-o", "q.onnx", "--quiet"),
    }
    message = refused(*words[command])
    assert all(part in message for part in parts)


def test_check_shows_what_stands_in_the_way(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(_unsupported(inputs))
    done = cli("check", "bad.onnx", *DEVICE)
    assert done.code == 2
    assert "RandomNormalLike cannot be compiled" in done.out
    assert "the model cannot be compiled: RandomNormalLike" in done.err


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda found: {"y": found["y"][:-1]}, ["119", "120"]),
        (lambda found: {"x": found["x"][:, :, :7]}, ["(3, 7, 8)", "(3, 8, 8)"]),
        (lambda found: {"x": np.where(np.arange(8) == 3, np.nan, found["x"]).astype(np.float32)}, ["NaN"]),
        (lambda found: {"x": found["x"][:0], "y": found["y"][:0]}, ["no samples"]),
    ],
)
def test_data_that_cannot_be_used(
    refused: Callable[..., str], inputs: Inputs, tmp_path: Path, change: Callable[..., dict], parts: list[str]
) -> None:
    with np.load(inputs.data) as arrays:
        found = dict(arrays)
    np.savez(tmp_path / "bad.npz", **(found | change(found)))
    message = refused("optimize", inputs.model, *DEVICE, "--data", "bad.npz", "--max-drop", "1pp", "-o", "out")
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "options",
    [
        ["--max-drop", "1%"],
        ["--ram", "64Q"],
        ["--latency", "50"],
        ["--calibration", "many"],
        ["--name", "1net"],
        ["--shape", "image"],
        ["--recipe", "missing.yaml"],
        ["--metric", "accurracy"],
        ["--input-range", "1"],
        ["--calibration", "500"],
        ["--compiler", "no-such-compiler"],
        ["--device", "nrf"],
    ],
)
def test_options_that_cannot_be_used(refused: Callable[..., str], inputs: Inputs, options: list[str]) -> None:
    message = refused("optimize", inputs.model, *DEVICE, "--data", inputs.data, "-o", "out", "--quiet", *options)
    assert options[1] in message


def test_a_place_below_a_file(refused: Callable[..., str], inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    message = refused("compile", inputs.model, *DEVICE, "-o", "file/deeper/out")
    assert "file is not a directory" in message
    message = refused("optimize", inputs.model, *DEVICE, "--data", inputs.data, "-o", "file/out")
    assert "file is not a directory" in message
    message = refused("apply", "ptq", inputs.model, "--data", inputs.data, "-o", "file/q.onnx")
    assert "file is not a directory" in message


def test_a_place_without_permission(
    refused: Callable[..., str], inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):
        # The superuser may write anywhere; the system then answers as it would to others.
        allowed = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and allowed(path, mode))
    message = refused("optimize", inputs.model, *DEVICE, "--data", inputs.data, "-o", "locked/a/out")
    assert "permission denied" in message


def test_a_place_that_the_system_refuses_in_the_end(
    refused: Callable[..., str], inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_toolchains(monkeypatch)  # which saves the time of building what is thrown away
    message = refused("compile", inputs.model, *DEVICE, "-o", "/proc/out", "--quiet")
    assert "cannot write /proc/out" in message


def test_a_directory_of_the_users_stays(refused: Callable[..., str], inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("")
    message = refused("compile", inputs.model, *DEVICE, "-o", "photos")
    assert "not an artifact" in message


def test_something_else_than_an_artifact(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "x.npy", np.zeros(1, np.float32))
    for words in (["verify", "empty"], ["infer", "empty", "--input", "x.npy"], ["report", "empty"], ["report", "no"]):
        assert words[1] in refused(*words)


@pytest.mark.parametrize("line", [["--flash", "64K"], ["--ram", "64K"], ["--latency", "50ms"], ["--compiler", "zig"]])
def test_a_toolchain_that_is_needed(
    refused: Callable[..., str], inputs: Inputs, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_toolchains(monkeypatch)
    message = refused("optimize", inputs.model, *DEVICE, "--data", inputs.data, "-o", "out", *line)
    assert "pip install" in message
    assert "zig" in message


def test_emitting_c_needs_no_toolchain(
    cli: Cli, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_toolchains(monkeypatch)
    done = cli("compile", inputs.model, *DEVICE, "-o", "out", "--quiet")
    assert done.code == 0
    assert "there is no C compiler" in done.out
    assert "not counted" in done.out
    assert {"net.c", "net_weights.c"} <= {path.name for path in (tmp_path / "out" / "src").iterdir()}
