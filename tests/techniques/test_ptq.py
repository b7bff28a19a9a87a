from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError, UnsupportedError
from microlith.device.profile import Device
from microlith.graph.metadata import requantization
from microlith.graph.reference import Reference
from microlith.graph.units import units
from microlith.quant.observers import Histogram
from microlith.quant.schemes import Scheme
from microlith.techniques.base import Context, Feeds
from microlith.techniques.ptq import PTQ, Statistics, observe, ptq_search_space, quantize
from qdq_models import build, node, residual, samples


def _batches(model: ir.Model, count: int = 4, size: int = 8) -> list[Feeds]:
    return [samples(model, size, seed=seed) for seed in range(count)]


def _bytes(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def _device(fpu: str) -> Device:
    return Device.model_validate({"name": "d", "title": "D", "core": "cortex-m0plus", "fpu": fpu})


def test_observing_in_batches_is_observing_the_whole_set() -> None:
    model = residual()
    batches = _batches(model)
    whole = observe(model, [{"x": np.concatenate([batch["x"] for batch in batches])}])
    parts = observe(model, iter(batches))
    assert parts.samples == whole.samples == 32
    for calibration in ("minmax", "percentile", "mse"):
        scheme = Scheme(calibration=calibration, percentile=99)
        found, expected = parts.ranges(scheme), whole.ranges(scheme)
        assert list(found) == list(expected)
        assert np.array(list(found.values())) == pytest.approx(np.array(list(expected.values())))


def test_minmax_ranges_are_those_of_the_float_values() -> None:
    model = residual()
    batches = _batches(model)
    found = observe(model, batches).ranges(Scheme(calibration="minmax"))
    model.graph.outputs.append(next(v for n in model.graph for v in n.outputs if v.name == "r2"))
    values = [Reference(model).run(batch)["r2"] for batch in batches]
    assert found["r2"] == (float(np.min(values)), float(np.max(values)))
    assert found["x"] == (float(min(b["x"].min() for b in batches)), float(max(b["x"].max() for b in batches)))
    assert "y" not in found


def test_only_one_batch_is_held_at_a_time() -> None:
    model = residual()
    alive: list[int] = []

    def stream() -> Iterator[Feeds]:
        for seed in range(3):
            alive.append(seed)
            yield samples(model, 2, seed=seed)
            alive.remove(seed)

    seen: list[tuple[int, int]] = []
    observe(model, stream(), progress=lambda done: seen.append((done, len(alive))))
    assert seen == [(1, 1), (2, 1), (3, 1)]


def test_another_executor_may_observe() -> None:
    model = build([node("Relu", "y", "x")], {"x": [1, 3]}, {"y": [1, 3]})

    def execute(feeds: Feeds) -> dict[str, NDArray[np.generic]]:
        return {"x": feeds["x"], "y": np.array([[7.0, 8.0, 9.0]], np.float32)}

    statistics = observe(model, [samples(model, 1)], execute=execute)
    assert statistics.ranges(Scheme(calibration="minmax"))["y"] == (7.0, 9.0)


def test_every_setting_of_the_search_comes_from_one_pass() -> None:
    model = residual()
    statistics = observe(model, _batches(model))
    base = PTQ(percentile=99)
    space = ptq_search_space(base)
    assert len(space) == 12
    assert len({setting.model_dump_json() for setting in space}) == 12
    assert space[0] == base
    context = Context()
    made = {_bytes(setting.quantize(model, statistics, context)) for setting in space}
    assert len(made) == 12


def test_the_search_keeps_the_other_settings_of_its_base() -> None:
    space = ptq_search_space(PTQ(activations="uint8", float_ops=("Softmax",)))
    assert {setting.activations for setting in space} == {"uint8"}
    assert {setting.float_ops for setting in space} == {("Softmax",)}


def test_apply_is_observe_and_quantize_and_leaves_its_input() -> None:
    model = residual()
    before = _bytes(model)
    seen: list[tuple[str, int, int | None]] = []
    context = Context(lambda: _batches(model), batches=4, progress=lambda *step: seen.append(step))
    result = PTQ(calibration="percentile").apply(model, context)
    assert _bytes(model) == before
    expected = quantize(model, observe(model, _batches(model)), Scheme(calibration="percentile"), "float")
    assert _bytes(result) == _bytes(expected)
    assert _bytes(PTQ(calibration="percentile").apply(residual(), context)) == _bytes(result)
    assert seen[:4] == [("calibrate", done, 4) for done in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("asked", "fpu", "expected"),
    [(None, "none", "fixed"), (None, "single", "float"), ("fixed", "single", "fixed"), ("float", "none", "float")],
)
def test_requantization_is_the_devices_unless_asked(asked: str | None, fpu: str, expected: str) -> None:
    model = residual()
    context = Context(lambda: _batches(model, 1), device=_device(fpu))
    setting = PTQ.model_validate({"requantization": asked})
    assert requantization(setting.apply(model, context)) == expected


def test_without_a_device_requantization_is_float() -> None:
    model = residual()
    assert requantization(PTQ().apply(model, Context(lambda: _batches(model, 1)))) == "float"


def test_float_ops_reach_the_graph() -> None:
    model = residual()
    result = PTQ(float_ops=("Softmax",), io="float").apply(model, Context(lambda: _batches(model, 1)))
    kinds = {unit.node.op_type: unit.kind for unit in units(result) if unit.kind in ("integer", "float")}
    assert kinds["Softmax"] == "float"
    assert kinds["Conv"] == "integer"


def test_a_kept_activation_can_be_observed_apart_from_its_conv() -> None:
    model = residual()
    result = PTQ(float_ops=("Relu",)).apply(model, Context(lambda: _batches(model, 1)))
    kinds = [(unit.node.op_type, unit.kind) for unit in units(result)]
    assert ("Conv", "integer") in kinds
    assert ("Relu", "float") in kinds


@pytest.mark.parametrize("batches", [[], [{"x": np.zeros((0, 3, 8, 8), np.float32)}]])
def test_no_data_is_refused(batches: Iterable[Feeds]) -> None:
    with pytest.raises(InputError):
        observe(residual(), batches)
    with pytest.raises(InputError, match="calibration data"):
        PTQ().apply(residual(), Context())


def test_values_that_overflow_are_refused_by_name() -> None:
    weights = {"w": np.full((1, 1, 1, 1), 1e30, np.float32)}
    model = build([node("Conv", "y", "x", "w")], {"x": [1, 1, 2, 2]}, {"y": [1, 1, 2, 2]}, weights)
    with np.errstate(over="ignore"), pytest.raises(InputError, match="'y'"):
        observe(model, [{"x": np.full((1, 1, 2, 2), 1e30, np.float32)}])


def test_a_batch_norm_that_could_be_folded_is_refused() -> None:
    vectors = {name: np.ones(2, np.float32) for name in ("gamma", "beta", "mean", "variance")}
    nodes = [node("Conv", "c", "x", "w"), node("BatchNormalization", "y", "c", *vectors)]
    weights = {"w": np.ones((2, 1, 1, 1), np.float32), **vectors}
    model = build(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 2, 2, 2]}, weights)
    with pytest.raises(UnsupportedError, match="folded"):
        PTQ().apply(model, Context(lambda: [samples(model, 1)]))


def test_a_quantized_model_is_refused() -> None:
    model = residual()
    context = Context(lambda: _batches(model, 1))
    with pytest.raises(UnsupportedError, match="float"):
        PTQ().apply(PTQ().apply(model, context), context)


def test_statistics_hold_one_histogram_a_value() -> None:
    model = residual()
    statistics = observe(model, _batches(model, 1))
    assert isinstance(statistics, Statistics)
    assert list(statistics.histograms) == ["x", "r1", "c2", "r2", "gap", "logits"]
    assert all(isinstance(item, Histogram) and item.count for item in statistics.histograms.values())
