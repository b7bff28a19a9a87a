"""Functions of each element, of one tensor or of several that are broadcast, and softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from microlith.graph.tflite.exporter import BOUNDS, Exporter
from microlith.graph.units import Unit, activation_bounds, clamp_limits
from microlith.quant.types import QParams, stored

Handler = Callable[[Exporter, Unit], None]


def _unary(exp: Exporter, unit: Unit, name: str) -> None:
    exp.finish(unit, name, [exp.operand(unit, 0)])


def _float_unary(exp: Exporter, unit: Unit, name: str) -> None:
    if unit.kind == "integer":
        raise exp.refuse(unit, f"{unit.node.op_type} of quantized tensors cannot be written")
    _unary(exp, unit, name)


_SCALES = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""Scale and zero point of the int8 that an operator writes; of int16 they are 1/32768 and 0."""


def _of_fixed_scale(exp: Exporter, unit: Unit, name: str) -> None:
    """An operator whose integers have a scale of their own."""
    exp.finish(unit, name, [exp.operand(unit, 0)], meaning=_meaning(exp, unit, name))


def _meaning(exp: Exporter, unit: Unit, name: str) -> QParams | None:
    """What the operator's own integers stand for; None in float."""
    if unit.kind != "integer" or unit.output.qparams is None:
        return None
    wide = unit.output.qparams.dtype == "int16"
    scale, zero = (1 / 32768, 0) if wide else _SCALES[name]
    meaning = QParams.per_tensor(scale, zero, "int16" if wide else "int8")
    if not meaning.same(stored(unit.output.qparams)):
        exp.remark(unit, f"{name} has the scale {scale:g}, and is rounded again to the scale of the result")
    return meaning


def _softmax(exp: Exporter, unit: Unit) -> None:
    """SOFTMAX along the last axis; another one is brought there."""
    attrs, x = exp.attrs(unit), exp.operand(unit, 0)
    shape = exp.shape(x)
    axis = attrs.axis % len(shape)
    if attrs.flattens:
        raise exp.refuse(unit, "Softmax over several axes at once cannot be written")
    meaning = _meaning(exp, unit, "SOFTMAX")
    if axis == len(shape) - 1:
        exp.finish(unit, "SOFTMAX", [x], meaning=meaning, beta=1.0)
        return
    perm = [*range(axis), len(shape) - 1, *range(axis + 1, len(shape) - 1), axis]
    moved = exp.transposed(unit, x, perm)
    y = exp.like(moved, f"{unit.node.name}/softmax")
    if meaning is not None:
        exp.tensors[y] = replace(exp.tensors[y], qparams=meaning)
    exp.emit("SOFTMAX", [moved], [y], beta=1.0)
    exp.finish(unit, "TRANSPOSE", [y, exp.ints(perm, unit, "perm")], meaning=meaning)


def _clamp(exp: Exporter, unit: Unit) -> None:
    """Relu and Clip that nothing absorbs."""
    bounds = activation_bounds(unit.node)
    x = exp.operand(unit, 0)
    meaning, known = exp.tensors[x].qparams, unit.output.qparams
    name = next((name for name, item in BOUNDS.items() if item == bounds), None)
    if name is not None:
        exp.finish(unit, name, [x])
    elif known is None or (meaning is not None and meaning.same(stored(known))):
        exp.clamped(unit, x, bounds)
    else:
        wanted = clamp_limits(bounds, stored(known), "fixed")
        name = next((n for n, item in BOUNDS.items() if clamp_limits(item, stored(known), "fixed") == wanted), None)
        if name is None:
            raise exp.refuse(unit, f"Clip to {bounds} with a change of scale cannot be written", "Clip to 0 and 6.")
        exp.finish(unit, name, [x])


def _leaky_relu(exp: Exporter, unit: Unit) -> None:
    exp.finish(unit, "LEAKY_RELU", [exp.operand(unit, 0)], alpha=exp.attrs(unit).alpha)


def _gelu(exp: Exporter, unit: Unit) -> None:
    approximate = unit.node.attributes.get_string("approximate", "none") == "tanh"
    exp.finish(unit, "GELU", [exp.operand(unit, 0)], approximate=approximate)


