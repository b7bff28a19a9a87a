"""Commands run as a user runs them, in this process; one artifact for an emulated microcontroller, made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from cli.running import Cli, Done, Inputs
from microlith.cli.main import run

CLASSES = 5


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command in a directory of its own; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: str | Path) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """The tiny CNN, with 120 images that are labelled by the float model's own answers but for a few."""
    place = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(1)
    model = models.tiny_cnn()
    onnx.save(model, place / "net.onnx")
    images = models.images(rng, 120)
    run_model = onnx.reference.ReferenceEvaluator(model).run
    labels = np.array([run_model(None, {"image": image[None]})[0].argmax() for image in images])
    labels[:6] = rng.integers(0, CLASSES, 6)
    np.savez(place / "data.npz", x=images, y=labels)
    return Inputs(place / "net.onnx", place / "data.npz")


@pytest.fixture(scope="session")
def optimize_arguments(inputs: Inputs) -> tuple[str | Path, ...]:
    """A search that is quick and whose budget is met."""
    budget = ("--max-drop", "20pp", "--flash", "64K", "--ram", "16K", "--latency", "50ms")
    parts = ("--calibration", "20", "--selection", "30", "--verify-samples", "5")
    where = ("--device", "nrf52840", "--data", str(inputs.data))
    return ("optimize", inputs.model, *where, *budget, *parts, "--name", "net", "--no-resume")


@pytest.fixture(scope="session")
def artifact(optimize_arguments: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What such a search writes; not to be changed."""
    out = tmp_path_factory.mktemp("artifact") / "out"
    with pytest.raises(SystemExit) as ended:
        run([*map(str, optimize_arguments), "-o", str(out), "--quiet"])
    assert ended.value.code == 0
    return out
