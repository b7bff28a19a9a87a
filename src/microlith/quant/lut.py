"""Tables that compute an elementwise function, or the exponentials of a softmax, on integers.

A table has an entry for each integer that a byte, or 16 bits, can hold, those that a narrower type leaves out included.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.types import LIMITS, QArray, QParams, held

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

ENTRIES = 256

# Weight of the largest element in the table of exponentials: sums of up to 65,535 of them stay below 2**32.
EXP_ONE = 65536


def inputs_of(x: QParams) -> NDArray[np.float64]:
    """The real values of all integers that hold the type (256 for one of at most 8 bits), from the least upwards."""
    low, high = LIMITS[held(x.dtype)]
    if high - low >= 1 << 16:
        raise UnsupportedError(f"a table over {x.dtype} was asked for; only integers of at most 16 bits have one")
    integers = np.arange(low, high + 1, dtype=np.float64)
    return np.asarray(x.scale.astype(np.float64) * (integers - x.zero_point))


def unary_table(curve: Curve, x: QParams, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """``curve`` as integers of ``y`` clamped to ``[low, high]``; entry ``i`` is for the input
    integer ``i`` above the least one that holds ``x``.

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
    """``table`` of shape (256,) or (1, 256) applied to every element, or one of shape (C, 256) along axis 1.

    One over 16 bits has 65,536 entries instead.
    """
    index: NDArray[np.integer] = x.values.view(np.uint8 if x.values.dtype.itemsize == 1 else np.uint16)
    if x.values.dtype.kind == "i":
        index = index ^ index.dtype.type(1 << (8 * index.itemsize - 1))
    if table.ndim == 1 or table.shape[0] == 1:
        return np.take(table.reshape(-1), index)
    channels = np.arange(table.shape[0]).reshape(-1, *[1] * (index.ndim - 2))
    return np.asarray(table[channels, index])


def _to_integers(real: NDArray[np.float64], y: QParams, low: int, high: int) -> NDArray[np.integer]:
    real = np.where(np.isnan(real), 0.0, real)
    integers = np.rint(real / y.scale.astype(np.float64)) + y.zero_point
    return np.asarray(np.clip(integers, low, high).astype(held(y.dtype)))
