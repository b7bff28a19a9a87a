"""Add, Sub and Mul with broadcasting: one file, since they differ in a single operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.quant import integer_elementwise
from microlith.quant.requantize import saturate
from microlith.quant.types import QArray, QParams, Requantization


@dataclass(frozen=True)
class BinaryAttrs:
    """The binary ops have no attributes."""


def parse(node: ir.Node) -> BinaryAttrs:
    """Nothing to read."""
    return BinaryAttrs()


NO_ATTRS = parse


def broadcast_shape(op: str, a: Shape, b: Shape) -> Shape:
    """The shape to which both operands broadcast."""
    try:
        return tuple(int(item) for item in np.broadcast_shapes(a, b))
    except ValueError as error:
        raise ModelError(f"{op} got operands of shapes {a} and {b}, which do not broadcast") from error


def ranks_agree(attrs: object, inputs: Sequence[Shape | None], output: Shape) -> bool:
    """Whether samples stay apart: an operand of lower rank would line them up with another axis."""
    return all(len(shape) == len(output) for shape in inputs if shape is not None)


def _binary(
    op_type: str,
    compute: Callable[[Array, Array], Array],
    integer: Callable[[QArray, QArray, QParams, Requantization], NDArray[np.int64]],
) -> Op[BinaryAttrs]:
    def infer(attrs: BinaryAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
        return (broadcast_shape(op_type, inputs[0], inputs[1]),)

    def reference(attrs: BinaryAttrs, inputs: Sequence[Array | None]) -> Array:
        a, b = inputs[:2]
        assert a is not None and b is not None, "operands that are never absent"
        with np.errstate(all="ignore"):
            return np.asarray(compute(a, b), a.dtype)

    def quantized(attrs: BinaryAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
        a, b = inputs[:2]
        assert a is not None and b is not None, "operands that are never absent"
        scaled = integer(a, b, output.qparams, output.requantization)
        return saturate(scaled, output.qparams, output.low, output.high)

    return Op(
        op_type,
        parse,
        infer,
        reference,
        quantized,
        batches=ranks_agree,
        rule=Rule("binary", data=2),
        lowering="lower_elementwise.lower_binary",
    )


def _subtract(a: QArray, b: QArray, y: QParams, mode: Requantization) -> NDArray[np.int64]:
    return integer_elementwise.add(a, b, y, mode, subtract=True)


ADD = _binary("Add", lambda a, b: np.asarray(np.add(a, b)), integer_elementwise.add)
SUB = _binary("Sub", lambda a, b: np.asarray(np.subtract(a, b)), _subtract)
MUL = _binary("Mul", lambda a, b: np.asarray(np.multiply(a, b)), integer_elementwise.mul)
