"""Tables of 256 entries that compute an elementwise function, or the exponentials of a softmax, on 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.types import QArray, QParams

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

ENTRIES = 256

# Weight of the largest element in the table of exponentials: sums of up to 65,535 of them stay below 2**32.
EXP_ONE = 65536


def inputs_of(x: QParams) -> NDArray[np.float64]:
    """The real values of all 256 integers of an 8-bit type, from the least integer to the greatest."""
    if x.high - x.low + 1 != ENTRIES:
        raise UnsupportedError(f"a table over {x.dtype} was asked for; only 8-bit integers have one")
    integers = np.arange(x.low, x.high + 1, dtype=np.float64)
    return np.asarray(x.scale.astype(np.float64) * (integers - x.zero_point))


def unary_table(curve: Curve, x: QParams, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """``curve`` as integers of ``y`` clamped to ``[low, high]``; entry ``i`` is for the input integer ``x.low + i``.

    Computed in float64, ties to even; where the curve is not defined, the result is 0.
    """
    return _to_integers(curve(inputs_of(x)), y, low, high)


def channel_tables(
    scale: NDArray[np.float64], offset: NDArray[np.float64], x: QParams, y: QParams, low: int, high: int
) -> NDArray[np.integer]:
    """One table of ``real * scale[c] + offset[c]`` for each channel, shape (C, 256), as :func:`unary_table`."""
    return _to_integers(inputs_of(x) * scale[:, None] + offset[:, None], y, low, high)


def identity_table(x: QParams, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """The change of parameters from ``x`` to ``y``."""
    return unary_table(lambda real: real, x, y, low, high)


def exp_table(x: QParams) -> NDArray[np.int32]:
    """``rint(exp(-d * sx) * 65536)`` for d = 0 ... 255, the distance of an integer below the greatest one."""
    distance = np.arange(ENTRIES, dtype=np.float64)
    return np.asarray(np.rint(np.exp(-distance * float(x.scale)) * EXP_ONE), np.int32)


def float_exp_table(x: QParams) -> NDArray[np.float32]:
    """``exp(-d * sx)`` for d = 0 ... 255 as float32, from a product rounded to float32."""
    exponent = -x.scale.astype(np.float32) * np.arange(ENTRIES, dtype=np.float32)
    return np.exp(exponent.astype(np.float64)).astype(np.float32)


def lookup(x: QArray, table: NDArray[np.integer]) -> NDArray[np.integer]:
    """``table`` of shape (256,) or (1, 256) applied to every element, or one of shape (C, 256) along axis 1."""
    index = x.values.view(np.uint8)
    if x.values.dtype == np.int8:
        index = index ^ np.uint8(0x80)
    if table.ndim == 1 or table.shape[0] == 1:
        return np.take(table.reshape(-1), index)
    channels = np.arange(table.shape[0]).reshape(-1, *[1] * (index.ndim - 2))
    return np.asarray(table[channels, index])


def _to_integers(real: NDArray[np.float64], y: QParams, low: int, high: int) -> NDArray[np.integer]:
    real = np.where(np.isnan(real), 0.0, real)
    integers = np.rint(real / y.scale.astype(np.float64)) + y.zero_point
    return np.asarray(np.clip(integers, low, high).astype(y.dtype))
