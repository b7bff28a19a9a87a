"""Pad: with a constant, with what is there, or by taking away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.movement import operand
from microlith.ops.remap import NOWHERE, Places, take
from microlith.quant import integer_move
from microlith.quant.types import QArray

MODES = ("constant", "reflect", "edge", "wrap")


@dataclass(frozen=True)
class PadAttrs:
    """Attributes of Pad.

    Attributes:
        pads: as written: elements before each axis named, then elements after each; negative ones are taken away.
        axes: the axes named, negative ones from the back; None for all.
        value: what is put there in mode ``constant``.
        mode: one of :data:`MODES`.
    """

    pads: tuple[int, ...]
    axes: tuple[int, ...] | None
    value: float | int
    mode: str = "constant"

    def widths(self, rank: int) -> tuple[tuple[int, int], ...]:
        """Elements before and after each axis of an input of this rank."""
        axes = range(rank) if self.axes is None else [nodes.axis_of(axis, rank, "Pad") for axis in self.axes]
        if len(self.pads) != 2 * len(axes):
            raise ModelError(f"Pad by {self.pads} got an input of rank {rank}")
        widths = [(0, 0)] * rank
        for place, axis in enumerate(axes):
            widths[axis] = (self.pads[place], self.pads[place + len(axes)])
        return tuple(widths)

    def places(self, shape: Shape) -> tuple[Places | None, ...]:
        """Which element of the input stands at each place along each axis; None for an axis that is not padded."""
        return tuple(
            None if width == (0, 0) else _places(self.mode, size, *width)
            for size, width in zip(shape, self.widths(len(shape)), strict=True)
        )


def _places(mode: str, size: int, before: int, after: int) -> Places:
    """What is taken away goes first; the rest is then surrounded."""
    taken = max(-before, 0)
    places = _around(mode, size - taken - max(-after, 0), max(before, 0), max(after, 0))
    return np.where(places == NOWHERE, NOWHERE, places + taken)


def _around(mode: str, size: int, before: int, after: int) -> Places:
    wanted = np.arange(-before, size + after)
    if mode == "constant":
        return np.where((wanted < 0) | (wanted >= size), NOWHERE, wanted)
    if mode == "edge" or size == 1:
        return np.clip(wanted, 0, size - 1)
    if mode == "wrap":
        return wanted % size
    turned = wanted % (2 * size - 2)
    return np.minimum(turned, 2 * size - 2 - turned)


def parse(node: ir.Node) -> PadAttrs:
    """Pads and value from the attributes (before opset 11) or the constant inputs."""
    mode = nodes.text(node, "mode", "constant")
    if mode not in MODES:
        raise nodes.unsupported(node, f"padding in mode {mode!r} is not supported; {', '.join(MODES)} are")
    pads = nodes.required(node, nodes.attribute_or_input(node, "pads", 1), "its pads")
    value = nodes.constant(node, 2, "its value")
    if value is not None and value.size != 1:
        raise nodes.unsupported(node, f"its value has shape {value.shape}, expected a single number")
    fill = nodes.real(node, "value", 0.0) if value is None else value.reshape(()).item()
    return PadAttrs(pads, nodes.constant_integers(node, 3, "its axes"), fill, mode)


def infer(attrs: PadAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes grow by the pads."""
    widths = attrs.widths(len(inputs[0]))
    shape = tuple(size + sum(width) for size, width in zip(inputs[0], widths, strict=True))
    left = [size + min(a, 0) + min(b, 0) for size, (a, b) in zip(inputs[0], widths, strict=True)]
    if min((*shape, *left), default=1) < 1:
        raise ModelError(f"Pad by {attrs.pads} of an input of shape {inputs[0]} leaves nothing: {shape}")
    return (shape,)


def reference(attrs: PadAttrs, inputs: Sequence[Array | None]) -> Array:
    """The elements with others around them, whatever their type."""
    x = operand(inputs)
    infer(attrs, (x.shape,))
    return take(x, attrs.places(x.shape), np.asarray(attrs.value).astype(x.dtype))


def quantized(attrs: PadAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integers with the meaning of the output; the value is quantized likewise."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    infer(attrs, (x.values.shape,))
    value = integer_move.quantize(np.asarray(attrs.value, np.float32), output.qparams)
    moved = integer_move.requantize(x, output.qparams, output.low, output.high)
    return take(moved, attrs.places(moved.shape), np.clip(value, output.low, output.high))


def _batches(attrs: PadAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.widths(len(output))[0] == (0, 0)


PAD = Op(
    "Pad",
    parse,
    infer,
    reference,
    quantized,
    data_inputs=(0,),
    batches=_batches,
    rule=Rule("movement"),
    lowering="lower_movement.lower_pad",
)
