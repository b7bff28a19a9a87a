"""Weights and biases as integers, with the proof that the accumulator of the layer cannot overflow.

The accumulator is ``bias + sum((x - zx) * (w - zw))`` in 32 bits, so ``reach * sum|w - zw| + |bias|`` must stay below
2**31 for every output channel, where ``reach`` is the greatest ``|x - zx|``. Where it would not, the weight scale of
the channel is widened until it does: what is given up lies far below the resolution of a result that large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.quant.schemes import MAX_SCALE, MIN_SCALE, quantize_array
from microlith.quant.types import QArray, QParams

ACCUMULATOR_LIMIT = 2**31 - 1
# A bias alone may use this much of the accumulator, the weights have the rest.
_BIAS_LIMIT = 2**30
# A channel without weights only has a bias, which then gets this many steps.
_BIAS_STEPS = 2**22
_FRACTIONS = np.linspace(1.0, 0.5, 41)
_WIDENINGS = 64


@dataclass(frozen=True)
class LayerIntegers:
    """The constants of one Conv, Gemm or the like.

    Attributes:
        weights: int8.
        bias: int32 with the scale ``float32(sx) * float32(sw)`` and zero point 0; None for an absent bias.
        accumulator_bound: greatest magnitude that the accumulator can reach, over all channels.
    """

    weights: QArray
    bias: QArray | None
    accumulator_bound: int


def reach(qparams: QParams) -> int:
    """The greatest ``|x - zero_point|`` of a tensor (per tensor)."""
    zero = int(qparams.zero_point)
    return max(zero - qparams.low, qparams.high - zero)


def weight_qparams(
    weights: NDArray[np.floating],
    axis: int | None,
    *,
    symmetric: bool = True,
    search: bool = False,
    minimum_scale: NDArray[np.float64] | float = MIN_SCALE,
) -> QParams:
    """Parameters of int8 weights.

    Symmetric weights use -127..127, affine ones -128..127 and a zero point.

    Args:
        weights: any shape.
        axis: of the output channels; None for one scale.
        symmetric: whether the zero point is 0.
        search: shrink the range to the fraction (of 0.5 to 1) with the least squared error instead of keeping it all.
        minimum_scale: raises scales, shape () or (C,). Weights that are all zero take it as their scale.

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    rows = _rows(weights, axis)
    if not np.isfinite(rows).all():
        raise ModelError("a weight is NaN or infinite")
    low = np.minimum(rows.min(axis=1, initial=0.0), 0.0)
    high = np.maximum(rows.max(axis=1, initial=0.0), 0.0)
    minimum = np.broadcast_to(np.maximum(minimum_scale, MIN_SCALE), low.shape)
    fraction = _best_fractions(rows, low, high, symmetric, minimum) if search else np.ones_like(low)
    scale, zero = _scale_and_zero(low * fraction, high * fraction, symmetric, minimum)
    if axis is None:
        return QParams(scale[0], zero[0], "int8")
    return QParams(scale, zero, "int8", axis)


def quantize_weights(weights: NDArray[np.floating], qparams: QParams) -> QArray:
    """Integers nearest to the weights; -128 is not used where the zero point is 0 throughout."""
    quantized = quantize_array(weights, qparams)
    if qparams.zero_point.any():
        return quantized
    return QArray(np.maximum(quantized.values, np.int8(-127)), qparams)


def _rows(weights: NDArray[np.floating | np.integer], axis: int | None) -> NDArray[np.float64]:
    moved = weights.reshape(1, -1) if axis is None else np.moveaxis(weights, axis, 0)
    return moved.reshape(moved.shape[0], -1).astype(np.float64)


