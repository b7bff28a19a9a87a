"""Split: parts along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.movement import operand


@dataclass(frozen=True)
class SplitAttrs:
    """Attributes of Split.

    Attributes:
        axis: as written, negative from the back.
        count: number of parts.
        sizes: of the parts; None for equal ones, of which the last may be smaller.
    """

    axis: int
    count: int
    sizes: tuple[int, ...] | None

    def parts(self, shape: Shape) -> tuple[int, tuple[int, ...]]:
        """The axis counted from the front, and the sizes of the parts of an input of this shape."""
        axis = nodes.axis_of(self.axis, len(shape), "Split")
        extent = shape[axis]
        part = -(-extent // self.count)
        sizes = (*[part] * (self.count - 1), extent - part * (self.count - 1)) if self.sizes is None else self.sizes
        if sum(sizes) != extent or min(sizes) < 1 or len(sizes) != self.count:
            raise ModelError(f"Split into {self.count} parts of sizes {sizes} got an input of shape {shape}")
        return axis, sizes


def parse(node: ir.Node) -> SplitAttrs:
    """Attributes and constant sizes of a Split node."""
    count = len(node.outputs)
    sizes = nodes.attribute_or_input(node, "split", 1)
    stated = nodes.integer(node, "num_outputs", count)
    if stated != count:
        raise ModelError(f"its num_outputs is {stated} and it has {count}", node=nodes.where(node))
    return SplitAttrs(nodes.integer(node, "axis", 0), count, sizes)


def infer(attrs: SplitAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of each part."""
    axis, sizes = attrs.parts(inputs[0])
    return tuple((*inputs[0][:axis], size, *inputs[0][axis + 1 :]) for size in sizes)


def results(attrs: SplitAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """The parts."""
    x = operand(inputs)
    axis, sizes = attrs.parts(x.shape)
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def _batches(attrs: SplitAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.axis % len(output) != 0


SPLIT = Op(
    "Split",
    parse,
    infer,
    lambda attrs, inputs: results(attrs, inputs)[0],
    data_inputs=(0,),
    batches=_batches,
    results=results,
)
