"""Functions of one 8-bit integer as ``fixed`` computes them: tables of 256 entries made without real arithmetic.

Most curves are tables of the real function in both modes, as in TensorFlow Lite, whose kernels look them up as well.
Those here it computes with multipliers and shifts instead, and the tables hold what that gives.

Source: the integer kernels of LiteRT (tensorflow/lite/kernels/activations.cc, quantize.cc and their reference ops).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.lut import ENTRIES
from microlith.quant.requantize import FixedRequant, Ties, multiply_by_quantized_multiplier, requant
from microlith.quant.types import LIMITS, QParams, held

Integers = NDArray[np.int64]
_INT16_LOW, _INT16_HIGH = -(1 << 15), (1 << 15) - 1
# HardSwish: bits by which the input is shifted left, and the scale on which 3 is the greatest int16.
_HIGH_RESOLUTION_BITS = 7
_GATE_SCALE = np.float32(3.0) / np.float32(32768.0)


def change_of_parameters(x: QParams, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """QuantizeLinear after DequantizeLinear: one multiplier, formed in float64; ties of its second rounding go up."""
    return _clamped(_scaled(_centered(x), float(x.scale) / float(y.scale), "up"), y, low, high)


def clamp(x: QParams, y: QParams, bounds: tuple[float, float], low: int, high: int) -> NDArray[np.integer]:
    """Relu and Clip: one multiplier, formed in float32; the bounds are rounded half away from zero."""
    scaled = _scaled(_centered(x), _ratio(x.scale, y.scale))
    return _clamped(np.clip(scaled, *quantized_bounds(bounds, y)), y, low, high)


def leaky_relu(x: QParams, y: QParams, alpha: float, low: int, high: int) -> NDArray[np.integer]:
    """One multiplier for either side of zero, each formed in float32."""
    centered = _centered(x)
    above = _scaled(centered, _ratio(x.scale, y.scale))
    below = _scaled(centered, _ratio(x.scale * np.float32(alpha), y.scale))
    return _clamped(np.where(centered >= 0, above, below), y, low, high)


def hard_swish(x: QParams, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """Products of 16 bits: the gate of the input, times the input on the output's scale."""
    fine = _centered(x) << _HIGH_RESOLUTION_BITS
    fine_scale = np.float32(1.0 / (1 << _HIGH_RESOLUTION_BITS)) * x.scale
    output_multiplier, output_shift = _narrow(_ratio(fine_scale, y.scale))
    gate_multiplier, gate_shift = _narrow(_ratio(fine_scale, _GATE_SCALE))
    gate = fine
    if gate_shift > 0:
        gate = _int16(gate << (gate_shift - 1))
    gate = _rounding_high_product(gate, gate_multiplier)
    if gate_shift > 0:
        gate = _int16(gate << 1)
    elif gate_shift < 0:
        gate = _rounding_shift(gate, -gate_shift)
    gate = (gate + (1 << 15)) >> 1
    product = gate * _rounding_high_product(fine, output_multiplier)
    high_half = _int16(np.sign(product) * (np.abs(product) >> 15))
    if output_shift > 0:
        return _clamped(_int16(high_half << output_shift), y, low, high)
    return _clamped(_rounding_shift(high_half, -output_shift), y, low, high)


def quantized_bounds(bounds: tuple[float, float], y: QParams) -> tuple[float, float]:
    """Integers less the zero point between which results stay, from real bounds: rounded half away from zero."""
    low, high = (
        bound if np.isinf(bound) else float(np.trunc(ratio + np.copysign(0.5, ratio)))
        for bound in bounds
        for ratio in [_ratio(np.float32(bound), y.scale)]
    )
    return low, high


def _centered(x: QParams) -> Integers:
    low, high = LIMITS[held(x.dtype)]
    if high - low >= ENTRIES:
        raise UnsupportedError(
            f"fixed requantization of a function of {x.dtype} was asked for; it is defined on 8-bit integers",
            hint="Use requantization float.",
        )
    return np.arange(low, high + 1, dtype=np.int64) - int(x.zero_point)


def _ratio(a: NDArray[np.float32] | np.float32, b: NDArray[np.float32] | np.float32) -> float:
    """A quotient formed in float32; infinite where it is too large, which ``requant`` refuses."""
    with np.errstate(over="ignore"):
        return float(a / b)


def _scaled(values: Integers, factor: float, ties: Ties = "away") -> Integers:
    how = requant(np.asarray(factor), "fixed")
    assert isinstance(how, FixedRequant), "asked for"
    return multiply_by_quantized_multiplier(values, how.multiplier, how.shift, ties)


def _clamped(values: NDArray[np.generic], y: QParams, low: int, high: int) -> NDArray[np.integer]:
    shifted = np.asarray(values, np.int64) + int(y.zero_point)
    return np.asarray(np.clip(shifted, low, high).astype(y.dtype))


def _narrow(factor: float) -> tuple[int, int]:
    """A multiplier of 16 bits and a shift."""
    how = requant(np.asarray(factor), "fixed")
    assert isinstance(how, FixedRequant), "asked for"
    return min((int(how.multiplier) + (1 << 15)) >> 16, _INT16_HIGH), int(how.shift)


def _int16(values: Integers) -> Integers:
    return np.asarray(np.clip(values, _INT16_LOW, _INT16_HIGH))


def _rounding_high_product(values: Integers, multiplier: int) -> Integers:
    return _int16((values * multiplier + (1 << 14)) >> 15)


def _rounding_shift(values: Integers, bits: int) -> Integers:
    """Divided by a power of two, ties away from zero."""
    half = (1 << bits) >> 1
    return np.asarray(np.sign(values) * ((np.abs(values) + half) >> bits))
