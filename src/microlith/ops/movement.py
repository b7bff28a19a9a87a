"""What the ops that only move elements have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray

A = TypeVar("A")
MOVEMENT = Rule("movement")
P = TypeVar("P")


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
    *,
    lowering: str,
) -> Op[A]:
    """An op with one data input whose elements ``move`` puts elsewhere, whatever their type."""

    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        return move(attrs, operand(inputs))

    def quantized(attrs: A, inputs: Sequence[QArray | None], output: Output) -> Array:
        x = inputs[0]
        assert x is not None, "an operand that is never absent"
        return move(attrs, requantize(x, output.qparams, output.low, output.high))

    return Op(
        op_type, parse, infer, reference, quantized, data_inputs=(0,), batches=batches, rule=MOVEMENT, lowering=lowering
    )


def reshaped(
    op_type: str,
    parse: Callable[[ir.Node], A],
    infer: Callable[[A, Sequence[Shape]], tuple[Shape, ...]],
    *,
    lowering: str,
) -> Op[A]:
    """An op that gives the same elements in the same order another shape; samples are never stacked along axis 0."""

    def move(attrs: A, x: Array) -> Array:
        return x.reshape(infer(attrs, (x.shape,))[0])

    return movement(op_type, parse, infer, move, lambda attrs, inputs, output: False, lowering=lowering)


def rearrangement(
    op_type: str,
    parse: Callable[[ir.Node], A],
    infer: Callable[[A, Sequence[Shape]], tuple[Shape, ...]],
    move: Callable[[A, Sequence[Array], Array], Array],
    data_inputs: tuple[int, ...] = (0,),
    moved: tuple[int, ...] = (0,),
    batches: Callable[[A, Sequence[Shape | None], Shape], bool] = lambda attrs, inputs, output: False,
    *,
    lowering: str,
) -> Op[A]:
    """An op whose elements ``move`` puts elsewhere, among them perhaps some that stand for zero.

    Args:
        op_type: ONNX name.
        parse: see :class:`Op`.
        infer: see :class:`Op`.
        move: from the data inputs, none of which is optional, and the element that stands for zero.
        data_inputs: see :class:`Op`.
        moved: which of the data inputs are moved; the others say where to.
        batches: see :class:`Op`.
        lowering: see :class:`Op`.
    """

    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        arrays = _present(inputs)
        return move(attrs, arrays, np.zeros((), arrays[moved[0]].dtype))

    def quantized(attrs: A, inputs: Sequence[QArray | None], output: Output) -> Array:
        arrays = [
            requantize(item, output.qparams, output.low, output.high) if index in moved else item.values
            for index, item in enumerate(_present(inputs))
        ]
        zero = np.clip(output.qparams.zero_point, output.low, output.high).astype(output.qparams.dtype)
        return move(attrs, arrays, np.asarray(zero))

    return Op(
        op_type,
        parse,
        infer,
        reference,
        quantized,
        data_inputs=data_inputs,
        batches=batches,
        rule=MOVEMENT,
        lowering=lowering,
    )


def _present(inputs: Sequence[P | None]) -> list[P]:
    assert all(item is not None for item in inputs), "operands that are never absent"
    return [item for item in inputs if item is not None]
