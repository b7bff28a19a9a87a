"""The requantization parameters of every op, from the scales of its operands.

The reference executor and the compiler take their constants from here and from :mod:`microlith.quant.lut`, so that
they cannot differ.
"""

from __future__ import annotations

import numpy as np

from microlith.core.errors import UnsupportedError
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant, requant, scale_factor
from microlith.quant.types import QParams, Requantization

# Bits by which the operands of a `fixed` sum are shifted left, so that their rescaling keeps its precision.
SUM_HEADROOM_BITS = 20
# The same for operands of 16 bits.
_SUM_HEADROOM_BITS_16 = 15

# Fraction bits of the probabilities of a softmax before they are brought to the output's scale.
PROBABILITY_BITS = 14


def linear_requant(x: QParams, w: QParams, y: QParams, mode: Requantization) -> Requant:
    """Convolution, fully connected, matrix product: ``sx * sw / sy``, shape (O,) where ``w`` is per channel else ()."""
    return requant(scale_factor(x.scale, w.scale, over=y.scale), mode)


def mul_requant(a: QParams, b: QParams, y: QParams, mode: Requantization) -> Requant:
    """Elementwise product: ``sa * sb / sy``, shape (); formed in float32 for ``fixed``, as LiteRT does."""
    if mode == "fixed":
        return requant(np.asarray(a.scale * b.scale / y.scale, np.float64), mode)
    return requant(scale_factor(a.scale, b.scale, over=y.scale), mode)


def sum_requant(a: QParams, b: QParams, y: QParams, mode: Requantization) -> Requant:
    """Elementwise sum or difference.

    Returns:
        ``float``: scales of a and of b, shape (2,). ``fixed``: multipliers and shifts of a, of b and of the sum,
        shape (3,), where the operands were shifted left by :func:`sum_headroom_bits` first.
    """
    if mode == "float":
        return requant(np.stack([scale_factor(item.scale, over=y.scale) for item in (a, b)]), mode)
    twice = 2.0 * max(float(a.scale), float(b.scale))
    headroom = 2.0 ** sum_headroom_bits(a)
    return requant(
        np.array([float(a.scale) / twice, float(b.scale) / twice, twice / (headroom * float(y.scale))]),
        mode,
    )


def sum_headroom_bits(operand: QParams) -> int:
    """Bits by which the operands of a ``fixed`` sum are shifted left."""
    return _SUM_HEADROOM_BITS_16 if operand.dtype == "int16" else SUM_HEADROOM_BITS


def mean_requant(x: QParams, y: QParams, count: int, mode: Requantization) -> Requant:
    """Mean of ``count`` elements: ``sx / (sy * count)``, shape (1,).

    For ``fixed`` the multiplier of ``sx / sy`` is divided by the count, with as many more bits as the count has.
    """
    if mode == "fixed":
        whole = requant(scale_factor(x.scale, over=y.scale), mode)
        assert isinstance(whole, FixedRequant), "asked for"
        bits = min(count.bit_length() - 1, 32, 31 + int(whole.shift))
        multiplier = (int(whole.multiplier) << bits) // count
        return FixedRequant(np.array([multiplier], np.int32), np.array([int(whole.shift) - bits], np.int8))
    return requant(_mean_factor(x, y, np.array([count])), mode)


IMAGE_MEAN_GROUP = 16
"""Channels that LiteRT's mean over rows and columns takes at a time, where ties of the second rounding go up."""
_OFFSET_BOUND = 2.0**30


def image_mean_requant(x: QParams, y: QParams, count: int) -> FixedRequant:
    """``sx / (count * sy)`` as LiteRT's mean over rows and columns forms it, in float32; shape (1,)."""
    factor = x.scale / (np.float32(count) * y.scale)
    made = requant(np.array([factor], np.float64), "fixed")
    assert isinstance(made, FixedRequant), "asked for"
    return made


def image_mean_offset(x: QParams, y: QParams) -> int:
    """``-zx * sx / sy`` in float32, ties away from zero: added to the scaled sum of the stored integers.

    Raises:
        UnsupportedError: it is not below 2**30.
    """
    shift = np.float32(np.float32(x.zero_point) * x.scale / y.scale)
    if not abs(shift) < _OFFSET_BOUND:
        raise UnsupportedError(
            f"the zero point of the input is {shift:.3g} quanta of the result, expected less than 2**30",
            hint="Quantize the model again: a scale is far from the range of what it stands for.",
        )
    return -int(shift + np.float32(0.5) if shift > 0 else shift - np.float32(0.5))


def average_pool_requant(x: QParams, y: QParams, window: int, mode: Requantization) -> Requant:
    """Mean of 1 to ``window`` elements, shape (window,): the parameters for a count stand at index count - 1."""
    return requant(_mean_factor(x, y, np.arange(1, window + 1)), mode)


def mean_is_division(x: QParams, y: QParams, mode: Requantization) -> bool:
    """Whether an average pool divides the sum of the integers themselves, without a requantization.

    So it does for ``fixed`` where the result means its integers as the input does.
    """
    return mode == "fixed" and x.same(y)


def softmax_requant(y: QParams, mode: Requantization) -> Requant:
    """Probabilities of ``PROBABILITY_BITS`` fraction bits to the output's scale, shape ()."""
    return requant(np.asarray(2.0**-PROBABILITY_BITS / y.scale.astype(np.float64)), mode)


def part(how: Requant, index: int | np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Requant:
    """The parameters at ``index`` of the first axis."""
    if isinstance(how, FixedRequant):
        return FixedRequant(np.asarray(how.multiplier[index]), np.asarray(how.shift[index]))
    return FloatRequant(np.asarray(how.scale[index]))


def _mean_factor(
    x: QParams, y: QParams, counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(x.scale.astype(np.float64) / (y.scale.astype(np.float64) * counts))
