"""Intervals: what a figure from n samples says about the figure that it estimates. All are two-sided, 95%."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.core.evidence import Evidence, How

Z95 = 1.959963984540054
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its 95% interval, from n samples."""

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> Interval:
        """All three times a factor; a negative one exchanges the ends."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high, self.n)

    def evidence(self, metric: str, unit: str, how: How, context: Mapping[str, str] | None = None) -> Evidence:
        """The figure as evidence."""
        return Evidence(metric, self.value, self.low, self.high, self.n, unit, how, context or {})


def wilson(successes: int, n: int) -> Interval:
    """The score interval of a proportion.

    With p = successes / n, z the normal quantile: centre (p + z^2 / 2n) / (1 + z^2 / n), half width
    z / (1 + z^2 / n) * sqrt(p (1 - p) / n + z^2 / 4n^2).

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    _check_count(successes, n)
    p = successes / n
    shrink = 1 + Z95**2 / n
    centre = (p + Z95**2 / (2 * n)) / shrink
    half = Z95 / shrink * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
    # At p = 0 and p = 1 one end is exact, and rounding must not push it past the estimate.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(p, low, high, n)


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """Proportion of ``first`` minus proportion of ``second``, where both judge the same samples.

    With b samples true in ``first`` alone and c in ``second`` alone, half a sample is added to each of the four cells
    of the 2 x 2 table: n' = n + 2, p = (b + 1/2) / n', q = (c + 1/2) / n', and the interval is
    p - q -+ z sqrt((p + q - (p - q)^2) / n'), cut to [-1, 1]. The value is (b - c) / n.

    Source: Agresti and Min, Simple improved confidence intervals for comparing matched proportions (2005), section 3.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired samples of shapes {first.shape} and {second.shape}")
    n = len(first)
    b, c = int(np.sum(first & ~second)), int(np.sum(~first & second))
    _check_count(b + c, n)
    p, q = (b + 0.5) / (n + 2), (c + 0.5) / (n + 2)
    half = Z95 * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Interval((b - c) / n, max(-1.0, p - q - half), min(1.0, p - q + half), n)


def bootstrap(
    n: int,
    statistic: Callable[[NDArray[np.intp]], float],
    rng: np.random.Generator,
    *,
    strata: NDArray[np.generic] | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """The percentile interval of a statistic of n samples.

    Args:
        n: samples.
        statistic: of the samples at the given positions, with repetitions.
        rng: draws the resamples.
        strata: a class for every sample; each class is then resampled by itself and keeps its size.
        resamples: drawn.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    drawn = [statistic(chosen) for chosen in draws(n, rng, strata=strata, resamples=resamples)]
    return percentile_interval(statistic(np.arange(n)), drawn, n)


def draws(
    n: int, rng: np.random.Generator, *, strata: NDArray[np.generic] | None = None, resamples: int = RESAMPLES
) -> Iterator[NDArray[np.intp]]:
    """Positions of n samples drawn with repetition, again and again; arguments as in :func:`bootstrap`."""
    _check_count(0, n)
    groups = [np.arange(n)] if strata is None else [np.flatnonzero(strata == value) for value in np.unique(strata)]
    for _ in range(resamples):
        yield np.concatenate([rng.choice(group, len(group)) for group in groups])


def percentile_interval(value: float, drawn: Sequence[float], n: int) -> Interval:
    """The middle 95% of the figures of resamples, widened to hold the figure of the samples themselves."""
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(float(value), float(min(low, value)), float(max(high, value)), n)


def bootstrap_mean(values: NDArray[np.floating], rng: np.random.Generator, *, resamples: int = RESAMPLES) -> Interval:
    """The percentile interval of the mean of values, shape (n,)."""
    return bootstrap(len(values), lambda chosen: float(values[chosen].mean()), rng, resamples=resamples)


def _check_count(successes: int, n: int) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} samples")
