"""The short form of a fixed requantization gives the results of the spec, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.kernels.dsp_fixed import DSP_FIXED, DSP_TWICE, ShortFixed, short_fixed
from microlith.quant.requantize import FixedRequant, FloatRequant, scale_accumulator


def scaled(short: ShortFixed, acc: np.ndarray, zero: int, kind: int) -> np.ndarray:
    """What ``ml_dsp_requantize`` computes but for the clamp, in the width of its registers."""
    acc = (acc + short.bias) * (2 if kind == DSP_TWICE else 1)
    bits = short.bits.astype(np.int64)
    offset = (2 * zero + 1) << bits >> 1
    third = offset if kind == DSP_TWICE else acc + offset
    assert (np.abs(third) < 2**31).all() and (np.abs(acc) < 2**31).all(), "a register overflows"
    factor = short.packed(kind)["multiplier"].values.astype(np.int64)
    high = ((third << 32) + acc * factor + (1 << 31)) >> 32
    assert (np.abs(high) < 2**31).all(), "a register overflows"
    return high >> bits


@given(
    bits=st.integers(0, 31),
    multiplier=st.one_of(st.just(0), st.integers(2**30, 2**31 - 1)),
    middle=st.integers(-(2**31) + 2**24, 2**31 - 2**24),
    width=st.integers(0, 2**24 - 1),
    zero=st.integers(-128, 127),
    kind=st.sampled_from((DSP_FIXED, DSP_TWICE)),
)
def test_results_are_those_of_the_spec(
    bits: int, multiplier: int, middle: int, width: int, zero: int, kind: int
) -> None:
    how = FixedRequant(np.array([multiplier, 2**30], np.int32), np.array([-bits, -4], np.int8))
    least, greatest = middle - width // 2, middle + width // 2
    short = short_fixed(how, np.array([least, -9]), np.array([greatest, 9]), kind)
    if short is None:
        room = 2**31 if kind == DSP_FIXED else 2**30
        assert multiplier == 0 or bits > 22 or max(-least, greatest) + 2**29 > room - 1
        return
    for acc in np.unique(np.linspace(least, greatest, 99, dtype=np.int64)):
        pair = np.array([acc, acc % 9])
        expected = np.clip(scale_accumulator(pair, how) + zero, -128, 127)
        assert np.array_equal(np.clip(scaled(short, pair, zero, kind), -128, 127), expected)


@pytest.mark.parametrize("kind", [DSP_FIXED, DSP_TWICE])
@pytest.mark.parametrize(("bits", "bias"), [(25, 0), (25, 2**30), (31, -(2**31) + 2**21), (28, 1500000000)])
def test_a_channel_whose_result_is_constant_is_served(bits: int, bias: int, kind: int) -> None:
    how = FixedRequant(np.array([1518500250, 2**30], np.int32), np.array([-bits, -4], np.int8))
    ends = np.array([bias - 2**20, -9]), np.array([bias + 2**20, 9])
    first, last = (scale_accumulator(end, how)[0] for end in ends)
    assert (short_fixed(how, *ends, kind) is not None) == bool(first == last)


def test_shifts_to_the_left_and_float_scales_are_not_served() -> None:
    ends = np.array([-9]), np.array([9])
    assert short_fixed(FixedRequant(np.array([2**30], np.int32), np.array([1], np.int8)), *ends) is None
    assert short_fixed(FloatRequant(np.ones(1, np.float32)), *ends) is None
