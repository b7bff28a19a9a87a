"""How large the sums of an integer op can become, and whether 32 bits hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.quant.requantize import FixedRequant, Requant
from microlith.quant.types import QParams


def magnitude(x: QParams) -> int:
    """Greatest ``abs(integer - zero_point)`` that a tensor can hold."""
    return int(np.maximum(x.high - x.zero_point.astype(np.int64), x.zero_point.astype(np.int64) - x.low).max())


def accumulator_bound(weights: NDArray[np.int32], x: QParams, bias: NDArray[np.generic] | None) -> int:
    """Greatest magnitude that any partial sum can reach, with ``weights`` (O, K) centered and any input."""
    sums = np.abs(weights.astype(np.int64)).sum(axis=1) * magnitude(x)
    if bias is not None:
        start = np.abs(bias.astype(np.int64))
        sums = sums + (start.reshape(-1) if start.size == sums.size else start.max(initial=0))
    return int(sums.max(initial=0))


def check_accumulator(bound: int, requant: Requant) -> None:
    """Refuse weights with which a 32-bit accumulator, shifted left where the multiplier says so, could overflow."""
    left = max(0, int(requant.shift.max(initial=0))) if isinstance(requant, FixedRequant) else 0
    if bound << left > 2**31 - 1:
        raise UnsupportedError(
            f"a sum can reach {bound:,}"
            + (f" and is shifted left by {left} bits" if left else "")
            + ", which does not fit in the 32-bit accumulator",
            hint="Check the scales of the input, the weights and the bias.",
        )
