"""A model with state through the commands: quantized on a sequence, compiled, run step by step, and verified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import microlith as ml
import state_models
from cli.running import Cli
from microlith.compile.manifest import read_manifest
from microlith.core.evidence import EvidenceSet
from microlith.device.emulator import Emulator
from microlith.device.toolchain import find_toolchain
from microlith.graph.load import load_model
from microlith.graph.model_file import save_model
from microlith.graph.state import set_states
from microlith.graph.stepper import Stepper
from microlith.search.existing import Opened, infer
from microlith.verify.board_log import parse_log
from microlith.verify.workbench import Workbench, read_files

pytestmark = pytest.mark.mcu
DEVICE = ("--device", "rp2040")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a cell that does not say what its state is, a sequence, and five steps."""
    directory = tmp_path_factory.mktemp("cell")
    model = state_models.gru_cell()
    set_states(model, [])
    save_model(model, directory / "cell.onnx")
    rng = np.random.default_rng(0)
    np.savez(directory / "sequence.npz", x=rng.standard_normal((40, state_models.FEATURES)).astype(np.float32))
    np.save(directory / "steps.npy", rng.standard_normal((5, state_models.FEATURES)).astype(np.float32))
    return directory


@pytest.fixture(scope="module")
def artifact(given: Path) -> Path:
    """The cell quantized and compiled for a microcontroller."""
    model = ml.load(given / "cell.onnx", state={"h_in": "h_out"})
    quantized = ml.apply(model, [ml.technique("ptq", calibration="minmax")], data=str(given / "sequence.npz"))
    save_model(quantized, given / "cell_int8.onnx")
    return ml.compile(quantized, ml.device("rp2040"), name="cell").export(given / "out")


def test_a_sequence_is_run_as_the_reference_runs_it(given: Path, artifact: Path, cli: Cli) -> None:
    steps = np.load(given / "steps.npy")
    found = {}
    for name, options in {"host": [], "emulated": ["--emulate"], "apart": ["--reset-each"]}.items():
        saved = given / f"{name}.npy"
        assert cli("infer", artifact, "--input", given / "steps.npy", "--save", saved, *options).code == 0
        found[name] = np.load(saved)
    assert found["host"].shape == (5, 1, 3)
    np.testing.assert_array_equal(found["host"], found["emulated"])
    np.testing.assert_array_equal(found["host"][0], found["apart"][0])
    assert (found["host"][1:] != found["apart"][1:]).any()
    opened = Opened.read(artifact)
    stepper = Stepper(opened.model)
    quantum = opened.manifest.entries[0].inputs[0]
    assert quantum.scale is not None and quantum.zero_point is not None
    stored = np.clip(np.rint(steps / np.float32(quantum.scale)) + quantum.zero_point, -128, 127).astype(np.int8)
    (outputs,) = infer(opened, [stored], emulate=False)
    for got, step in zip(outputs.stored, stored, strict=True):
        np.testing.assert_array_equal(got, stepper.step({"x": step[None]})["y"])


def test_one_step_is_one_output(given: Path, artifact: Path) -> None:
    step = np.load(given / "steps.npy")[0]
    (output,) = infer(Opened.read(artifact), [step], emulate=False)
    assert output.stored.shape == (1, 3)


def test_every_executor_agrees_on_a_sequence(artifact: Path, cli: Cli) -> None:
    done = cli("verify", artifact, "--samples", "8", "--quiet", "--json")
    assert done.code == 0, done.err
    assert done.out.count('"passed": true') >= 4


def test_the_selftest_resets(artifact: Path) -> None:
    manifest = read_manifest(artifact)
    with (
        Workbench(read_files(artifact, manifest), manifest, find_toolchain(manifest.device)) as bench,
        Emulator(bench.selftest(), manifest.device) as emulator,
    ):
        result = parse_log(emulator.boot().output)
    assert (result.vectors, result.mismatches, result.failed) == (6, 0, False)
    assert "mlrun_reset();" in (artifact / "selftest" / "main.c").read_text()


def test_memory_of_the_state_is_counted(artifact: Path) -> None:
    evidence = EvidenceSet.from_json((artifact / "evidence.json").read_text())
    found = {item.metric: item.value for item in evidence.items}
    manifest = read_manifest(artifact)
    assert found["state_bytes"] == state_models.UNITS == manifest.spaces["state"]
    assert found["data_bss_bytes"] >= found["arena_bytes"] + found["state_bytes"]
    assert found["ram_bytes"] == found["data_bss_bytes"] + found["stack_bytes"]


def test_the_command_line_says_what_is_state(given: Path, tmp_path: Path, cli: Cli) -> None:
    options = ("--state", "h_in=h_out", "--quiet")
    data = given / "sequence.npz"
    done = cli("apply", "ptq", given / "cell.onnx", "--data", data, "--method", "minmax", *options, "-o", "q.onnx")
    assert done.code == 0, done.err
    assert (tmp_path / "q.onnx").read_bytes() == (given / "cell_int8.onnx").read_bytes()
    assert len(load_model(tmp_path / "q.onnx").metadata_props) >= 3
    assert cli("check", given / "cell.onnx", *DEVICE, "--state", "h_in=h_out").code == 0


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (["h_in"], "expected an input and the output"),
        (["h=h_out"], "no input 'h'"),
        (["x=y"], "expected one type and shape"),
        (["h_in=h_out", "h_in=y"], "each input once"),
    ],
)
def test_states_that_cannot_be(given: Path, cli: Cli, state: list[str], message: str) -> None:
    options = [word for item in state for word in ("--state", item)]
    done = cli("compile", given / "cell.onnx", *DEVICE, *options, "-o", "out", "--quiet")
    assert done.code == 2
    assert message in done.err


def test_a_search_refuses_and_says_what_to_do(given: Path, cli: Cli) -> None:
    options = ("--data", given / "sequence.npz", "--state", "h_in=h_out", "--quiet", "-o", "out")
    done = cli("optimize", given / "cell.onnx", *DEVICE, *options)
    assert done.code == 2
    assert "keeps state" in done.err
    assert "apply ptq" in done.err
