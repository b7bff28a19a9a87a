"""Quantized arrays and the parameters that give their integers a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError

Requantization = Literal["float", "fixed"]

LIMITS = {
    "int2": (-2, 1),
    "uint2": (0, 3),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
}
_ITSELF = "int32"
_HELD = {"int2": "int8", "uint2": "uint8", "int4": "int8", "uint4": "uint8"}


def held(dtype: str) -> str:
    """NumPy's name of the type that holds integers of a quantized type: those of 2 and 4 bits are held one a byte."""
    return _HELD.get(dtype, dtype)


def as_held(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Integers of 2 and 4 bits one a byte, anything else as it is."""
    return values.astype(held(values.dtype.name)) if values.dtype.name in _HELD else values


@dataclass(frozen=True)
class QParams:
    """Scale and zero point: ``real = scale * (integer - zero_point)``.

    Attributes:
        scale: float32, shape () for per tensor, (C,) for per channel; all positive and finite.
        zero_point: int32 of the same shape, within the limits of ``dtype``.
        dtype: one of :data:`LIMITS`.
        axis: the channel axis in the graph's (NCHW or OIHW) order; None for per tensor.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    dtype: str
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in LIMITS:
            raise ModelError(f"quantized type {self.dtype} is not one of {', '.join(LIMITS)}")
        if self.scale.shape != self.zero_point.shape or self.scale.ndim != (0 if self.axis is None else 1):
            raise ModelError(
                f"scale of shape {self.scale.shape}, zero point of shape {self.zero_point.shape} and axis {self.axis} "
                "do not go together"
            )
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ModelError("a quantization scale is not a positive finite number")
        low, high = LIMITS[self.dtype]
        if ((self.zero_point < low) | (self.zero_point > high)).any():
            raise ModelError(f"a zero point lies outside {self.dtype}")

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int, dtype: str) -> QParams:
        """Parameters with one scale."""
        return cls(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32), dtype)

    @property
    def low(self) -> int:
        """Least integer of the type."""
        return LIMITS[self.dtype][0]

    @property
    def high(self) -> int:
        """Greatest integer of the type."""
        return LIMITS[self.dtype][1]

    def same(self, other: QParams) -> bool:
        """Whether both give every integer the same meaning."""
        return (
            self.dtype == other.dtype
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def broadcast(self, array: NDArray[np.float32 | np.int32], rank: int) -> NDArray[np.float32 | np.int32]:
        """``array`` (scale or zero point) shaped to broadcast against a tensor of this rank."""
        if self.axis is None:
            return array
        shape = [1] * rank
        shape[self.axis] = -1
        return array.reshape(shape)


def stored(qparams: QParams) -> QParams:
    """The parameters of the int8 as which 8-bit integers are computed with: uint8 is stored minus 128."""
    if qparams.dtype == "uint8":
        return QParams(qparams.scale, (qparams.zero_point - 128).astype(np.int32), "int8", qparams.axis)
    return qparams


def stored_values(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Integers as those of :func:`stored`; ones of 2 and 4 bits fit into int8 as they are."""
    return (values.view(np.uint8) ^ np.uint8(0x80)).view(np.int8) if values.dtype == np.uint8 else values


@dataclass(frozen=True)
class QArray:
    """Integers with their meaning.

    Attributes:
        values: integers of ``qparams.dtype`` as they are :func:`held`, except where they stand for themselves
            (:meth:`itself`).
        qparams: what they stand for.
    """

    values: NDArray[np.integer]
    qparams: QParams

    @classmethod
    def itself(cls, values: NDArray[np.generic]) -> QArray:
        """Integers or booleans of any type that stand for themselves, such as the indices of a Gather."""
        return cls(values, QParams.per_tensor(1.0, 0, _ITSELF))  # type: ignore[arg-type]

    def centered(self) -> NDArray[np.int32]:
        """``values - zero_point`` as int32, same shape."""
        zero = self.qparams.broadcast(self.qparams.zero_point, self.values.ndim)
        return (self.values.astype(np.int32) - zero).astype(np.int32)

    def dequantize(self) -> NDArray[np.float32]:
        """Real values as float32, as DequantizeLinear computes them."""
        scale = self.qparams.broadcast(self.qparams.scale, self.values.ndim)
        return self.centered().astype(np.float32) * scale.astype(np.float32)
