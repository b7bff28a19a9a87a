"""Watching a tensor over many batches in memory that does not grow with them.

Everything rests on one histogram whose bins have a width of a power of two and an edge at zero. When a wider range
arrives, neighbouring bins merge exactly two by two, so the counts are those of a histogram taken over all data at
once, whatever the order and the size of the batches.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.quant.calibration import mse_range, percentile_range
from microlith.quant.schemes import Grid

BINS = 8192
# The least positive float32.
_LEAST_EXPONENT = -149
# Weight of what was before when a batch arrives.
_MOMENTUM = 0.9
# Bins narrower than this fraction of the largest magnitude would only resolve float32 rounding.
_FINEST = 40


class Histogram:
    """Counts and sums of finite values in bins that widen as the range grows.

    Attributes:
        count: values seen.
        zeros: values that were exactly 0.
        minimum: least value; ``inf`` before the first update.
        maximum: greatest value; ``-inf`` before the first update.
        average: moving averages of the least and greatest values of the updates, of which each new one has a weight of
            a tenth; None before the first. They depend on how the data is cut into batches.
        exponent: the bins are ``2**exponent`` wide.
        first: bin ``i`` covers ``[(first + i) * width, (first + i + 1) * width)``.
        counts: values in each bin, int64.
        sums: sum of the values in each bin, float64.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.count = 0
        self.zeros = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        self.average: tuple[float, float] | None = None
        self.exponent = 0
        self.first = 0
        self.counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self.sums: NDArray[np.float64] = np.zeros(bins, np.float64)

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self.exponent)

    def edges(self) -> NDArray[np.float64]:
        """Lower edge of every bin, and the upper edge of the last."""
        return np.arange(self.first, self.first + self.counts.size + 1, dtype=np.float64) * self.width

    def nonzero(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and number of the values other than 0 in each bin that holds any."""
        counts = self.counts.copy()
        if self.zeros:
            counts[-self.first] -= self.zeros
        used = counts > 0
        return self.sums[used] / counts[used], counts[used].astype(np.float64)

    def update(self, array: NDArray[np.floating]) -> None:
        """Count the values of an array.

        Raises:
            InputError: a value is NaN or infinite.
        """
        values = np.asarray(array, np.float64).ravel()
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("a value observed is NaN or infinite", hint="Look for NaN in model and data.")
        self.average = (
            (low, high)
            if self.average is None
            else (
                _MOMENTUM * self.average[0] + (1 - _MOMENTUM) * low,
                _MOMENTUM * self.average[1] + (1 - _MOMENTUM) * high,
            )
        )
        self._cover(min(low, self.minimum), max(high, self.maximum))
        index = np.floor(np.ldexp(values, -self.exponent)).astype(np.int64) - self.first
        self.counts += np.bincount(index, minlength=self.counts.size)
        self.sums += np.bincount(index, weights=values, minlength=self.counts.size)
        self.count += values.size
        self.zeros += int(values.size - np.count_nonzero(values))

    def _cover(self, low: float, high: float) -> None:
        exponent = _exponent(low, high, self.counts.size)
        if self.count:
            exponent = max(exponent, self.exponent)
        first = math.floor(math.ldexp(low, -exponent))
        counts, sums = np.zeros_like(self.counts), np.zeros_like(self.sums)
        if self.count:
            # 63 places leave only the sign, as any greater number would.
            index = ((self.first + np.arange(self.counts.size)) >> min(exponent - self.exponent, 63)) - first
            used = self.counts > 0
            np.add.at(counts, index[used], self.counts[used])
            np.add.at(sums, index[used], self.sums[used])
        self.counts, self.sums, self.exponent, self.first = counts, sums, exponent, first
        self.minimum, self.maximum = low, high


def _exponent(low: float, high: float, bins: int) -> int:
    """The least exponent whose bins, aligned to zero, cover ``[low, high]``: it only grows with the range."""
    largest = max(abs(low), abs(high))
    if largest == 0:
        return _LEAST_EXPONENT
    by_range = math.frexp(max(high - low, 5e-324))[1] - bins.bit_length() - 1
    exponent = max(_LEAST_EXPONENT, math.frexp(largest)[1] - _FINEST, by_range)
    while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= bins:
        exponent += 1
    return exponent


class Observer(Protocol):
    """Watches one tensor and proposes the range that its integers should cover."""

    def update(self, array: NDArray[np.floating]) -> None:
        """Take in the values of one batch."""
        ...

    def range(self) -> tuple[float, float]:
        """The range proposed, before it is widened to contain 0."""
        ...


def _require(count: int) -> None:
    if count == 0:
        raise InputError("a range was asked for before any value was observed", hint="Give calibration data.")


class MinMaxObserver:
    """The least and the greatest value."""

    def __init__(self) -> None:
        self._low, self._high, self._count = math.inf, -math.inf, 0

    def update(self, array: NDArray[np.floating]) -> None:
        """Take in the values of one batch."""
        if array.size == 0:
            return
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("a value observed is NaN or infinite", hint="Look for NaN in model and data.")
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._count += array.size

    def range(self) -> tuple[float, float]:
        """The range of all values."""
        _require(self._count)
        return self._low, self._high


class PercentileObserver:
    """The range without the extreme values at either end.

    Args:
        percentile: of the values, in percent, that the upper end lies above; the lower end mirrors it.
        bins: of the histogram.
    """

    def __init__(self, percentile: float = 99.99, bins: int = BINS) -> None:
        self._percentile = percentile
        self.histogram = Histogram(bins)

    def update(self, array: NDArray[np.floating]) -> None:
        """Take in the values of one batch."""
        self.histogram.update(array)

    def range(self) -> tuple[float, float]:
        """See :func:`microlith.quant.calibration.percentile_range`."""
        _require(self.histogram.count)
        return percentile_range(self.histogram, self._percentile)


class MseObserver:
    """The range whose quantization has the least expected squared error.

    Args:
        grid: integers that the tensor will have.
        bins: of the histogram.
    """

    def __init__(self, grid: Grid, bins: int = BINS) -> None:
        self._grid = grid
        self.histogram = Histogram(bins)

    def update(self, array: NDArray[np.floating]) -> None:
        """Take in the values of one batch."""
        self.histogram.update(array)

    def range(self) -> tuple[float, float]:
        """See :func:`microlith.quant.calibration.mse_range`."""
        _require(self.histogram.count)
        return mse_range(self.histogram, self._grid)
