"""Learned rounding against every possible rounding of small layers, and against rounding to nearest."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.load import load_bytes
from microlith.graph.units import units
from microlith.quant.calibration import sqnr_db
from microlith.search.prepare import evaluate
from microlith.techniques.adaround import AdaRound, learn_rounding
from microlith.techniques.base import Context, Technique
from microlith.techniques.correct_biases import CorrectBiases
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from qdq_models import build, node, residual, samples, separable

QUICK = {"iterations": 400}


@pytest.mark.parametrize("seed", range(1, 5))
def test_it_finds_nearly_the_best_of_all_roundings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-3, 3, (1, 3, 8)).astype(np.float32)
    inputs = rng.standard_normal((8, 300)) + rng.standard_normal((1, 300))
    gram = (inputs @ inputs.T / 300).astype(np.float32)[None]
    floor = np.floor(weights)
    up = learn_rounding(floor, weights - floor, np.ones_like(weights), gram, weights @ gram, AdaRound())

    def errors(integers: NDArray[np.floating]) -> NDArray[np.float64]:
        difference = (integers - weights[0]).astype(np.float64)
        return np.einsum("ok,kj,oj->o", difference, gram[0], difference)

    every = [np.array(choice) for choice in product((0, 1), repeat=8)]
    best = np.min([errors(floor[0] + choice) for choice in every], axis=0)
    found, nearest = errors((floor + up)[0]), errors(np.rint(weights[0]))
    assert found.sum() <= 1.05 * best.sum()
    assert found.sum() < 0.9 * nearest.sum()


def test_the_penalty_leaves_nothing_in_between() -> None:
    rng = np.random.default_rng(0)
    weights = rng.uniform(-3, 3, (1, 4, 6)).astype(np.float32)
    gram = np.eye(6, dtype=np.float32)[None]
    floor = np.floor(weights)
    up = learn_rounding(floor, weights - floor, np.ones_like(weights), gram, weights @ gram, AdaRound())
    # Inputs that have nothing to do with each other: the nearest integer is the best one.
    assert np.array_equal(floor + up, np.rint(weights))


def _loaded(model: ir.Model) -> ir.Model:
    return load_bytes(ir.to_proto(model).SerializeToString(), "model")


def _applied(model: ir.Model, *steps: Technique) -> ir.Model:
    batches = [samples(model, 64, seed=seed) for seed in range(2)]
    return run_recipe(model, Recipe(steps), Context(data=lambda: batches))


def _weights(quantized: ir.Model) -> list[tuple[NDArray[np.generic], NDArray[np.float32]]]:
    found = []
    for unit in units(quantized):
        item = unit.inputs[1] if unit.node.op_type in ("Conv", "Gemm") else None
        if item is not None and item.qparams is not None and item.value.const_value is not None:
            found.append((item.value.const_value.numpy().astype(int), item.qparams.scale))
    return found


@pytest.mark.parametrize("make", [residual, separable])
def test_weights_move_by_one_step_at_most_and_results_are_closer(make: Callable[[], ir.Model]) -> None:
    model = _loaded(make())
    feeds = [samples(model, 64, seed=0)]
    expected = evaluate(model, feeds)
    nearest, learned = _applied(model, PTQ(weights="int3")), _applied(model, AdaRound(weights="int3", **QUICK))
    assert sqnr_db(expected, evaluate(learned, feeds)) > sqnr_db(expected, evaluate(nearest, feeds)) + 1
    moved = 0
    for (before, scale), (after, same) in zip(_weights(nearest), _weights(learned), strict=True):
        assert np.array_equal(scale, same)
        assert np.abs(after - before).max() <= 1
        moved += int((after != before).sum())
    assert moved


def test_it_is_the_same_again_and_runs_with_all_settings() -> None:
    model = _loaded(residual())
    fields: dict[str, Any] = {
        "weights": "int4",
        "weights_symmetric": False,
        "overrides": [{"layers": "last", "weights": "int8"}],
    }
    step = AdaRound.model_validate(fields | QUICK)
    first, second = (ir.to_proto(_applied(model, step)).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    alone = _applied(_loaded(separable()), AdaRound(activations="float", weights="int3", **QUICK))
    plain = _applied(_loaded(separable()), PTQ(activations="float", weights="int3"))
    feeds = [samples(separable(), 64, seed=0)]
    expected = evaluate(separable(), feeds)
    assert sqnr_db(expected, evaluate(alone, feeds)) > sqnr_db(expected, evaluate(plain, feeds))


def test_means_may_be_left_to_bias_correction() -> None:
    weights = {"w1": np.random.default_rng(1).standard_normal((8, 3, 3, 3)).astype(np.float32)}
    weights |= {"w2": np.random.default_rng(2).standard_normal((6, 8, 1, 1)).astype(np.float32)}
    nodes = [node("Conv", "c", "x", "w1"), node("Relu", "r", "c"), node("Conv", "y", "r", "w2")]
    model = _loaded(build(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 6, 6, 6]}, weights))
    feeds = [samples(model, 64, seed=seed) for seed in range(2)]
    expected = evaluate(model, feeds)
    found = [
        sqnr_db(
            expected,
            evaluate(_applied(model, AdaRound(weights="int3", centered=centered, **QUICK), CorrectBiases()), feeds),
        )
        for centered in (False, True)
    ]
    assert found[1] > found[0]


def test_what_it_cannot_do_is_refused() -> None:
    model = _loaded(residual())
    with pytest.raises(InputError, match="needs data"):
        run_recipe(model, Recipe((AdaRound(activations="float"),)), Context())
    with pytest.raises(ValueError, match="use gptq"):
        AdaRound(weights="binary")
    with pytest.raises(ValueError, match="use ptq"):
        AdaRound(activations="float", group_size=8)
