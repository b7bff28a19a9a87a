"""Choosing the range of a tensor from the histogram of its values.

A wider range rounds more coarsely, a narrower one saturates more values; the methods weigh that differently.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.quant.schemes import Grid, Scheme, qparams_from_range, representable, widen_to_zero
from microlith.quant.types import QParams

# Ends that the search tries, as fractions of the observed end: 1 down to 1/32.
_FRACTIONS = np.geomspace(1.0, 1.0 / 32, 128)
_ROUNDS = 4


class Counts(Protocol):
    """What the methods read of a histogram; see :class:`microlith.quant.observers.Histogram`."""

    count: int
    average: tuple[float, float] | None
    minimum: float
    maximum: float
    counts: NDArray[np.int64]

    @property
    def width(self) -> float:
        """Width of a bin."""
        ...

    def edges(self) -> NDArray[np.float64]:
        """Edges of the bins."""
        ...

    def nonzero(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and number of the values other than 0 in each bin that holds any."""
        ...


def percentile_range(histogram: Counts, percentile: float) -> tuple[float, float]:
    """The range beyond which at most ``100 - percentile`` percent of the values lie at either end.

    Each end is the outer edge of the bin of that value, within the observed range.
    """
    beyond = int((histogram.count - 1) * (100.0 - percentile) / 100.0)
    cumulative = np.cumsum(histogram.counts)
    edges = histogram.edges()
    low_bin = int(np.searchsorted(cumulative, beyond, side="right"))
    high_bin = int(np.searchsorted(cumulative, histogram.count - beyond, side="left"))
    return max(float(edges[low_bin]), histogram.minimum), min(float(edges[high_bin + 1]), histogram.maximum)


def mse_range(histogram: Counts, grid: Grid) -> tuple[float, float]:
    """The range of least expected squared quantization error.

    Source: the clipping search of Banner et al., Post training 4-bit quantization of convolutional networks for
    rapid-deployment (2019), section 3, with the observed histogram in place of a fitted distribution.
    """
    return _searched_range(histogram, grid, squared_error)


def cosine_range(histogram: Counts, grid: Grid) -> tuple[float, float]:
    """The range for which the quantized values have the least angle with the values.

    Source: Wu et al., EasyQuant: Post-training Quantization via Scale Optimization (2020), section 3.
    """
    return _searched_range(histogram, grid, one_minus_cosine)


Error = Callable[[NDArray[np.float64], NDArray[np.float64], float, QParams], float]
"""Of quantizing values with their numbers, known to within bins of a width, with parameters."""


def _searched_range(histogram: Counts, grid: Grid, measure: Error) -> tuple[float, float]:
    """The range of least error, searched at both ends in turn."""
    low, high = widen_to_zero(histogram.minimum, histogram.maximum)
    means, weights = histogram.nonzero()

    def error(low: float, high: float) -> float:
        return measure(means, weights, histogram.width, qparams_from_range(low, high, grid))

    if grid.symmetric:
        limit = max(-low, high)
        best = min((limit * float(fraction) for fraction in _FRACTIONS), key=lambda end: error(-end, end))
        return max(low, -best), min(high, best)
    lower, upper = low, high
    for _ in range(_ROUNDS):
        before = lower, upper
        upper = _best(high, partial(error, lower))
        lower = _best(low, partial(_flipped, error, upper))
        if (lower, upper) == before:
            break
    return lower, upper


def _flipped(error: Callable[[float, float], float], high: float, low: float) -> float:
    return error(low, high)


def _best(end: float, error: Callable[[float], float]) -> float:
    """The end among the fractions of ``end`` with the least error, the widest among equals."""
    return min((end * float(fraction) for fraction in _FRACTIONS), key=error) if end else end


def squared_error(values: NDArray[np.float64], weights: NDArray[np.float64], width: float, qparams: QParams) -> float:
    """Expected squared error of quantizing values other than 0 that are known to within bins of a width.

    Where bins are narrower than a quarter of a quantum the rounding of their means is exact enough; wider bins say
    nothing about rounding, whose error is then taken as uniform within a quantum.
    """
    nearest, noise = _quantized(values, width, qparams)
    return float(np.sum(((nearest - values) ** 2 + noise) * weights))


