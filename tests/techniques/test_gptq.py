"""GPTQ against the same method written out without any factorization, and against rounding to nearest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.layer_windows import as_matrices, from_matrices, is_matrix_product, windows
from microlith.graph.linear_layers import weights_of
from microlith.graph.load import load_bytes
from microlith.graph.reference import Reference
from microlith.graph.units import units
from microlith.ops import op_of
from microlith.quant.calibration import sqnr_db
from microlith.quant.schemes import WeightType, weight_grid
from microlith.quant.weights import quantize_weights, weight_qparams
from microlith.search.prepare import evaluate
from microlith.techniques.base import Context, Technique
from microlith.techniques.gptq import GPTQ, gptq_integers
from microlith.techniques.ptq import PTQ
from microlith.techniques.recipe import Recipe, run_recipe
from qdq_models import build, node, residual, samples, separable

Array = NDArray[np.float32]


def _draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LAYERS: dict[str, tuple[Callable[[], ir.Model], tuple[int, ...]]] = {
    "conv": (
        lambda: build(
            [node("Conv", "y", "x", "w", pads=[1, 0, 1, 2], strides=[2, 1], dilations=[1, 2])],
            {"x": [1, 3, 7, 8]},
            {"y": [1, 4, 4, 6]},
            {"w": _draw(1, 4, 3, 3, 3)},
        ),
        (3, 7, 8),
    ),
    "depthwise": (
        lambda: build(
            [node("Conv", "y", "x", "w", group=3)],
            {"x": [1, 3, 7, 8]},
            {"y": [1, 3, 5, 6]},
            {"w": _draw(1, 3, 1, 3, 3)},
        ),
        (3, 7, 8),
    ),
    "groups": (
        lambda: build(
            [node("Conv", "y", "x", "w", group=2)], {"x": [1, 4, 9]}, {"y": [1, 6, 7]}, {"w": _draw(1, 6, 2, 3)}
        ),
        (4, 9),
    ),
    "gemm": (
        lambda: build([node("Gemm", "y", "x", "w")], {"x": [1, 20]}, {"y": [1, 12]}, {"w": _draw(1, 20, 12)}),
        (20,),
    ),
    "gemm transposed": (
        lambda: build([node("Gemm", "y", "x", "w", transB=1)], {"x": [1, 20]}, {"y": [1, 12]}, {"w": _draw(1, 12, 20)}),
        (20,),
    ),
    "matmul": (
        lambda: build([node("MatMul", "y", "x", "w")], {"x": [1, 5, 6]}, {"y": [1, 5, 3]}, {"w": _draw(1, 6, 3)}),
        (5, 6),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_weights_times_its_windows(name: str) -> None:
    make, shape = LAYERS[name]
    layer = next(iter(make().graph))
    assert is_matrix_product(layer)
    x, weights = _draw(2, 20, *shape), weights_of(layer)
    assert weights is not None
    matrices = as_matrices(layer, weights.astype(np.float32))
    assert np.array_equal(from_matrices(layer, matrices, weights.shape), weights.astype(np.float32))
    op = op_of(layer)
    expected = op.reference(op.parse(layer), [x, weights.astype(np.float32)])
    products = np.concatenate([np.matmul(matrices, part) for part in windows(layer, x)], axis=2)
    flat = products.reshape(-1, products.shape[2])
    axis = expected.ndim - 1 if layer.op_type == "MatMul" else 1
    assert flat == pytest.approx(np.moveaxis(expected, axis, 0).reshape(len(flat), -1), abs=1e-4)


def _product(layer: ir.Node, x: Array) -> NDArray[np.float64]:
    return np.sum([np.matmul(part, part.swapaxes(1, 2)).astype(np.float64) for part in windows(layer, x)], axis=0)


def _written_out(row: Array, h: NDArray[np.float64], scale: float, low: int, high: int) -> list[float]:
    """Integers of one output: after each one, the others are the least squares solution given those that are chosen."""
    weights, chosen = row.astype(np.float64), np.empty(len(row))
    current = weights.copy()
    for index in range(len(row)):
        chosen[index] = np.clip(np.rint(current[index] / scale), low, high)
        done, left = np.arange(index + 1), np.arange(index + 1, len(row))
        if left.size:
            missed = weights[done] - chosen[done] * scale
            current[left] = weights[left] + np.linalg.solve(h[np.ix_(left, left)], h[np.ix_(left, done)] @ missed)
    return chosen.tolist()


@pytest.mark.parametrize("kind", ["int4", "ternary"])
@pytest.mark.parametrize("name", ["conv", "depthwise", "groups", "gemm"])
def test_it_is_the_least_squares_solution_step_by_step(name: str, kind: WeightType) -> None:
    make, shape = LAYERS[name]
    layer = next(iter(make().graph))
    weights = weights_of(layer)
    assert weights is not None
    channel = 1 if name == "gemm" else 0
    qparams, grid = weight_qparams(weights, channel, kind=kind, search=True), weight_grid(kind)
    product = _product(layer, _draw(2, 20, *shape))
    found = gptq_integers(layer, weights, qparams, grid, product, 0.01, by_size=False)
    assert found.qparams is qparams
    size = product.shape[1]
    mean = np.trace(product, axis1=1, axis2=2) / size
    matrices, integers = as_matrices(layer, weights.astype(np.float32)), as_matrices(layer, found.values)
    outputs = matrices.shape[1]
    for group in range(len(matrices)):
        h = product[group] + 0.01 * mean[group] * np.eye(size)
        for output in range(outputs):
            scale = float(qparams.scale[group * outputs + output])
            expected = _written_out(matrices[group, output], h, scale, grid.low, grid.high)
            assert integers[group, output].tolist() == expected


@pytest.mark.parametrize("by_size", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_results_have_less_error_than_with_the_nearest_integers(name: str, by_size: bool) -> None:
    make, shape = LAYERS[name]
    layer = next(iter(make().graph))
    weights = weights_of(layer)
    assert weights is not None
    # Inputs that go together, as those of images do: without that, there is nothing to make up for.
    x = (_draw(2, 200, *shape) + 2 * _draw(3, 200, *(1 for _ in shape))).astype(np.float32)
    qparams, grid = weight_qparams(weights, None, kind="int3", search=True), weight_grid("int3")
    chosen = gptq_integers(layer, weights, qparams, grid, _product(layer, x), by_size=by_size).dequantize()
    nearest = quantize_weights(weights, qparams, grid).dequantize()
    op = op_of(layer)
    run = [op.reference(op.parse(layer), [x, item.astype(np.float32)]) for item in (weights, chosen, nearest)]
    errors = [float(np.sum((item - run[0]) ** 2)) for item in run[1:]]
    assert errors[0] < 0.8 * errors[1]


# ---- as a step


def _loaded(model: ir.Model) -> ir.Model:
    return load_bytes(ir.to_proto(model).SerializeToString(), "model")


def _applied(model: ir.Model, step: Technique) -> ir.Model:
    batches = [samples(model, 64, seed=seed) for seed in range(2)]
    return run_recipe(model, Recipe((step,)), Context(data=lambda: batches))


def _scales(quantized: ir.Model) -> list[NDArray[np.float32]]:
    weights = [unit.inputs[1] for unit in units(quantized) if unit.node.op_type == "Conv"]
    return [item.qparams.scale for item in weights if item is not None and item.qparams is not None]


@pytest.mark.parametrize("make", [residual, separable])
def test_a_model_is_closer_and_its_scales_are_the_same(make: Callable[[], ir.Model]) -> None:
    model = _loaded(make())
    feeds = [samples(model, 64, seed=0)]
    expected = evaluate(model, feeds)
    found = []
    for kind in (PTQ, GPTQ):
        quantized = _applied(model, kind(weights="int3"))
        found.append(sqnr_db(expected, evaluate(quantized, feeds)))
    assert found[1] > found[0] + 0.5
    scales = [_scales(_applied(model, kind())) for kind in (PTQ, GPTQ)]
    assert all(np.array_equal(a, b) for a, b in zip(*scales, strict=True))


def test_weights_alone_need_data_here() -> None:
    model = _loaded(residual())
    step = GPTQ(activations="float", weights="int3")
    feeds = [samples(model, 64, seed=0)]
    expected = evaluate(model, feeds)
    plain = evaluate(run_recipe(model, Recipe((PTQ(activations="float", weights="int3"),)), Context()), feeds)
    assert sqnr_db(expected, evaluate(_applied(model, step), feeds)) > sqnr_db(expected, plain)
    with pytest.raises(InputError, match="needs data"):
        run_recipe(model, Recipe((step,)), Context())
    with pytest.raises(ValueError, match="use ptq"):
        GPTQ(activations="float", group_size=4)


def test_a_model_of_layers_of_another_kind_stays_what_it_is() -> None:
    model = _loaded(
        build(
            [node("ConvTranspose", "y", "x", "w")],
            {"x": [1, 3, 4, 4]},
            {"y": [1, 2, 6, 6]},
            {"w": _draw(1, 3, 2, 3, 3)},
        )
    )
    feeds = samples(model, 2)
    results = [
        Reference(_applied(model, kind())).run({"x": np.zeros_like(feeds["x"], np.int8)}) for kind in (PTQ, GPTQ)
    ]
    assert np.array_equal(results[0]["y"], results[1]["y"])
