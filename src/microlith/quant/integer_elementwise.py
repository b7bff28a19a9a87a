"""Sums, differences and products of two integer tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.accumulator import check_accumulator, magnitude
from microlith.quant.factors import mul_requant, part, sum_headroom_bits, sum_requant
from microlith.quant.integer_move import requantize
from microlith.quant.requantize import FloatRequant, round_half_even, scale_accumulator
from microlith.quant.types import QArray, QParams, Requantization


def add(a: QArray, b: QArray, y: QParams, mode: Requantization, *, subtract: bool = False) -> NDArray[np.int64]:
    """Scaled ``a + b`` (or ``a - b``), broadcast, neither offset nor saturated."""
    _check(a, b)
    requant = sum_requant(a.qparams, b.qparams, y, mode)
    sign = -1 if subtract else 1
    if isinstance(requant, FloatRequant):
        # Each product and the sum are rounded to float32 by themselves.
        left = a.centered().astype(np.float32) * requant.scale[0]
        right = b.centered().astype(np.float32) * requant.scale[1]
        return round_half_even(left - right if subtract else left + right)
    # Each operand is scaled by at most 1/2 after its shift.
    headroom = sum_headroom_bits(a.qparams)
    check_accumulator(max(magnitude(a.qparams), magnitude(b.qparams)) << headroom, part(requant, 2))
    left_acc, right_acc = (
        scale_accumulator(item.centered().astype(np.int64) << headroom, part(requant, index), "away")
        for index, item in enumerate((a, b))
    )
    return scale_accumulator(left_acc + sign * right_acc, part(requant, 2), "away")


def mul(a: QArray, b: QArray, y: QParams, mode: Requantization) -> NDArray[np.int64]:
    """Scaled ``a * b``, broadcast, neither offset nor saturated."""
    _check(a, b)
    requant = mul_requant(a.qparams, b.qparams, y, mode)
    check_accumulator(magnitude(a.qparams) * magnitude(b.qparams), requant)
    return scale_accumulator(a.centered().astype(np.int64) * b.centered(), requant, "away")


def extremum(operands: Sequence[QArray], y: QParams, low: int, high: int, *, greatest: bool) -> NDArray[np.integer]:
    """The greatest, or the least, of operands that were each given the meaning of ``y``, broadcast.

    Requantization is monotonic, so this is the requantized extremum of the real values.
    """
    pair = np.maximum if greatest else np.minimum
    return np.asarray(reduce(pair, [requantize(item, y, low, high) for item in operands]))


def _check(a: QArray, b: QArray) -> None:
    for item in (a, b):
        if item.qparams.axis is not None or item.values.dtype not in (np.int8, np.uint8, np.int16):
            raise UnsupportedError(
                f"an operand is {item.values.dtype}{'' if item.qparams.axis is None else ' per channel'}, expected "
                "integers of at most 16 bits with one scale"
            )
