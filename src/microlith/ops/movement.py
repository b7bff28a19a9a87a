"""What the ops that only move elements have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import onnx_ir as ir

from microlith.ops.base import Array, Op, Output, Shape
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray

A = TypeVar("A")


def operand(inputs: Sequence[Array | None]) -> Array:
    """The first array, which is never absent."""
    array = inputs[0]
    assert array is not None, "an operand that is never absent"
    return array


def movement(
    op_type: str,
    parse: Callable[[ir.Node], A],
    infer: Callable[[A, Sequence[Shape]], tuple[Shape, ...]],
    move: Callable[[A, Array], Array],
    batches: Callable[[A, Sequence[Shape | None], Shape], bool],
) -> Op[A]:
    """An op with one data input whose elements ``move`` puts elsewhere, whatever their type."""

    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        return move(attrs, operand(inputs))

    def quantized(attrs: A, inputs: Sequence[QArray | None], output: Output) -> Array:
        x = inputs[0]
        assert x is not None, "an operand that is never absent"
        return move(attrs, requantize(x, output.qparams, output.low, output.high))

    return Op(op_type, parse, infer, reference, quantized, data_inputs=(0,), batches=batches)


def reshaped(
    op_type: str, parse: Callable[[ir.Node], A], infer: Callable[[A, Sequence[Shape]], tuple[Shape, ...]]
) -> Op[A]:
    """An op that gives the same elements in the same order another shape; samples are never stacked along axis 0."""

    def move(attrs: A, x: Array) -> Array:
        return x.reshape(infer(attrs, (x.shape,))[0])

    return movement(op_type, parse, infer, move, lambda attrs, inputs, output: False)
