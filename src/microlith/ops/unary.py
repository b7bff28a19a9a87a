"""What the ops that compute one function of each element have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Pointwise, Rule, Shape
from microlith.quant.lut import Curve, lookup, unary_table
from microlith.quant.types import QArray, QParams

A = TypeVar("A")
TABLE = Rule("table")
FixedTable = Callable[[A, QParams, Output], NDArray[np.integer]]


@dataclass(frozen=True)
class NoAttrs:
    """Attributes of an op that has none."""


def no_attributes(node: ir.Node) -> NoAttrs:
    """Nothing to read."""
    return NoAttrs()


def same_shape(attrs: object, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the first input."""
    return (inputs[0],)


def always(attrs: object, inputs: Sequence[Shape | None], output: Shape) -> bool:
    """Samples never meet."""
    return True


def unary(
    op_type: str,
    parse: Callable[[ir.Node], A],
    compute: Callable[[A, NDArray[np.float32]], NDArray[np.float32]],
    curve: Callable[[A], Curve],
    integers: Callable[[A, Array], Array] | None = None,
    *,
    fixed: FixedTable[A] | None = None,
    rule: Rule = TABLE,
    lowering: Pointwise | str,
    domain: str = "",
) -> Op[A]:
    """An op of one function of each element.

    Args:
        op_type: ONNX name.
        parse: attributes of a node.
        compute: float32 meaning; where it is not defined, the result is NaN or infinite.
        curve: float64 meaning, from which the tables of integer calls are made.
        integers: meaning on integers that stand for themselves; None for an op of floats alone.
        fixed: the table under ``fixed`` requantization, where that is another one.
        rule: see :class:`Op`.
        lowering: see :class:`Op`.
        domain: see :class:`Op`.
    """

    def tables(attrs: A, x: QParams, output: Output) -> NDArray[np.integer]:
        if fixed is not None and output.requantization == "fixed":
            return fixed(attrs, x, output)[None]
        with np.errstate(all="ignore"):
            return unary_table(curve(attrs), x, output.qparams, output.low, output.high)[None]

    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None, "an operand that is never absent"
        with np.errstate(all="ignore"):
            if integers is not None and x.dtype != np.float32:
                return integers(attrs, x)
            return compute(attrs, nodes.f32(inputs))

    def quantized(attrs: A, inputs: Sequence[QArray | None], output: Output) -> Array:
        x = inputs[0]
        assert x is not None, "an operand that is never absent"
        return lookup(x, tables(attrs, x.qparams, output))

    return Op(
        op_type,
        parse,
        same_shape,
        reference,
        quantized,
        data_inputs=(0,),
        tables=tables,
        batches=always,
        rule=rule,
        lowering=lowering,
        domain=domain,
    )
