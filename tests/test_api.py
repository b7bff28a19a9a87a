"""The Python API as README.md and DESIGN show it, beyond what the commands go through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import microlith as ml
import models
from microlith import api
from microlith.core.errors import BudgetUnmetError, InputError, UnsupportedError
from microlith.search.check import Check, Form


def test_every_name_of_the_package_is_there() -> None:
    for name in ml.__all__:
        assert callable(getattr(ml, name))
        assert name in api.__all__
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        ml.optimise  # noqa: B018


def test_apply_takes_arrays_and_keeps_the_model(tiny_cnn_file: Path, rng: np.random.Generator) -> None:
    model = ml.load(tiny_cnn_file)
    before = len(model.graph)
    images = models.images(rng, 8)
    quantized = ml.apply(model, [ml.PTQ(per_channel=False)], data=images)
    assert len(model.graph) == before
    assert sum(node.op_type == "QuantizeLinear" for node in quantized.graph) > 5
    few = ml.apply(model, [ml.PTQ(per_channel=False)], data=[images[:4], images[4:]], calibration=8)
    assert len(few.graph) == len(quantized.graph)
    with pytest.raises(InputError, match="9 samples are asked for, and the data holds 8"):
        ml.apply(model, [ml.PTQ()], data=images, calibration=9)


def test_an_artifact_is_named_after_its_model(tiny_cnn_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    artifact = ml.compile(ml.load(tiny_cnn_file), ml.device("nrf52840"))
    assert artifact.manifest.name == "graph"
    assert artifact.evidence.get("flash_bytes") is None
    assert artifact.evidence.value("arena_bytes") > 0
    assert artifact.details.layers[0].instructions is None


def test_optimize_runs_recipes_of_one_ptq_step() -> None:
    step = api.PTQ()
    assert api.only_ptq(api.Recipe((step,))) is step
    with pytest.raises(InputError, match="this one has: ptq, ptq"):
        api.only_ptq(api.Recipe((step, step)))


def _opened(model: onnx.ModelProto, tmp_path: Path) -> api.Opened:
    onnx.save(model, tmp_path / "m.onnx")
    loaded = ml.load(tmp_path / "m.onnx")
    return api.Opened(tmp_path, None, {}, loaded)  # type: ignore[arg-type]


def test_samples_become_what_an_artifact_takes(tmp_path: Path, rng: np.random.Generator) -> None:
    images = models.images(rng, 4)
    opened = _opened(models.tiny_cnn(), tmp_path)
    assert api.artifact_samples(opened, None, 3) == []
    first, *rest = api.artifact_samples(opened, images, 3)
    assert len(rest) == 2
    assert np.array_equal(first["image"], images[:1])
    last = np.ascontiguousarray(np.moveaxis(images, 1, -1))
    assert np.array_equal(api.artifact_samples(opened, last, 1)[0]["image"], images[:1])
    raw = (images * 255).astype(np.uint8)
    assert np.array_equal(api.artifact_samples(opened, raw, 1)[0]["image"], raw[:1].astype(np.float32))
    with pytest.raises(InputError, match="samples of shape"):
        api.artifact_samples(opened, images[:, :2], 1)


def test_floats_are_quantized_for_an_integer_input(
    tiny_cnn_file: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    images = models.images(rng, 4)
    quantized = ml.apply(ml.load(tiny_cnn_file), [ml.PTQ()], data=images)
    opened = api.Opened(tmp_path, None, {}, quantized)  # type: ignore[arg-type]
    (sample,) = api.artifact_samples(opened, images, 1)
    assert sample["image"].dtype == np.int8
    # Images span 0 to 1, and so does the range of the input.
    assert np.abs((sample["image"].astype(float) + 128) / 255 - images[:1]).max() < 0.02
    with pytest.raises(InputError, match="uint8"):
        api.artifact_samples(opened, (images * 255).astype(np.uint8), 1)


def test_data_for_two_inputs_is_refused(tmp_path: Path) -> None:
    opened = _opened(models.one_node("Add", {"a": [1, 4], "b": [1, 4]}, {"y": [1, 4]}), tmp_path)
    with pytest.raises(InputError, match="2 inputs"):
        api.artifact_samples(opened, np.zeros((3, 4), np.float32), 1)


def _check(*forms: Form) -> Check:
    return Check(nodes=1, macs=1, ops={}, passes=(), forms=forms, flash_bytes=1000, ram_bytes=500)


def test_require_fit() -> None:
    large = Form("as given", 4000, 950, 1.0, "conv", (), False, least_arena_bytes=900, least_peak_layer="conv")
    small = Form("int8", 900, 400, 1.0, "conv", (), True)
    hopeless = Form("int8", None, None, None, "", ("Erf cannot be compiled (node e)", "so does f"), None)
    target = ml.device("nrf52840")
    api.require_fit(_check(large, small), target)
    with pytest.raises(BudgetUnmetError, match=r"weights take 4,000 B.*activations take 900 B.* in conv"):
        api.require_fit(_check(large), target)
    with pytest.raises(UnsupportedError, match=r"Erf cannot be compiled .*; and 1 more"):
        api.require_fit(_check(hopeless), target)
