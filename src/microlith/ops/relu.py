"""Relu: ``max(x, 0)``."""

from __future__ import annotations

import numpy as np

from microlith.ops.unary import no_attributes, unary
from microlith.quant import fixed_curves

RELU = unary(
    "Relu",
    no_attributes,
    lambda attrs, x: np.maximum(x, np.float32(0.0)),
    lambda attrs: lambda x: np.maximum(x, 0.0),
    lambda attrs, x: np.asarray(np.maximum(x, np.zeros((), x.dtype))),
    fixed=lambda attrs, x, out: fixed_curves.clamp(x, out.qparams, (0.0, np.inf), out.low, out.high),
    lowering="lower_elementwise.lower_unary",
)