def _scale_and_zero(
    low: NDArray[np.float64], high: NDArray[np.float64], symmetric: bool, minimum: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    span = np.maximum(-low, high) / 127 if symmetric else (high - low) / 255
    scale = np.maximum(span, minimum).astype(np.float32)
    if (scale > MAX_SCALE).any():
        raise ModelError("weights are too large to be quantized")
    if symmetric:
        return scale, np.zeros(scale.shape, np.int32)
    return scale, np.clip(np.rint(-128 - low / scale), -128, 127).astype(np.int32)


def _best_fractions(
    rows: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    symmetric: bool,
    minimum: NDArray[np.float64],
) -> NDArray[np.float64]:
    best, least = np.ones_like(low), np.full_like(low, np.inf)
    for fraction in _FRACTIONS:
        scale, zero = _scale_and_zero(low * fraction, high * fraction, symmetric, minimum)
        wide, offset = scale.astype(np.float64)[:, None], zero[:, None]
        integers = np.clip(np.rint(rows / wide), (-127 if symmetric else -128) - offset, 127 - offset)
        error = np.sum((integers * wide - rows) ** 2, axis=1)
        better = error < least
        best, least = np.where(better, fraction, best), np.where(better, error, least)
    return best


def layer_integers(
    weights: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
    inputs: QParams,
    *,
    axis: int,
    per_channel: bool = True,
    symmetric: bool = True,
    search: bool = False,
) -> LayerIntegers:
    """Integer weights and bias of a layer, such that its accumulator cannot overflow.

    Args:
        weights: with the output channels along ``axis``.
        bias: one a channel, or None.
        inputs: parameters of the layer's input (per tensor).
        axis: of the output channels.
        per_channel: one scale for each channel instead of one.
        symmetric: whether the zero point of weights is 0.
        search: see :func:`weight_qparams`.

    Raises:
        ModelError: a weight or a bias is NaN, infinite or too large for any scale.
        UnsupportedError: no scale keeps the accumulator within 32 bits.
    """
    if bias is not None and not np.isfinite(bias).all():
        raise ModelError("a bias is NaN or infinite")
    minimum = _minimum_scale(weights, bias, float(inputs.scale), axis, per_channel)
    for _ in range(_WIDENINGS):
        qparams = weight_qparams(
            weights, axis if per_channel else None, symmetric=symmetric, search=search, minimum_scale=minimum
        )
        result, bounds = _integers(weights, bias, inputs, qparams, axis)
        over = bounds > ACCUMULATOR_LIMIT
        if not over.any():
            return result
        over = over if per_channel else np.asarray(over.any())
        minimum = np.where(over, 1.25 * qparams.scale.astype(np.float64), minimum)
    raise UnsupportedError(f"the 32-bit accumulator can reach {int(bounds.max())}", hint="Split the layer.")


def _minimum_scale(
    weights: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
    input_scale: float,
    axis: int,
    per_channel: bool,
) -> NDArray[np.float64]:
    """Weight scales below which the biases would take too much of the accumulator, shape (C,) or ()."""
    magnitude = np.zeros(weights.shape[axis]) if bias is None else np.abs(bias.astype(np.float64))
    empty = ~_rows(weights, axis).any(axis=1)
    if not per_channel:
        magnitude, empty = np.asarray(magnitude.max()), np.asarray(empty.all())
    minimum = magnitude / (input_scale * np.where(empty, _BIAS_STEPS, _BIAS_LIMIT))
    return np.where(empty & (magnitude == 0), 1.0, minimum)


def _integers(
    weights: NDArray[np.floating], bias: NDArray[np.floating] | None, inputs: QParams, qparams: QParams, axis: int
) -> tuple[LayerIntegers, NDArray[np.int64]]:
    quantized = quantize_weights(weights, qparams)
    bounds = np.abs(_rows(quantized.centered(), axis)).sum(axis=1).astype(np.int64) * reach(inputs)
    if bias is None:
        return LayerIntegers(quantized, None, int(bounds.max())), bounds
    scale = np.asarray(inputs.scale * qparams.scale, np.float32)
    integers = np.rint(bias.astype(np.float64) / scale.astype(np.float64))
    bounds = bounds + np.abs(integers).astype(np.int64)
    zero = np.zeros(scale.shape, np.int32)
    bias_qparams = QParams(scale, zero, "int32", None if qparams.axis is None else 0)
    limited = np.clip(integers, -ACCUMULATOR_LIMIT, ACCUMULATOR_LIMIT).astype(np.int32)
    return LayerIntegers(quantized, QArray(limited, bias_qparams), int(bounds.max())), bounds
