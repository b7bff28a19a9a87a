"""One command, one table: an artifact in every runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cli.running import Cli, Inputs
from microlith.core.details import RunDetails
from microlith.verify import runtimes

ROWS = (
    *("original model", "specification", "C, this machine", "C, emulated nrf52840"),
    *("ONNX Runtime", "LiteRT", "LiteRT, XNNPACK", "OpenVINO, float kernels", "OpenVINO"),
)


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "out"))


def test_every_runtime(cli: Cli, copy: Path, inputs: Inputs) -> None:
    beside = ("--data", inputs.data, "--original", inputs.model, "--samples", "12", "--emulated", "3")
    done = cli("bench", copy, "--runtimes", *beside, "--json", "--quiet")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    rows = {row["runtime"]: row for row in document["runtimes"]}
    assert (document["metric"], set(rows)) == ("accuracy", set(ROWS))
    for name, row in rows.items():
        assert row["samples"] == (3 if "emulated" in name else 12)
        value, low, high = row["metric"]
        assert low <= value <= high
        assert row["missing"] == ""
        assert name == "original model" or row["elements"] == 5 * row["samples"]
        assert (row["size_bytes"] is None) == (name in ("original model", "specification"))
    assert all(rows[name]["differing"] == 0 for name in ROWS[1:4])
    # From end to end a quantum may become several; of OpenVINO's int8 kernels nothing is known beforehand.
    assert all(rows[name]["worst"] <= 8 for name in ROWS[4:-1])
    assert rows["original model"]["agreement"][0] == 1
    details = RunDetails.model_validate_json((copy / "details.json").read_text())
    assert {row.runtime for row in details.runtimes} == set(ROWS)
    page = (copy / "report.html").read_text()
    assert 'id="runtimes"' in page
    assert all(name in page for name in ROWS)


def test_a_missing_runtime_and_no_data(cli: Cli, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runtimes.import_module

    def without(name: str) -> object:
        if name == "openvino":
            raise ImportError(name)
        return found(name)

    monkeypatch.setattr(runtimes, "import_module", without)
    done = cli("bench", copy, "--runtimes", "--samples", "2", "--emulated", "1", "--quiet")
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "OpenVINO was not run: OpenVINO is not installed." in text
    assert 'pip install "microlith[runtimes]"' in text
    assert "original model" not in text
    assert "Sizes are of: shared library, flash over an empty application, .onnx, .tflite." in text


def test_refusals(cli: Cli, copy: Path, inputs: Inputs) -> None:
    done = cli("bench", copy, "--data", inputs.data)
    assert (done.code, "Add --runtimes" in done.err) == (2, True)
    done = cli("bench", copy, "--runtimes", "--original", inputs.model, "--quiet")
    assert (done.code, "Give data: --data" in done.err) == (2, True)
