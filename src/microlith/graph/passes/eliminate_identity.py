"""Removes nodes that return their input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import (
    bypass,
    can_bypass,
    constant,
    constant_ints,
    constant_scalar,
    input_at,
    ints,
    known_shape,
)
from microlith.ops.reduce import is_image_mean


class EliminateIdentity:
    """Bypasses Identity, Dropout in inference, and Cast, Reshape, Transpose, Pad, Slice ... that change nothing.

    Also operands of Concat that hold no element, Relu of what is never negative, and Where with a constant condition
    that takes all elements from one side.

    A node between a graph input and a graph output stays: both keep their names.
    """

    name = "EliminateIdentity"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes bypassed and bounds dropped."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "Clip":
                changes += _drop_infinite_bounds(node)
            elif node.op_type == "Concat":
                changes += _drop_empty_operands(node)
            rule = _RULES.get(node.op_type)
            if rule is None or not rule(node):
                continue
            source = _data_input(node)
            if source is not None and can_bypass(node, source) and known_shape(source) == known_shape(node.outputs[0]):
                bypass(node, source)
                changes += 1
        return PassResult(changes)


def _data_input(node: ir.Node) -> ir.Value | None:
    """The input that is passed on: of a product the one that is computed, of Where the chosen one, else the first."""
    if node.op_type == "Mul" and constant(node.inputs[0]) is not None:
        return node.inputs[1]
    if node.op_type == "Where":
        condition = constant(node.inputs[0])
        return node.inputs[1 if condition is not None and condition.all() else 2]
    return node.inputs[0]


def _drop_infinite_bounds(node: ir.Node) -> int:
    dropped = 0
    for index, infinite in ((1, -np.inf), (2, np.inf)):
        value = input_at(node, index)
        if value is not None and constant_scalar(value) == infinite:
            node.replace_input_with(index, None)
            dropped += 1
    return dropped


def _drop_empty_operands(node: ir.Node) -> int:
    kept = [value for value in node.inputs if 0 not in (known_shape(value) or ())]
    dropped = len(node.inputs) - len(kept)
    if not kept or not dropped:
        return 0
    for index, value in enumerate(kept):
        node.replace_input_with(index, value)
    node.resize_inputs(len(kept))
    return dropped


def _always(node: ir.Node) -> bool:
    return True


def _single_output(node: ir.Node) -> bool:
    return not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _single_output_of_split(node: ir.Node) -> bool:
    return len(node.outputs) == 1


def _single_input(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _same_type(node: ir.Node) -> bool:
    source = node.inputs[0]
    return source is not None and source.dtype == node.outputs[0].dtype


def _same_shape(node: ir.Node) -> bool:
    return known_shape(node.inputs[0]) == known_shape(node.outputs[0])


def _ordered(node: ir.Node) -> bool:
    perm = ints(node, "perm", ())
    return bool(perm) and perm == tuple(range(len(perm)))


def _no_pads(node: ir.Node) -> bool:
    pads = constant_ints(input_at(node, 1))
    return pads is not None and not any(pads)


def _whole(node: ir.Node) -> bool:
    steps = input_at(node, 4)
    values = (1,) if steps is None else constant_ints(steps)
    return values is not None and all(step == 1 for step in values) and _same_shape(node)


def _no_bounds(node: ir.Node) -> bool:
    return input_at(node, 1) is None and input_at(node, 2) is None


def _never_negative(node: ir.Node) -> bool:
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None:
        return False
    if producer.op_type == "Clip":
        low = constant_scalar(input_at(producer, 1))
        return low is not None and low >= 0
    return producer.op_type in ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax")


def _reduces_nothing(node: ir.Node) -> bool:
    return _same_shape(node) and bool(constant_ints(input_at(node, 1))) and not is_image_mean(node)


def _unit_window(node: ir.Node) -> bool:
    ones = (*ints(node, "kernel_shape", ()), *ints(node, "strides", ()))
    return (
        all(size == 1 for size in ones)
        and not any(ints(node, "pads", ()))
        and _same_shape(node)
        and _single_output(node)
    )


def _scalar_at(index: int, number: float) -> Callable[[ir.Node], bool]:
    def matches(node: ir.Node) -> bool:
        array = constant(input_at(node, index))
        return array is not None and array.size > 0 and bool((array == number).all())

    return matches


def _times_one(node: ir.Node) -> bool:
    return _scalar_at(0, 1)(node) or _scalar_at(1, 1)(node)


def _one_side(node: ir.Node) -> bool:
    condition = constant(node.inputs[0])
    return condition is not None and condition.size > 0 and bool(condition.all() or not condition.any())


_RULES: Mapping[str, Callable[[ir.Node], bool]] = {
    "Identity": _always,
    "Dropout": _single_output,
    "Cast": _same_type,
    "CastLike": _same_type,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Expand": _same_shape,
    "Tile": _same_shape,
    "Transpose": _ordered,
    "Pad": _no_pads,
    "Slice": _whole,
    "Concat": _single_input,
    "Sum": _single_input,
    "Max": _single_input,
    "Min": _single_input,
    "Mean": _single_input,
    "Clip": _no_bounds,
    "Relu": _never_negative,
    "ReduceMax": _reduces_nothing,
    "ReduceMean": _reduces_nothing,
    "ReduceMin": _reduces_nothing,
    "ReduceProd": _reduces_nothing,
    "ReduceSum": _reduces_nothing,
    "GlobalAveragePool": _same_shape,
    "GlobalMaxPool": _same_shape,
    "Split": _single_output_of_split,
    "Pow": _scalar_at(1, 1),
    "MaxPool": _unit_window,
    "AveragePool": _unit_window,
    "Mul": _times_one,
    "Div": _scalar_at(1, 1),
    "Sub": _scalar_at(1, 0),
    "Where": _one_side,
}
