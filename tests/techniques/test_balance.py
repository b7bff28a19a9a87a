"""Balancing changes ranges, and not what a model computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.linear_layers import weights_of
from microlith.graph.load import load_bytes
from microlith.graph.reference import Reference
from microlith.quant.calibration import sqnr_db
from microlith.search.prepare import evaluate
from microlith.techniques.balance import BalanceActivations
from microlith.techniques.base import Context, Technique
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from qdq_models import IMAGE, build, node, residual, samples

Array = NDArray[np.float32]


def _draw(seed: int, *shape: int) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def block(outlier: float = 40.0) -> ir.Model:
    """LayerNormalization with two channels of large values, read by three matrices; two of them are multiplied."""
    gamma = np.ones(16, np.float32)
    gamma[[3, 9]] = outlier
    weights = {"gamma": gamma, "beta": _draw(0, 16)}
    weights |= {name: _draw(index, 16, 8) for index, name in enumerate(("wq", "wk", "wv"), 1)}
    for name in ("wq", "wk", "wv"):
        weights[name][[3, 9]] /= outlier
    nodes = [
        node("LayerNormalization", "n", "x", "gamma", "beta", axis=-1),
        node("MatMul", "q", "n", "wq"),
        node("MatMul", "k", "n", "wk"),
        node("MatMul", "v", "n", "wv"),
        node("Add", "sum", "q", "k"),
        node("Mul", "y", "sum", "v"),
    ]
    return _loaded(build(nodes, {"x": [1, 5, 16]}, {"y": [1, 5, 8]}, weights))


def images(outlier: float = 40.0) -> ir.Model:
    """Conv, Relu, padded Conv, Relu, Flatten of an image, Gemm; one channel has large values."""
    weights = {"w1": _draw(1, 6, 3, 3, 3), "b1": _draw(2, 6), "w2": _draw(3, 6, 1, 3, 3), "w3": _draw(4, 6 * 64, 5)}
    weights["w1"][2] *= outlier
    weights["b1"][2] *= outlier
    weights["w2"][2] /= outlier
    nodes = [
        node("Conv", "c1", "x", "w1", "b1", pads=[1] * 4),
        node("Relu", "r1", "c1"),
        node("Conv", "c2", "r1", "w2", pads=[1] * 4, group=6),
        node("Relu", "r2", "c2"),
        node("Flatten", "f", "r2"),
        node("Gemm", "y", "f", "w3"),
    ]
    return _loaded(build(nodes, IMAGE, {"y": [1, 5]}, weights))


def _loaded(model: ir.Model) -> ir.Model:
    return load_bytes(ir.to_proto(model).SerializeToString(), "model")


def _batches(model: ir.Model) -> list[dict[str, NDArray[np.generic]]]:
    return [samples(model, 32, seed=seed) for seed in range(2)]


def _applied(model: ir.Model, *steps: Technique) -> ir.Model:
    return run_recipe(model, Recipe(steps), Context(data=lambda: _batches(model)))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("make", [block, images, residual])
def test_outputs_stay_as_they_are(make: Callable[[], ir.Model], strength: float) -> None:
    model = make()
    expected = evaluate(model, _batches(model))
    found = evaluate(_applied(model, BalanceActivations(strength=strength)), _batches(model))
    assert np.abs(found - expected).max() <= 2e-5 * max(1.0, float(np.abs(expected).max()))


def _ranges(model: ir.Model, name: str, axis: int) -> NDArray[np.float64]:
    feeds = {key: np.concatenate([item[key] for item in _batches(model)]) for key in _batches(model)[0]}
    array = np.moveaxis(np.abs(Reference(expose(model, [name])).run(feeds, keep=[name])[name]), axis, 0)
    return np.asarray(array.reshape(len(array), -1).max(axis=1), np.float64)


@pytest.mark.parametrize(("make", "name", "axis"), [(block, "n", 2), (images, "r1", 1)])
def test_strength_1_gives_all_channels_the_same_range(make: Callable[[], ir.Model], name: str, axis: int) -> None:
    balanced = _applied(make(), BalanceActivations(strength=1.0))
    assert _ranges(balanced, name, axis) == pytest.approx(1.0, rel=1e-4)


def test_scales_are_those_of_the_paper() -> None:
    model = block()
    balanced = _applied(model, BalanceActivations(strength=0.5))
    weights = [weights_of(item) for item in model.graph if item.op_type == "MatMul"]
    most = np.max([np.abs(item).max(axis=1) for item in weights if item is not None], axis=0)
    scale = np.sqrt(_ranges(model, "n", 2)) / np.sqrt(most)
    after = [weights_of(item) for item in balanced.graph if item.op_type == "MatMul"]
    for before, found in zip(weights, after, strict=True):
        assert before is not None and found is not None
        assert found == pytest.approx(before * scale[:, None], rel=1e-4)


@pytest.mark.parametrize("make", [block, images])
def test_channels_of_large_values_no_longer_cost_the_others_their_resolution(make: Callable[[], ir.Model]) -> None:
    model = make()
    expected = evaluate(model, _batches(model))
    kept = ("LayerNormalization",) if make is block else ()
    step = PTQ(calibration="minmax", float_ops=kept)
    plain, balanced = _applied(model, step), _applied(model, BalanceActivations(), step)
    gain = [sqnr_db(expected, evaluate(item, _batches(model))) for item in (plain, balanced)]
    assert gain[1] > gain[0] + 6


def test_without_data_it_refuses() -> None:
    with pytest.raises(InputError, match="needs data"):
        run_recipe(block(), Recipe((BalanceActivations(),)), Context())
