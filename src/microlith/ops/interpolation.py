"""Places and weights with which Resize reads each axis, as the ONNX operator definition gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.ops.remap import NOWHERE, Places

Weights = NDArray[np.float64]
_Coordinates = NDArray[np.float64]
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Axis:
    """One axis that is resized.

    Attributes:
        size: elements read.
        out: elements made.
        scale: of the output to the input, as given or as the sizes say.
        roi: start and end of the part that tf_crop_and_resize reads, in units of the axis.
    """

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Interpolation:
    """How an axis is read, the same for all axes.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        coordinates: one of :data:`COORDINATES`.
        rounding: of ``nearest``, one of :data:`ROUNDINGS`.
        cubic: coefficient of ``cubic``.
        exclude_outside: elements beyond the borders have no weight, instead of repeating those at the borders.
        antialias: where the output is smaller, the window of a filter grows with the input.
        extrapolation: value beyond the borders in tf_crop_and_resize.
    """

    mode: str
    coordinates: str
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0

    def sources(self, axis: Axis) -> tuple[_Coordinates, NDArray[np.bool_]]:
        """The coordinate that each output element reads, and whether it lies where the extrapolation value stands."""
        steps = np.arange(axis.out, dtype=np.float64)
        length = axis.scale * axis.size
        last = axis.size - 1
        outside = np.zeros(axis.out, bool)
        if self.coordinates == "align_corners":
            found = steps * 0 if length == 1 else steps * last / (length - 1)
        elif self.coordinates == "asymmetric":
            found = steps / axis.scale
        elif self.coordinates == "tf_half_pixel_for_nn":
            found = (steps + 0.5) / axis.scale
        elif self.coordinates == "tf_crop_and_resize":
            extent = (axis.roi[1] - axis.roi[0]) * last
            found = axis.roi[0] * last + (steps * 0 + extent / 2 if length == 1 else steps * extent / (length - 1))
            outside = (found < 0) | (found > last)
        elif self.coordinates == "pytorch_half_pixel" and length == 1:
            found = steps * 0 - 0.5
        else:
            found = (steps + 0.5) / axis.scale - 0.5
            if self.coordinates == "half_pixel_symmetric":
                found = found + axis.size / 2 * (1 - axis.out / length)
        return found, outside

    def nearest(self, axis: Axis) -> Places:
        """The element that each output element is, :data:`NOWHERE` for the extrapolation value."""
        found, outside = self.sources(axis)
        if self.rounding == "floor":
            whole = np.floor(found)
        elif self.rounding == "ceil":
            whole = np.ceil(found)
        else:
            whole = np.ceil(found - 0.5) if self.rounding == "round_prefer_floor" else np.floor(found + 0.5)
        places = np.clip(whole, 0, axis.size - 1).astype(np.int64)
        return np.where(outside, NOWHERE, places)

    def weighted(self, axis: Axis) -> tuple[Places, Weights, Weights]:
        """Places and weights of shape (out, taps), and what is added, of shape (out,)."""
        found, outside = self.sources(axis)
        shrink = min(axis.scale, 1.0) if self.antialias else 1.0
        reach = (1 if self.mode == "linear" else 2) / shrink
        # The left neighbour of a whole coordinate is the element before it: its weight is then 0.
        left = np.ceil(found).astype(np.int64) - 1
        first = int(np.floor(-reach)) + 1
        offsets = np.arange(first, 2 - first)
        places = left.reshape(-1, 1) + offsets
        weights = self._filter((places - found.reshape(-1, 1)) * shrink)
        if self.exclude_outside:
            weights = np.where((places < 0) | (places >= axis.size), 0.0, weights)
        if self.exclude_outside or self.antialias:
            total = weights.sum(axis=1, keepdims=True)
            weights = weights / np.where(total == 0, 1.0, total)
        weights = np.where(outside.reshape(-1, 1), 0.0, weights)
        return np.clip(places, 0, axis.size - 1), weights, np.where(outside, self.extrapolation, 0.0)

    def _filter(self, distance: Weights) -> Weights:
        shape: Callable[[Weights], Weights] = _triangle if self.mode == "linear" else self._keys
        return shape(np.abs(distance))

    def _keys(self, x: Weights) -> Weights:
        """The cubic convolution kernel. Source: Keys, Cubic convolution interpolation (1981)."""
        a = self.cubic
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _triangle(x: Weights) -> Weights:
    return np.maximum(1 - x, 0.0)
