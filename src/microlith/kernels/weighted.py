"""Layers with weights: integer ones with the zero point of the input moved into the bias, float ones interleaved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.arguments import zero_point
from microlith.kernels.base import CallContext, Packed
from microlith.kernels.descriptor import accumulator_refusal, plain, requant_refusal
from microlith.kernels.remembered import by_constants


def centered_weights(ctx: CallContext) -> NDArray[np.int64]:
    """Weights less their zero points, one row for each output channel."""
    weights = ctx.consts["weights"].astype(np.int64)
    rows = weights.reshape(weights.shape[0], -1)
    zero = ctx.consts.get("weight_zero")
    return rows if zero is None else rows - zero.astype(np.int64).reshape(-1, 1)


def folded_bias(ctx: CallContext) -> NDArray[np.int64]:
    """bias - x_zero * sum of (w - weight_zero): sum of (x - x_zero) * (w - weight_zero) without subtracting from x.

    It holds with padding too where a tap in the padding reads x_zero.
    """
    folded: NDArray[np.int64] = ctx.consts["bias"].astype(np.int64) - zero_point(ctx.reads[0]) * centered_weights(
        ctx
    ).sum(axis=1)
    return folded


@by_constants
def accumulator_bound(ctx: CallContext) -> int:
    """Greatest magnitude of any partial sum, for x in [-128, 127] and the weights as they are."""
    return int((np.abs(folded_bias(ctx)) + 128 * np.abs(centered_weights(ctx)).sum(axis=1)).max())


@by_constants
def result_range(ctx: CallContext) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and greatest finished accumulator of each channel, for x in [-128, 127]."""
    weights, bias, zero = centered_weights(ctx), ctx.consts["bias"].astype(np.int64), zero_point(ctx.reads[0])
    above = np.maximum(weights, 0).sum(axis=1)
    below = weights.sum(axis=1) - above
    return bias + above * (-128 - zero) + below * (127 - zero), bias + above * (127 - zero) + below * (-128 - zero)


def weighted_refusal(ctx: CallContext, out_channels: int) -> str:
    """Why weights, bias or requantization do not serve; empty where they do."""
    for role in ("weights", "bias"):
        if role not in ctx.consts:
            return f"the call has no {role}"
    if ctx.consts["weights"].shape[0] != out_channels or ctx.consts["bias"].shape != (out_channels,):
        return f"weights {ctx.consts['weights'].shape} and bias {ctx.consts['bias'].shape} for {out_channels} channels"
    return requant_refusal(ctx, 1, out_channels) or accumulator_refusal(ctx, accumulator_bound(ctx))


def pack_weighted(ctx: CallContext, weights: Packed) -> Mapping[str, Packed]:
    """All consts: the weights as given, the bias folded, the rest in Program order.

    The packing of the bias names what was folded into it, since other calls may fold otherwise.
    """
    reference = ctx.call.consts["weights"]
    fold = f"less {zero_point(ctx.reads[0])} * sum of {reference.id}{list(reference.slice or ())}"
    packed = {role: plain(values) for role, values in ctx.consts.items() if role not in ("weights", "bias")}
    return packed | {"weights": weights, "bias": plain(folded_bias(ctx).astype(np.int32), fold)}


# Output channels that the float kernels compute together; ML_F32_LANES in f32_block.h.
F32_LANES = 8
# Rows that they compute together on a microcontroller and elsewhere; ML_F32_ROWS in f32_block.h.
F32_ROWS = (2, 4)


def f32_weighted_refusal(ctx: CallContext, out_channels: int) -> str:
    """Why weights or bias of a float layer do not serve; empty where they do."""
    for role in ("weights", "bias"):
        if role not in ctx.consts:
            return f"the call has no {role}"
        if ctx.consts[role].dtype != np.float32:
            return f"{role} are {ctx.consts[role].dtype}, the kernel takes float32"
    if ctx.consts["weights"].shape[0] != out_channels or ctx.consts["bias"].shape != (out_channels,):
        return f"weights {ctx.consts['weights'].shape} and bias {ctx.consts['bias'].shape} for {out_channels} channels"
    return ""


def interleaved(rows: NDArray[np.generic], packing: str) -> Packed:
    """Rows (groups, O, K) as (groups, O / 8, K, 8), filled up with zeros where O is no multiple of 8."""
    groups, outputs, depth = rows.shape
    blocks = -(-outputs // F32_LANES)
    padded = np.zeros((groups, blocks * F32_LANES, depth), rows.dtype)
    padded[:, :outputs] = rows
    values = padded.reshape(groups, blocks, F32_LANES, depth).swapaxes(2, 3)
    return Packed(np.ascontiguousarray(values).reshape(-1), packing, align=4, tiles=F32_LANES * depth)
