"""Sigmoid: ``1 / (1 + exp(-x))``."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Pointwise, Rule
from microlith.ops.unary import no_attributes, unary

F = TypeVar("F", np.float32, np.float64)


def sigmoid(x: NDArray[F]) -> NDArray[F]:
    """The logistic function in the type of ``x``, without overflow at either end."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, small, np.ones_like(small)) / (1 + small))


SIGMOID = unary(
    "Sigmoid",
    no_attributes,
    lambda attrs, x: sigmoid(x),
    lambda attrs: sigmoid,
    rule=Rule("table", scale=1 / 256),
    lowering=Pointwise("sigmoid"),
)
