"""``compile --opt``, ``--flash``, ``--tune`` and ``--beside``, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.running import Cli, Inputs, everything_in

QUANTIZED = "q.onnx"
DEVICE = ("--device", "nrf52840")


@pytest.fixture
def quantized(cli: Cli, inputs: Inputs) -> str:
    """The tiny CNN in int8."""
    assert cli("apply", "ptq", inputs.model, "--data", inputs.data, *DEVICE, "-o", QUANTIZED, "-q").code == 0
    return QUANTIZED


@pytest.mark.mcu
def test_speed_within_flash_by_counted_kernels(cli: Cli, quantized: str) -> None:
    done = cli("compile", quantized, *DEVICE, "--opt", "speed", "--flash", "40K", "--tune", "-o", "out", "--json")
    assert done.code == 0
    details = json.loads(done.out)["details"]
    assert details["command"] == "microlith compile q.onnx --device nrf52840 --opt speed --flash 40K --tune"
    assert details["opt"] == "speed"
    assert {row["expected_by"] for row in details["layers"]} == {"estimate", "tuning"}
    assert any(row["why"].startswith("measured ") for row in details["layers"])
    (verdict,) = details["verdicts"]
    assert (verdict["line"], verdict["met"]) == ("flash", True)
    assert "tune: " in done.err


@pytest.mark.mcu
def test_too_little_flash_is_refused_with_the_least(cli: Cli, quantized: str, tmp_path: Path) -> None:
    done = cli("compile", quantized, *DEVICE, "--flash", "2K", "-o", "out")
    assert done.code == 3
    assert "flash: 2,048 B (2.0 K) is allowed, and no choice of kernels takes less than " in done.err
    assert "out/manifest.json" not in everything_in(tmp_path)


def test_tuning_for_this_machine_is_refused(cli: Cli, inputs: Inputs) -> None:
    done = cli("compile", inputs.model, "--device", "host", "--tune", "-o", "out")
    assert done.code == 2
    assert "not emulated" in done.err


def test_compilers_are_compared_on_an_emulated_device_and_must_be_there(cli: Cli, inputs: Inputs) -> None:
    done = cli("compile", inputs.model, "--device", "host", "--beside", "zig", "-o", "out")
    assert done.code == 2
    assert "on an emulated device" in done.err
    done = cli("compile", inputs.model, *DEVICE, "--beside", "no-such-gcc", "-o", "out")
    assert done.code == 2
    assert "no-such-gcc" in done.err


@pytest.mark.mcu
def test_a_compiler_beside_is_in_terminal_and_page(cli: Cli, quantized: str, tmp_path: Path) -> None:
    done = cli("compile", quantized, *DEVICE, "--beside", "zig", "-o", "out")
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith("zig cc")]
    assert len(rows) == 2
    assert rows[0].split(")")[1:] == rows[1].split(")")[1:]
    assert "<h3>Compilers</h3>" in (tmp_path / "out/report.html").read_text()
