"""Functions of each element, of one tensor or of several that are broadcast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from microlith.graph.tflite.importer import Importer

Handler = Callable[[Importer], None]


def _unary(imp: Importer, op_type: str, **attributes: Any) -> None:
    index = imp.input(0)
    layout = imp.layout_of([index], imp.output())
    imp.finish(imp.node(op_type, [imp.real(index, layout)], **attributes), layout)


def _clip(imp: Importer, low: float, high: float) -> None:
    index = imp.input(0)
    layout = imp.layout_of([index], imp.output())
    imp.finish(imp.clip(imp.real(index, layout), low, high), layout)


def _leaky_relu(imp: Importer) -> None:
    _unary(imp, "LeakyRelu", alpha=imp.operator.options["alpha"])


def _gelu(imp: Importer) -> None:
    _unary(imp, "Gelu", approximate="tanh" if imp.operator.options["approximate"] else "none")


def _softmax(imp: Importer) -> None:
    beta = imp.operator.options["beta"]
    x = imp.real(imp.input(0))
    if beta != 1.0:
        imp.float_only()
        x = imp.node("Mul", [x, imp.constant(np.asarray(beta, np.float32), f"{imp.layer}/beta")])
    imp.finish(imp.node("Softmax", [x], axis=-1))


def _log_softmax(imp: Importer) -> None:
    imp.finish(imp.node("LogSoftmax", [imp.real(imp.input(0))], axis=-1))


def _rsqrt(imp: Importer) -> None:
    imp.float_only()
    imp.finish(imp.node("Reciprocal", [imp.node("Sqrt", [imp.real(imp.input(0))])]))


def _square(imp: Importer) -> None:
    imp.float_only()
    x = imp.real(imp.input(0))
    imp.finish(imp.node("Mul", [x, x]))


def _broadcast(imp: Importer, op_type: str, count: int = 2, **attributes: Any) -> None:
    indices = [imp.input(position) for position in range(count)]
    layout = imp.layout_of(indices, imp.output())
    y = imp.node(op_type, [imp.operand(index, layout) for index in indices], **attributes)
    imp.finish(y, layout, activation=imp.operator.options.get("activation", 0))


def _add_n(imp: Importer) -> None:
    imp.float_only()
    _broadcast(imp, "Sum", len(imp.operator.inputs))


def _not_equal(imp: Importer) -> None:
    a, b = (imp.real(imp.input(position)) for position in (0, 1))
    imp.finish(imp.node("Not", [imp.node("Equal", [a, b])]))


def _squared_difference(imp: Importer) -> None:
    imp.float_only()
    a, b = (imp.real(imp.input(position)) for position in (0, 1))
    difference = imp.node("Sub", [a, b])
    imp.finish(imp.node("Mul", [difference, difference]))


def _floor_div(imp: Importer) -> None:
    """Of floats; integers would have to be rounded down where ONNX cuts off."""
    _floats(imp)
    a, b = (imp.real(imp.input(position)) for position in (0, 1))
    imp.finish(imp.node("Floor", [imp.node("Div", [a, b])]))


def _floor_mod(imp: Importer) -> None:
    a, b = (imp.real(imp.input(position)) for position in (0, 1))
    if imp.tensor(imp.input(0)).dtype in ("int32", "int64"):
        imp.finish(imp.node("Mod", [a, b]))
        return
    _floats(imp)
    # The remainder of C has the sign of a; adding b once and taking it again gives that of b.
    first = imp.node("Mod", [a, b], fmod=1)
    imp.finish(imp.node("Mod", [imp.node("Add", [first, b]), b], fmod=1))


def _floats(imp: Importer) -> None:
    imp.float_only()
    if imp.tensor(imp.input(0)).dtype != "float32":
        raise imp.refuse(f"{imp.operator.name} of {imp.tensor(imp.input(0)).dtype} cannot be imported")


def _select(imp: Importer) -> None:
    """SELECT and SELECT_V2; the older one takes a condition for each row where it has one dimension."""
    condition, first = imp.input(0), imp.input(1)
    rank = len(imp.shape(condition))
    if imp.operator.name == "SELECT" and rank == 1 and len(imp.shape(first)) > 1:
        raise imp.refuse("a condition for each row cannot be imported")
    imp.finish(imp.node("Where", [imp.stored(condition), imp.real(first), imp.real(imp.input(2))]))


def _prelu(imp: Importer) -> None:
    _broadcast(imp, "PRelu")


def _l2_normalization(imp: Importer) -> None:
    imp.float_only()
    y = imp.node("LpNormalization", [imp.real(imp.input(0))], axis=-1, p=2)
    imp.finish(y, activation=imp.operator.options["activation"])


def _local_response_normalization(imp: Importer) -> None:
    """ONNX divides alpha by the number of channels in the window."""
    imp.float_only()
    options = imp.operator.options
    size = 2 * options["radius"] + 1
    if size < 1:
        raise imp.refuse(f"a radius of {options['radius']}, expected at least 0")
    y = imp.node(
        "LRN",
        [imp.real(imp.input(0), "nchw")],
        size=size,
        bias=options["bias"],
        alpha=options["alpha"] * size,
        beta=options["beta"],
    )
    imp.finish(y, "nchw")


HANDLERS: Mapping[str, Handler] = {
    "ABS": partial(_unary, op_type="Abs"),
    "ADD": partial(_broadcast, op_type="Add"),
    "ADD_N": _add_n,
    "CEIL": partial(_unary, op_type="Ceil"),
    "COS": partial(_unary, op_type="Cos"),
    "DIV": partial(_broadcast, op_type="Div"),
    "ELU": partial(_unary, op_type="Elu"),
    "EQUAL": partial(_broadcast, op_type="Equal"),
    "EXP": partial(_unary, op_type="Exp"),
    "FLOOR": partial(_unary, op_type="Floor"),
    "FLOOR_DIV": _floor_div,
    "FLOOR_MOD": _floor_mod,
    "GELU": _gelu,
    "GREATER": partial(_broadcast, op_type="Greater"),
    "GREATER_EQUAL": partial(_broadcast, op_type="GreaterOrEqual"),
    "HARD_SWISH": partial(_unary, op_type="HardSwish"),
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky_relu,
    "LESS": partial(_broadcast, op_type="Less"),
    "LESS_EQUAL": partial(_broadcast, op_type="LessOrEqual"),
    "LOCAL_RESPONSE_NORMALIZATION": _local_response_normalization,
    "LOG": partial(_unary, op_type="Log"),
    "LOGICAL_AND": partial(_broadcast, op_type="And"),
    "LOGICAL_NOT": partial(_unary, op_type="Not"),
    "LOGICAL_OR": partial(_broadcast, op_type="Or"),
    "LOGISTIC": partial(_unary, op_type="Sigmoid"),
    "LOG_SOFTMAX": _log_softmax,
    "MAXIMUM": partial(_broadcast, op_type="Max"),
    "MINIMUM": partial(_broadcast, op_type="Min"),
    "MUL": partial(_broadcast, op_type="Mul"),
    "NEG": partial(_unary, op_type="Neg"),
    "NOT_EQUAL": _not_equal,
    "POW": partial(_broadcast, op_type="Pow"),
    "PRELU": _prelu,
    "RELU": partial(_unary, op_type="Relu"),
    "RELU6": partial(_clip, low=0.0, high=6.0),
    "RELU_0_TO_1": partial(_clip, low=0.0, high=1.0),
    "RELU_N1_TO_1": partial(_clip, low=-1.0, high=1.0),
    "ROUND": partial(_unary, op_type="Round"),
    "RSQRT": _rsqrt,
    "SELECT": _select,
    "SELECT_V2": _select,
    "SIGN": partial(_unary, op_type="Sign"),
    "SIN": partial(_unary, op_type="Sin"),
    "SOFTMAX": _softmax,
    "SQRT": partial(_unary, op_type="Sqrt"),
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
    "SUB": partial(_broadcast, op_type="Sub"),
    "TANH": partial(_unary, op_type="Tanh"),
}
