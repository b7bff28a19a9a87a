"""Tanh."""

from __future__ import annotations

import numpy as np

from microlith.ops.unary import no_attributes, unary

TANH = unary("Tanh", no_attributes, lambda attrs, x: np.tanh(x), lambda attrs: np.tanh)
