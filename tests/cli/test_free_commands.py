"""Commands that need no compiler: check, dry run, apply, devices."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from cli.running import Cli, Inputs, everything_in
from microlith.cli.options import command_line
from microlith.device.load import PROFILES
from microlith.techniques.recipe import Recipe

DEVICE = ("--device", "nrf52840")


def test_check(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("check", inputs.model, *DEVICE)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("net.onnx on Nordic nRF52840\n")
    assert "1.00 M flash" in done.out
    assert "Graph passes" not in done.out
    assert not everything_in(tmp_path)


def test_check_passes(cli: Cli, inputs: Inputs) -> None:
    lines = cli("check", inputs.model, *DEVICE, "--passes").out.splitlines()
    (fold,) = [line for line in lines if line.startswith("FoldBatchNormIntoConv")]
    assert fold.split()[1] == "1"


def test_check_with_data(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("check", inputs.model, *DEVICE, "--data", inputs.data, "--html", "ranges.html", "--quiet")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"Values over \d+ samples", done.out)
    assert "The whole network" in done.out
    assert "has the most noise" in done.out
    page = (tmp_path / "ranges.html").read_text()
    assert page.count("<svg") == 3
    assert "://" not in page.replace("http://www.w3.org", "")
    document = json.loads(cli("check", inputs.model, *DEVICE, "--data", inputs.data, "--json", "--quiet").out)
    assert [row["name"] for row in document["ranges"]["layers"]] == ["stem.conv", "depthwise", "pointwise", "logits"]
    assert document["ranges"]["scheme"]["weights"] == "int8"
    assert cli("check", inputs.model, *DEVICE, "--html", "x.html").code == 2


def test_check_as_json(cli: Cli, inputs: Inputs) -> None:
    document = json.loads(cli("check", inputs.model, *DEVICE, "--json").out)
    assert [form["arithmetic"] for form in document["forms"]] == ["as given", "int8"]
    as_given, int8 = document["forms"]
    assert 2.5 < as_given["weights_bytes"] / int8["weights_bytes"] < 4
    assert 2 < as_given["arena_bytes"] / int8["arena_bytes"] < 4.5
    assert document["ops"]["Conv"] == 3


def test_check_where_nothing_fits(cli: Cli, tmp_path: Path) -> None:
    model = models.one_node(
        "Gemm", {"x": [1, 1500]}, {"y": [1, 1500]}, {"w": np.ones((1500, 1500), np.float32)}, transB=1
    )
    onnx.save(model, tmp_path / "large.onnx")
    done = cli("check", "large.onnx", *DEVICE)
    assert done.code == 3
    assert "does not fit nrf52840 (int8): weights take 2,2" in done.err
    assert cli("check", "large.onnx", "--device", "host").code == 0


def test_check_asks_for_shapes(cli: Cli, tmp_path: Path) -> None:
    onnx.save(models.one_node("Relu", {"x": [1, "length"]}, {"y": [1, "length"]}), tmp_path / "m.onnx")
    asked = cli("check", "m.onnx", *DEVICE)
    assert asked.code == 2
    assert "--shape x=" in asked.err
    assert cli("check", "m.onnx", *DEVICE, "--shape", "x=1,7").code == 0


DRY = ("--max-drop", "1pp", "--calibration", "30", "--selection", "40", "--dry-run")


def test_dry_run(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("optimize", inputs.model, *DEVICE, "--data", inputs.data, *DRY)
    assert (done.code, done.err) == (0, "")
    assert "Samples: 30 calibration, 40 selection, 50 report. Metric: accuracy." in done.out
    recipe = Recipe.from_yaml(done.out[done.out.index("schema_version:") :])
    assert len(recipe.steps) == 1
    assert "12 recipes" in done.out
    document = json.loads(cli("optimize", inputs.model, *DEVICE, "--data", inputs.data, *DRY, "--json").out)
    assert len(document["candidates"]) == 12
    assert document["infeasible"] == []
    assert not everything_in(tmp_path)


def test_a_dry_run_knows_what_cannot_be_met(cli: Cli, inputs: Inputs) -> None:
    done = cli("optimize", inputs.model, *DEVICE, "--data", inputs.data, *DRY, "--ram", "256", "--flash", "100")
    assert done.code == 3
    assert "ram: activations alone take" in done.err
    assert "stem.conv" in done.err
    assert "flash: weights alone take" in done.err


def test_optimize_needs_a_place(cli: Cli, inputs: Inputs) -> None:
    done = cli("optimize", inputs.model, *DEVICE, "--data", inputs.data)
    assert done.code == 2
    assert "--out" in done.err


def test_apply(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    words = ("apply", "ptq", inputs.model, "--data", inputs.data, "--method", "minmax", "--samples", "10")
    done = cli(*words, "-o", "q.onnx")
    assert (done.code, done.out) == (0, "Wrote q.onnx\n")
    assert "calibrate" in done.err
    model = onnx.load(tmp_path / "q.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    assert cli(*words, "-o", "again.onnx", "--quiet").err == ""
    assert (tmp_path / "q.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()
    fixed = cli(*words, "-o", "fixed.onnx", "--device", "rp2040", "--quiet")
    assert fixed.code == 0
    assert {item.key: item.value for item in onnx.load(tmp_path / "fixed.onnx").metadata_props}[
        "microlith.requantization"
    ] == "fixed"


@pytest.mark.parametrize(("option", "value"), [("--method", "median"), ("--activations", "int7"), ("--io", "maybe")])
def test_apply_refuses_unknown_values(cli: Cli, inputs: Inputs, option: str, value: str) -> None:
    done = cli("apply", "ptq", inputs.model, "--data", inputs.data, "-o", "q.onnx", option, value)
    assert (done.code, done.out) == (2, "")
    assert value in done.err


def test_apply_takes_every_setting(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    words = ("apply", "ptq", inputs.model, "--quiet", "--weights", "int4")
    changed = ("--set", "overrides=[{layers: first, weights: int8}]", "--set", "weights_symmetric=false")
    assert cli(*words, "--data", inputs.data, "--samples", "10", *changed, "-o", "q.onnx").code == 0
    stored = [item.data_type for item in onnx.load(tmp_path / "q.onnx").graph.initializer]
    assert onnx.TensorProto.INT4 in stored
    alone = cli(*words, "--activations", "float", "-o", "alone.onnx")
    assert (alone.code, alone.out) == (0, "Wrote alone.onnx\n")
    assert "QuantizeLinear" not in {node.op_type for node in onnx.load(tmp_path / "alone.onnx").graph.node}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("weights", "is not NAME=VALUE"),
        ("weights=[", "is not YAML"),
        ("wieghts=int4", "Did you mean 'weights'?"),
        ("weights=int5", "int5"),
        ("group_size=4", "no integer arithmetic"),
    ],
)
def test_apply_refuses_settings(cli: Cli, inputs: Inputs, option: str, message: str) -> None:
    done = cli("apply", "ptq", inputs.model, "--data", inputs.data, "-o", "q.onnx", "--set", option)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_apply_without_data_takes_no_samples(cli: Cli, inputs: Inputs) -> None:
    done = cli("apply", "ptq", inputs.model, "--activations", "float", "--samples", "3", "-o", "q.onnx")
    assert done.code == 2
    assert "no data is given" in done.err
    done = cli("apply", "ptq", inputs.model, "-o", "q.onnx")
    assert done.code == 2
    assert "needs calibration data" in done.err


def test_apply_a_recipe_and_its_steps_by_themselves(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    steps = "schema_version: 1\nsteps:\n- equalize\n- {technique: ptq, weights: int4}\n- correct_biases\n"
    (tmp_path / "steps.yaml").write_text(steps)
    data = ("--data", inputs.data, "--samples", "20", "--quiet")
    done = cli("apply", "recipe", inputs.model, "--recipe", "steps.yaml", *data, "-o", "all.onnx")
    assert (done.code, done.out) == (0, "Wrote all.onnx\n")
    assert cli("apply", "equalize", inputs.model, "--quiet", "-o", "equal.onnx").code == 0
    assert cli("apply", "ptq", "equal.onnx", "--weights", "int4", *data, "-o", "q.onnx").code == 0
    alone = cli("apply", "correct_biases", "q.onnx", "--original", "equal.onnx", *data, "-o", "corrected.onnx")
    assert alone.code == 0
    assert (tmp_path / "corrected.onnx").read_bytes() == (tmp_path / "all.onnx").read_bytes()
    assert (tmp_path / "corrected.onnx").read_bytes() != (tmp_path / "q.onnx").read_bytes()


def test_devices(cli: Cli) -> None:
    table = cli("devices").out
    document = json.loads(cli("devices", "--json").out)
    assert [item["name"] for item in document["devices"]] == ["host", *PROFILES]
    assert all(f"\n{name} " in table for name in PROFILES)
    assert all(item["sources"] for item in document["devices"])


def test_what_was_run_is_told_without_folders() -> None:
    given = {"device": "rp2040", "data": Path("/a/b/d.npz"), "max_drop": None, "shape": ["x=1,2", "y=3"]}
    told = command_line("optimize", Path("/home/me/my model.onnx"), **given)
    assert told == "microlith optimize 'my model.onnx' --device rp2040 --data d.npz --shape x=1,2 --shape y=3"


def test_check_passes_tells_sizes(cli: Cli, inputs: Inputs) -> None:
    document = json.loads(cli("check", inputs.model, *DEVICE, "--json").out)
    rows = {row["name"]: row for row in reversed(document["passes"])}
    fold = rows["FoldBatchNormIntoConv"]
    assert fold["weight_bytes_after"] < fold["weight_bytes_before"]
    assert fold["peak_activation_bytes_after"] <= fold["peak_activation_bytes_before"]
    assert fold["macs_after"] <= fold["macs_before"]
    as_given, int8 = ({row["kind"]: row["count"] for row in form["fusions"]} for form in document["forms"])
    assert as_given["activation"] == int8["activation"] > 0
    assert "requantization" not in as_given
    assert int8["requantization"] > 3
    shown = cli("check", inputs.model, *DEVICE, "--passes").out
    assert "peak activations" in shown
    assert "What lowering joined, int8" in shown


def test_check_stops_after_a_pass(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    stop = ("--stop-after", "FoldBatchNormIntoConv", "-o", "folded.onnx")
    done = cli("check", inputs.model, *DEVICE, *stop)
    assert (done.code, done.err) == (0, "")
    assert "folded.onnx" in done.out
    before = [node.op_type for node in onnx.load(tmp_path / inputs.model).graph.node]
    after = [node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node]
    assert "BatchNormalization" in before
    assert "BatchNormalization" not in after
    assert "Conv" in after


def test_files_are_written_in_the_opset_that_is_asked_for(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    stop = ("--stop-after", "FoldConstants", "-o", "stopped.onnx")
    assert cli("check", inputs.model, *DEVICE, *stop, "--opset", "15").code == 0
    quantize = ("apply", "ptq", inputs.model, "--data", inputs.data, "--samples", "10", "-o", "q.onnx")
    assert cli(*quantize, "--opset", "13").code == 0
    assert [onnx.load(tmp_path / name).opset_import[0].version for name in ("stopped.onnx", "q.onnx")] == [15, 13]
    alone = cli("check", inputs.model, *DEVICE, "--opset", "15")
    assert alone.code == 2
    assert "nothing is written" in alone.err
    assert cli(*quantize, "--opset", "12").code == 2


def test_check_stops_after_no_pass_of_that_name(cli: Cli, inputs: Inputs, tmp_path: Path) -> None:
    done = cli("check", inputs.model, *DEVICE, "--stop-after", "FoldBatchNorm", "-o", "folded.onnx")
    assert done.code == 2
    assert "FoldBatchNormIntoConv" in done.err
    assert not (tmp_path / "folded.onnx").exists()
    assert cli("check", inputs.model, *DEVICE, "--stop-after", "FoldConstants").code == 2
