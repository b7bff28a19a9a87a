"""Arithmetic on integers that stand for themselves, wherever NumPy leaves open, or refuses, what ONNX needs.

Everything wraps around. Dividing by 0 gives 0, and so does a remainder; a negative power is 0, except of 1 and -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Array

Integers = NDArray[Any]


def divide(a: Integers, b: Integers) -> Array:
    """The quotient, truncated."""
    safe = np.where(b == 0, np.ones_like(b), b)
    with np.errstate(over="ignore"):
        quotient = np.floor_divide(a, safe)
        rest = a - quotient * safe
        truncated = quotient + ((rest != 0) & ((a < 0) != (safe < 0))).astype(quotient.dtype)
    return np.asarray(np.where(b == 0, np.zeros_like(truncated), truncated), a.dtype)


def remainder(a: Integers, b: Integers, *, of_truncation: bool) -> Array:
    """What division leaves: with the sign of ``a`` where that truncates, else with the sign of ``b``."""
    safe = np.where(b == 0, np.ones_like(b), b)
    rest = np.fmod(a, safe) if of_truncation else np.mod(a, safe)
    return np.asarray(np.where(b == 0, np.zeros_like(rest), rest), a.dtype)


def power(a: Integers, b: Integers) -> Array:
    """``a`` to the power of ``b``, both of one type."""
    base, exponent = np.broadcast_arrays(a, b)
    with np.errstate(over="ignore"):
        positive = np.power(base, np.maximum(exponent, 0))
    if not np.issubdtype(a.dtype, np.signedinteger):
        return np.asarray(positive, a.dtype)
    odd = np.where(exponent % 2 != 0, -np.ones_like(base), np.ones_like(base))
    negative = np.where(base == 1, np.ones_like(base), np.where(base == -1, odd, np.zeros_like(base)))
    return np.asarray(np.where(exponent < 0, negative, positive), a.dtype)
