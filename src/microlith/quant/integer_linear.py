"""Convolution and matrix products on integers: 32-bit accumulators, requantized per tensor or per output channel."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.accumulator import accumulator_bound, check_accumulator, magnitude
from microlith.quant.factors import linear_requant
from microlith.quant.requantize import scale_accumulator
from microlith.quant.types import QArray, QParams, Requantization
from microlith.quant.volumes import VolumeGeometry, correlate_transposed
from microlith.quant.windows import Geometry, correlate

S = TypeVar("S", bound=np.generic)

# Above this magnitude float32 and float64 no longer hold every integer.
_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53


def conv2d(
    x: QArray,
    weights: QArray,
    bias: QArray | None,
    geometry: Geometry,
    groups: int,
    y: QParams,
    mode: Requantization,
) -> NDArray[np.int64]:
    """Scaled results (N, O, OH, OW), neither offset nor saturated.

    Args:
        x: (N, C, H, W); padding contributes nothing, as if it held the zero point.
        weights: (O, C/groups, KH, KW), per tensor or per channel along axis 0.
        bias: int32 (O,) with scale ``sx * sw``, or None.
        geometry: of the windows.
        groups: number of groups.
        y: meaning of the result.
        mode: requantization.
    """
    _check_channel_axis(weights, 0)
    _check_bias(bias, x.qparams, weights.qparams)
    requant = linear_requant(x.qparams, weights.qparams, y, mode)
    kernel = weights.centered()
    bound = accumulator_bound(kernel.reshape(kernel.shape[0], -1), x.qparams, None if bias is None else bias.values)
    check_accumulator(bound, requant)
    acc = _correlate_exactly(x.centered(), kernel, geometry, groups, bound)
    if bias is not None:
        acc += bias.values.reshape(-1, 1, 1)
    return np.moveaxis(scale_accumulator(np.moveaxis(acc, 1, -1), requant), -1, 1)


def conv_transpose(
    x: QArray,
    weights: QArray,
    bias: QArray | None,
    geometry: VolumeGeometry,
    groups: int,
    y: QParams,
    mode: Requantization,
) -> NDArray[np.int64]:
    """Scaled results (N, O, *output) of a transposed convolution, neither offset nor saturated.

    Args:
        x: (N, C, *size); places that no product reaches hold the bias alone.
        weights: (C, O/groups, *kernel), per tensor or, in one group, per channel along axis 1.
        bias: int32 (O,) with scale ``sx * sw``, or None.
        geometry: of the windows.
        groups: number of groups.
        y: meaning of the result.
        mode: requantization.
    """
    _check_channel_axis(weights, 1)
    if weights.qparams.axis is not None and groups > 1:
        raise UnsupportedError("weights of a ConvTranspose with groups are quantized per channel, expected per tensor")
    _check_bias(bias, x.qparams, weights.qparams)
    requant = linear_requant(x.qparams, weights.qparams, y, mode)
    kernel = weights.centered()
    rows = output_rows(kernel, groups)
    bound = accumulator_bound(rows.reshape(rows.shape[0], -1), x.qparams, None if bias is None else bias.values)
    check_accumulator(bound, requant)
    # Exact: see _correlate_exactly.
    found = correlate_transposed(x.centered().astype(np.float64), kernel.astype(np.float64), geometry, groups)
    acc = found.astype(np.int64)
    if bias is not None:
        acc += bias.values.reshape(-1, *[1] * len(geometry.kernel))
    return np.moveaxis(scale_accumulator(np.moveaxis(acc, 1, -1), requant), -1, 1)


def output_rows(weights: NDArray[S], groups: int) -> NDArray[S]:
    """Weights (C, O/groups, *kernel) of a transposed convolution as (O, C/groups, *kernel)."""
    channels, filters = weights.shape[:2]
    split = weights.reshape(groups, channels // groups, filters, *weights.shape[2:])
    return split.swapaxes(1, 2).reshape(groups * filters, channels // groups, *weights.shape[2:])


def fully_connected(
    x: QArray, weights: QArray, bias: QArray | None, y: QParams, mode: Requantization
) -> NDArray[np.int64]:
    """Scaled results (..., O) of ``x`` (..., K) and ``weights`` (O, K), with a bias that broadcasts to the result."""
    _check_channel_axis(weights, 0)
    _check_bias(bias, x.qparams, weights.qparams)
    requant = linear_requant(x.qparams, weights.qparams, y, mode)
    matrix = weights.centered()
    bound = accumulator_bound(matrix, x.qparams, None if bias is None else bias.values)
    check_accumulator(bound, requant)
    acc = _matmul_exactly(x.centered(), matrix.T, bound)
    if bias is not None:
        acc = acc + bias.values
    return scale_accumulator(acc, requant)


def matmul(a: QArray, b: QArray, y: QParams, mode: Requantization) -> NDArray[np.int64]:
    """Scaled results of ``a`` (..., M, K) by ``b`` (..., K, N), both per tensor, or ``b`` per column."""
    if b.qparams.axis is not None:
        _check_channel_axis(b, b.values.ndim - 1)
    if a.qparams.axis is not None:
        raise UnsupportedError("the first operand of a matrix product is quantized per channel, expected per tensor")
    requant = linear_requant(a.qparams, b.qparams, y, mode)
    right = b.centered()
    # From the parameters alone, since the second operand may differ from sample to sample.
    bound = right.shape[-2] * magnitude(a.qparams) * magnitude(b.qparams)
    check_accumulator(bound, requant)
    acc = _matmul_exactly(a.centered(), right, bound)
    return scale_accumulator(acc, requant)


def _correlate_exactly(
    x: NDArray[np.int32], weights: NDArray[np.int32], geometry: Geometry, groups: int, bound: int
) -> NDArray[np.int64]:
    # Every product and every partial sum, in whatever order the library forms them, is an integer of at most `bound`:
    # floating point that holds all of those computes it exactly, and matrix products of floats are the fast ones.
    if bound <= _EXACT_FLOAT32:
        return np.asarray(correlate(x.astype(np.float32), weights.astype(np.float32), geometry, groups), np.int64)
    assert bound <= _EXACT_FLOAT64, "the bound was checked against 32 bits"
    return np.asarray(correlate(x.astype(np.float64), weights.astype(np.float64), geometry, groups), np.int64)


def _matmul_exactly(a: NDArray[np.int32], b: NDArray[np.int32], bound: int) -> NDArray[np.int64]:
    # Exact for the reason given above.
    if bound <= _EXACT_FLOAT32:
        return np.asarray(np.matmul(a.astype(np.float32), b.astype(np.float32)), np.int64)
    assert bound <= _EXACT_FLOAT64, "the bound was checked against 32 bits"
    return np.asarray(np.matmul(a.astype(np.float64), b.astype(np.float64)), np.int64)


def _check_channel_axis(weights: QArray, axis: int) -> None:
    if weights.qparams.axis not in (None, axis):
        raise UnsupportedError(
            f"weights are quantized along axis {weights.qparams.axis}; only their output channels, axis {axis}, can "
            "have scales of their own"
        )


def _check_bias(bias: QArray | None, x: QParams, w: QParams) -> None:
    if bias is None:
        return
    product = x.scale.astype(np.float64) * w.scale.astype(np.float64)
    # The product is rounded to float32, perhaps after a step in float32 that an earlier tool took.
    if bias.values.dtype != np.int32 or bias.qparams.zero_point.any():
        raise UnsupportedError(f"the bias is {bias.values.dtype} with a zero point, expected int32 without one")
    if not np.allclose(bias.qparams.scale, product, rtol=1e-5, atol=0.0):
        raise UnsupportedError(
            "the scale of the bias is not the product of the scales of the input and the weights",
            hint="Quantize the bias with that product as its scale.",
        )
