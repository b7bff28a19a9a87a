"""Tables of 256 entries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from microlith.core.errors import UnsupportedError
from microlith.quant.lut import channel_tables, exp_table, identity_table, lookup, unary_table
from microlith.quant.types import QArray, QParams


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_every_entry_of_a_table(dtype: str) -> None:
    low, high = (-128, 127) if dtype == "int8" else (0, 255)
    x, y = QParams.per_tensor(0.05, low + 100, dtype), QParams.per_tensor(1 / 128, low + 128, dtype)
    table = unary_table(np.tanh, x, y, low, high)
    assert table.dtype == dtype
    for index, integer in enumerate(range(low, high + 1)):
        real = math.tanh(float(x.scale) * (integer - int(x.zero_point)))
        assert table[index] == min(max(round(real * 128) + int(y.zero_point), low), high)
    everything = QArray(np.arange(low, high + 1).astype(dtype), x)
    np.testing.assert_array_equal(lookup(everything, table), table)


def test_ties_go_to_even() -> None:
    x, y = QParams.per_tensor(0.5, 0, "int8"), QParams.per_tensor(1.0, 0, "int8")
    table = identity_table(x, y, -128, 127)
    assert table[128 + np.array([-3, -1, 1, 3, 5])].tolist() == [-2, 0, 0, 2, 2]


def test_entries_stay_within_the_clamp() -> None:
    x, y = QParams.per_tensor(1.0, 0, "int8"), QParams.per_tensor(0.25, 10, "int8")
    table = identity_table(x, y, 10, 34)
    assert (int(table.min()), int(table.max())) == (10, 34)
    assert table[128:136].tolist() == [10, 14, 18, 22, 26, 30, 34, 34]


def test_the_same_parameters_change_nothing() -> None:
    x = QParams.per_tensor(0.0123, -7, "int8")
    assert identity_table(x, x, -128, 127).tolist() == list(range(-128, 128))


def test_a_table_for_each_channel() -> None:
    x = QParams.per_tensor(0.1, 0, "int8")
    tables = channel_tables(np.array([1.0, -2.0]), np.array([0.0, 0.5]), x, x, -128, 127)
    assert tables.shape == (2, 256)
    values = QArray(np.array([[[3, 4], [3, 4]]], np.int8), x)
    assert lookup(values, tables).tolist() == [[[3, 4], [-1, -3]]]


def test_exponentials() -> None:
    table = exp_table(QParams.per_tensor(0.25, 0, "int8"))
    assert table.dtype == np.int32
    assert table.tolist() == [round(math.exp(-d * 0.25) * 65536) for d in range(256)]
    assert table[0] == 65536


def test_wide_integers_have_no_table() -> None:
    wide = QParams.per_tensor(1.0, 0, "int32")
    with pytest.raises(UnsupportedError, match="int32"):
        identity_table(wide, wide, -1, 1)
