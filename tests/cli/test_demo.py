"""The demo, on fewer images and on this machine; ``make demo`` runs it whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.running import Cli
from microlith import api
from microlith.cli import demo


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PARTS", api.Parts(calibration=16, selection=16, report=60))
    monkeypatch.setattr(demo, "VERIFY_SAMPLES", 3)
    monkeypatch.setattr(demo, "MAX_DROP_PP", 15.0)


def test_it_explains_itself(cli: Cli, tmp_path: Path) -> None:
    done = cli("demo", "--device", "host", "-o", "demo")
    assert done.code == 0, done.err
    assert done.out.startswith("A small convolutional network for Fashion-MNIST")
    assert "✓ Meets the budget" in done.out
    assert "Wrote demo: " in done.out
    assert "microlith verify demo" not in done.out
    assert "microlith check demo/model.onnx --device stm32f746" in done.out
    assert (tmp_path / "demo" / "report.html").is_file()
    evidence = json.loads((tmp_path / "demo" / "evidence.json").read_text())
    assert evidence["accuracy_float"]["value"] > 0.8
    assert evidence["bit_exact"]["value"] == 1


def test_where_it_cannot_write(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    done = cli("demo", "-o", "demo")
    assert (done.code, done.out) == (2, "")


def test_a_drop_that_is_not_allowed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MAX_DROP_PP", -50.0)
    done = cli("demo", "--device", "host", "-o", "demo", "--json", "--quiet")
    assert done.code == 3
    document = json.loads(done.out)
    assert (document["budget_met"], document["out"]) == (False, None)
    assert done.err.startswith("microlith: the budget is not met: max_drop: ")
    assert not (tmp_path / "demo").exists()
