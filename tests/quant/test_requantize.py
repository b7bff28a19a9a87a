"""Both requantizations against Python's own arithmetic, number by number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.quant.requantize import (
    FixedRequant,
    FloatRequant,
    Ties,
    multiply_by_quantized_multiplier,
    requant,
    round_half_even,
    saturate,
    scale_accumulator,
    scale_factor,
)
from microlith.quant.types import QParams
from oracles import scale_fixed, scale_float

ACCUMULATORS = st.integers(-(2**31) + 1, 2**31 - 1)
FACTORS = st.floats(2.0**-40, 2.0**20, width=32)


@given(acc=st.lists(ACCUMULATORS, min_size=1, max_size=20), factor=st.floats(2.0**-40, 1.0, width=32))
def test_float_rounds_the_product_to_float32_and_then_to_even(acc: list[int], factor: float) -> None:
    how = requant(np.asarray(factor), "float")
    assert isinstance(how, FloatRequant)
    got = scale_accumulator(np.array(acc, np.int64), how)
    assert got.tolist() == [scale_float(item, float(how.scale)) for item in acc]


@given(acc=st.lists(ACCUMULATORS, min_size=1, max_size=20), factor=FACTORS, ties=st.sampled_from(("up", "away")))
def test_fixed_rounds_twice(acc: list[int], factor: float, ties: Ties) -> None:
    how = requant(np.asarray(factor), "fixed")
    assert isinstance(how, FixedRequant)
    left = max(0, int(how.shift))
    fitting = [item for item in acc if abs(item) << left < 2**31] or [1 if left < 31 else 0]
    got = scale_accumulator(np.array(fitting, np.int64), how, ties)
    multiplier, shift, away = int(how.multiplier), int(how.shift), ties == "away"
    assert got.tolist() == [scale_fixed(item, multiplier, shift, away=away) for item in fitting]


@given(
    high=st.integers(-(2**20), 2**20),
    shift=st.integers(-12, 0),
    ties=st.sampled_from(("up", "away")),
)
def test_fixed_on_ties_of_the_shift(high: int, shift: int, ties: Ties) -> None:
    # A multiplier of 2**30 halves exactly, so the shift alone decides.
    acc = 2 * high
    got = multiply_by_quantized_multiplier(
        np.array([acc], np.int64), np.array(2**30, np.int32), np.array(shift, np.int8), ties
    )
    assert got[0] == scale_fixed(acc, 2**30, shift, away=ties == "away")


def test_ties_go_up_or_away_from_zero() -> None:
    """-3 / 2, by a multiplier of a half and then a shift by one."""
    for ties, wanted in (("up", [-1, 2]), ("away", [-2, 2])):
        how = (np.array(2**30, np.int32), np.array(-1, np.int8))
        assert multiply_by_quantized_multiplier(np.array([-6, 6]), *how, ties).tolist() == wanted


@given(factor=FACTORS)
def test_fixed_represents_the_factor(factor: float) -> None:
    how = requant(np.asarray(factor), "fixed")
    assert isinstance(how, FixedRequant)
    if how.multiplier == 0:
        assert factor < 2.0**-31
        return
    assert 2**30 <= how.multiplier < 2**31
    assert float(how.multiplier) * 2.0 ** (int(how.shift) - 31) == pytest.approx(factor, rel=2.0**-31)


def test_a_mantissa_that_rounds_up_to_one_moves_to_the_exponent() -> None:
    how = requant(np.asarray(1.0 - 2.0**-40), "fixed")
    assert isinstance(how, FixedRequant)
    assert (int(how.multiplier), int(how.shift)) == (2**30, 1)


def test_rounding_to_even() -> None:
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 8388609.0], np.float32)
    assert round_half_even(values).tolist() == [-2, -2, 0, 0, 2, 2, 0, 8388609]


def test_the_accumulator_is_rounded_to_float32_before_it_is_scaled() -> None:
    acc = np.array([2**24 + 1, 2**24 + 3], np.int64)
    assert scale_accumulator(acc, FloatRequant(np.float32(1.0))).tolist() == [2**24, 2**24 + 4]


@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767)])
def test_saturation_at_both_ends(dtype: str, low: int, high: int) -> None:
    out = QParams.per_tensor(1.0, 3, dtype)
    values = np.array([low - 4, low - 3, high - 3, high - 2, 2**40, -(2**40)], np.int64)
    got = saturate(values, out)
    assert got.dtype == dtype
    assert got.tolist() == [low, low, high, high, high, low]
    assert saturate(values, out, low=5, high=7).tolist() == [5, 5, 7, 7, 7, 5]


def test_scales_are_combined_in_float64() -> None:
    a, b, y = (np.asarray(item, np.float32) for item in (0.1, 0.3, 0.7))
    assert float(scale_factor(a, b, over=y)) == float(a) * float(b) / float(y)
    channels = np.array([0.1, 0.2], np.float32)
    assert scale_factor(a, channels, over=y).tolist() == [
        float(a) * float(item) / float(y) for item in channels.tolist()
    ]
