"""Ops of two operands, or of any number, element by element: one file, since each is one line of the table.

Add, Sub and Mul, which have an integer form of their own, stand in :mod:`microlith.ops.elementwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.cast import cast
from microlith.ops.elementwise import NO_ATTRS, BinaryAttrs, broadcast_shape, ranks_agree
from microlith.ops.integer_arithmetic import divide, power, remainder
from microlith.quant import integer_elementwise
from microlith.quant.types import QArray

A = TypeVar("A")
Pair = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class ModAttrs:
    """Whether the remainder has the sign of the dividend (C's fmod) or of the divisor."""

    fmod: bool


@dataclass(frozen=True)
class BitShiftAttrs:
    """Whether bits move to the left."""

    left: bool


def parse_mod(node: ir.Node) -> ModAttrs:
    """Attributes of a Mod node."""
    fmod = nodes.integer(node, "fmod", 0) != 0
    value = node.inputs[0]
    if value is not None and value.dtype == ir.DataType.FLOAT and not fmod:
        raise ModelError("Mod of floats has fmod = 0, expected 1", node=nodes.where(node))
    return ModAttrs(fmod)


def parse_bit_shift(node: ir.Node) -> BitShiftAttrs:
    """Attributes of a BitShift node."""
    direction = nodes.text(node, "direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise ModelError(f"direction is {direction!r}, expected 'LEFT' or 'RIGHT'", node=nodes.where(node))
    return BitShiftAttrs(direction == "LEFT")


def _arrays(inputs: Sequence[Array | None]) -> list[Array]:
    found = [array for array in inputs if array is not None]
    assert len(found) == len(inputs), "operands that are never absent"
    return found


def _op(
    op_type: str,
    parse: Callable[[ir.Node], A],
    pair: Callable[[A, Array, Array], Array],
    lowering: str = "lower_plain.lower_plain_binary",
) -> Op[A]:
    """An op of two operands."""

    def infer(attrs: A, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
        return (broadcast_shape(op_type, inputs[0], inputs[1]),)

    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        a, b = _arrays(inputs)
        with np.errstate(all="ignore"):
            return np.asarray(pair(attrs, a, b))

    return Op(op_type, parse, infer, reference, batches=ranks_agree, lowering=lowering)


def _plain(op_type: str, pair: Pair, lowering: str = "lower_plain.lower_plain_binary") -> Op[BinaryAttrs]:
    return _op(op_type, NO_ATTRS, lambda attrs, a, b: pair(a, b), lowering)


def _comparison(op_type: str, pair: Pair) -> Op[BinaryAttrs]:
    return _plain(op_type, pair, "lower_plain.lower_compare")


def _extremum(op_type: str, pair: Pair, *, greatest: bool) -> Op[BinaryAttrs]:
    """Min or Max of any number of operands."""

    def infer(attrs: BinaryAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
        return (reduce(lambda a, b: broadcast_shape(op_type, a, b), inputs),)

    def reference(attrs: BinaryAttrs, inputs: Sequence[Array | None]) -> Array:
        return np.asarray(reduce(pair, _arrays(inputs)))

    def quantized(attrs: BinaryAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
        operands = [item for item in inputs if item is not None]
        return integer_elementwise.extremum(operands, output.qparams, output.low, output.high, greatest=greatest)

    return Op(
        op_type,
        NO_ATTRS,
        infer,
        reference,
        quantized,
        batches=ranks_agree,
        rule=Rule("concat", data=None),
        lowering="lower_plain.lower_plain_binary",
    )


def _sum(op_type: str, *, mean: bool) -> Op[BinaryAttrs]:
    """Sum or Mean of any number of float operands; the graph passes write them out as Add and Mul."""

    def infer(attrs: BinaryAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
        return (reduce(lambda a, b: broadcast_shape(op_type, a, b), inputs),)

    def reference(attrs: BinaryAttrs, inputs: Sequence[Array | None]) -> Array:
        found = _arrays(inputs)
        total: Any = reduce(lambda a, b: np.asarray(np.add(a, b)), found)
        return np.asarray(total / np.float32(len(found)) if mean else total, np.float32)

    return Op(op_type, NO_ATTRS, infer, reference, batches=ranks_agree)


def _is_float(array: Array) -> bool:
    return array.dtype == np.float32


def _divide(a: Array, b: Array) -> Array:
    return np.asarray(np.true_divide(a, b), np.float32) if _is_float(a) else divide(a, b)


def _mod(attrs: ModAttrs, a: Array, b: Array) -> Array:
    return np.asarray(np.fmod(a, b)) if _is_float(a) else remainder(a, b, of_truncation=attrs.fmod)


def _power(a: Array, b: Array) -> Array:
    """In the type of ``a``; where one of both is a float, in float32, truncated at the end."""
    if not _is_float(a) and not _is_float(b):
        return power(a, b.astype(a.dtype))
    return cast(np.power(a.astype(np.float32), b.astype(np.float32)), a.dtype.name)


def _shift(attrs: BitShiftAttrs, a: Array, b: Array) -> Array:
    shifted: Any = np.left_shift(a, b) if attrs.left else np.right_shift(a, b)
    return np.asarray(shifted, a.dtype)


DIV = _plain("Div", _divide)
POW = _plain("Pow", _power, "lower_plain.lower_pow")
MOD = _op("Mod", parse_mod, _mod)
BIT_SHIFT = _op("BitShift", parse_bit_shift, _shift)
BINARY: tuple[Op[Any], ...] = (
    DIV,
    POW,
    MOD,
    BIT_SHIFT,
    _extremum("Max", lambda a, b: np.asarray(np.maximum(a, b)), greatest=True),
    _extremum("Min", lambda a, b: np.asarray(np.minimum(a, b)), greatest=False),
    _sum("Sum", mean=False),
    _sum("Mean", mean=True),
    _plain("And", lambda a, b: np.logical_and(a, b)),
    _plain("Or", lambda a, b: np.logical_or(a, b)),
    _plain("Xor", lambda a, b: np.logical_xor(a, b)),
    _plain("BitwiseAnd", lambda a, b: np.bitwise_and(a, b)),
    _plain("BitwiseOr", lambda a, b: np.bitwise_or(a, b)),
    _plain("BitwiseXor", lambda a, b: np.bitwise_xor(a, b)),
    _comparison("Equal", lambda a, b: np.equal(a, b)),
    _comparison("Greater", lambda a, b: np.greater(a, b)),
    _comparison("GreaterOrEqual", lambda a, b: np.greater_equal(a, b)),
    _comparison("Less", lambda a, b: np.less(a, b)),
    _comparison("LessOrEqual", lambda a, b: np.less_equal(a, b)),
)
