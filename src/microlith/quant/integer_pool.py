"""Maxima and means of integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.quant.accumulator import check_accumulator, magnitude
from microlith.quant.factors import (
    IMAGE_MEAN_GROUP,
    average_pool_requant,
    image_mean_offset,
    image_mean_requant,
    mean_is_division,
    mean_requant,
    part,
)
from microlith.quant.integer_move import requantize
from microlith.quant.requantize import scale_accumulator
from microlith.quant.types import QArray, QParams, Requantization
from microlith.quant.windows import Geometry, padded, taps

# uint8 is stored less this much.
_STORED_OFFSET = 128


def max_pool2d(x: QArray, geometry: Geometry, y: QParams, low: int, high: int) -> NDArray[np.integer]:
    """Greatest valid element of each window of ``x`` (N, C, H, W), with the meaning of ``y``, within [low, high]."""
    # The least integer of the type stands for padding: every window holds an element, which is never below it.
    windows = taps(padded(x.values, geometry, x.qparams.low), geometry)
    result = next(windows)[2].copy()
    for _, _, seen in windows:
        np.maximum(result, seen, out=result)
    return requantize(QArray(result, x.qparams), y, low, high)


def average_pool2d(
    x: QArray, geometry: Geometry, count_include_pad: bool, y: QParams, mode: Requantization
) -> NDArray[np.int64]:
    """Scaled means of the windows of ``x`` (N, C, H, W), neither offset nor saturated.

    Where the parameters stay (``fixed``): the sum of the integers as they are stored (int8), padding that counts being
    the zero point, divided by the count, ties away from zero.
    """
    sums = sum(seen.astype(np.int64) for _, _, seen in taps(padded(x.centered(), geometry, 0), geometry))
    window = geometry.kernel[0] * geometry.kernel[1]
    counts = geometry.counts(count_include_pad)
    if mean_is_division(x.qparams, y, mode):
        zero = int(x.qparams.zero_point) - (_STORED_OFFSET if x.qparams.dtype == "uint8" else 0)
        raw = np.asarray(sums) + zero * counts
        return np.asarray(np.sign(raw) * ((np.abs(raw) + counts // 2) // counts) - zero)
    requant = average_pool_requant(x.qparams, y, window, mode)
    check_accumulator(window * magnitude(x.qparams), requant)
    return scale_accumulator(np.asarray(sums), part(requant, counts - 1))


def reduce_mean(
    x: QArray, axes: tuple[int, ...], keepdims: bool, y: QParams, mode: Requantization
) -> NDArray[np.int64]:
    """Scaled means over ``axes``, neither offset nor saturated."""
    count = int(np.prod([x.values.shape[axis] for axis in axes], dtype=np.int64))
    requant = part(mean_requant(x.qparams, y, count, mode), 0)
    check_accumulator(count * magnitude(x.qparams), requant)
    return scale_accumulator(x.centered().sum(axis=axes, keepdims=keepdims, dtype=np.int64), requant, "away")


def image_mean(x: QArray, y: QParams) -> NDArray[np.int64]:
    """Scaled means over the rows and columns of an int8 image, neither offset by ``y`` nor saturated.

    So LiteRT computes means that keep these dimensions: the sum of the integers as they are stored is scaled, and the
    zero point of the input is taken off afterwards. Of channels that fill a group the second rounding takes ties up.

    Args:
        x: (N, H, W, C).
        y: meaning of the result, which is (N, 1, 1, C).
    """
    count, channels = x.values.shape[1] * x.values.shape[2], x.values.shape[3]
    requant = part(image_mean_requant(x.qparams, y, count), 0)
    check_accumulator(count * magnitude(x.qparams), requant)
    sums = x.values.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
    grouped = channels // IMAGE_MEAN_GROUP * IMAGE_MEAN_GROUP
    parts = scale_accumulator(sums[..., :grouped], requant), scale_accumulator(sums[..., grouped:], requant, "away")
    return np.concatenate(parts, axis=-1) + image_mean_offset(x.qparams, y)


def reduce_sum(x: QArray, axes: tuple[int, ...], keepdims: bool, y: QParams, mode: Requantization) -> NDArray[np.int64]:
    """Scaled sums over ``axes``, neither offset nor saturated: a mean of one, of as many elements."""
    count = int(np.prod([x.values.shape[axis] for axis in axes], dtype=np.int64))
    requant = part(mean_requant(x.qparams, y, 1, mode), 0)
    check_accumulator(count * magnitude(x.qparams), requant)
    return scale_accumulator(x.centered().sum(axis=axes, keepdims=keepdims, dtype=np.int64), requant, "away")
