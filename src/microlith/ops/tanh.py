"""Tanh."""

from __future__ import annotations

import numpy as np

from microlith.ops.base import Pointwise, Rule
from microlith.ops.unary import no_attributes, unary

TANH = unary(
    "Tanh",
    no_attributes,
    lambda attrs, x: np.tanh(x),
    lambda attrs: np.tanh,
    rule=Rule("table", scale=1 / 128, signed=True),
    lowering=Pointwise("tanh"),
)
