"""One artifact for an emulated microcontroller through every command that takes one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import models
from cli.running import Cli, Inputs, everything_in
from microlith.compile.manifest import read_manifest
from microlith.core.evidence import EvidenceSet
from microlith.device.build_cache import cache_directory
from microlith.device.emulator import Emulator
from microlith.device.toolchain import find_toolchain
from microlith.report.load import load_run
from microlith.verify.workbench import Workbench, read_files

pytestmark = pytest.mark.mcu

FIGURES = frozenset(
    """
    accuracy_float accuracy accuracy_drop agreement flash_bytes ram_bytes arena_bytes stack_bytes macs instructions
    cycles latency_s bit_exact samples
    """.split()  # noqa: SIM905
)
LINES = ("flash", "latency", "max_drop", "ram")


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    """The artifact, to be changed."""
    return Path(shutil.copytree(artifact, tmp_path / "out"))


def boot(artifact: Path) -> str:
    """What the self-test prints when the emulated device starts."""
    manifest = read_manifest(artifact)
    tools = find_toolchain(manifest.device)
    with (
        Workbench(read_files(artifact, manifest), manifest, tools) as bench,
        Emulator(bench.selftest(), manifest.device) as emulator,
    ):
        return emulator.boot(counted=True).output


def test_it_holds_what_is_promised(artifact: Path) -> None:
    names = {path.name for path in artifact.iterdir()}
    expected = "src include selftest model.onnx recipe.yaml manifest.json evidence.json details.json report.html"
    assert {*expected.split(), "CMakeLists.txt"} == names
    evidence = EvidenceSet.from_json((artifact / "evidence.json").read_text())
    assert {item.metric for item in evidence.items} >= FIGURES
    assert evidence.value("bit_exact") == 1
    assert evidence.value("samples") == 70
    assert load_run(artifact).details.command == (
        "microlith optimize net.onnx --device nrf52840 --data data.npz --max-drop 20pp --flash 64K --ram 16K "
        "--latency 50ms --calibration 20 --selection 30"
    )
    assert [path.name for path in artifact.parent.iterdir()] == ["out"]


def test_the_summary_in_the_terminal(cli: Cli, copy: Path) -> None:
    (copy / "report.html").unlink()
    done = cli("report", "out")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("✓ Meets the budget")
    assert done.out.endswith("Wrote out/report.html\n")
    assert max(map(len, done.out.splitlines())) <= 120
    assert "<svg" in (copy / "report.html").read_text()


def test_bench_of_an_artifact(cli: Cli, artifact: Path) -> None:
    details = load_run(artifact).details
    document = json.loads(cli("bench", artifact, "--json").out)
    assert document["unit"] == "cycles"
    assert [row["cycles"] for row in document["rows"]] == [row.cycles for row in details.layers]
    assert document["total"] == sum(row.cycles or 0 for row in details.layers) > document["bound"] > 0
    assert all(0 < row["fraction"] <= 1 for row in document["rows"] if row["bound"])
    done = cli("bench", artifact, "--why")
    assert done.code == 0
    assert "Cost model: " in done.out
    assert "Why these kernels" in done.out
    refused = cli("bench", "nowhere")
    assert (refused.code, "does not exist" in refused.err) == (2, True)


def test_the_summary_in_80_columns(cli: Cli, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = cli("report", "out").out
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli("report", "out").out
    assert max(map(len, narrow.splitlines())) <= 80
    kernel = load_run(copy).details.layers[0].kernel
    assert kernel in wide
    assert kernel not in narrow
    assert [line.split()[:2] for line in wide.splitlines() if line.startswith("✓")][:5] == [
        line.split()[:2] for line in narrow.splitlines() if line.startswith("✓")
    ][:5]


def test_the_summary_as_json(cli: Cli, copy: Path) -> None:
    document = json.loads(cli("report", "out", "--html", "page.html", "--json").out)
    assert document["html"] == "page.html"
    (run,) = document["runs"]
    assert run["budget_met"] is True
    assert sorted(row["line"] for row in run["details"]["verdicts"]) == sorted(LINES)
    assert run["evidence"]["flash_bytes"]["how"] == "counted"
    assert len(run["details"]["candidates"]) == 12


def test_several_runs_are_compared(cli: Cli, artifact: Path, copy: Path, tmp_path: Path) -> None:
    done = cli("report", artifact, copy)
    assert done.code == 0
    assert "Runs side by side" in done.out
    assert (tmp_path / "comparison.html").is_file()
    assert len(json.loads(cli("report", artifact, copy, "--json").out)["runs"]) == 2


def test_the_same_command_gives_the_same_bytes(
    cli: Cli, artifact: Path, optimize_arguments: tuple[str | Path, ...], tmp_path: Path
) -> None:
    done = cli(*optimize_arguments, "-o", "again", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["out"] == "again"
    assert "verify C on the emulated nrf52840: 5 in" in done.err
    assert "flash" in done.err.partition("search: 12 in")[0], "what is feasible is said before the search"
    first, second = everything_in(artifact), everything_in(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if name.endswith((".c", ".h"))]
    # The page and the figures of speed on this machine aside, all files are the same.
    for name in first.keys() - {"report.html"}:
        assert first[name] == second[name], name


def test_the_recipe_can_be_fed_back(
    cli: Cli, artifact: Path, optimize_arguments: tuple[str | Path, ...], tmp_path: Path
) -> None:
    done = cli(*optimize_arguments, "-o", "again", "--recipe", artifact / "recipe.yaml", "--quiet")
    assert (done.code, done.err) == (0, "")
    first, second = everything_in(artifact), everything_in(tmp_path / "again")
    for name in ("model.onnx", "recipe.yaml", "src/net.c", "src/net_weights.c", "manifest.json"):
        assert first[name] == second[name], name


def test_an_impossible_budget(
    cli: Cli, artifact: Path, optimize_arguments: tuple[str | Path, ...], copy: Path, tmp_path: Path
) -> None:
    before = everything_in(tmp_path)
    words = [*optimize_arguments, "-o", "out", "--ram", "256", "--quiet"]
    done = cli(*words)
    assert done.code == 3
    assert done.out.startswith("✗ Misses the budget")
    assert "none was searched" in " ".join(done.out.split())
    assert "ram: " in done.err
    assert "too much" in done.err
    assert "The layer that needs the most RAM is stem.conv, stem.relu: " in done.err
    assert everything_in(tmp_path) == before
    document = json.loads(cli(*words, "--json").out)
    assert document["out"] is None
    assert document["budget_met"] is False


def test_infer(cli: Cli, artifact: Path, inputs: Inputs, tmp_path: Path) -> None:
    with np.load(inputs.data) as arrays:
        np.save(tmp_path / "x.npy", arrays["x"][7])
    host = json.loads(cli("infer", artifact, "--input", "x.npy", "--json", "--save", "y.npy").out)
    emulated = json.loads(cli("infer", artifact, "--input", "x.npy", "--json", "--emulate").out)
    assert host == emulated
    (output,) = host["outputs"]
    assert (output["name"], output["dtype"], output["shape"]) == ("logits", "int8", [1, 5])
    saved = np.load(tmp_path / "y.npy")
    assert saved.tolist() == output["real"]
    table = cli("infer", artifact, "--input", "x.npy").out
    assert f"{saved.max():.6g}" in table.splitlines()[4]


def test_infer_refuses_what_does_not_fit(cli: Cli, artifact: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 9, 8), np.float32))
    done = cli("infer", artifact, "--input", "x.npy")
    assert (done.code, done.out) == (2, "")
    assert "(1, 3, 9, 8)" in done.err
    done = cli("infer", artifact, "--input", "x.npy", "--input", "x.npy")
    assert "2 inputs were given" in done.err


def test_verify(cli: Cli, artifact: Path, inputs: Inputs) -> None:
    done = cli("verify", artifact, "--data", inputs.data, "--samples", "3", "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["passed"] is True
    compiled = [row for row in document["checks"] if row["what"].startswith("NumPy reference against C")]
    assert [row["samples"] for row in compiled] == [3, 3]
    assert "emulated nrf52840" in done.err
    assert cli("verify", artifact, "--samples", "2", "--quiet").out.count("✓") >= 2


def test_verify_fails_where_the_code_differs(cli: Cli, copy: Path) -> None:
    """Another graph beside this code: everything is compared, shown, and then refused."""
    model = onnx.load(copy / "model.onnx")
    bias = next(tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT32)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 9000, bias.name))
    onnx.save(model, copy / "model.onnx")
    manifest = json.loads((copy / "manifest.json").read_text())
    if "model.onnx" in manifest["files"]:
        manifest["files"]["model.onnx"] = hashlib.sha256((copy / "model.onnx").read_bytes()).hexdigest()
        (copy / "manifest.json").write_text(json.dumps(manifest))
    done = cli("verify", "out", "--samples", "2", "--quiet")
    assert done.code == 4
    assert "✗" in done.out
    assert done.err.startswith("microlith: NumPy reference against C on the emulated nrf52840: ")


def test_a_changed_file_is_noticed(cli: Cli, copy: Path) -> None:
    with (copy / "src" / "net.c").open("a") as stream:
        stream.write("/* mine */\n")
    done = cli("verify", "out")
    assert (done.code, done.out) == (2, "")
    assert "net.c is not the file that was written" in done.err


def test_the_log_of_a_board(cli: Cli, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "uart.txt").write_text(f"boot\r\n{boot(copy)}\r\nbye\r\n")
    done = cli("verify", "out", "--board-log", "uart.txt")
    assert (done.code, done.err) == (0, "")
    evidence = load_run(copy).evidence
    assert {evidence.get(name).how for name in ("board_bit_exact", "cycles", "latency_s")} == {"measured"}
    assert f"{evidence.value('cycles'):,.0f}" in done.out
    verdict = next(row for row in load_run(copy).details.verdicts if row.line == "latency")
    assert (verdict.how, verdict.value) == ("measured", evidence.value("latency_s"))
    assert "measured" in (copy / "report.html").read_text()


def test_the_log_of_another_artifact_or_of_a_failure(cli: Cli, copy: Path, tmp_path: Path) -> None:
    before = everything_in(copy)
    line = boot(copy)
    for text, code, message in (
        (line.replace("hash=", "hash=0000")[: len(line) + 0], 2, "no line"),
        (line.replace(line.partition("hash=")[2][:16], "0123456789abcdef"), 2, "is of artifact 0123456789abcdef"),
        (line.replace("mismatches=0", "mismatches=3"), 4, "3 output values differ"),
        ("nothing", 2, "no line"),
    ):
        (tmp_path / "uart.txt").write_text(text)
        done = cli("verify", "out", "--board-log", "uart.txt")
        assert (done.code, done.out) == (code, ""), text
        assert message in done.err
    assert everything_in(copy) == before


def test_an_earlier_artifact_is_replaced(cli: Cli, copy: Path, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("compile", inputs.model, "--device", "host", "-o", "out", "--name", "other", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["budget_met"] is None
    assert (copy / "include" / "other.h").is_file()
    assert not (copy / "include" / "net.h").exists()
    assert not (copy / "recipe.yaml").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


BOTH = """
#include <string.h>
#include "one.h"
#include "two.h"
static uint8_t one_arena[ONE_ARENA_BYTES] __attribute__((aligned(32)));
static uint8_t two_arena[TWO_ARENA_BYTES] __attribute__((aligned(32)));
int both(const float *x, float *one_y, float *two_y);
int both(const float *x, float *one_y, float *two_y)
{
    one_ctx one; two_ctx two;
    if (one_init(&one, one_arena, sizeof one_arena) != 0 || two_init(&two, two_arena, sizeof two_arena) != 0) return 1;
    memcpy(one_input_0(&one), x, ONE_INPUT_0_SIZE * sizeof(float));
    memcpy(two_input_0(&two), x, TWO_INPUT_0_SIZE * sizeof(float));
    if (one_run(&one) != 0 || two_run(&two) != 0) return 2;
    memcpy(one_y, one_output_0(&one), ONE_OUTPUT_0_SIZE * sizeof(float));
    memcpy(two_y, two_output_0(&two), TWO_OUTPUT_0_SIZE * sizeof(float));
    return 0;
}
"""
CALL = """
import ctypes, json, sys
import numpy as np
x = np.load(sys.argv[2])
one, two = np.zeros(5, np.float32), np.zeros(5, np.float32)
pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
assert ctypes.CDLL(sys.argv[1]).both(pointer(x), pointer(one), pointer(two)) == 0
print(json.dumps([one.tolist(), two.tolist()]))
"""


def test_two_libraries_in_one_program(cli: Cli, tmp_path: Path) -> None:
    x = models.images(np.random.default_rng(3), 1)
    np.save(tmp_path / "x.npy", x)
    expected, sources, includes = [], [tmp_path / "both.c"], []
    for seed, name in enumerate(("one", "two")):
        model = models.tiny_cnn(seed)
        onnx.save(model, tmp_path / f"{name}.onnx")
        assert cli("compile", f"{name}.onnx", "--device", "host", "--name", name, "-o", name, "-q").code == 0
        sources += sorted((tmp_path / name / "src").glob("*.c"))
        includes += [tmp_path / name / "include", tmp_path / name / "src"]
        expected.append(ReferenceEvaluator(model).run(None, {"image": x})[0][0])
    (tmp_path / "both.c").write_text(BOTH)
    flags = json.loads((tmp_path / "one" / "manifest.json").read_text())["toolchain"]["flags"].split()
    library = tmp_path / "both.so"
    compiler = [sys.executable, "-m", "ziglang", "cc"]
    words = [*flags, *(f"-I{path}" for path in includes), *sources, "-o", library]
    subprocess.run([*compiler, *map(str, words)], check=True, capture_output=True, env=zig_environment())
    done = subprocess.run(
        [sys.executable, "-c", CALL, library, tmp_path / "x.npy"], check=True, capture_output=True, text=True
    )
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(expected[0], expected[1], atol=1e-2)


def zig_environment() -> dict[str, str]:
    """zig's cache where microlith keeps it, so that its run-time libraries are built once."""
    kept = str(cache_directory() / "zig")
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": kept, "ZIG_LOCAL_CACHE_DIR": kept}
