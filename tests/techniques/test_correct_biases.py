"""Means of channels after bias correction, and the means of clamped normal variables."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.load import load_bytes
from microlith.graph.moments import Moments
from microlith.graph.units import units
from microlith.search.prepare import evaluate, optimize_graph
from microlith.techniques.base import Context, Technique
from microlith.techniques.correct_biases import CorrectBiases, rectified_mean
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from qdq_models import IMAGE, attention, build, node, samples

Array = NDArray[np.float32]


def _draw(seed: int, *shape: int) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def rectified(*, normalized: bool = False, biased: bool = True) -> ir.Model:
    """Conv, Relu, depthwise Conv, Relu, 1x1 Conv without an activation, so that means can be compared at the end."""
    weights = {"w1": _draw(1, 8, 3, 3, 3), "w2": _draw(2, 8, 1, 3, 3), "w3": _draw(3, 6, 8, 1, 1)}
    weights |= {"b1": _draw(4, 8), "b2": 0.3 + _draw(5, 8), "b3": _draw(6, 6)}
    first = [node("Conv", "c1", "x", "w1", *(["b1"] if biased else []), pads=[1] * 4)]
    if normalized:
        weights |= {"gamma": 1 + _draw(7, 8), "beta": _draw(8, 8), "mean": 0.1 * _draw(9, 8)}
        weights |= {"variance": np.full(8, 1.2, np.float32)}
        first.append(node("BatchNormalization", "n1", "c1", "gamma", "beta", "mean", "variance"))
    nodes = [
        *first,
        node("Relu", "r1", "n1" if normalized else "c1"),
        node("Conv", "c2", "r1", "w2", *(["b2"] if biased else []), pads=[1] * 4, group=8),
        node("Relu", "r2", "c2"),
        node("Conv", "y", "r2", "w3", *(["b3"] if biased else [])),
    ]
    proto = ir.to_proto(build(nodes, IMAGE, {"y": [1, 6, 8, 8]}, weights))
    return optimize_graph(load_bytes(proto.SerializeToString(), "model"))[0]


def _context(model: ir.Model) -> Context:
    batches = [samples(model, 64, seed=seed) for seed in range(2)]
    return Context(data=lambda: batches)


def _applied(model: ir.Model, *steps: Technique, data: bool = True) -> ir.Model:
    return run_recipe(model, Recipe(steps), _context(model) if data else Context())


def _worst_mean(model: ir.Model, other: ir.Model) -> float:
    """Greatest difference between the means of a channel, over the calibration set."""
    feeds = [samples(model, 64, seed=seed) for seed in range(2)]
    means = [evaluate(item, feeds).mean(axis=(0, 2, 3), dtype=np.float64) for item in (model, other)]
    return float(np.abs(means[0] - means[1]).max())


COARSE = PTQ(weights="int3", requantization="float")


@pytest.mark.parametrize("biased", [True, False])
def test_means_of_channels_agree_afterwards(biased: bool) -> None:
    model = rectified(biased=biased)
    plain, corrected = _applied(model, COARSE), _applied(model, COARSE, CorrectBiases())
    assert _worst_mean(model, corrected) < 0.1 * _worst_mean(model, plain)
    last = [unit for unit in units(corrected) if unit.kind == "integer"][-1].output.qparams
    assert last is not None
    assert _worst_mean(model, corrected) < 0.1 * float(last.scale)


def test_weights_alone_are_corrected_too() -> None:
    model = rectified()
    alone = PTQ(activations="float", weights="int3")
    groups = PTQ.model_validate({"activations": "float", "weights": "int3", "group_size": 1, "per_channel": False})
    for step in (alone, groups):
        plain, corrected = _applied(model, step), _applied(model, step, CorrectBiases())
        assert _worst_mean(model, corrected) < 1e-5
        assert _worst_mean(model, plain) >= _worst_mean(model, corrected)


def test_moments_correct_what_weights_add() -> None:
    model = rectified(normalized=True)
    plain = _applied(model, COARSE)
    corrected = _applied(model, COARSE, CorrectBiases(method="analytic"))
    assert _worst_mean(model, corrected) < 0.6 * _worst_mean(model, plain)


def test_batch_normalization_needs_no_data_and_its_lack_does() -> None:
    alone, analytic = PTQ(activations="float", weights="int3"), CorrectBiases(method="analytic")
    with pytest.raises(InputError, match="no BatchNormalization"):
        _applied(rectified(), alone, analytic, data=False)
    weights = {"w1": _draw(1, 8, 3, 1, 1), "w2": _draw(2, 5, 8, 1, 1), "gamma": np.ones(8, np.float32)}
    weights |= {"beta": _draw(3, 8), "mean": np.zeros(8, np.float32), "variance": np.ones(8, np.float32)}
    nodes = [
        node("Conv", "c1", "x", "w1"),
        node("BatchNormalization", "n1", "c1", "gamma", "beta", "mean", "variance"),
        node("Relu", "r1", "n1"),
        node("Conv", "y", "r1", "w2"),
    ]
    model, _ = optimize_graph(build(nodes, IMAGE, {"y": [1, 5, 8, 8]}, weights))
    corrected = _applied(model, alone, analytic, data=False)
    # The rule of the paper, written out: b - e E[relu(N(beta, gamma))].
    found = {str(item.name): item for item in corrected.graph if item.op_type == "Conv"}["y_node"]
    stored = found.inputs[2]
    assert stored is not None and stored.const_value is not None
    rng = np.random.default_rng(0)
    drawn = np.maximum(weights["beta"] + rng.standard_normal((200_000, 8)), 0).mean(axis=0)
    unit = next(unit for unit in units(_applied(model, PTQ(weights="int3"))) if unit.node.name == "y_node")
    integers = unit.inputs[1]
    assert integers is not None and integers.value.const_value is not None and integers.qparams is not None
    scale = integers.qparams.scale.reshape(-1, 1, 1, 1)
    error = integers.value.const_value.numpy().astype(np.float32) * scale - weights["w2"]
    assert stored.const_value.numpy() == pytest.approx(-(error[:, :, 0, 0] @ drawn), abs=2e-3)


@pytest.mark.parametrize("bounds", [(0.0, np.inf), (0.0, 1.0), (-np.inf, np.inf), (-0.5, 2.0)])
def test_means_of_clamped_normal_variables(bounds: tuple[float, float]) -> None:
    moments = Moments(np.array([-1.0, 0.0, 0.7, 5.0]), np.array([0.5, 1.0, 2.0, 0.0]))
    z = np.random.default_rng(1).standard_normal((400_000, 1))
    expected = np.clip(moments.mean + z * moments.deviation, *bounds).mean(axis=0)
    assert rectified_mean(moments, bounds) == pytest.approx(expected, abs=0.01)


def test_it_refuses_without_the_float_model_or_with_another() -> None:
    model = rectified()
    quantized = _applied(model, COARSE)
    with pytest.raises(InputError, match="none is given"):
        run_recipe(quantized, Recipe((CorrectBiases(),)), _context(model))
    other = Context(data=_context(model).data, original=attention())
    with pytest.raises(InputError, match="has no layer"):
        run_recipe(quantized, Recipe((CorrectBiases(),)), other)
    same = Context(data=_context(model).data, original=model)
    by_itself = run_recipe(quantized, Recipe((CorrectBiases(),)), same)
    assert (
        evaluate(by_itself, [samples(model, 4)]).tolist()
        == evaluate(_applied(model, COARSE, CorrectBiases()), [samples(model, 4)]).tolist()
    )
