from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.quant.observers import Histogram, MinMaxObserver, MseObserver, Observer, PercentileObserver
from microlith.quant.schemes import Grid, qparams_from_range, quantize_array


def _observers() -> tuple[Observer, ...]:
    return MinMaxObserver(), PercentileObserver(99.0), MseObserver(Grid("int8"))


def _feed(observer: Observer, batches: list[NDArray[np.float32]]) -> tuple[float, float]:
    for batch in batches:
        observer.update(batch)
    return observer.range()


def _heavy_tailed(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_t(3, 20_000).astype(np.float32)


def test_minmax_is_that_of_the_whole_set(rng: np.random.Generator) -> None:
    data = _heavy_tailed(rng)
    assert _feed(MinMaxObserver(), np.array_split(data, 7)) == (float(data.min()), float(data.max()))


@pytest.mark.parametrize("order", [1, -1])
def test_streaming_gives_the_histogram_of_the_whole_set(rng: np.random.Generator, order: int) -> None:
    # Sorted by magnitude, the range grows at nearly every batch.
    data = _heavy_tailed(rng) * 1000
    data = data[np.argsort(np.abs(data))]
    whole, parts = Histogram(512), Histogram(512)
    whole.update(data)
    for batch in np.array_split(data, 50)[::order]:
        parts.update(batch)
    assert np.array_equal(whole.counts, parts.counts)
    assert (whole.exponent, whole.first, whole.count) == (parts.exponent, parts.first, parts.count)
    assert whole.sums == pytest.approx(parts.sums, rel=1e-9)
    assert whole.counts.sum() == data.size


@settings(max_examples=100)
@given(
    st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_any_stream_gives_the_histogram_of_the_whole_set(batches: list[list[float]]) -> None:
    whole, parts = Histogram(16), Histogram(16)
    data = np.array([value for batch in batches for value in batch], np.float32)
    whole.update(data)
    for batch in batches:
        parts.update(np.array(batch, np.float32))
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.exponent == parts.exponent
    assert parts.counts.sum() == data.size
    edges = parts.edges()
    for index, (low, high) in enumerate(pairwise(edges)):
        assert parts.counts[index] == np.count_nonzero((data >= low) & (data < high))


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 100.0])
def test_percentile_is_within_a_bin_of_numpys(rng: np.random.Generator, percentile: float) -> None:
    data = _heavy_tailed(rng)
    observer = PercentileObserver(percentile)
    low, high = _feed(observer, np.array_split(data, 9))
    width = observer.histogram.width
    assert high == pytest.approx(np.percentile(data, percentile, method="higher"), abs=width)
    assert low == pytest.approx(np.percentile(data, 100 - percentile, method="lower"), abs=width)
    assert data.min() <= low
    assert high <= data.max()


def test_mse_has_less_error_than_minmax_and_than_its_neighbours(rng: np.random.Generator) -> None:
    data = _heavy_tailed(rng)

    def error(low: float, high: float, grid: Grid) -> float:
        back = quantize_array(data, qparams_from_range(low, high, grid)).dequantize()
        return float(np.mean((back.astype(np.float64) - data) ** 2))

    for grid in (Grid("int8"), Grid("uint8"), Grid("int8", symmetric=True)):
        low, high = _feed(MseObserver(grid), np.array_split(data, 5))
        found = error(low, high, grid)
        assert found < 0.97 * error(float(data.min()), float(data.max()), grid)
        for factor in (0.8, 0.9, 1.2, 1.5):
            assert found <= error(low * factor, high * factor, grid)


def test_mse_clips_only_the_end_that_has_outliers(rng: np.random.Generator) -> None:
    data = np.append(rng.uniform(-1, 1, 200_000), 1.5).astype(np.float32)
    low, high = _feed(MseObserver(Grid("int8")), [data])
    assert low == pytest.approx(-1.0, abs=0.05)
    assert high == pytest.approx(1.0, abs=0.1)


def test_mse_keeps_the_range_of_values_that_it_represents_exactly(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, 10_000).astype(np.float32)
    pixels[:2] = 0, 255
    assert _feed(MseObserver(Grid("uint8")), [pixels]) == (0.0, 255.0)


def test_memory_does_not_grow(rng: np.random.Generator) -> None:
    histogram = Histogram()
    histogram.update(rng.standard_normal(10))
    before = histogram.counts.nbytes + histogram.sums.nbytes
    for scale in range(1, 40):
        histogram.update(rng.standard_normal(1000) * 3.0**scale)
    assert histogram.counts.nbytes + histogram.sums.nbytes == before
    assert not [value for value in vars(histogram).values() if isinstance(value, list | dict | set)]


@pytest.mark.parametrize("data", [[0.0, 0.0], [3.0, 3.0], [-2.5], [1e-45]])
def test_degenerate_data(data: list[float]) -> None:
    array = np.array(data, np.float32)
    for observer in _observers():
        low, high = _feed(observer, [array])
        assert np.isfinite([low, high]).all()
        assert low <= high or (low, high) == (0.0, 0.0)


def test_zeros_before_large_values_merge_into_one_bin() -> None:
    histogram = Histogram(8)
    histogram.update(np.zeros(3))
    histogram.update(np.array([1e30, -1e30]))
    assert histogram.counts.sum() == 5
    values, counts = histogram.nonzero()
    assert counts.tolist() == [1, 1]
    assert values == pytest.approx([-1e30, 1e30])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad: float) -> None:
    for observer in _observers():
        with pytest.raises(InputError, match="NaN or infinite"):
            observer.update(np.array([0.0, bad], np.float32))


def test_a_range_without_data_is_refused() -> None:
    for observer in _observers():
        observer.update(np.zeros(0, np.float32))
        with pytest.raises(InputError, match="before any value"):
            observer.range()
