"""Maxima and means against loops over Python integers."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from microlith.quant.factors import average_pool_requant, mean_requant
from microlith.quant.integer_pool import average_pool2d, max_pool2d, reduce_mean
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant, requant
from microlith.quant.types import QArray, QParams, Requantization
from microlith.quant.windows import Geometry
from oracles import scale_fixed, scale_float

# Rounded up: the last column of windows reaches one beyond the padding.
GEOMETRY = Geometry((3, 2), (2, 2), (1, 1), (1, 1, 1, 0), (5, 6), (3, 4))
X = QParams.per_tensor(0.05, 17, "int8")


def _input(rng: np.random.Generator) -> QArray:
    return QArray(rng.integers(-128, 128, (2, 3, 5, 6)).astype(np.int8), X)


def _window(row: int, column: int) -> list[tuple[int, int]]:
    places = ((row * 2 - 1 + i, column * 2 - 1 + j) for i, j in product(range(3), range(2)))
    return [(r, s) for r, s in places if 0 <= r < 5 and 0 <= s < 6]


def _scaled(acc: int, how: Requant, index: int, *, away: bool = False) -> int:
    if isinstance(how, FloatRequant):
        return scale_float(acc, float(how.scale[index]))
    assert isinstance(how, FixedRequant)
    return scale_fixed(acc, int(how.multiplier[index]), int(how.shift[index]), away=away)


def test_max_pool(rng: np.random.Generator) -> None:
    x = _input(rng)
    got = max_pool2d(x, GEOMETRY, X, -100, 90)
    for n, c, row, column in product(range(2), range(3), range(3), range(4)):
        best = max(int(x.values[n, c, r, s]) for r, s in _window(row, column))
        assert got[n, c, row, column] == min(max(best, -100), 90)


def test_max_pool_to_other_parameters(rng: np.random.Generator) -> None:
    x, y = _input(rng), QParams.per_tensor(0.07, 100, "uint8")
    plain = max_pool2d(x, GEOMETRY, X, -128, 127)
    got = max_pool2d(x, GEOMETRY, y, 0, 255)
    want = np.clip(np.rint((plain.astype(np.float64) - 17) * float(X.scale) / float(y.scale)) + 100, 0, 255)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("mode", ["float", "fixed"])
@pytest.mark.parametrize("include_pad", [False, True])
def test_average_pool(mode: Requantization, include_pad: bool, rng: np.random.Generator) -> None:
    x, y = _input(rng), QParams.per_tensor(0.03, 0, "int8")
    how = average_pool_requant(X, y, 6, mode)
    got = average_pool2d(x, GEOMETRY, include_pad, y, mode)
    counts = set()
    for n, c, row, column in product(range(2), range(3), range(3), range(4)):
        window = _window(row, column)
        acc = sum(int(x.values[n, c, r, s]) - 17 for r, s in window)
        # The padding is a row above, a row below and a column before; beyond it nothing counts.
        inside = [(i, j) for i, j in product(range(3), range(2)) if column * 2 - 1 + j < 6]
        count = len(inside) if include_pad else len(window)
        counts.add(count)
        assert got[n, c, row, column] == _scaled(acc, how, count - 1)
    assert len(counts) > 1


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("include_pad", [False, True])
def test_fixed_average_pool_of_kept_parameters_divides(dtype: str, include_pad: bool, rng: np.random.Generator) -> None:
    offset = 128 if dtype == "uint8" else 0
    q = QParams.per_tensor(0.05, 17 + offset, dtype)
    stored = rng.integers(-128, 128, (1, 2, 5, 6))
    got = average_pool2d(QArray((stored + offset).astype(dtype), q), GEOMETRY, include_pad, q, "fixed") + 17
    ties = 0
    for c, row, column in product(range(2), range(3), range(4)):
        window = _window(row, column)
        inside = sum(1 for _, j in product(range(3), range(2)) if column * 2 - 1 + j < 6)
        count = inside if include_pad else len(window)
        mean = Fraction(sum(int(stored[0, c, r, s]) for r, s in window) + 17 * (count - len(window)), count)
        ties += mean.denominator == 2
        away = (1 if mean >= 0 else -1) * math.floor(abs(mean) + Fraction(1, 2))
        assert got[0, c, row, column] == away
    assert ties


def test_fixed_mean_divides_its_multiplier() -> None:
    y = QParams.per_tensor(0.03, 0, "int8")
    how = mean_requant(X, y, 30, "fixed")
    assert isinstance(how, FixedRequant)
    whole = requant(np.asarray(float(X.scale) / float(y.scale)), "fixed")
    assert isinstance(whole, FixedRequant)
    assert int(how.multiplier[0]) == int(whole.multiplier) * 16 // 30
    assert int(how.shift[0]) == int(whole.shift) - 4


@pytest.mark.parametrize("mode", ["float", "fixed"])
def test_reduce_mean(mode: Requantization, rng: np.random.Generator) -> None:
    x, y = _input(rng), QParams.per_tensor(0.03, 0, "int8")
    how = mean_requant(X, y, 30, mode)
    got = reduce_mean(x, (2, 3), False, y, mode)
    assert got.shape == (2, 3)
    for n, c in product(range(2), range(3)):
        assert got[n, c] == _scaled(sum(int(v) - 17 for v in x.values[n, c].flat), how, 0, away=True)
    assert reduce_mean(x, (2, 3), True, y, mode).shape == (2, 3, 1, 1)


def test_requantization_of_counts() -> None:
    y = QParams.per_tensor(0.03, 0, "int8")
    how = average_pool_requant(X, y, 4, "float")
    assert isinstance(how, FloatRequant)
    want = [np.float32(float(X.scale) / (float(y.scale) * count)) for count in (1, 2, 3, 4)]
    assert how.scale.tolist() == [float(item) for item in want]
