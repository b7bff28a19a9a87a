"""Softmax on integers against Python's own arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.core.errors import UnsupportedError
from microlith.quant.factors import softmax_requant
from microlith.quant.integer_softmax import LONGEST_AXIS, softmax
from microlith.quant.requantize import FloatRequant
from microlith.quant.types import QArray, QParams
from oracles import f32, scale_float

Y = QParams.per_tensor(1 / 256, -128, "int8")


@given(
    values=st.lists(st.integers(-128, 127), min_size=1, max_size=12),
    scale=st.floats(2.0**-8, 1.0, width=32),
)
def test_softmax(values: list[int], scale: float) -> None:
    x = QArray(np.array([values], np.int8), QParams.per_tensor(scale, 3, "int8"))
    weights = [round(math.exp(-(max(values) - value) * scale) * 65536) for value in values]
    total = sum(weights)
    probabilities = [(weight * 2**14 + total // 2) // total for weight in weights]
    how = softmax_requant(Y, "float")
    assert isinstance(how, FloatRequant)
    want = [scale_float(item, float(how.scale)) for item in probabilities]
    assert softmax(x, -1, Y, "float")[0].tolist() == want


@given(
    values=st.lists(st.integers(-128, 127), min_size=1, max_size=12),
    scale=st.floats(2.0**-8, 1.0, width=32),
)
def test_fixed_softmax_is_in_float32_one_step_after_the_other(values: list[int], scale: float) -> None:
    x = QArray(np.array([values], np.int8), QParams.per_tensor(scale, 3, "int8"))
    weights = [f32(math.exp(f32(-f32(scale) * (max(values) - value)))) for value in values]
    total = 0.0
    for weight in weights:
        total = f32(total + weight)
    inverse = f32(1.0 / f32(total / 256))
    assert softmax(x, -1, Y, "fixed")[0].tolist() == [round(f32(weight * inverse)) for weight in weights]
    assert softmax(QArray(x.values.T, x.qparams), 0, Y, "fixed")[:, 0].tolist() == softmax(x, 1, Y, "fixed")[0].tolist()


def test_probabilities_are_within_a_quantum(rng: np.random.Generator) -> None:
    x = QArray(rng.integers(-128, 128, (50, 10)).astype(np.int8), QParams.per_tensor(0.05, 0, "int8"))
    real = np.exp(x.values * 0.05)
    real /= real.sum(axis=1, keepdims=True)
    assert np.abs(softmax(x, 1, Y, "float") / 256 - real).max() < 0.51 / 256


def test_no_step_passes_32_bits() -> None:
    total = 65536 * LONGEST_AXIS
    assert total < 2**32
    assert 65536 * 2**14 + total // 2 < 2**32


def test_a_longer_axis_is_refused() -> None:
    x = QArray(np.zeros(LONGEST_AXIS + 1, np.int8), QParams.per_tensor(1.0, 0, "int8"))
    with pytest.raises(UnsupportedError, match="65,536 elements"):
        softmax(x, 0, Y, "float")
