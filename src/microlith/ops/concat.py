"""Concat along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant import integer_move
from microlith.quant.types import QArray


@dataclass(frozen=True)
class ConcatAttrs:
    """The axis, as written, negative from the back."""

    axis: int


def parse(node: ir.Node) -> ConcatAttrs:
    """Attributes of a Concat node."""
    if "axis" not in node.attributes:
        raise ModelError("its axis is missing", node=nodes.where(node))
    return ConcatAttrs(nodes.integer(node, "axis", 0))


def infer(attrs: ConcatAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes along the axis add up, the others agree."""
    axis = nodes.axis_of(attrs.axis, len(inputs[0]), "Concat")
    if len({(*shape[:axis], None, *shape[axis + 1 :]) for shape in inputs}) != 1:
        raise ModelError(f"Concat along axis {axis} got inputs of shapes {', '.join(map(str, inputs))}")
    return ((*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :]),)


def reference(attrs: ConcatAttrs, inputs: Sequence[Array | None]) -> Array:
    """The operands side by side, whatever their type."""
    arrays = [item for item in inputs if item is not None]
    infer(attrs, [item.shape for item in arrays])
    return np.concatenate(arrays, axis=attrs.axis)


def quantized(attrs: ConcatAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """See :func:`microlith.quant.integer_move.concat`."""
    arrays = [item for item in inputs if item is not None]
    infer(attrs, [item.values.shape for item in arrays])
    return integer_move.concat(arrays, attrs.axis, output.qparams, output.low, output.high)


def _batches(attrs: ConcatAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    # A constant operand is there once, not once for each sample.
    return attrs.axis % len(output) != 0 and all(item is not None for item in inputs)


CONCAT = Op(
    "Concat",
    parse,
    infer,
    reference,
    quantized,
    batches=_batches,
    rule=Rule("concat", data=None),
    lowering="lower_movement.lower_concat",
)
