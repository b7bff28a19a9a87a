"""``--package``: what is written beside plain C, and what later commands make of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.running import Cli, Inputs
from microlith.compile.manifest import read_manifest

PACKAGES = ("--package", "zephyr", "--package", "arduino")


@pytest.mark.mcu
def test_compile_writes_packages_that_verify_knows(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("compile", inputs.model, "--device", "rp2040", *PACKAGES, "-o", "out", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == ["Wrote out/arduino/microlith_net", "Wrote out/zephyr/microlith_net"]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.packages == ("c", "arduino", "zephyr")
    sketch = tmp_path / "out/arduino/microlith_net/examples/golden/golden.ino"
    assert "arduino/microlith_net/examples/golden/golden.ino" in manifest.files

    line = re.search(r'"(microlith-selftest .* mismatches=)"', sketch.read_text())
    assert line
    (tmp_path / "serial.txt").write_text(f"one inference took 812 us\r\n{line[1]}0 cycles=0\r\n")
    assert cli("verify", "out", "--board-log", "serial.txt").code == 0

    sketch.write_text(sketch.read_text() + "// mine\n")
    done = cli("verify", "out")
    assert done.code == 2
    assert "golden.ino is not the file that was written" in done.err


def test_optimize_refuses_before_it_starts(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    words = ("optimize", inputs.model, "--data", inputs.data, "-o", "out")
    done = cli(*words, "--device", "rp2040", "--package", "mbed")
    assert (done.code, done.out) == (2, "")
    assert "no package of the kind 'mbed'" in done.err and "calibrate" not in done.err
    done = cli(*words, "--device", "nrf52840", "--package", "esp-idf", "--dry-run")
    assert (done.code, done.out) == (2, "")
    assert "RISC-V" in done.err
    assert list(tmp_path.iterdir()) == []
