"""Sums, differences and products against Python's own arithmetic, number by number."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microlith.core.errors import UnsupportedError
from microlith.quant.factors import mul_requant, sum_requant
from microlith.quant.integer_elementwise import add, mul
from microlith.quant.requantize import FixedRequant, FloatRequant
from microlith.quant.types import QArray, QParams
from oracles import f32, scale_fixed, scale_float

away = partial(scale_fixed, away=True)

SCALES = st.floats(2.0**-10, 4.0, width=32)
BYTES = st.integers(-128, 127)
OPERANDS = st.tuples(SCALES, BYTES, st.lists(BYTES, min_size=8, max_size=8))


def _operand(drawn: tuple[float, int, list[int]]) -> QArray:
    scale, zero, values = drawn
    return QArray(np.array(values, np.int8), QParams.per_tensor(scale, zero, "int8"))


def _pairs(a: QArray, b: QArray) -> list[tuple[int, int]]:
    return list(zip(a.centered().tolist(), b.centered().tolist(), strict=True))


@given(a=OPERANDS, b=OPERANDS, scale=SCALES, subtract=st.booleans())
def test_float_sum(a: tuple, b: tuple, scale: float, subtract: bool) -> None:
    left, right, y = _operand(a), _operand(b), QParams.per_tensor(scale, 0, "int8")
    how = sum_requant(left.qparams, right.qparams, y, "float")
    assert isinstance(how, FloatRequant)
    fa, fb = f32(a[0] / scale), f32(b[0] / scale)
    assert how.scale.tolist() == [fa, fb]
    got = add(left, right, y, "float", subtract=subtract)
    sign = -1 if subtract else 1
    # A sum of two float32 numbers whose exponents are this close is exact in Python's float.
    want = [round(f32(f32(p * fa) + sign * f32(q * fb))) for p, q in _pairs(left, right)]
    assert got.tolist() == want


@given(a=OPERANDS, b=OPERANDS, scale=st.floats(2.0**-6, 4.0, width=32), subtract=st.booleans())
def test_fixed_sum(a: tuple, b: tuple, scale: float, subtract: bool) -> None:
    left, right, y = _operand(a), _operand(b), QParams.per_tensor(scale, 0, "int8")
    how = sum_requant(left.qparams, right.qparams, y, "fixed")
    assert isinstance(how, FixedRequant)
    twice = 2 * max(a[0], b[0])
    for index, factor in enumerate((a[0] / twice, b[0] / twice, twice / (2**20 * scale))):
        real = float(how.multiplier[index]) * 2.0 ** (int(how.shift[index]) - 31)
        assert real == pytest.approx(factor, rel=2.0**-30)
    got = add(left, right, y, "fixed", subtract=subtract)
    (ma, sa), (mb, sb), (mo, so) = zip(how.multiplier.tolist(), how.shift.tolist(), strict=True)
    sign = -1 if subtract else 1
    want = [away(away(p << 20, ma, sa) + sign * away(q << 20, mb, sb), mo, so) for p, q in _pairs(left, right)]
    assert got.tolist() == want


@given(a=OPERANDS, b=OPERANDS, scale=st.floats(2.0**-6, 4.0, width=32))
def test_product(a: tuple, b: tuple, scale: float) -> None:
    left, right, y = _operand(a), _operand(b), QParams.per_tensor(scale, 0, "int8")
    real = mul_requant(left.qparams, right.qparams, y, "float")
    fixed = mul_requant(left.qparams, right.qparams, y, "fixed")
    assert isinstance(real, FloatRequant)
    assert isinstance(fixed, FixedRequant)
    assert float(real.scale) == f32(a[0] * b[0] / scale)
    pairs = _pairs(left, right)
    assert mul(left, right, y, "float").tolist() == [scale_float(p * q, float(real.scale)) for p, q in pairs]
    want = [away(p * q, int(fixed.multiplier), int(fixed.shift)) for p, q in pairs]
    assert mul(left, right, y, "fixed").tolist() == want


@pytest.mark.parametrize("mode", ["float", "fixed"])
def test_a_sum_is_the_nearest_quantum(mode: str, rng: np.random.Generator) -> None:
    a = QArray(rng.integers(-128, 128, 1000).astype(np.int8), QParams.per_tensor(0.031, 5, "int8"))
    b = QArray(rng.integers(-128, 128, 1000).astype(np.int8), QParams.per_tensor(0.047, -20, "int8"))
    y = QParams.per_tensor(0.06, 0, "int8")
    real = (a.dequantize().astype(np.float64) + b.dequantize()) / float(y.scale)
    assert np.abs(add(a, b, y, mode) - real).max() <= 0.5 + 1e-4  # type: ignore[arg-type]


def test_operands_broadcast() -> None:
    one = QParams.per_tensor(1.0, 0, "int8")
    a = QArray(np.arange(6, dtype=np.int8).reshape(2, 3), one)
    b = QArray(np.array([[10], [20]], np.int8), one)
    assert add(a, b, one, "float").tolist() == [[10, 11, 12], [23, 24, 25]]
    assert mul(a, b, one, "fixed").tolist() == [[0, 10, 20], [60, 80, 100]]


def test_operands_per_channel_or_wide_are_refused() -> None:
    one = QParams.per_tensor(1.0, 0, "int8")
    a = QArray(np.zeros((2, 3), np.int8), one)
    channels = QArray(a.values, QParams(np.ones(3, np.float32), np.zeros(3, np.int32), "int8", 1))
    wide = QArray(np.zeros((2, 3), np.int32), QParams.per_tensor(1.0, 0, "int32"))
    for other in (channels, wide):
        with pytest.raises(UnsupportedError, match="at most 16 bits with one scale"):
            add(a, other, one, "float")
        with pytest.raises(UnsupportedError, match="at most 16 bits with one scale"):
            mul(other, a, one, "float")
