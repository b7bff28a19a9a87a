"""Equalization and absorption change weights, and not what a model computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.layer_pairs import input_ranges, layer_pairs, output_ranges
from microlith.graph.linear_layers import weights_of
from microlith.graph.moments import moments_of
from microlith.graph.reference import Reference
from microlith.quant.calibration import sqnr_db
from microlith.search.prepare import evaluate, optimize_graph
from microlith.techniques.absorb import AbsorbBiases
from microlith.techniques.base import Context, Technique
from microlith.techniques.equalize import Equalize
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from qdq_models import IMAGE, branches, build, node, residual, samples, separable

Array = NDArray[np.float32]


def _draw(seed: int, *shape: int) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def mobile(spread: float = 0.0, upper: float | None = None) -> ir.Model:
    """Conv, depthwise Conv, 1x1 Conv, pooling, Flatten of an image, Gemm; channels spread by up to ``10**spread``.

    The spread is undone by the layer that reads the channel, so that it changes no output.
    """
    rng = np.random.default_rng(7)
    factors = [(10 ** rng.uniform(-spread, spread, count)).astype(np.float32) for count in (8, 8, 6)]
    weights = {"w1": _draw(1, 8, 3, 3, 3), "b1": _draw(2, 8), "w2": _draw(3, 8, 1, 3, 3), "b2": _draw(4, 8)}
    weights |= {"w3": _draw(5, 6, 8, 1, 1), "b3": _draw(6, 6), "w4": _draw(8, 24, 5), "b4": _draw(9, 5)}
    for index, (first, second) in enumerate((("1", "2"), ("2", "3"), ("3", "4"))):
        factor = factors[index]
        weights[f"w{first}"] = weights[f"w{first}"] * factor.reshape(-1, 1, 1, 1)
        weights[f"b{first}"] = weights[f"b{first}"] * factor
        if second == "2":
            weights["w2"] = weights["w2"] / factor.reshape(-1, 1, 1, 1)
        elif second == "3":
            weights["w3"] = weights["w3"] / factor.reshape(1, -1, 1, 1)
        else:
            weights["w4"] = weights["w4"] / np.repeat(factor, 4).reshape(-1, 1)
    bounds: dict[str, NDArray[np.generic]] = {}
    if upper is not None:
        bounds = {"zero": np.float32(0).reshape(()), "upper": np.float32(upper).reshape(())}

    def activation(name: str, x: str) -> object:
        return node("Relu", name, x) if upper is None else node("Clip", name, x, "zero", "upper")

    nodes = [
        node("Conv", "c1", "x", "w1", "b1", pads=[1] * 4),
        activation("r1", "c1"),
        node("Conv", "c2", "r1", "w2", "b2", pads=[1] * 4, group=8),
        activation("r2", "c2"),
        node("Conv", "c3", "r2", "w3", "b3"),
        activation("r3", "c3"),
        node("MaxPool", "m", "r3", kernel_shape=[4, 4], strides=[4, 4]),
        node("Flatten", "f", "m"),
        node("Gemm", "y", "f", "w4", "b4"),
    ]
    return build(nodes, IMAGE, {"y": [1, 5]}, weights | bounds)  # type: ignore[arg-type]


def _run(model: ir.Model, seed: int = 9) -> NDArray[np.float32]:
    return evaluate(model, [samples(model, 16, seed=seed)])


def _applied(model: ir.Model, *steps: Technique, data: bool = True) -> ir.Model:
    batches = [samples(model, 32, seed=seed) for seed in range(2)]
    return run_recipe(model, Recipe(steps), Context(data=(lambda: batches) if data else None))


@pytest.mark.parametrize("make", [mobile, residual, separable, branches, lambda: mobile(2.0)])
def test_outputs_stay_as_they_are(make: Callable[[], ir.Model]) -> None:
    model = make()
    found = _run(_applied(model, Equalize(), data=False))
    expected = _run(model)
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))


def test_both_layers_of_a_pair_have_the_same_ranges() -> None:
    model = mobile(1.5)
    assert len(layer_pairs(model.graph)) == 3
    equal = _applied(model, Equalize(), data=False)
    for pair in layer_pairs(equal.graph):
        first, second = weights_of(pair.first), weights_of(pair.second)
        assert first is not None and second is not None
        read = input_ranges(pair.second, second).reshape(-1, pair.repeats).max(axis=1)
        assert output_ranges(pair.first, first) == pytest.approx(read, rel=1e-3)


def test_two_layers_take_the_scale_of_the_paper() -> None:
    weights = {"w1": _draw(1, 4, 3, 1, 1), "w2": _draw(2, 5, 4, 1, 1)}
    nodes = [node("Conv", "c", "x", "w1"), node("Relu", "r", "c"), node("Conv", "y", "r", "w2")]
    equal = _applied(build(nodes, IMAGE, {"y": [1, 5, 8, 8]}, weights), Equalize(), data=False)
    r1, r2 = np.abs(weights["w1"]).max(axis=(1, 2, 3)), np.abs(weights["w2"]).max(axis=(0, 2, 3))
    scale = np.sqrt(r1 * r2) / r2
    found = [weights_of(item) for item in equal.graph if item.op_type == "Conv"]
    assert found[0] == pytest.approx(weights["w1"] / scale.reshape(-1, 1, 1, 1), rel=1e-5)
    assert found[1] == pytest.approx(weights["w2"] * scale.reshape(1, -1, 1, 1), rel=1e-5)


def test_it_rescues_one_scale_a_tensor_where_channels_are_far_apart() -> None:
    model = mobile(2.0)
    expected = _run(model)
    coarse = PTQ(per_channel=False)
    plain = sqnr_db(expected, _run(_applied(model, coarse)))
    rescued = sqnr_db(expected, _run(_applied(model, Equalize(), coarse)))
    assert plain < 15
    assert rescued > 30


def test_a_channel_of_almost_nothing_is_left_alone() -> None:
    weights = {"w1": _draw(1, 4, 3, 1, 1), "b1": np.ones(4, np.float32), "w2": _draw(2, 5, 4, 1, 1)}
    weights["w1"][2] = 1e-30
    nodes = [node("Conv", "c", "x", "w1", "b1"), node("Relu", "r", "c"), node("Conv", "y", "r", "w2")]
    model = build(nodes, IMAGE, {"y": [1, 5, 8, 8]}, weights)
    equal = _applied(model, Equalize(), data=False)
    assert float(_first_bias(equal)[2]) == 1.0
    assert _run(equal) == pytest.approx(_run(model), abs=1e-5)
    assert sqnr_db(_run(model), _run(_applied(model, Equalize(), PTQ(per_channel=False)))) > 30


def test_a_value_that_others_read_is_left_alone() -> None:
    pairs = layer_pairs(residual().graph)
    assert [(str(pair.first.name), str(pair.second.name)) for pair in pairs] == []


def test_an_upper_bound_is_kept_by_channel_dropped_or_left_alone() -> None:
    model = mobile(1.0, upper=0.8)
    expected = _run(model)
    assert float(np.abs(_run(mobile(1.0)) - expected).max()) > 1e-2  # the bound is reached
    untouched = _applied(model, Equalize(), data=False)
    assert [item.op_type for item in untouched.graph].count("Clip") == 3
    assert np.array_equal(_run(untouched), expected)
    exact = _applied(model, Equalize(bounded="per_channel"), data=False)
    assert "Clip" not in {item.op_type for item in exact.graph}
    assert _run(exact) == pytest.approx(expected, abs=1e-5)
    dropped = _applied(model, Equalize(bounded="drop"), data=False)
    assert {item.op_type for item in dropped.graph} & {"Clip", "Min"} == set()
    assert _run(dropped) == pytest.approx(_run(mobile(1.0)), abs=1e-4)
    quantized = _applied(model, Equalize(bounded="per_channel"), PTQ())
    assert sqnr_db(expected, _run(quantized)) > 25


# ---- absorption


def _biased(*, pads: int = 0) -> ir.Model:
    weights = {"w1": _draw(1, 4, 3, 1, 1), "b1": np.array([9, 0.1, -9, 12], np.float32), "w2": _draw(2, 5, 4, 3, 3)}
    nodes = [
        node("Conv", "c", "x", "w1", "b1"),
        node("Relu", "r", "c"),
        node("Conv", "y", "r", "w2", pads=[pads] * 4),
    ]
    return build(nodes, IMAGE, {"y": [1, 5, 6 + 2 * pads, 6 + 2 * pads]}, weights)


def _first_bias(model: ir.Model) -> NDArray[np.generic]:
    value = next(item for item in model.graph if item.op_type == "Conv").inputs[2]
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def test_what_is_always_added_moves_into_the_next_bias() -> None:
    model = _biased()
    absorbed = _applied(model, AbsorbBiases(deviations=5.0))
    before, after = _first_bias(model), _first_bias(absorbed)
    assert after[0] < before[0] - 3
    assert after[3] < before[3] - 3
    assert after[1:3].tolist() == before[1:3].tolist()
    assert _run(absorbed) == pytest.approx(_run(model), abs=2e-5)
    feeds = samples(model, 16)
    ranges = [float(Reference(item).run(feeds, keep=["r"])["r"].max()) for item in (model, absorbed)]
    assert ranges[1] < 0.7 * ranges[0]


def test_padding_keeps_a_bias_where_it_is() -> None:
    model = _biased(pads=1)
    assert _first_bias(_applied(model, AbsorbBiases())).tolist() == _first_bias(model).tolist()


def test_without_batch_normalization_or_data_it_refuses() -> None:
    with pytest.raises(InputError, match="needs data"):
        _applied(_biased(), AbsorbBiases(), data=False)


def test_batch_normalization_tells_the_moments_through_folding_and_equalization() -> None:
    gamma, beta = np.array([1.0, 2.0, -0.5, 1.5], np.float32), np.array([8.0, 0.0, 0.1, 9.0], np.float32)
    weights = {"w1": _draw(1, 4, 3, 1, 1), "w2": _draw(2, 5, 4, 1, 1), "gamma": gamma, "beta": beta}
    weights |= {"mean": _draw(3, 4), "variance": np.full(4, 0.3, np.float32)}
    nodes = [
        node("Conv", "c", "x", "w1"),
        node("BatchNormalization", "n", "c", "gamma", "beta", "mean", "variance"),
        node("Relu", "r", "n"),
        node("Conv", "y", "r", "w2"),
    ]
    folded, _ = optimize_graph(build(nodes, IMAGE, {"y": [1, 5, 8, 8]}, weights))
    found = moments_of(next(iter(folded.graph)))
    assert found is not None
    assert found.mean == pytest.approx(beta)
    assert found.deviation == pytest.approx(np.abs(gamma))
    absorbed = _applied(folded, AbsorbBiases(), data=False)
    shift = _first_bias(folded).astype(float) - _first_bias(absorbed)
    assert shift == pytest.approx(np.maximum(beta - 3 * np.abs(gamma), 0), abs=1e-5)
    equal = _applied(folded, Equalize(), data=False)
    scaled = moments_of(next(iter(equal.graph)))
    assert scaled is not None
    assert scaled.mean / scaled.deviation == pytest.approx(found.mean / found.deviation)
    assert not np.allclose(scaled.mean, found.mean)
