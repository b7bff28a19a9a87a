"""Moving integers, and giving them another meaning."""

from __future__ import annotations

import numpy as np
import pytest

from microlith.ops.base import Output
from microlith.ops.pad import PAD, PadAttrs
from microlith.quant.integer_move import concat, quantize, requantize
from microlith.quant.types import QArray, QParams

X = QParams.per_tensor(0.5, 10, "int8")
Y = QParams.per_tensor(1.0, -20, "int8")


def test_integers_keep_their_value_or_are_clamped() -> None:
    x = QArray(np.array([-128, 0, 127], np.int8), X)
    assert requantize(x, X, -128, 127).tolist() == [-128, 0, 127]
    assert requantize(x, X, 10, 100).tolist() == [10, 10, 100]


def test_integers_take_another_meaning() -> None:
    x = QArray(np.array([-128, 10, 11, 13, 127], np.int8), X)
    assert requantize(x, Y, -128, 127).tolist() == [-89, -20, -20, -18, 38]
    unsigned = QParams.per_tensor(0.5, 138, "uint8")
    got = requantize(x, unsigned, 0, 255)
    assert got.dtype == np.uint8
    assert got.tolist() == [0, 138, 139, 141, 255]


def test_concat_brings_each_operand_to_the_result() -> None:
    a, b = QArray(np.array([[10, 12]], np.int8), X), QArray(np.array([[-20, 5]], np.int8), Y)
    assert concat([a, b], 1, Y, -128, 127).tolist() == [[-20, -19, -20, 5]]


@pytest.mark.parametrize(("fill", "stored"), [(0.0, -20), (3.0, -17), (-1000.0, -30), (1000.0, 127)])
def test_the_fill_of_a_pad_has_the_meaning_of_the_result(fill: float, stored: int) -> None:
    x = QArray(np.array([12], np.int8), X)
    attrs = PadAttrs((1, 2), None, fill)
    assert PAD.quantized is not None
    assert PAD.quantized(attrs, [x], Output(Y, "float", -30, 127)).tolist() == [stored, -19, stored, stored]


def test_quantize_rounds_half_to_even_and_saturates() -> None:
    real = np.array([0.25, 0.75, -0.25, 1e9, -np.inf, np.inf], np.float32)
    assert quantize(real, X).tolist() == [10, 12, 10, 127, -128, 127]
    channels = QParams(np.array([1.0, 0.5], np.float32), np.array([0, 3], np.int32), "int8", 1)
    assert quantize(np.array([[2.0, 2.0]], np.float32), channels).tolist() == [[2, 7]]
