"""Softmax on integers: a table of exponentials and their sum.

``float`` requantization: exponentials in units of 2^-16, one division of integers for each element. ``fixed``: the
exponentials and their sum are float32, as in LiteRT, which has no other arithmetic for it; one division in all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.factors import PROBABILITY_BITS, softmax_requant
from microlith.quant.lut import ENTRIES, exp_table, float_exp_table
from microlith.quant.requantize import round_half_even, scale_accumulator
from microlith.quant.types import QArray, QParams, Requantization

# With more elements the sum of their exponentials could pass 2**32 - 1.
LONGEST_AXIS = 65535


def softmax(x: QArray, axis: int, y: QParams, mode: Requantization) -> NDArray[np.int64]:
    """Scaled probabilities along ``axis``, neither offset nor saturated.

    Raises:
        UnsupportedError: the axis is longer than 32-bit arithmetic allows, or the integers have more than 8 bits.
    """
    if x.values.shape[axis] > LONGEST_AXIS:
        raise UnsupportedError(
            f"a softmax over {x.values.shape[axis]:,} elements was asked for; {LONGEST_AXIS:,} are possible"
        )
    if x.qparams.high - x.qparams.low >= ENTRIES:
        raise UnsupportedError(f"a softmax of {x.qparams.dtype} was asked for; it is defined on 8-bit integers")
    values = x.values.astype(np.int64)
    if mode == "fixed":
        return _softmax_float(x.qparams, values, axis, y)
    weights = exp_table(x.qparams).astype(np.int64)[values.max(axis=axis, keepdims=True) - values]
    total = weights.sum(axis=axis, keepdims=True)
    probability = ((weights << PROBABILITY_BITS) + total // 2) // total
    return scale_accumulator(probability, softmax_requant(y, mode))


def _softmax_float(x: QParams, values: NDArray[np.int64], axis: int, y: QParams) -> NDArray[np.int64]:
    weights = float_exp_table(x)[values.max(axis=axis, keepdims=True) - values]
    # One after the other: the sum is rounded after every element.
    total = np.take(np.cumsum(weights, axis=axis, dtype=np.float32), [-1], axis=axis)
    return round_half_even(weights * (np.float32(1.0) / (total * y.scale)))
