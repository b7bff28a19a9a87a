from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import InputError
from microlith.quant.schemes import WeightType, weight_grid
from microlith.quant.types import QParams
from microlith.quant.weights import ACCUMULATOR_LIMIT, LayerIntegers, layer_integers, reach, weight_qparams

INPUTS = QParams.per_tensor(0.05, -128, "int8")


def _bound(layer: LayerIntegers, inputs: QParams, axis: int) -> int:
    """The greatest accumulator, from extreme inputs chosen for each channel."""
    weights = np.moveaxis(layer.weights.centered().astype(object), axis, 0)
    weights = weights.reshape(weights.shape[0], -1)
    bias = [0] * len(weights) if layer.bias is None else layer.bias.values.tolist()
    low = int(inputs.low) - int(inputs.zero_point)
    high = int(inputs.high) - int(inputs.zero_point)
    worst = 0
    for row, offset in zip(weights, bias, strict=True):
        up = sum(max(w * low, w * high) for w in row) + offset
        down = sum(min(w * low, w * high) for w in row) + offset
        worst = max(worst, abs(up), abs(down))
    return worst


def test_symmetric_weights_do_not_use_the_lowest_integer() -> None:
    weights = np.array([[-1.0, 0.5], [0.25, -0.5]], np.float32)
    for per_channel in (True, False):
        layer = layer_integers(weights, None, INPUTS, axis=0, per_channel=per_channel)
        assert layer.weights.values.min() == -127
        assert not layer.weights.qparams.zero_point.any()
    assert layer_integers(weights, None, INPUTS, axis=0).weights.qparams.scale.tolist() == pytest.approx(
        [1 / 127, 0.5 / 127]
    )


def test_clipped_symmetric_weights_do_not_use_the_lowest_integer(rng: np.random.Generator) -> None:
    weights = rng.uniform(-1, 1, (4, 20_000)).astype(np.float32)
    weights[:, 0] = -1.05
    layer = layer_integers(weights, None, INPUTS, axis=0, search=True)
    assert layer.weights.values.min() == -127
    assert (layer.weights.qparams.scale < 1.04 / 127).all()


def test_the_search_never_has_a_greater_error(rng: np.random.Generator) -> None:
    weights = rng.standard_normal((8, 50_000)).astype(np.float32)
    for symmetric in (True, False):
        whole, searched = (
            layer_integers(weights, None, INPUTS, axis=0, symmetric=symmetric, search=search).weights
            for search in (False, True)
        )
        error = [np.sum((item.dequantize() - weights) ** 2, axis=1) for item in (whole, searched)]
        assert (error[1] <= error[0] * (1 + 1e-5)).all()
        assert error[1].sum() < 0.99 * error[0].sum()


def test_affine_weights_spend_all_integers_on_one_sided_channels() -> None:
    weights = np.array([[0.0, 1.0, 2.0]], np.float32)
    qparams = weight_qparams(weights, 0, symmetric=False)
    assert qparams.zero_point.tolist() == [-128]
    assert qparams.scale.tolist() == pytest.approx([2 / 255])


def test_axis_one_counts_channels_of_the_second_axis() -> None:
    weights = np.array([[1.0, 10.0], [2.0, 20.0]], np.float32)
    layer = layer_integers(weights, np.array([1.0, 2.0], np.float32), INPUTS, axis=1)
    assert layer.weights.qparams.axis == 1
    assert layer.weights.qparams.scale.tolist() == pytest.approx([2 / 127, 20 / 127])
    assert layer.bias is not None
    assert layer.bias.qparams.axis == 0


def test_bias_scale_is_the_float32_product(rng: np.random.Generator) -> None:
    weights = rng.standard_normal((3, 9)).astype(np.float32)
    bias = rng.standard_normal(3).astype(np.float32)
    layer = layer_integers(weights, bias, INPUTS, axis=0)
    assert layer.bias is not None
    assert np.array_equal(layer.bias.qparams.scale, INPUTS.scale * layer.weights.qparams.scale)
    assert layer.bias.dequantize() == pytest.approx(bias, abs=float(layer.bias.qparams.scale.max()))


def test_a_channel_of_zeros_keeps_its_bias() -> None:
    weights = np.array([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]], np.float32)
    bias = np.array([0.0123, 1.0, 0.0], np.float32)
    layer = layer_integers(weights, bias, INPUTS, axis=0)
    assert layer.bias is not None
    assert layer.bias.dequantize() == pytest.approx(bias, rel=1e-5)
    assert not layer.weights.values[0].any()


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_huge_bias_widens_the_weight_scale_instead_of_wrapping(per_channel: bool) -> None:
    weights = np.array([[1e-6, 2e-6], [0.5, -0.5]], np.float32)
    bias = np.array([1e6, 0.1], np.float32)
    layer = layer_integers(weights, bias, INPUTS, axis=0, per_channel=per_channel)
    assert layer.bias is not None
    assert layer.bias.dequantize()[0] == pytest.approx(1e6, rel=1e-6)
    assert _bound(layer, INPUTS, 0) <= ACCUMULATOR_LIMIT
    if per_channel:
        assert layer.weights.qparams.scale[1] == np.float32(0.5 / 127)


