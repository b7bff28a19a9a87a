from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from microlith.core.errors import InputError
from microlith.quant.schemes import (
    MIN_SCALE,
    Grid,
    Override,
    Scheme,
    qparams_from_range,
    quantize_array,
    representable,
)
from microlith.quant.types import QParams

GRIDS = (Grid("int8"), Grid("uint8"), Grid("int8", symmetric=True), Grid("uint8", symmetric=True))


@pytest.mark.parametrize(
    ("low", "high", "grid", "scale", "zero_point"),
    [
        (0.0, 255.0, Grid("uint8"), 1.0, 0),
        (0.0, 255.0, Grid("int8"), 1.0, -128),
        (-128.0, 127.0, Grid("int8"), 1.0, 0),
        (-1.0, 3.0, Grid("int8"), 4 / 255, -64),
        (-127.0, 3.0, Grid("int8", symmetric=True), 1.0, 0),
        (-127.0, 3.0, Grid("uint8", symmetric=True), 1.0, 128),
        (2.0, 5.1, Grid("uint8"), 0.02, 0),
        (-5.1, -2.0, Grid("uint8"), 0.02, 255),
        (0.0, 0.0, Grid("int8"), 2.0**-10, -128),
        (0.0, 1e-30, Grid("int8"), MIN_SCALE, -128),
    ],
)
def test_parameters_of_known_ranges(low: float, high: float, grid: Grid, scale: float, zero_point: int) -> None:
    qparams = qparams_from_range(low, high, grid)
    assert float(qparams.scale) == float(np.float32(scale))
    assert int(qparams.zero_point) == zero_point
    assert qparams.dtype == grid.dtype


def test_a_zero_point_between_two_integers_goes_to_the_even_one() -> None:
    # -128 + 0.5 / (1 / 255 * 255) lies half-way: low / scale is exactly -0.5.
    assert int(qparams_from_range(-0.5, 254.5, Grid("int8")).zero_point) == -128
    assert int(qparams_from_range(-1.5, 253.5, Grid("int8")).zero_point) == -126


def test_a_minimum_scale_widens_the_range() -> None:
    qparams = qparams_from_range(-8.0, 8.0, Grid("int8"), minimum_scale=2.0)
    assert float(qparams.scale) == 2.0
    low, high = representable(qparams)
    assert low <= -8.0
    assert high >= 8.0


@pytest.mark.parametrize(
    ("low", "high"), [(np.nan, 1.0), (0.0, np.inf), (-np.inf, 0.0), (1.0, 0.0), (0.0, 1e30), (-3.4e38, 3.4e38)]
)
def test_impossible_ranges_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError):
        qparams_from_range(low, high, Grid("int8"))


@given(
    ends=st.tuples(*[st.floats(-1e15, 1e15, allow_nan=False)] * 2).map(sorted),
    grid=st.sampled_from(GRIDS),
    position=st.floats(0, 1),
)
def test_values_in_range_come_back_within_half_a_quantum(ends: list[float], grid: Grid, position: float) -> None:
    low, high = ends
    qparams = qparams_from_range(low, high, grid)
    scale = float(qparams.scale)
    value = np.float32(low + (high - low) * position)
    back = float(quantize_array(np.array([value]), qparams).dequantize()[0])
    # Rounding the zero point moves the ends of an affine range by up to half a quantum more.
    assert abs(back - float(value)) <= scale * (0.5 if grid.symmetric else 1.0) * (1 + 1e-4)
    zero = quantize_array(np.zeros(1, np.float32), qparams)
    assert zero.dequantize()[0] == 0.0


def test_quantize_array_rounds_ties_to_even_and_saturates() -> None:
    qparams = QParams.per_tensor(1.0, 3, "int8")
    values = np.array([0.5, 1.5, 2.5, -0.5, 1e9, -1e9], np.float32)
    assert quantize_array(values, qparams).values.tolist() == [3, 5, 5, 3, 127, -128]


def test_quantize_array_per_channel() -> None:
    qparams = QParams(np.array([1, 2], np.float32), np.array([0, 1], np.int32), "int8", axis=1)
    values = np.array([[4.0, 4.0]], np.float32)
    assert quantize_array(values, qparams).values.tolist() == [[4, 3]]


def test_a_scheme_knows_its_fields_and_their_values() -> None:
    with pytest.raises(ValidationError):
        Scheme(per_chanel=True)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Scheme(percentile=40.0)
    assert Scheme(activations="uint8", symmetric=True).grid == Grid("uint8", symmetric=True)


@pytest.mark.parametrize(("dtype", "levels"), [("int4", 15), ("int16", 65535)])
def test_other_widths_cover_the_range_with_all_their_integers(dtype: str, levels: int) -> None:
    qparams = qparams_from_range(-1.0, 3.0, Grid(dtype))  # type: ignore[arg-type]
    assert float(qparams.scale) == pytest.approx(4 / levels)
    low, high = representable(qparams)
    assert low == pytest.approx(-1.0, abs=4 / levels)
    assert high == pytest.approx(3.0, abs=4 / levels)


def test_int16_is_symmetric_always() -> None:
    grid = Scheme(activations="int16").grid
    assert grid.symmetric
    assert int(qparams_from_range(0.0, 1.0, grid).zero_point) == 0


@pytest.mark.parametrize("top", [0.7, 1.0, 1.3])
def test_scales_of_powers_of_two_hold_the_range(top: float) -> None:
    qparams = qparams_from_range(0.0, top, Grid(power_of_two=True))
    exponent = np.log2(float(qparams.scale))
    assert exponent == np.ceil(np.log2(np.float32(top / 255)))
    assert representable(qparams)[1] >= top


def test_an_override_selects_by_pattern_op_and_place() -> None:
    chosen = Override(match="conv1*", op="Conv", layers="first", weights="int8")
    assert chosen.selects("conv1_a", "Conv", "first")
    assert chosen.selects("conv1_a", "Conv", "both")
    assert not chosen.selects("conv2_a", "Conv", "first")
    assert not chosen.selects("conv1_a", "Gemm", "first")
    assert not chosen.selects("conv1_a", "Conv", None)
    assert chosen.changes() == {"weights": "int8"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "ternary", "weights_symmetric": False}, "symmetric"),
        ({"group_size": 32}, "activations: float"),
        ({"activations": "float", "overrides": [{"op": "Conv", "activations": "int8"}]}, "they are float"),
        ({"overrides": [{"weights": "int8"}]}, "match, op or layers"),
        ({"overrides": [{"op": "Conv"}]}, "changes no setting"),
        ({"weights": "int5"}, "int4"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scheme.model_validate(fields)
