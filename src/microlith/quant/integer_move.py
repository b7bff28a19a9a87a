"""Moving integers, and giving them another meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.quant.lut import identity_table, lookup
from microlith.quant.types import QArray, QParams, held


def requantize(x: QArray, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """The values of ``x`` as integers of ``y`` within [low, high]: by table, or as they are where nothing changes."""
    if not x.qparams.same(y):
        return lookup(x, identity_table(x.qparams, y, low, high))
    return x.values if (low, high) == (y.low, y.high) else np.clip(x.values, low, high)


def concat(operands: Sequence[QArray], axis: int, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """Operands side by side, each with the meaning of ``y``."""
    return np.concatenate([requantize(item, y, low, high) for item in operands], axis=axis)


def quantize(real: NDArray[np.float32], y: QParams) -> NDArray[np.integer]:
    """QuantizeLinear: the float32 quotient by the scale, rounded half to even, offset and saturated."""
    scale = y.broadcast(y.scale, real.ndim).astype(np.float32)
    zero = y.broadcast(y.zero_point, real.ndim)
    integers = np.rint(real / scale).astype(np.float64) + zero
    return np.asarray(np.clip(integers, y.low, y.high).astype(held(y.dtype)))
