"""Operators that commute with a transposition of their operands, and what changes in them when they do.

``T_p(x)`` has axis ``p[i]`` of x as its axis i. A node f is permutable where ``f(T_p(x), ...) = T_p(f'(x, ...))`` for
an f' of the same operator: axes are mapped by p, and constants are transposed back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from microlith.graph.values import (
    Array,
    add_initializer,
    constant,
    constant_ints,
    input_at,
    integer,
    known_shape,
    static_shape,
)
from microlith.ops.reduce import is_image_mean

Permutation = tuple[int, ...]

UNARY = frozenset(
    (
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip", "Cos", "Cosh"),
        *("Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu"),
        *("Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin"),
        *("Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"),
    )
)
BROADCAST = frozenset(
    (
        *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min"),
        *("Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
    )
)
_DEFAULT_AXIS = {
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), 1),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), -1),
    **dict.fromkeys(("Concat", "Split"), 0),
}
"""Operators along one axis that an attribute names, with its default."""

REDUCTIONS = frozenset(
    (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
    )
)


def inverse_of(perm: Permutation) -> Permutation:
    """The permutation that undoes another."""
    return tuple(int(axis) for axis in np.argsort(perm))


def data_inputs(node: ir.Node) -> Sequence[ir.Value | None]:
    """The operands that are transposed; all others say how."""
    return node.inputs if node.op_type in BROADCAST or node.op_type == "Concat" else node.inputs[:1]


def is_permutable(node: ir.Node, rank: int) -> bool:
    """Whether a node commutes with transpositions of tensors of this rank."""
    if any(value.name and len(known_shape(value) or ()) != rank for value in node.outputs):
        return False
    if not all(_can_follow(node, value, rank) for value in data_inputs(node)):
        return False
    if node.op_type in UNARY or node.op_type in BROADCAST:
        return True
    if node.op_type in _DEFAULT_AXIS:
        return not integer(node, "block_size", 0)
    if node.op_type == "Pad":
        return constant_ints(input_at(node, 1)) is not None and _axes_are_known(node, 3)
    if node.op_type == "Slice":
        return constant_ints(input_at(node, 1)) is not None and _axes_are_known(node, 3)
    if is_image_mean(node):
        return False  # its channels are the axis beside the batch, which comes first
    return node.op_type in REDUCTIONS and bool(integer(node, "keepdims", 1)) and bool(constant_ints(input_at(node, 1)))


def _axes_are_known(node: ir.Node, index: int) -> bool:
    return input_at(node, index) is None or constant_ints(input_at(node, index)) is not None


def _can_follow(node: ir.Node, value: ir.Value | None, rank: int) -> bool:
    """Whether an operand can be brought into another order of axes: of the same rank, or a constant or one number."""
    shape = known_shape(value)
    if value is None or shape is None:
        return False
    if len(shape) == rank:
        return True
    return node.op_type in BROADCAST and len(shape) < rank and (constant(value) is not None or is_one_number(value))


def is_one_number(value: ir.Value) -> bool:
    """Whether a value looks the same in every order of axes."""
    return all(size == 1 for size in known_shape(value) or ())


def permuted_constant(graph: ir.Graph, value: ir.Value, inverse: Permutation) -> ir.Value:
    """A constant operand of a broadcasting operator in the order of axes before the transposition."""
    array = constant(value)
    assert array is not None
    full = array.reshape((1,) * (len(inverse) - array.ndim) + array.shape)
    return add_initializer(graph, f"{value.name}_transposed", full.transpose(inverse))


def permute_node(node: ir.Node, perm: Permutation) -> None:
    """Change what a node says about axes, once its operands are those before a transposition; in place.

    Types and shapes of its results become those before the transposition.
    """
    rank = len(perm)
    if node.op_type in _DEFAULT_AXIS:
        axis = integer(node, "axis", _DEFAULT_AXIS[node.op_type])
        if -rank <= axis < rank:
            node.attributes.add(ir.AttrInt64("axis", perm[axis]))
    elif node.op_type in ("Pad", "Slice") or node.op_type in REDUCTIONS:
        _permute_axes(node, perm)
    inverse = inverse_of(perm)
    for value in node.outputs:
        if value.name:
            shape = static_shape(value)
            value.shape = ir.Shape([shape[axis] for axis in inverse])


def _permute_axes(node: ir.Node, perm: Permutation) -> None:
    """Map the axes that a constant input names; where it names none, it means all of them, or the first ones."""
    index = 1 if node.op_type in REDUCTIONS else 3
    axes = constant_ints(input_at(node, index))
    if axes is None:
        named = constant_ints(input_at(node, 1))
        assert named is not None
        axes = tuple(range(len(named) // 2 if node.op_type == "Pad" else len(named)))
    _set_input(node, index, np.asarray([perm[axis] for axis in axes], np.int64))


def _set_input(node: ir.Node, index: int, array: Array) -> None:
    assert node.graph is not None
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, add_initializer(node.graph, f"{node.outputs[0].name}_axes", array))


def reduction_axes(node: ir.Node, perm: Permutation) -> tuple[int, ...] | None:
    """Axes of a reduction without the Transpose in front of it, where what remains keeps its order; None otherwise."""
    axes = constant_ints(input_at(node, 1)) if node.op_type in REDUCTIONS else None
    if not axes or integer(node, "keepdims", 1):
        return None
    mapped = {perm[axis] for axis in axes}
    rest = [axis for axis in perm if axis not in mapped]
    return tuple(sorted(mapped)) if rest == sorted(rest) else None


def reduce_along(node: ir.Node, axes: Sequence[int]) -> None:
    """Set the axes of a reduction."""
    _set_input(node, 1, np.asarray(axes, np.int64))
