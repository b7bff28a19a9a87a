"""Samples with their labels, checked once, and fed to a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.data.preprocess import Preprocessing
from microlith.data.samples import ArraySamples, Samples

Array = NDArray[np.generic]
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Dataset:
    """N samples of one shape, with labels or without.

    Attributes:
        samples: the samples as stored.
        y: labels, shape (N, ...); None without.
        name: for messages.
    """

    samples: Samples
    y: Array | None
    name: str

    @classmethod
    def of(cls, x: Array, y: Array | None = None, name: str = "the data") -> Dataset:
        """A checked data set from arrays of shape (N, ...).

        Raises:
            InputError: there is no sample, a value is not a finite number, the type is none of uint8, int8 and floats,
                or there are not as many labels as samples.
        """
        if x.ndim == 0:
            raise InputError(f"{name} is a single number, expected samples of shape (N, ...)")
        dataset = cls(ArraySamples(x), y, name)
        check_labels(y, len(x), name)
        for start in range(0, len(x), _CHUNK):
            check_values(x[start : start + _CHUNK], start, name)
        return dataset

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample as stored."""
        return self.samples.sample_shape

    @property
    def x(self) -> Array:
        """All samples as one array (N, ...); for a stream this holds them in memory."""
        if isinstance(self.samples, ArraySamples):
            return self.samples.x
        return np.concatenate(list(self.samples.batches(_CHUNK)))

    def batches(self, size: int) -> Iterator[tuple[Array, Array | None]]:
        """Raw samples (at most ``size``, ...) with their labels, in order."""
        start = 0
        for x in self.samples.batches(size):
            yield x, None if self.y is None else self.y[start : start + len(x)]
            start += len(x)

    def feeds(
        self, input_name: str, preprocessing: Preprocessing | None = None, *, batch: int = 1
    ) -> Iterator[dict[str, Array]]:
        """Model inputs by name, in order; a new pass at every call.

        Args:
            input_name: of the graph input.
            preprocessing: applied to every batch; None feeds the raw values as stored.
            batch: most samples at a time.
        """
        for x in self.samples.batches(batch):
            yield {input_name: np.ascontiguousarray(x) if preprocessing is None else preprocessing.apply(x)}

    def select(self, indices: NDArray[np.intp]) -> Dataset:
        """The samples at these positions, in ascending order, with their labels."""
        chosen = np.sort(indices)
        return Dataset(self.samples.select(chosen), None if self.y is None else self.y[chosen], self.name)

    def without_labels(self) -> Dataset:
        """The same samples with no labels."""
        return Dataset(self.samples, None, self.name)

    def check_against(
        self, input_shape: tuple[int, ...], dtype: str = "float32", preprocessing: Preprocessing | None = None
    ) -> Preprocessing:
        """The preprocessing with its layout settled, after checking that the samples fit a model's input.

        Args:
            input_shape: of the graph input, batch axis first.
            dtype: NumPy name of the graph input's type. An integer input takes data of that very type, unscaled.
            preprocessing: what the user stated.

        Raises:
            InputError: shape or type do not fit, or channels-first and channels-last data would both fit.
        """
        stated = preprocessing or Preprocessing()
        self._check_dtype(dtype, stated)
        wanted, got = tuple(input_shape[1:]), self.sample_shape
        last = len(got) >= 2 and (got[-1], *got[:-1]) == wanted
        if stated.layout is None:
            stated = self._detect(stated, wanted, first=got == wanted, last=last and len(got) == 3)
        elif not (last if stated.layout == "nhwc" else got == wanted):
            raise self._mismatch(wanted, f" with layout {stated.layout}")
        if dtype == "float32":
            channels = wanted[0] if wanted else 1
            stated.affine(channels)
        return stated

    def _detect(self, stated: Preprocessing, wanted: tuple[int, ...], *, first: bool, last: bool) -> Preprocessing:
        if first and last and any(size != 1 for size in wanted):
            raise InputError(
                f"{self.name} has samples of shape {self.sample_shape}, which fit the model's input both with channels "
                "first and with channels last",
                hint="Say which it is: --layout nchw or --layout nhwc.",
            )
        if first:
            return stated
        if last:
            return replace(stated, layout="nhwc")
        raise self._mismatch(wanted, "")

    def _mismatch(self, wanted: tuple[int, ...], layout: str) -> InputError:
        got = self.sample_shape
        if sorted(got) == sorted(wanted) and len(got) == 3:
            hint = "Give --layout nhwc for samples with the channels last, or --layout nchw for channels first."
        elif len(got) < len(wanted) and np.prod(got) == np.prod(wanted):
            hint = f"Store them with every axis, for instance as x.reshape(-1, {', '.join(map(str, wanted))})."
        elif len(got) == len(wanted) - 1:
            hint = "The batch axis comes first: a batch or an iterable's item has shape (n, ...)."
        elif np.prod(got) == np.prod(wanted):
            hint = f"They hold as many values: store them as x.reshape(-1, {', '.join(map(str, wanted))})."
        else:
            hint = "Store the samples in the size that the model takes."
        return InputError(
            f"{self.name} has samples of shape {got}{layout}, and the model's input takes {wanted}", hint=hint
        )

    def _check_dtype(self, dtype: str, stated: Preprocessing) -> None:
        got = self.samples.dtype
        if dtype == "float32":
            if got != np.uint8 and not np.issubdtype(got, np.floating):
                raise InputError(
                    f"{self.name} has type {got}, and the model's input takes float32",
                    hint="Save raw samples as uint8 (0 to 255), and anything else as float32.",
                )
            return
        if got != np.dtype(dtype):
            raise InputError(
                f"{self.name} has type {got}, and the model's input takes {dtype} as it is",
                hint=f"Save the samples as {dtype}.",
            )
        if not stated.is_identity:
            raise InputError(
                f"the model takes {dtype} as it is, and a range, mean or standard deviation was given",
                hint="Leave out --input-range, --mean and --std.",
            )


def check_values(x: Array, start: int, name: str) -> None:
    """Refuse a batch of a type that no model takes, or with a value that is not finite.

    Args:
        x: samples (n, ...).
        start: position of the first one, for the message.
        name: of the data.
    """
    if x.dtype not in (np.uint8, np.int8) and not np.issubdtype(x.dtype, np.floating):
        raise InputError(
            f"{name} has type {x.dtype}, expected uint8, int8 or floats",
            hint="Save raw samples as uint8 (0 to 255), and anything else as float32.",
        )
    if 0 in x.shape[1:]:
        raise InputError(f"{name} has samples of shape {x.shape[1:]}, which hold no value")
    if np.issubdtype(x.dtype, np.floating):
        good = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
        if not good.all():
            raise InputError(
                f"{name} holds a value that is not a finite number (NaN or infinity), first in sample "
                f"{start + int(np.argmin(good))}",
                hint="Remove or repair such samples.",
            )


def check_labels(y: Array | None, samples: int, name: str) -> None:
    """Refuse an empty set, and labels that do not belong to it."""
    if samples == 0:
        raise InputError(f"{name} holds no samples")
    if y is None:
        return
    if y.ndim == 0 or len(y) != samples:
        count = "one label" if y.ndim == 0 else f"{len(y)} labels"
        raise InputError(f"{name} has {samples} samples and {count}", hint="Give one label for every sample.")
    if y.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has labels of type {y.dtype}, expected numbers",
            hint="Store the class of a sample as the index of its output.",
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InputError(f"{name} has labels that are not finite numbers (NaN or infinity)")
