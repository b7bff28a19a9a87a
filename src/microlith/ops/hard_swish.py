"""HardSwish: ``x * max(0, min(1, x / 6 + 1 / 2))``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Pointwise
from microlith.ops.unary import NoAttrs, no_attributes, unary
from microlith.quant import fixed_curves


def _compute(attrs: NoAttrs, x: NDArray[np.float32]) -> NDArray[np.float32]:
    gate = x * np.float32(1.0 / 6.0) + np.float32(0.5)
    return np.asarray(x * np.clip(gate, np.float32(0.0), np.float32(1.0)))


def _hard_swish(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x * np.clip(x / 6.0 + 0.5, 0.0, 1.0))


HARD_SWISH = unary(
    "HardSwish",
    no_attributes,
    _compute,
    lambda attrs: _hard_swish,
    fixed=lambda attrs, x, out: fixed_curves.hard_swish(x, out.qparams, out.low, out.high),
    lowering=Pointwise("hard_swish"),
)
