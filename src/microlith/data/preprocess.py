"""How raw samples become the numbers that the graph takes: layout, value range, mean and standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import InputError

Layout = Literal["nhwc", "nchw"]
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Preprocessing:
    """What stands between stored data and the float graph, per channel: ``(ranged - mean) / std``.

    ``ranged`` is ``raw / 255 * (high - low) + low`` for uint8 data and ``raw`` for float data, whose range is taken
    to be right already.

    Attributes:
        layout: where channels stand in the data: ``nhwc`` last, ``nchw`` right after the batch; None for not stated, in
            which case the order is kept.
        low: value that a raw 0 stands for.
        high: value that a raw 255 stands for.
        mean: one value, or one a channel; empty for 0.
        std: one value, or one a channel; empty for 1.
    """

    layout: Layout | None = None
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.layout is not None and self.layout not in get_args(Layout):
            raise InputError(f"the layout is {self.layout!r}, expected nhwc or nchw")
        if not all(map(math.isfinite, (self.low, self.high, *self.mean, *self.std))):
            raise InputError("the input range, mean and standard deviation must be finite numbers")
        if self.low >= self.high:
            raise InputError(
                f"the input range is {self.low:g},{self.high:g}, expected the lower end first",
                hint="Write it like --input-range 0,1.",
            )
        if any(value <= 0 for value in self.std):
            raise InputError(f"the standard deviation is {_join(self.std)}, expected positive numbers")

    @classmethod
    def parse(
        cls,
        *,
        input_range: str | None = None,
        mean: str | None = None,
        std: str | None = None,
        layout: str | None = None,
    ) -> Preprocessing:
        """Read command-line values such as ``"0,1"``, ``"0.5,0.5,0.5"`` and ``"nhwc"``; None keeps the default."""
        ends = (0.0, 255.0) if input_range is None else _numbers(input_range, "--input-range")
        if len(ends) != 2:
            raise InputError(
                f"--input-range is {input_range!r}, expected two numbers", hint="Write it like --input-range 0,1."
            )
        return cls(
            layout=cast(Layout | None, None if layout is None else layout.lower()),
            low=ends[0],
            high=ends[1],
            mean=() if mean is None else _numbers(mean, "--mean"),
            std=() if std is None else _numbers(std, "--std"),
        )

    @property
    def is_identity(self) -> bool:
        """Whether raw values go into the graph as they are, but for their order."""
        return (self.low, self.high) == (0.0, 255.0) and not any(self.mean) and all(value == 1 for value in self.std)

    def affine(self, channels: int, *, raw_uint8: bool = True) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scale and offset a channel, each of shape (channels,): ``value = raw * scale + offset``.

        Args:
            channels: of the graph input.
            raw_uint8: whether the value range applies, as it does to uint8 data and not to floats.
        """
        mean = _per_channel(self.mean, channels, "--mean", 0.0)
        std = _per_channel(self.std, channels, "--std", 1.0)
        gain, low = ((self.high - self.low) / 255.0, self.low) if raw_uint8 else (1.0, 0.0)
        return gain / std, (low - mean) / std

    def arrange(self, raw: Array) -> Array:
        """Move the channels of a batch to axis 1; values and type are kept."""
        if self.layout != "nhwc":
            return raw
        if raw.ndim < 3:
            raise InputError(
                f"data of shape {raw.shape} has no channel axis to move, expected (N, ..., C) for layout nhwc",
                hint="Leave out --layout.",
            )
        return np.moveaxis(raw, -1, 1)

    def apply(self, raw: Array) -> NDArray[np.float32]:
        """Values that the graph takes, float32 in its (N, C, ...) order, from a raw batch of uint8 or floats.

        Computed in float64 and rounded once.
        """
        if raw.dtype != np.uint8 and not np.issubdtype(raw.dtype, np.floating):
            raise InputError(
                f"data has type {raw.dtype}, expected uint8 or floats",
                hint="Save raw samples as uint8 (0 to 255), and anything else as float32.",
            )
        arranged = self.arrange(raw)
        raw_uint8 = raw.dtype == np.uint8
        if self.is_identity if raw_uint8 else not any(self.mean) and all(value == 1 for value in self.std):
            return np.ascontiguousarray(arranged, dtype=np.float32)
        channels = arranged.shape[1] if arranged.ndim > 1 else 1
        shape = (1, -1) + (1,) * (arranged.ndim - 2) if arranged.ndim > 1 else (1,)
        scale, offset = (values.reshape(shape) for values in self.affine(channels, raw_uint8=raw_uint8))
        return np.ascontiguousarray(arranged.astype(np.float64) * scale + offset, dtype=np.float32)


def _per_channel(values: tuple[float, ...], channels: int, what: str, default: float) -> NDArray[np.float64]:
    if len(values) not in (0, 1, channels):
        raise InputError(
            f"{what} has {len(values)} values and the input has {channels} channels",
            hint=f"Give one value, or {channels} separated by commas; --layout nhwc says that channels come last.",
        )
    return np.broadcast_to(np.asarray(values or (default,), np.float64), (channels,))


def _numbers(text: str, what: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{what} is {text!r}, expected numbers separated by commas", hint=f"Write it like {what} 0.5,0.25."
        ) from error


def _join(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
