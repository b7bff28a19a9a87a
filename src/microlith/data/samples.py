"""Where samples come from: an array in memory, or an iterable that is gone through anew each time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError

Array = NDArray[np.generic]


class Samples(Protocol):
    """Samples of one shape and type, in an order that does not change."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch axis."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[Array]:
        """Arrays of shape (at most ``size``, ...), in order; a new pass at every call."""
        ...

    def select(self, indices: NDArray[np.intp]) -> Samples:
        """The samples at these ascending positions."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """Samples of an array of shape (N, ...)."""

    x: Array

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.x.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.x.dtype

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> Iterator[Array]:
        """Views of the array."""
        for start in range(0, len(self.x), size):
            yield self.x[start : start + size]

    def select(self, indices: NDArray[np.intp]) -> ArraySamples:
        """The samples at these positions."""
        return ArraySamples(self.x[indices])


@dataclass(frozen=True, eq=False)
class StreamSamples:
    """Samples of a re-iterable source, of which one item at a time is held.

    Attributes:
        source: gives the same items, in the same order, on every pass.
        name: of the source, for messages.
        sample_shape: of one sample.
        dtype: of the elements.
        checksums: CRC-32 of every sample of the source as the first pass saw it; a later pass that differs is refused,
            because samples would move between calibration and report.
        indices: ascending positions of the samples that belong here.
    """

    source: Iterable[Any]
    name: str
    sample_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksums: NDArray[np.uint32]
    indices: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, size: int) -> Iterator[Array]:
        """One pass over the source."""
        wanted = np.zeros(len(self.checksums), bool)
        wanted[self.indices] = True
        held: list[Array] = []
        position = 0
        for item in self.source:
            x, _ = split_item(item, self.name)
            self._check(x, position)
            held.extend(x[wanted[position : position + len(x)]])
            position += len(x)
            while len(held) >= size:
                yield np.stack(held[:size])
                del held[:size]
        if position != len(self.checksums):
            raise self._changed(f"ended after {position} of {len(self.checksums)} samples")
        if held:
            yield np.stack(held)

    def select(self, indices: NDArray[np.intp]) -> StreamSamples:
        """The samples at these positions of this selection."""
        return StreamSamples(
            self.source, self.name, self.sample_shape, self.dtype, self.checksums, self.indices[indices]
        )

    def _check(self, x: Array, position: int) -> None:
        if position + len(x) > len(self.checksums):
            raise self._changed(f"gave more than the {len(self.checksums)} samples of its first pass")
        if not np.array_equal(checksums(x), self.checksums[position : position + len(x)]):
            raise self._changed("gave other samples, or another order,")

    def _changed(self, how: str) -> InputError:
        return InputError(
            f"{self.name} {how} on a later pass over it",
            hint="Turn off shuffling and random augmentation (shuffle=False), or pass arrays.",
        )


def checksums(x: Array) -> NDArray[np.uint32]:
    """CRC-32 of the bytes of every sample of a batch."""
    return np.array([zlib.crc32(np.ascontiguousarray(sample).tobytes()) for sample in x], np.uint32)


def to_array(value: Any, name: str) -> Array:
    """A NumPy array from an array, a tensor of another library, a list or a number."""
    try:
        if hasattr(value, "detach") and hasattr(value, "cpu"):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} gave a {type(value).__name__} that is no array: {error}") from error
    if array.dtype == object:
        raise InputError(
            f"{name} gave values of type object, expected numbers of one shape",
            hint="Make every sample the same shape, and save numbers, not Python objects.",
        )
    return array


def split_item(item: Any, name: str) -> tuple[Array, Array | None]:
    """A batch (n, ...) and its labels (n, ...) from one item of an iterable.

    An item is ``x`` or a pair ``(x, y)``; both have the batch axis first, unless ``y`` is one number, which makes ``x``
    one sample.
    """
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise InputError(
                f"{name} gave a {type(item).__name__} of {len(item)} entries, expected x or (x, y)",
                hint="Give one array, or a pair of an array and its labels.",
            )
        x = to_array(item[0], name)
        y = None if len(item) == 1 else to_array(item[1], name)
    else:
        x, y = to_array(item, name), None
    if y is not None and y.ndim == 0:
        x, y = x[np.newaxis], y[np.newaxis]
    if x.ndim == 0:
        raise InputError(f"{name} gave a single number, expected a batch of samples", hint="Give arrays of (n, ...).")
    if y is not None and len(x) != len(y):
        raise InputError(
            f"{name} gave {len(x)} samples with {len(y)} labels", hint="Give as many labels as samples in every batch."
        )
    return x, y
