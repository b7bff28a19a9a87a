"""Ranges from histograms against searches over the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.quant.calibration import cosine_range, entropy_range, range_of
from microlith.quant.observers import Histogram
from microlith.quant.schemes import CalibrationMethod, Grid, Scheme, qparams_from_range, quantize_array

FRACTIONS = np.geomspace(1.0, 1.0 / 32, 128)


def _histogram(*batches: NDArray[np.float32]) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.update(batch)
    return histogram


def _rectified(rng: np.random.Generator, tail: float) -> NDArray[np.float32]:
    values = np.maximum(rng.standard_normal(20_000), 0)
    values[:20] = tail
    return values.astype(np.float32)


def test_a_moving_average_forgets_slowly() -> None:
    histogram = _histogram(*(np.array([-step, 10.0 * step], np.float32) for step in (1, 2, 3)))
    low, high = range_of(histogram, Scheme(calibration="moving_average"))
    expected = 1.0
    for step in (2, 3):
        expected = 0.9 * expected + 0.1 * step
    assert (low, high) == (pytest.approx(-expected), pytest.approx(10 * expected))


def test_a_moving_average_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="before any value"):
        range_of(Histogram(), Scheme(calibration="moving_average"))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_cosine_is_the_best_of_all_upper_ends(rng: np.random.Generator, dtype: str) -> None:
    values, grid = _rectified(rng, 12.0), Grid(dtype)  # type: ignore[arg-type]

    def cosine(high: float) -> float:
        made = quantize_array(values, qparams_from_range(0.0, high, grid)).dequantize().astype(np.float64)
        return float(made @ values / np.linalg.norm(made) / np.linalg.norm(values))

    low, high = cosine_range(_histogram(values), grid)
    assert low == 0
    assert cosine(high) >= max(cosine(12.0 * fraction) for fraction in FRACTIONS) - 1e-6
    assert high < 12.0 or dtype == "int8"


def _divergence(values: NDArray[np.float32], high: float, levels: int, bins: int) -> float:
    """The same measure written out: a histogram, its part below ``high``, and what ``levels`` values leave of it."""
    counts, edges = np.histogram(values[values > 0], bins=bins, range=(0.0, float(values.max())))
    centres = (edges[:-1] + edges[1:]) / 2
    inside = np.flatnonzero((np.rint(centres / (high / levels)) <= levels) & (counts > 0))
    p = counts[inside].astype(float)
    p[-1] += counts[inside[-1] + 1 :].sum()
    q = np.zeros(inside.size)
    level = np.rint(centres[inside] / (high / levels)).astype(int)
    for item in np.unique(level):
        members = level == item
        q[members] = counts[inside][members].sum() / members.sum()
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


@pytest.mark.parametrize(("dtype", "levels"), [("int8", 255), ("int4", 15)])
def test_entropy_has_the_least_divergence(rng: np.random.Generator, dtype: str, levels: int) -> None:
    values = _rectified(rng, 12.0)
    histogram = _histogram(values)
    low, high = entropy_range(histogram, Grid(dtype))  # type: ignore[arg-type]
    assert low == 0
    bins = round(12.0 / histogram.width)
    found = {fraction: _divergence(values, 12.0 * fraction, levels, bins) for fraction in FRACTIONS}
    assert _divergence(values, high, levels, bins) <= min(found.values()) + 0.01
    assert high < 12.0


METHODS: tuple[CalibrationMethod, ...] = ("minmax", "moving_average", "percentile", "entropy", "mse", "cosine")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_stays_within_what_was_seen(rng: np.random.Generator, method: CalibrationMethod) -> None:
    values = rng.standard_normal(5000).astype(np.float32)
    for data in (values, np.abs(values), -np.abs(values), np.zeros(5, np.float32), np.ones(5, np.float32)):
        low, high = range_of(_histogram(data), Scheme(calibration=method))
        assert min(data.min(), 0.0) <= low <= high <= max(data.max(), 0.0)
