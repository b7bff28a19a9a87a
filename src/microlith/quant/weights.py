"""Weights and biases as integers, with the proof that the accumulator of the layer cannot overflow.

The accumulator is ``bias + sum((x - zx) * (w - zw))`` in 32 bits, so ``reach * sum|w - zw| + |bias|`` must stay below
2**31 for every output channel, where ``reach`` is the greatest ``|x - zx|``. Where it would not, the weight scale of
the channel is widened until it does: what is given up lies far below the resolution of a result that large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.quant.schemes import (
    MAX_SCALE,
    MIN_SCALE,
    Scheme,
    WeightGrid,
    WeightType,
    next_power_of_two,
    quantize_array,
    weight_grid,
)
from microlith.quant.types import QArray, QParams

ACCUMULATOR_LIMIT = 2**31 - 1
# A bias alone may use this much of the accumulator, the weights have the rest.
_BIAS_LIMIT = 2**30
# A channel without weights only has a bias, which then gets this many steps.
_BIAS_STEPS = 2**22
_FRACTIONS = np.linspace(1.0, 0.5, 41)
# The fewer the integers, the more of the range it pays to give up.
_FRACTIONS_BELOW_8_BITS = np.linspace(1.0, 0.1, 73)
_WIDENINGS = 64


Rounding = Callable[[NDArray[np.floating], QParams, WeightGrid], QArray]
"""Chooses the integers of weights whose parameters are settled, within the grid; the nearest ones by default."""


@dataclass(frozen=True)
class LayerIntegers:
    """The constants of one Conv, Gemm or the like.

    Attributes:
        weights: as they are held.
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
    kind: WeightType = "int8",
    symmetric: bool = True,
    search: bool = False,
    power_of_two: bool = False,
    minimum_scale: NDArray[np.float64] | float = MIN_SCALE,
) -> QParams:
    """Parameters of weights.

    Symmetric int8 weights use -127..127; affine ones have all integers of the type and a zero point. The scale of
    binary weights is the mean of their magnitudes, which has the least squared error.

    Source: Rastegari et al., XNOR-Net (2016), section 3.1, for binary weights.

    Args:
        weights: any shape.
        axis: of the output channels; None for one scale.
        kind: which integers there are.
        symmetric: whether the zero point is 0.
        search: shrink the range to the fraction with the least squared error (0.5 to 1 at 8 bits, 0.1 to 1 below)
            instead of keeping it all.
        power_of_two: raise scales to the next power of two.
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
    form = _Form(weight_grid(kind, symmetric=symmetric), symmetric, power_of_two, minimum)
    if kind == "binary":
        mean = np.abs(rows).mean(axis=1) if rows.shape[1] else np.zeros(len(rows))
        low, high = -mean, mean
    elif search:
        fraction = _best_fractions(rows, low, high, form)
        low, high = low * fraction, high * fraction
    scale, zero = form.scale_and_zero(low, high)
    if axis is None:
        return QParams(scale[0], zero[0], form.grid.dtype)
    return QParams(scale, zero, form.grid.dtype, axis)


class WeightSettings(TypedDict):
    """Arguments of :func:`weight_qparams` and :func:`layer_integers` that a scheme gives."""

    kind: WeightType
    symmetric: bool
    search: bool
    power_of_two: bool


def weight_settings(scheme: Scheme) -> WeightSettings:
    """Those of a scheme."""
    return {
        "kind": scheme.weights,
        "symmetric": scheme.weights_symmetric,
        "search": scheme.searches_weights,
        "power_of_two": scheme.weights_power_of_two,
    }


def quantize_weights(weights: NDArray[np.floating], qparams: QParams, grid: WeightGrid | None = None) -> QArray:
    """The integers of the grid that are nearest to the weights.

    Args:
        weights: any shape.
        qparams: their parameters.
        grid: of int8 by default; -128 is not used where the zero point is 0 throughout.
    """
    if grid is None:
        grid = weight_grid("int8", symmetric=not qparams.zero_point.any())
    if grid.kind == "binary":
        return QArray(np.where(weights < 0, -1, 1).astype(np.int8), qparams)
    quantized = quantize_array(weights, qparams)
    return QArray(np.clip(quantized.values, grid.low, grid.high), qparams)


def _rows(weights: NDArray[np.floating | np.integer], axis: int | None) -> NDArray[np.float64]:
    moved = weights.reshape(1, -1) if axis is None else np.moveaxis(weights, axis, 0)
    return moved.reshape(moved.shape[0], -1).astype(np.float64)


@dataclass(frozen=True)
class _Form:
    """What scales and zero points must be like."""

    grid: WeightGrid
    symmetric: bool
    power_of_two: bool
    minimum: NDArray[np.float64]

    def scale_and_zero(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        least, most = self.grid.low, self.grid.high
        span = np.maximum(low / least, high / most) if self.symmetric else (high - low) / (most - least)
        scale = np.maximum(span, self.minimum).astype(np.float32)
        if self.power_of_two:
            scale = next_power_of_two(scale.astype(np.float64)).astype(np.float32)
        if (scale > MAX_SCALE).any():
            raise ModelError("weights are too large to be quantized")
        if self.symmetric:
            return scale, np.zeros(scale.shape, np.int32)
        return scale, np.clip(np.rint(least - low / scale), least, most).astype(np.int32)


def _best_fractions(
    rows: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], form: _Form
) -> NDArray[np.float64]:
    best, least = np.ones_like(low), np.full_like(low, np.inf)
    for fraction in _FRACTIONS if form.grid.kind == "int8" else _FRACTIONS_BELOW_8_BITS:
        scale, zero = form.scale_and_zero(low * fraction, high * fraction)
        wide, offset = scale.astype(np.float64)[:, None], zero[:, None]
        integers = np.clip(np.rint(rows / wide), form.grid.low - offset, form.grid.high - offset)
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
    kind: WeightType = "int8",
    symmetric: bool = True,
    search: bool = False,
    power_of_two: bool = False,
    rounding: Rounding = quantize_weights,
) -> LayerIntegers:
    """Integer weights and bias of a layer, such that its accumulator cannot overflow.

    Args:
        weights: with the output channels along ``axis``.
        bias: one a channel, or None.
        inputs: parameters of the layer's input (per tensor).
        axis: of the output channels.
        per_channel: one scale for each channel instead of one.
        kind: see :func:`weight_qparams`, as the next three.
        symmetric: whether the zero point of weights is 0.
        search: whether the range is searched.
        power_of_two: of the scales of weights.
        rounding: chooses the integers.

    Raises:
        ModelError: a weight or a bias is NaN, infinite or too large for any scale.
        UnsupportedError: no scale keeps the accumulator within 32 bits.
    """
    if bias is not None and not np.isfinite(bias).all():
        raise ModelError("a bias is NaN or infinite")
    minimum = _minimum_scale(weights, bias, float(inputs.scale), axis, per_channel)
    for _ in range(_WIDENINGS):
        qparams = weight_qparams(
            weights,
            axis if per_channel else None,
            kind=kind,
            symmetric=symmetric,
            search=search,
            power_of_two=power_of_two,
            minimum_scale=minimum,
        )
        quantized = rounding(weights, qparams, weight_grid(kind, symmetric=symmetric))
        result, bounds = _integers(quantized, bias, inputs, axis)
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
    quantized: QArray, bias: NDArray[np.floating] | None, inputs: QParams, axis: int
) -> tuple[LayerIntegers, NDArray[np.int64]]:
    qparams = quantized.qparams
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
