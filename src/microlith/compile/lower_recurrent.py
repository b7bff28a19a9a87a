"""LSTM, GRU and RNN."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import identity
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.kernels.recurrent import ROLES
from microlith.ops import op_of
from microlith.ops.recurrent import FUNCTIONS, RecurrentAttrs
from microlith.program.neural_attrs import Recurrent
from microlith.program.types import ConstRef, View


def lower_recurrent(low: Lowering, unit: Unit) -> None:
    """A whole layer in one call: every step, direction and sequence."""
    attrs: RecurrentAttrs = low.attrs(unit)
    if unit.kind != "float":
        raise UnsupportedError(f"{unit.node.op_type} has no integer form", node=low.where(unit))
    reads, consts, roles = _operands(low, unit)
    x_shape = shape_of(low.operand(unit, 0).value)
    w_shape = shape_of(low.operand(unit, 1).value)
    steps, batch = (x_shape[1], x_shape[0]) if attrs.batch_first else (x_shape[0], x_shape[1])
    hidden, count, depth = attrs.hidden, attrs.directions, x_shape[2]
    if attrs.batch_first:
        x_strides, y_strides = (depth, steps * depth), (count * hidden, hidden, steps * count * hidden)
        state_strides = (hidden, count * hidden)
    else:
        x_strides, y_strides = (batch * depth, depth), (count * batch * hidden, batch * hidden, hidden)
        state_strides = (batch * hidden, hidden)
    names = list(FUNCTIONS)
    functions = np.array([names.index(item.name) for item in attrs.activations], np.int32)
    parameters = np.array([[item.alpha, item.beta] for item in attrs.activations], np.float32)
    consts |= {
        "functions": low.builder.const("functions", functions),
        "parameters": low.builder.const("parameters", parameters),
    }
    call = Recurrent(
        attrs.kind, steps, batch, depth, hidden, count, attrs.direction == "reverse",
        x_strides, y_strides, state_strides, attrs.coupled, attrs.linear_before_reset, attrs.clip, roles,
    )  # fmt: skip
    shapes = op_of(unit.node).infer(attrs, [x_shape, w_shape])
    values = [unit.output, *unit.others, *[None] * len(shapes)][: len(shapes)]
    written: list[View] = []
    for item, shape in zip(values, shapes, strict=True):
        # A result that nobody reads still has its place among the arguments; the last states are always kept.
        view = low.builder.tensor(shape, "f32", None, "" if item is None else item.value.name or "")
        written.append(view)
        if item is not None:
            low.views[item.value] = view
    low.builder.call("recurrent", call, reads, written[0], low.names(unit), consts=consts, others=written[1:])


def _operands(low: Lowering, unit: Unit) -> tuple[list[View], dict[str, ConstRef], tuple[str, ...]]:
    reads: list[View] = []
    consts: dict[str, ConstRef] = {}
    roles = []
    for index, role in enumerate(ROLES[: len(unit.inputs)]):
        if unit.inputs[index] is None:
            continue
        operand = low.operand(unit, index)
        values = low.constant(operand)
        roles.append(role)
        if values is None:
            reads.append(low.read(unit, index, identity(len(shape_of(operand.value)))))
        else:
            dtype = np.int32 if role == "lengths" else np.float32
            consts[role] = low.builder.const(role, np.asarray(values, dtype))
    return reads, consts, tuple(roles)
