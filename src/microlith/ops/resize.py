"""Resize: nearest, linear and cubic along any axes, by constant scales or sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.interpolation import COORDINATES, ROUNDINGS, Axis, Interpolation
from microlith.ops.movement import operand
from microlith.ops.remap import Places, take
from microlith.quant import integer_move
from microlith.quant.types import QArray

_POLICIES = ("stretch", "not_larger", "not_smaller")


@dataclass(frozen=True)
class ResizeAttrs:
    """Attributes of Resize.

    Attributes:
        how: coordinates, filter and borders.
        scales: of the axes named; None where sizes are given.
        sizes: of the axes named; None where scales are given.
        axes: as written, negative ones from the back; None for all.
        roi: starts, then ends, of the axes named; of tf_crop_and_resize.
        policy: what the sizes are when the axes named keep their ratio: ``stretch`` if they need not.
    """

    how: Interpolation
    scales: tuple[float, ...] | None
    sizes: tuple[int, ...] | None
    axes: tuple[int, ...] | None = None
    roi: tuple[float, ...] | None = None
    policy: str = "stretch"

    def resized(self, shape: Shape) -> dict[int, Axis]:
        """The axes that are read otherwise than as they are."""
        rank = len(shape)
        named = range(rank) if self.axes is None else [nodes.axis_of(axis, rank, "Resize") for axis in self.axes]
        given = self.scales if self.sizes is None else self.sizes
        assert given is not None, "one of both is there"
        if len(given) != len(named) or (self.roi is not None and len(self.roi) != 2 * len(named)):
            raise ModelError(f"Resize by {given} with a roi of {self.roi} got an input of shape {shape}")
        found = {}
        for place, (axis, (scale, out)) in enumerate(zip(named, self._scales([shape[a] for a in named]), strict=True)):
            roi = (0.0, 1.0) if self.roi is None else (self.roi[place], self.roi[place + len(named)])
            whole = self.how.coordinates != "tf_crop_and_resize" or roi == (0.0, 1.0)
            if scale != 1.0 or out != shape[axis] or not whole:
                found[axis] = Axis(shape[axis], out, scale, roi)
        return found

    def _scales(self, shape: Sequence[int]) -> list[tuple[float, int]]:
        if self.sizes is None:
            assert self.scales is not None, "one of both is there"
            return [(scale, math.floor(scale * size)) for scale, size in zip(self.scales, shape, strict=True)]
        ratios = [out / size for out, size in zip(self.sizes, shape, strict=True)]
        if self.policy == "stretch":
            return list(zip(ratios, self.sizes, strict=True))
        scale = min(ratios) if self.policy == "not_larger" else max(ratios)
        return [(scale, math.floor(scale * size + 0.5)) for size in shape]

    def places(self, shape: Shape) -> tuple[Places | None, ...]:
        """Of ``nearest``: which element stands where along each axis, None where all do in order."""
        resized = self.resized(shape)
        return tuple(self.how.nearest(resized[axis]) if axis in resized else None for axis in range(len(shape)))


def parse(node: ir.Node) -> ResizeAttrs:
    """Attributes and constant inputs of a Resize node."""
    scales = _reals(node, 2, "its scales") or None
    sizes = nodes.constant_integers(node, 3, "its sizes") or None
    if (scales is None) == (sizes is None) or min(scales or sizes or (0,)) <= 0:
        raise ModelError(f"its scales are {scales} and its sizes {sizes}, expected one of both", node=nodes.where(node))
    policy = nodes.text(node, "keep_aspect_ratio_policy", "stretch")
    if policy not in _POLICIES:
        raise ModelError(f"its keep_aspect_ratio_policy is {policy!r}", node=nodes.where(node))
    how = _interpolation(node)
    roi = _reals(node, 1, "its roi") if how.coordinates == "tf_crop_and_resize" else None
    if how.coordinates == "tf_crop_and_resize" and not roi:
        raise ModelError("its roi is missing, which tf_crop_and_resize needs", node=nodes.where(node))
    return ResizeAttrs(how, scales, sizes, nodes.integers(node, "axes"), roi, policy)


def _reals(node: ir.Node, index: int, what: str) -> tuple[float, ...] | None:
    values = nodes.constant(node, index, what)
    return None if values is None else tuple(float(item) for item in values.reshape(-1))


def _mode(node: ir.Node) -> str:
    mode = nodes.text(node, "mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise ModelError(f"its mode is {mode!r}, expected nearest, linear or cubic", node=nodes.where(node))
    return mode


def _interpolation(node: ir.Node) -> Interpolation:
    coordinates = nodes.text(node, "coordinate_transformation_mode", "half_pixel")
    rounding = nodes.text(node, "nearest_mode", "round_prefer_floor")
    if coordinates not in COORDINATES or rounding not in ROUNDINGS:
        raise ModelError(f"its coordinates are {coordinates!r} rounded by {rounding!r}", node=nodes.where(node))
    return Interpolation(
        _mode(node),
        coordinates,
        rounding,
        nodes.real(node, "cubic_coeff_a", -0.75),
        bool(nodes.integer(node, "exclude_outside", 0)),
        bool(nodes.integer(node, "antialias", 0)),
        nodes.real(node, "extrapolation_value", 0.0),
    )


def infer(attrs: ResizeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes as given, or by the scales, rounded down."""
    resized = attrs.resized(inputs[0])
    shape = tuple(resized[axis].out if axis in resized else size for axis, size in enumerate(inputs[0]))
    if min(shape, default=1) < 1:
        raise ModelError(f"Resize of an input of shape {inputs[0]} leaves nothing: {shape}")
    return (shape,)


def reference(attrs: ResizeAttrs, inputs: Sequence[Array | None]) -> Array:
    """Nearest elements of any type; sums in float64 for the other modes, axis by axis."""
    x = operand(inputs)
    infer(attrs, (x.shape,))
    if attrs.how.mode == "nearest":
        return take(x, attrs.places(x.shape), np.asarray(attrs.how.extrapolation).astype(x.dtype))
    result = x.astype(np.float64)
    for axis, item in attrs.resized(x.shape).items():
        places, weights, base = attrs.how.weighted(item)
        lines = np.moveaxis(result, axis, -1)
        lines = (lines[..., places] * weights).sum(axis=-1) + base
        result = np.moveaxis(lines, -1, axis)
    return np.ascontiguousarray(result).astype(x.dtype)


def quantized(attrs: ResizeAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Nearest elements move.

    Raises:
        UnsupportedError: the mode is another.
    """
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    if attrs.how.mode != "nearest":
        raise UnsupportedError(f"Resize in mode {attrs.how.mode!r} has no integer form", hint="Keep it in float.")
    infer(attrs, (x.values.shape,))
    value = integer_move.quantize(np.asarray(attrs.how.extrapolation, np.float32), output.qparams)
    moved = integer_move.requantize(x, output.qparams, output.low, output.high)
    return take(moved, attrs.places(moved.shape), np.clip(value, output.low, output.high))


def _batches(attrs: ResizeAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    # Scales and sizes are lists over all axes, so that a batch that grows would need others.
    shape = inputs[0]
    return shape is not None and attrs.sizes is None and 0 not in attrs.resized(shape)


RESIZE = Op(
    "Resize",
    parse,
    infer,
    reference,
    quantized,
    data_inputs=(0,),
    batches=_batches,
    rule=Rule("movement"),
    lowering="lower_remap.lower_resize",
)
