"""A network on a RISC-V core, through the commands: compiled, run on the emulated core, verified, packaged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.running import Cli, Inputs
from microlith.compile.manifest import read_manifest
from microlith.device.emulator import Emulator
from microlith.device.toolchain import find_toolchain
from microlith.verify.workbench import Workbench, read_files

pytestmark = pytest.mark.mcu
DEVICE = ("--device", "esp32c3")


@pytest.fixture
def artifact(cli: Cli, inputs: Inputs, tmp_path: Path) -> Path:
    done = cli("apply", "ptq", inputs.model, "--data", inputs.data, *DEVICE, "-o", "q.onnx", "--quiet")
    assert done.code == 0, done.err
    done = cli("compile", "q.onnx", *DEVICE, "--package", "esp-idf", "-o", "out", "--name", "net", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert "\nInstructions" in done.out and "Cycles are not modelled for this core" in done.out
    assert not re.search("^(Cycles|Latency|Energy)  ", done.out, re.MULTILINE)
    return tmp_path / "out"


def test_a_network_on_the_emulated_core_and_in_the_log_of_a_board(
    cli: Cli, artifact: Path, inputs: Inputs, tmp_path: Path
) -> None:
    done = cli("verify", "out", "--data", inputs.data, "--samples", "6", "--json")
    assert done.code == 0, done.err
    rows = [row for row in json.loads(done.out)["checks"] if row["what"].startswith("NumPy reference against C")]
    assert [row["samples"] for row in rows] == [6, 6] and "emulated esp32c3" in rows[1]["what"]

    manifest = read_manifest(artifact)
    with (
        Workbench(read_files(artifact, manifest), manifest, find_toolchain(manifest.device)) as bench,
        Emulator(bench.selftest(), manifest.device) as emulator,
    ):
        printed = emulator.boot().output
    (line,) = printed.splitlines()
    assert line.startswith("microlith-selftest name=net ") and line.endswith(" mismatches=0 cycles=0")
    (tmp_path / "log.txt").write_text(printed)
    assert cli("verify", "out", "--board-log", "log.txt").code == 0
    (tmp_path / "log.txt").write_text(printed.replace("mismatches=0", "mismatches=1"))
    assert cli("verify", "out", "--board-log", "log.txt").code == 4