def one_minus_cosine(
    values: NDArray[np.float64], weights: NDArray[np.float64], width: float, qparams: QParams
) -> float:
    """1 less the cosine between values and what quantization makes of them; see :func:`squared_error`."""
    nearest, noise = _quantized(values, width, qparams)
    product = float(np.sum(nearest * values * weights))
    lengths = float(np.sum(values**2 * weights)) * float(np.sum((nearest**2 + noise) * weights))
    return 1.0 - product / np.sqrt(lengths) if lengths > 0 else 1.0


def _quantized(values: NDArray[np.float64], width: float, qparams: QParams) -> tuple[NDArray[np.float64], float]:
    """What the values become, and the mean square of what rounding adds to that."""
    scale, zero = float(qparams.scale), int(qparams.zero_point)
    if width <= scale / 4:
        return np.clip(np.rint(values / scale), qparams.low - zero, qparams.high - zero) * scale, 0.0
    return np.clip(values, *representable(qparams)), scale**2 / 12


def entropy_range(histogram: Counts, grid: Grid) -> tuple[float, float]:
    """The range of which the quantized distribution has the least divergence (Kullback-Leibler) from the values'.

    Both ends are the same fraction of the observed ones. Values beyond count at the ends of the range. Values of
    exactly 0 are left out, since they are exact in any case.

    Source: Migacz, 8-bit Inference with TensorRT (GTC 2017), with ranges that need not be symmetric.
    """
    low, high = widen_to_zero(histogram.minimum, histogram.maximum)
    if low == high:
        return low, high
    means, weights = histogram.nonzero()

    def divergence(fraction: float) -> float:
        return _divergence(means, weights, qparams_from_range(low * fraction, high * fraction, grid))

    best = min((float(fraction) for fraction in _FRACTIONS), key=divergence)
    return low * best, high * best


def _divergence(values: NDArray[np.float64], weights: NDArray[np.float64], qparams: QParams) -> float:
    scale, zero = float(qparams.scale), int(qparams.zero_point)
    levels = np.rint(values / scale).astype(np.int64) + zero
    inside = (levels >= qparams.low) & (levels <= qparams.high)
    if not inside.any():
        return float("inf")
    # The distribution with what lies beyond at the outermost bins of either end, and the one that rounding leaves: each
    # level's share spread evenly over its bins.
    kept, level = weights[inside], levels[inside] - qparams.low
    reference = kept.copy()
    reference[0] += weights[levels < qparams.low].sum()
    reference[-1] += weights[levels > qparams.high].sum()
    size = qparams.high - qparams.low + 1
    spread = np.bincount(level, weights=kept, minlength=size) / np.maximum(np.bincount(level, minlength=size), 1)
    p, q = reference / reference.sum(), spread[level] / kept.sum()
    return float(np.sum(p * np.log(p / q)))


def range_of(histogram: Counts, scheme: Scheme) -> tuple[float, float]:
    """The range that the scheme's calibration method chooses."""
    if scheme.calibration == "percentile":
        return percentile_range(histogram, scheme.percentile)
    if scheme.calibration == "mse":
        return mse_range(histogram, scheme.grid)
    if scheme.calibration == "cosine":
        return cosine_range(histogram, scheme.grid)
    if scheme.calibration == "entropy":
        return entropy_range(histogram, scheme.grid)
    if scheme.calibration == "moving_average":
        if histogram.average is None:
            raise InputError("a range was asked for before any value was observed", hint="Give calibration data.")
        return histogram.average
    return histogram.minimum, histogram.maximum


def sqnr_db(signal: NDArray[np.generic], approximation: NDArray[np.generic]) -> float:
    """Signal to quantization noise ratio in dB: ``10 log10(sum s**2 / sum (s - a)**2)``; infinite where equal.

    A signal of zeros alone with noise gives minus infinity.
    """
    return decibel(*powers(signal, approximation))


def powers(signal: NDArray[np.generic], approximation: NDArray[np.generic]) -> tuple[float, float]:
    """Sums of squares of a signal and of its difference from an approximation, whose sums over parts add up."""
    reference = np.asarray(signal, np.float64)
    noise = reference - np.asarray(approximation, np.float64)
    return float(np.sum(reference**2)), float(np.sum(noise**2))


def decibel(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)`` with its limits at 0."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")
