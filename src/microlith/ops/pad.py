"""Pad with a constant value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import InputError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Shape
from microlith.ops.movement import operand
from microlith.quant import integer_move
from microlith.quant.types import QArray


@dataclass(frozen=True)
class PadAttrs:
    """Attributes of Pad.

    Attributes:
        pads: as written: elements before each axis named, then elements after each.
        axes: the axes named, negative ones from the back; None for all.
        value: what is put there.
    """

    pads: tuple[int, ...]
    axes: tuple[int, ...] | None
    value: float

    def widths(self, rank: int) -> tuple[tuple[int, int], ...]:
        """Elements before and after each axis of an input of this rank."""
        axes = range(rank) if self.axes is None else [nodes.axis_of(axis, rank, "Pad") for axis in self.axes]
        if len(self.pads) != 2 * len(axes):
            raise InputError(f"Pad by {self.pads} got an input of rank {rank}")
        widths = [(0, 0)] * rank
        for place, axis in enumerate(axes):
            widths[axis] = (self.pads[place], self.pads[place + len(axes)])
        return tuple(widths)


def parse(node: ir.Node) -> PadAttrs:
    """Pads and value from the attributes (before opset 11) or the constant inputs."""
    mode = nodes.text(node, "mode", "constant")
    if mode != "constant":
        raise nodes.unsupported(node, f"padding in mode {mode!r} is not supported; 'constant' is")
    pads = nodes.required(node, nodes.attribute_or_input(node, "pads", 1), "its pads")
    if min(pads, default=0) < 0:
        raise nodes.unsupported(node, f"its pads {pads} are negative", "Use Slice to remove elements.")
    value = nodes.constant(node, 2, "its value")
    if value is not None and value.size != 1:
        raise nodes.unsupported(node, f"its value has shape {value.shape}, expected a single number")
    fill = nodes.real(node, "value", 0.0) if value is None else float(value.reshape(()))
    return PadAttrs(pads, nodes.constant_integers(node, 3, "its axes"), fill)


def infer(attrs: PadAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes grow by the pads."""
    widths = attrs.widths(len(inputs[0]))
    return (tuple(size + sum(width) for size, width in zip(inputs[0], widths, strict=True)),)


def reference(attrs: PadAttrs, inputs: Sequence[Array | None]) -> Array:
    """The elements with the value around them, whatever their type."""
    x = operand(inputs)
    return np.pad(x, attrs.widths(x.ndim), constant_values=np.asarray(attrs.value).astype(x.dtype))


def quantized(attrs: PadAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_move.pad`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    widths = attrs.widths(x.values.ndim)
    return integer_move.pad(x, widths, attrs.value, output.qparams, output.low, output.high)


def _batches(attrs: PadAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.widths(len(output))[0] == (0, 0)


PAD = Op("Pad", parse, infer, reference, quantized, data_inputs=(0,), batches=_batches)
