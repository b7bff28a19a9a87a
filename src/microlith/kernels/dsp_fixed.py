"""``fixed`` requantization as the DSP extension does it in two or three instructions: see ``ml_dsp.h``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.base import Packed
from microlith.kernels.descriptor import INT32_MAX, plain
from microlith.quant.requantize import FixedRequant, Requant, scale_accumulator

DSP_FIXED = 3
"""``ML_DSP_FIXED``."""
DSP_TWICE = 4
"""``ML_DSP_TWICE``: the kernel makes accumulators that are twice as large."""
_MOST_BITS = 22
# Greatest magnitude of 2 * zero + 1, and of a scaled accumulator that the clamp does not make equal to another.
_ZERO = 257
_RESULT = 256
_HALF = 2**30

Array = NDArray[np.int64]


@dataclass(frozen=True)
class ShortFixed:
    """Multipliers and bits, and what is added to the bias of each channel.

    Attributes:
        multiplier: at least 2**30.
        bits: of the shift to the right.
        bias: zero but in channels whose result is constant.
    """

    multiplier: NDArray[np.int32]
    bits: NDArray[np.int8]
    bias: Array

    def packed(self, kind: int = DSP_FIXED) -> Mapping[str, Packed]:
        """The consts that kernels of that kind read; ``ML_DSP_FIXED`` takes multipliers doubled modulo 2**32."""
        multiplier = plain(self.multiplier, "to the right")
        if kind == DSP_FIXED:
            multiplier = plain((self.multiplier.view(np.uint32) * np.uint32(2)).view(np.int32), "doubled")
        return {"multiplier": multiplier, "shift": plain(self.bits, "to the right")}


def short_fixed(how: Requant | None, least: Array, greatest: Array, kind: int = DSP_FIXED) -> ShortFixed | None:
    """The requantization as ``ML_DSP_FIXED`` or ``ML_DSP_TWICE`` has it, with equal results; None where there is none.

    A channel that shifts by more bits than there is room for takes another factor and bias where its result is
    constant, as that of a channel without weights is: scaling is monotone, so it is where both ends of the range of
    the accumulator give it.

    Args:
        how: the requantization, of one factor or one a channel.
        least: least accumulator that each factor scales.
        greatest: likewise.
        kind: of the two.
    """
    bound = INT32_MAX if kind == DSP_FIXED else INT32_MAX // 2
    if not isinstance(how, FixedRequant) or (how.shift > 0).any():
        return None
    if how.multiplier.size == 1:
        least, greatest = least.min(keepdims=True), greatest.max(keepdims=True)
    multiplier, bits = how.multiplier.astype(np.int64), -how.shift.astype(np.int64)
    most = np.maximum(np.abs(least), np.abs(greatest))
    serves = (multiplier != 0) & (bits <= _MOST_BITS) & (most + _offset(np.minimum(bits, _MOST_BITS)) <= bound)
    bias = np.zeros_like(least)
    if not serves.all():
        ends = [np.clip(scale_accumulator(end, how), -_RESULT, _RESULT) for end in (least, greatest)]
        constant_bits = _constant_bits(ends[0], greatest - least, bound)
        if how.multiplier.size == 1 or not (serves | ((ends[0] == ends[1]) & (constant_bits > 0))).all():
            return None
        middle = (least + greatest) // 2
        bias = np.where(serves, 0, (ends[0] << (constant_bits + 1)) - middle)
        multiplier, bits = np.where(serves, multiplier, _HALF), np.where(serves, bits, constant_bits)
    return ShortFixed(multiplier.astype(np.int32), bits.astype(np.int8), bias)


def _offset(bits: Array) -> Array:
    """Greatest magnitude of what is added before the shift."""
    return _ZERO << bits >> 1


def _constant_bits(result: Array, width: Array, bound: int) -> Array:
    """Bits of a shift that gives ``result`` for accumulators of a range of that width around its middle; 0 for none.

    The accumulator is halved by the multiplier 2**30, so the middle is ``result`` times twice the power of two.
    """
    found = np.zeros_like(result)
    for bits in range(1, _MOST_BITS + 1):
        middle = np.abs(result) << (bits + 1)
        fits = (width // 2 + 4 < 2**bits) & (middle + width + int(_offset(np.array(bits))) <= bound)
        found = np.where((found == 0) & fits, bits, found)
    return found
