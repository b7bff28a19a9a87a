"""Integers carried in float64, and their requantization, in torch: equal to :mod:`microlith.quant` bit for bit.

Sums of products are formed in float64. The spec refuses accumulators beyond 32 bits, so every partial sum is an integer
of magnitude below 2**53 and exact, in whatever order it is formed. Products of ``fixed`` requantization have up to 62
bits and are formed in int64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microlith.ops.base import Output
from microlith.quant.lut import identity_table
from microlith.quant.requantize import FixedRequant, Requant, Ties
from microlith.quant.types import LIMITS, QParams, held

Step = Callable[[Tensor], Tensor]


def carried(x: Tensor) -> Tensor:
    """Integers of any type in float64."""
    return x.to(torch.float64)


def centered(qparams: QParams, rank: int) -> Step:
    """Integers less their zero point, of a tensor of this rank."""
    zero = torch.from_numpy(np.asarray(qparams.broadcast(qparams.zero_point, rank), np.float64))
    return lambda x: carried(x) - zero


def lookup(table: NDArray[np.integer], x: QParams) -> Step:
    """A table of shape (1, N), or (C, N) along axis 1, applied to every element."""
    least, _ = LIMITS[held(x.dtype)]
    entries = torch.from_numpy(np.asarray(table, np.float64))
    if entries.dim() == 1 or entries.shape[0] == 1:
        flat = entries.reshape(-1)
        return lambda values: flat[(values - least).long()]

    def by_channel(values: Tensor) -> Tensor:
        channels = torch.arange(entries.shape[0]).reshape(-1, *[1] * (values.dim() - 2))
        return entries[channels, (values - least).long()]

    return by_channel


def requantized(x: QParams, output: Output) -> Step:
    """Integers with the meaning of the output, within its bounds."""
    y, low, high = output.qparams, output.low, output.high
    if not x.same(y):
        return lookup(identity_table(x, y, low, high), x)
    return (lambda values: values) if (low, high) == (y.low, y.high) else lambda values: values.clamp(low, high)


def saturated(scaled: Tensor, output: Output) -> Tensor:
    """Scaled accumulators with the zero point added, within the bounds of the output."""
    return (scaled + float(output.qparams.zero_point)).clamp(output.low, output.high)


def scaling(how: Requant, shape: tuple[int, ...] = (), ties: Ties = "up") -> Step:
    """Accumulators scaled and rounded, neither offset nor saturated.

    Args:
        how: the scale.
        shape: in which the parameters broadcast against accumulators; their own by default.
        ties: of ``fixed``, as in :func:`microlith.quant.requantize.scale_accumulator`.
    """
    if not isinstance(how, FixedRequant):
        scale = torch.from_numpy(np.asarray(how.scale, np.float32))
        scale = scale.reshape(shape) if shape else scale
        # The accumulator and the product are rounded to float32, one after the other.
        return lambda acc: torch.round((acc.to(torch.float32) * scale).to(torch.float64))
    multiplier = torch.from_numpy(np.asarray(how.multiplier, np.int64))
    shift = torch.from_numpy(np.asarray(how.shift, np.int64))
    if shape:
        multiplier, shift = multiplier.reshape(shape), shift.reshape(shape)
    left, right = shift.clamp(min=0), (-shift).clamp(min=0)
    mask = (torch.ones((), dtype=torch.int64) << right) - 1
    half = mask >> 1

    def fixed(acc: Tensor) -> Tensor:
        high = ((acc.to(torch.int64) << left) * multiplier + (1 << 30)) >> 31
        threshold = half + (high < 0) if ties == "away" else half
        return carried((high >> right) + ((high & mask) > threshold))

    return fixed
