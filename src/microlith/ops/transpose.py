"""Transpose: axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import movement


@dataclass(frozen=True)
class TransposeAttrs:
    """``order[i]`` is the input axis that becomes axis ``i``; None reverses all."""

    order: tuple[int, ...] | None

    def axes(self, rank: int) -> tuple[int, ...]:
        """The order for an input of this rank."""
        order = tuple(reversed(range(rank))) if self.order is None else self.order
        if sorted(order) != list(range(rank)):
            raise ModelError(f"Transpose by {order} got an input of rank {rank}")
        return order


def parse(node: ir.Node) -> TransposeAttrs:
    """Attributes of a Transpose node."""
    return TransposeAttrs(nodes.integers(node, "perm"))


def infer(attrs: TransposeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes in the new order."""
    return (tuple(inputs[0][axis] for axis in attrs.axes(len(inputs[0]))),)


def _move(attrs: TransposeAttrs, x: Array) -> Array:
    return x.transpose(attrs.axes(x.ndim))


TRANSPOSE = movement(
    "Transpose",
    parse,
    infer,
    _move,
    lambda attrs, inputs, output: attrs.axes(len(output))[0] == 0,
    lowering="lower_movement.lower_transpose",
)