def _elu(exp: Exporter, unit: Unit) -> None:
    if exp.attrs(unit).alpha != 1.0:
        raise exp.refuse(unit, f"Elu with alpha {exp.attrs(unit).alpha:g} cannot be written, only with 1")
    _unary(exp, unit, "ELU")


def _broadcast(exp: Exporter, unit: Unit, name: str) -> None:
    if len(unit.inputs) != 2:
        raise exp.refuse(unit, f"{unit.node.op_type} of {len(unit.inputs)} tensors cannot be written, only of two")
    exp.finish(unit, name, [exp.operand(unit, 0), exp.operand(unit, 1)])


def _extreme(exp: Exporter, unit: Unit, name: str) -> None:
    """Max and Min, of integers with the meaning of the result, two at a time."""
    found, *others = (exp.means(unit, exp.operand(unit, position)) for position in range(len(unit.inputs)))
    if not others:
        exp.reshape(unit, found, exp.result(unit))
        return
    for other in others[:-1]:
        shape = np.broadcast_shapes(exp.shape(found), exp.shape(other))
        made = exp.like(found, f"{unit.node.name}/{name.lower()}", shape)
        exp.emit(name, [found, other], [made])
        found = made
    exp.finish(unit, name, [found, others[-1]])


def _float_broadcast(exp: Exporter, unit: Unit, name: str) -> None:
    if unit.kind == "integer":
        raise exp.refuse(unit, f"{unit.node.op_type} of quantized tensors cannot be written")
    _broadcast(exp, unit, name)


def _prelu(exp: Exporter, unit: Unit) -> None:
    slope = unit.node.inputs[1]
    if unit.kind == "integer" or slope is None:
        raise exp.refuse(unit, "PRelu of quantized tensors cannot be written")
    exp.finish(unit, "PRELU", [exp.operand(unit, 0), exp.own(slope)])


def _reciprocal(exp: Exporter, unit: Unit) -> None:
    if unit.kind == "integer":
        raise exp.refuse(unit, "Reciprocal of quantized tensors cannot be written")
    one = exp.constant(np.asarray(1, np.float32), f"{unit.node.name}/one")
    exp.finish(unit, "DIV", [one, exp.operand(unit, 0)])


def _where(exp: Exporter, unit: Unit) -> None:
    """SELECT_V2, of integers with the meaning of the result."""
    chosen = [exp.means(unit, exp.operand(unit, position)) for position in (1, 2)]
    exp.finish(unit, "SELECT_V2", [exp.operand(unit, 0), *chosen])


def _handlers(function: Callable[..., None], names: Mapping[str, str]) -> dict[str, Any]:
    return {op: partial(function, name=name) for op, name in names.items()}


HANDLERS: Mapping[str, Handler] = {
    **_handlers(_unary, {"HardSwish": "HARD_SWISH", "Sqrt": "SQRT", "Abs": "ABS", "Exp": "EXP", "Log": "LOG"}),
    **_handlers(
        _float_unary,
        {
            "Ceil": "CEIL",
            "Cos": "COS",
            "Floor": "FLOOR",
            "Neg": "NEG",
            "Not": "LOGICAL_NOT",
            "Round": "ROUND",
            "Sign": "SIGN",
            "Sin": "SIN",
        },
    ),
    **_handlers(_broadcast, {"Add": "ADD", "Mul": "MUL", "Sub": "SUB"}),
    **_handlers(_extreme, {"Max": "MAXIMUM", "Min": "MINIMUM"}),
    **_handlers(
        _float_broadcast,
        {
            "And": "LOGICAL_AND",
            "Div": "DIV",
            "Equal": "EQUAL",
            "Greater": "GREATER",
            "GreaterOrEqual": "GREATER_EQUAL",
            "Less": "LESS",
            "LessOrEqual": "LESS_EQUAL",
            "Or": "LOGICAL_OR",
            "Pow": "POW",
        },
    ),
    "Clip": _clamp,
    "Elu": _elu,
    "Gelu": _gelu,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Reciprocal": _reciprocal,
    "Relu": _clamp,
    "Sigmoid": partial(_of_fixed_scale, name="LOGISTIC"),
    "Softmax": _softmax,
    "Tanh": partial(_of_fixed_scale, name="TANH"),
    "Where": _where,
}