def test_a_layer_too_deep_for_32_bits_gets_coarser_weights() -> None:
    weights = np.ones((1, 100_000), np.float32)
    layer = layer_integers(weights, None, INPUTS, axis=0)
    assert layer.accumulator_bound <= ACCUMULATOR_LIMIT
    assert layer.weights.values.max() == pytest.approx(ACCUMULATOR_LIMIT / 255 / 100_000, rel=0.3)
    assert np.allclose(layer.weights.dequantize(), weights, rtol=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_and_biases_must_be_finite(bad: float) -> None:
    with pytest.raises(InputError, match="weight"):
        layer_integers(np.array([[bad]], np.float32), None, INPUTS, axis=0)
    with pytest.raises(InputError, match="bias"):
        layer_integers(np.ones((1, 1), np.float32), np.array([bad], np.float32), INPUTS, axis=0)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    weight_magnitude=st.floats(-9, 6),
    bias_magnitude=st.floats(-9, 9),
    input_magnitude=st.floats(-9, 3),
    depth=st.integers(1, 400),
    zero_point=st.integers(-128, 127),
    per_channel=st.booleans(),
    symmetric=st.booleans(),
)
def test_the_accumulator_is_bounded_and_the_bias_never_wraps(
    seed: int,
    weight_magnitude: float,
    bias_magnitude: float,
    input_magnitude: float,
    depth: int,
    zero_point: int,
    per_channel: bool,
    symmetric: bool,
) -> None:
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal((3, depth)) * 10**weight_magnitude).astype(np.float32)
    bias = (rng.standard_normal(3) * 10**bias_magnitude).astype(np.float32)
    inputs = QParams.per_tensor(10**input_magnitude, zero_point, "int8")
    layer = layer_integers(weights, bias, inputs, axis=0, per_channel=per_channel, symmetric=symmetric)
    assert _bound(layer, inputs, 0) <= layer.accumulator_bound <= ACCUMULATOR_LIMIT
    assert layer.bias is not None
    scale = np.broadcast_to(layer.bias.qparams.scale, (3,)).astype(np.float64)
    assert (np.abs(layer.bias.values * scale - bias) <= scale * 0.5000001 + np.abs(bias) * 1e-6).all()


def test_reach_is_the_farther_end() -> None:
    assert reach(QParams.per_tensor(1.0, -128, "int8")) == 255
    assert reach(QParams.per_tensor(1.0, 0, "int8")) == 128
    assert reach(QParams.per_tensor(1.0, 255, "uint8")) == 255


KINDS: tuple[WeightType, ...] = ("int8", "int4", "int3", "int2", "ternary", "binary")


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_a_kind_use_its_integers_and_only_those(
    kind: WeightType, search: bool, rng: np.random.Generator
) -> None:
    weights = rng.standard_normal((8, 2000)).astype(np.float32)
    made = layer_integers(weights, None, INPUTS, axis=0, kind=kind, search=search).weights
    grid = weight_grid(kind)
    used = np.unique(made.values)
    assert used.min() >= grid.low
    assert used.max() == grid.high
    if kind != "int8" and search:
        assert used.size == grid.values
    assert made.qparams.dtype == grid.dtype
    assert not made.qparams.zero_point.any()


@pytest.mark.parametrize("kind", ["int4", "int3", "int2", "ternary"])
def test_the_searched_scale_is_the_best_of_a_fine_scan(kind: WeightType, rng: np.random.Generator) -> None:
    weights = rng.standard_normal(5000).astype(np.float32)
    grid = weight_grid(kind)

    def error(scale: float) -> float:
        return float(np.sum((np.clip(np.rint(weights / scale), grid.low, grid.high) * scale - weights) ** 2))

    found = weight_qparams(weights, None, kind=kind, search=True)
    best = min(error(scale) for scale in np.linspace(0.01, 4, 2000))
    assert error(float(found.scale)) <= best * 1.01


def test_binary_weights_are_signs_times_the_mean_magnitude(rng: np.random.Generator) -> None:
    weights = rng.standard_normal((3, 50)).astype(np.float32)
    made = layer_integers(weights, None, INPUTS, axis=0, kind="binary").weights
    assert np.array_equal(made.values, np.where(weights < 0, -1, 1))
    assert made.qparams.scale == pytest.approx(np.abs(weights).mean(axis=1))


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_scales_may_be_powers_of_two(kind: WeightType, rng: np.random.Generator) -> None:
    weights = rng.standard_normal((4, 300)).astype(np.float32)
    free = weight_qparams(weights, 0, kind=kind).scale
    scale = weight_qparams(weights, 0, kind=kind, power_of_two=True).scale
    assert (np.log2(scale) % 1 == 0).all()
    assert ((scale >= free) & (scale < 2 * free)).all()


def test_affine_weights_of_4_bits_have_all_16_integers(rng: np.random.Generator) -> None:
    weights = rng.uniform(0.0, 1.0, (1, 1000)).astype(np.float32)
    made = layer_integers(weights, None, INPUTS, axis=0, kind="int4", symmetric=False).weights
    assert made.qparams.zero_point.tolist() == [-8]
    assert np.unique(made.values).tolist() == list(range(-8, 8))
