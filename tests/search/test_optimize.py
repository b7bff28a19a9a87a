"""The choice between candidates, and what is said where a budget is not met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import models
from microlith.core.budget import Budget
from microlith.core.errors import InputError
from microlith.device.load import device
from microlith.device.profile import Device
from microlith.search.check import check
from microlith.search.choice import Score, ranked
from microlith.search.optimize import Options, optimize
from microlith.search.prepare import Parts, Prepared, evaluate, prepare
from microlith.search.study import Study, study_key
from microlith.search.verdicts import unmet
from microlith.techniques.ptq import PTQ


def _prepared(seed: int = 0) -> Prepared:
    rng = np.random.default_rng(seed)
    pictures = (models.images(rng, 60).transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    labels = rng.integers(0, 5, 60)
    model = ir.from_proto(models.tiny_cnn())
    from microlith.data.preprocess import Preprocessing

    return prepare(model, (pictures, labels), preprocessing=Preprocessing(high=1.0, low=0.0), parts=Parts(16, 20, 24))


def test_within_one_standard_error_the_least_noise_wins() -> None:
    scores = [Score(0.90, 0.03, 20.0), Score(0.88, 0.03, 30.0), Score(0.80, 0.03, 40.0)]
    assert ranked(scores, higher_is_better=True) == [1, 0, 2]
    exact = [Score(0.90, 0.0, 20.0), Score(0.88, 0.0, 30.0), Score(0.90, 0.0, 21.0)]
    assert ranked(exact, higher_is_better=True) == [2, 0, 1]
    errors = [Score(1.0, 0.1, 20.0), Score(1.05, 0.1, 30.0), Score(2.0, 0.1, 40.0)]
    assert ranked(errors, higher_is_better=False) == [1, 0, 2]


def test_prepared_model_takes_the_stored_samples() -> None:
    prepared = _prepared()
    (value,) = prepared.model.graph.inputs
    assert value.dtype == ir.DataType.UINT8
    assert value.shape.numpy() == (1, 8, 8, 3)
    assert "FoldPreprocessing" in [row.name for row in prepared.passes]
    outputs = evaluate(prepared.model, prepared.feeds(prepared.split.calibration))
    assert outputs.shape == (16, 5)
    # The same as giving the original model the scaled images.
    chosen = prepared.data.select(prepared.split.calibration)
    scaled = chosen.x.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    original = ir.from_proto(models.tiny_cnn())
    np.testing.assert_allclose(outputs, evaluate(original, [{"image": scaled}]), rtol=0, atol=1e-4)


def test_models_of_two_inputs_are_refused() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["y"])
    model = models.make_model([node], {"a": (1, 3), "b": (1, 3)}, {"y": (1, 3)})
    with pytest.raises(InputError, match="2 inputs"):
        prepare(ir.from_proto(model), np.zeros((60, 3), np.float32))


def test_search_without_a_toolchain_reports_what_can_be_counted() -> None:
    prepared = _prepared()
    steps: list[str] = []
    result = optimize(
        prepared,
        device("host"),
        Budget(max_drop=100.0),
        options=Options(name="net", host_samples=4, emulated_samples=0),
        progress=lambda what, done, total: steps.append(what),
    )
    assert result.best is not None
    assert len(result.candidates) == 12
    assert [row.chosen for row in result.candidates].count(True) == 1
    assert result.candidates[0].chosen
    evidence = result.best.evidence
    assert evidence.value("bit_exact") == 1.0
    assert evidence.value("samples") == 24
    drop = evidence.get("accuracy_drop")
    assert drop is not None and drop.low <= drop.value <= drop.high and drop.n == 24
    assert "search" in steps
    with pytest.raises(RuntimeError, match="second time"):
        prepared.split.report()


def test_drop_is_judged_by_its_pessimistic_end() -> None:
    options = Options(name="net", host_samples=2, emulated_samples=0)
    result = optimize(_prepared(), device("host"), Budget(max_drop=0.1), recipe=PTQ(), options=options)
    drop = result.nearest.evidence.get("accuracy_drop")
    assert drop is not None
    # 24 samples cannot show a drop of a tenth of a point.
    assert drop.high > 0.1
    assert result.best is None
    assert "too much" in str(unmet(result.verdicts, result.nearest))


def test_scores_of_an_interrupted_search_are_used_again(tmp_path: Path) -> None:
    prepared = _prepared()
    key = study_key(prepared, "float")
    assert key == study_key(_prepared(), "float")
    assert key != study_key(prepared, "fixed")
    assert key != study_key(_prepared(1), "float")
    study = Study(key, tmp_path)
    assert study.get("a") is None
    study.put("a", (0.5, 0.1, 20.0))
    study.put("b", (0.25, 0.0, float("inf")))
    again = Study(key, tmp_path)
    assert again.get("a") == (0.5, 0.1, 20.0)
    assert again.get("b") == (0.25, 0.0, float("inf"))
    next(tmp_path.glob("*.json")).write_text("{")
    assert Study(key, tmp_path).get("a") is None


def test_check_compares_float_and_int8_with_the_device() -> None:
    model = ir.from_proto(models.tiny_cnn())
    found = check(model, device("nrf52840"))
    given, quantized = found.forms
    assert (given.arithmetic, quantized.arithmetic) == ("as given", "int8")
    assert given.fits is True and quantized.fits is True
    assert given.weights_bytes is not None and quantized.weights_bytes is not None
    assert quantized.weights_bytes < given.weights_bytes
    image, features = 4 * 3 * 8 * 8, 4 * 4 * 8 * 8
    assert given.arena_bytes is not None and features <= given.arena_bytes < image + features
    assert found.macs > 0
    assert len(ir.to_proto(model).graph.node) == 12


def test_check_names_what_stands_in_the_way(tiny_device: Device) -> None:
    model = ir.from_proto(models.one_node("Det", {"x": (1, 4, 4)}, {"y": (1,)}, opset=20))
    for form in check(model, device("host")).forms:
        assert "Det" in form.obstacles[0]
        assert form.fits is None
    small = check(ir.from_proto(models.tiny_cnn()), tiny_device)
    assert [form.fits for form in small.forms] == [False, False]


@pytest.fixture
def tiny_device() -> Device:
    """An nRF52840 with 256 bytes of RAM."""
    target = device("nrf52840")
    regions = tuple(
        region.model_copy(update={"bytes": 256}) if region.kind == "ram" else region for region in target.regions
    )
    return target.model_copy(update={"regions": regions})
