"""CenterCropPad: the middle of each axis, or zeros around it, to a constant shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import rearrangement
from microlith.ops.remap import NOWHERE, Places, take


@dataclass(frozen=True)
class CenterCropPadAttrs:
    """The size wanted of each axis named.

    Attributes:
        shape: sizes.
        axes: as written, negative ones from the back; None for all.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None

    def sizes(self, shape: Shape) -> Shape:
        """Sizes of all axes for an input of this shape."""
        axes = range(len(shape)) if self.axes is None else [nodes.axis_of(a, len(shape), "Crop") for a in self.axes]
        if len(axes) != len(self.shape):
            raise ModelError(f"CenterCropPad to {self.shape} got an input of shape {shape}")
        wanted = list(shape)
        for axis, size in zip(axes, self.shape, strict=True):
            wanted[axis] = size
        return tuple(wanted)

    def places(self, shape: Shape) -> tuple[Places | None, ...]:
        """Which element of the input stands at each place along each axis; None where an axis stays as it is."""
        return tuple(_places(size, wanted) for size, wanted in zip(shape, self.sizes(shape), strict=True))


def _places(size: int, wanted: int) -> Places | None:
    if size == wanted:
        return None
    # An odd rest: one element more is taken away, or one zero more is put, at the end.
    start = (size - wanted) // 2 if size > wanted else -((wanted - size) // 2)
    places = np.arange(start, start + wanted)
    return np.where((places < 0) | (places >= size), NOWHERE, places)


def parse(node: ir.Node) -> CenterCropPadAttrs:
    """Attributes and the constant shape of a CenterCropPad node."""
    shape = nodes.required(node, nodes.constant_integers(node, 1, "its shape"), "its shape")
    if min(shape, default=1) < 1:
        raise nodes.unsupported(node, f"its shape is {shape}, expected sizes of 1 or more")
    return CenterCropPadAttrs(shape, nodes.integers(node, "axes"))


def infer(attrs: CenterCropPadAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The sizes wanted."""
    return (attrs.sizes(inputs[0]),)


def _move(attrs: CenterCropPadAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    (x,) = inputs
    return take(x, attrs.places(x.shape), zero)


CENTER_CROP_PAD = rearrangement(
    "CenterCropPad", parse, infer, _move, batches=lambda attrs, inputs, output: attrs.axes is not None and all(
        axis % len(output) for axis in attrs.axes
    ), lowering="lower_remap.lower_center_crop_pad")  # fmt: skip
