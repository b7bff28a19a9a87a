"""Requantization: from a wide accumulator to a narrow integer, in the two ways a model can ask for.

``float``: ``saturate(round_half_even(float32(acc) * float32(scale)) + zero_point)``, the product rounded to float32
before it is rounded to an integer (no contraction into an FMA).

``fixed``: a 32-bit multiplier and a shift, rounded twice: a rounding doubling high product (ties towards plus
infinity), then a rounding shift (ties away from zero). This is what the built-in kernels of TensorFlow Lite and
TensorFlow Lite Micro compute.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(2018), section 2.2, for the multiplier; IEEE 754 for the float form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.types import QParams, Requantization, held


@dataclass(frozen=True)
class FloatRequant:
    """``scale`` is float32 of shape () or (C,)."""

    scale: NDArray[np.float32]


# Shifts end there; and int32 accumulators times less than this stay finite in float32.
_FACTOR_BOUND = 2.0**30


@dataclass(frozen=True)
class FixedRequant:
    """The real factor is ``multiplier * 2**(shift - 31)``.

    Attributes:
        multiplier: int32 of shape () or (C,), in [2**30, 2**31) or 0.
        shift: int8 of the same shape, in [-31, 30]; positive shifts left.
    """

    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]


Requant = FloatRequant | FixedRequant


def requant(factor: NDArray[np.float64], mode: Requantization) -> Requant:
    """Parameters that multiply an accumulator by the real ``factor`` (positive, shape () or (C,)).

    Raises:
        UnsupportedError: a factor is not below 2**30, where neither form of requantization can follow.
    """
    if not (np.asarray(factor) < _FACTOR_BOUND).all():
        raise UnsupportedError(
            f"the quantization scales combine to a factor of {np.max(factor):.3g}, expected less than 2**30",
            hint="Quantize the model again: a scale is far from the range of what it stands for.",
        )
    if mode == "float":
        return FloatRequant(np.asarray(factor, np.float32))
    mantissa, exponent = np.frexp(np.asarray(factor, np.float64))
    fixed = np.rint(mantissa * 2.0**31).astype(np.int64)
    exponent = np.where(fixed == 2**31, exponent + 1, exponent)
    fixed = np.where(fixed == 2**31, 2**30, fixed)
    fixed = np.where(exponent < -31, 0, fixed)
    exponent = np.clip(np.where(exponent < -31, 0, exponent), -31, 30)
    return FixedRequant(np.asarray(fixed, np.int32), np.asarray(exponent, np.int8))


def scale_factor(*factors: NDArray[np.float32], over: NDArray[np.float32]) -> NDArray[np.float64]:
    """The product of scales divided by ``over``, in float64: the one way scales are combined."""
    product = np.ones((), np.float64)
    for item in factors:
        product = np.asarray(product * item.astype(np.float64))
    return np.asarray(product / over.astype(np.float64))


def round_half_even(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Nearest integers, ties to even."""
    return np.rint(values.astype(np.float64)).astype(np.int64)


Ties = Literal["up", "away"]


def multiply_by_quantized_multiplier(
    acc: NDArray[np.int64], multiplier: NDArray[np.int32], shift: NDArray[np.int8], ties: Ties
) -> NDArray[np.int64]:
    """``acc * multiplier * 2**(shift - 31)`` with the two roundings of ``fixed``.

    Args:
        acc: accumulators that fit in 32 bits, also after the left shift.
        multiplier: broadcastable to ``acc``.
        shift: broadcastable to ``acc``.
        ties: of the second rounding, towards plus infinity or away from zero.
    """
    left = np.maximum(shift, 0).astype(np.int64)
    right = np.maximum(-shift.astype(np.int64), 0)
    high = ((acc.astype(np.int64) << left) * multiplier.astype(np.int64) + (1 << 30)) >> 31
    mask = (np.int64(1) << right) - 1
    # Half of the divisor is reached, or must be passed: one below zero where ties go away from it.
    threshold = (mask >> 1) + ((high < 0) if ties == "away" else 0)
    return (high >> right) + ((high & mask) > threshold)


def scale_accumulator(acc: NDArray[np.int64], how: Requant, ties: Ties = "up") -> NDArray[np.int64]:
    """Scaled accumulators, rounded but neither offset nor saturated; channels are the last axis of ``acc``.

    Args:
        acc: accumulators.
        how: their scale.
        ties: of ``fixed``: ``away`` for sums and products of two tensors.
    """
    if isinstance(how, FixedRequant):
        return multiply_by_quantized_multiplier(acc, how.multiplier, how.shift, ties)
    return round_half_even(acc.astype(np.float32) * how.scale)


def saturate(
    values: NDArray[np.int64], out: QParams, low: int | None = None, high: int | None = None
) -> NDArray[np.integer]:
    """Add the zero point and clamp to ``[low, high]`` (the type's limits unless given), as ``out.dtype`` is held."""
    shifted = values + np.int64(out.zero_point)
    clamped = np.clip(shifted, out.low if low is None else low, out.high if high is None else high)
    return np.asarray(clamped.astype(held(out.dtype)))
