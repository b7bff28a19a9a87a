"""Elementwise ops on numbers that stand for themselves, with broadcasting, and Max and Min of any operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.compile.layout import Layout, channels_last, graph_shape, identity, physical_shape
from microlith.compile.lowering import Array, Lowering, dtype_of, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.cast import cast
from microlith.ops.clip import integer_bounds
from microlith.program.attrs import Broadcast, Cast, Test, Unary
from microlith.program.types import NUMPY, DType, View, contiguous
from microlith.quant.lut import identity_table, lookup
from microlith.quant.types import QArray, stored

_ROLES = ("a", "b", "c")
_BINARY = {
    "Add": "add",
    "And": "and",
    "BitwiseAnd": "and",
    "BitwiseOr": "or",
    "BitwiseXor": "xor",
    "Div": "div",
    "Max": "max",
    "Min": "min",
    "Mul": "mul",
    "Or": "or",
    "Pow": "pow",
    "Sub": "sub",
    "Xor": "xor",
}
_COMPARE = {
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_or_equal",
    "Less": "less",
    "LessOrEqual": "less_or_equal",
}
_INTEGER_UNARY = {
    "Abs": "abs",
    "BitwiseNot": "complement",
    "Neg": "negate",
    "Not": "not",
    "Sign": "sign",
}
_IMAGES = frozenset(
    (
        "AveragePool",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "LpPool",
        "MaxPool",
        "Resize",
    )
)
"""Ops that take channels last."""
_ROWS = frozenset(
    ("Attention", "Gemm", "LayerNormalization", "LSTM", "GRU", "MatMul", "MatMulInteger", "RMSNormalization", "RNN")
)
"""Ops that take the graph's own order."""
_LOOKED_AT = 16
"""Readers, near and far, that are asked for the order they want."""


@dataclass(frozen=True, eq=False)
class Term:
    """An operand.

    Attributes:
        shape: in graph order.
        view: where it lies, if it is computed.
        values: in graph order, if it is constant.
    """

    shape: tuple[int, ...]
    view: View | None = None
    values: Array | None = None


def common_layout(low: Lowering, unit: Unit, indices: Sequence[int], rank: int) -> Layout:
    """The layout of the largest computed operand that has the result's rank, so that the fewest bytes move.

    Of several as large it is the one that readers of the result want, else the first.
    """
    found: list[View] = []
    for index in indices:
        operand = low.operand(unit, index)
        if low.constant(operand) is None and len(shape_of(operand.value)) == rank:
            found.append(low.read(unit, index))
    if not found:
        return identity(rank)
    largest = max(view.size for view in found)
    layouts = list(dict.fromkeys(view.layout for view in found if view.size == largest))
    wanted = _read_in(unit.output.value, rank) if len(layouts) > 1 else None
    return wanted if wanted in layouts else layouts[0]


def _read_in(value: ir.Value, rank: int) -> Layout | None:
    """The order of axes in which the first reader that has one takes a value; None where none has."""
    waiting, seen = [value], 0
    while waiting and seen < _LOOKED_AT:
        for node in waiting.pop(0).consumers():
            seen += 1
            if node.op_type in _IMAGES:
                return channels_last(rank)
            if node.op_type in _ROWS:
                return identity(rank)
            waiting += [item for item in node.outputs if item.shape is not None and len(item.shape) == rank]
    return None


def own_layout(layout: Layout, rank: int, own_rank: int) -> Layout:
    """``layout`` restricted to the trailing axes that an operand of lower rank has."""
    missing = rank - own_rank
    return tuple(axis - missing for axis in layout if axis >= missing)


def broadcast_strides(
    shape: tuple[int, ...], own: Layout, out_shape: tuple[int, ...], layout: Layout
) -> tuple[int, ...]:
    """Strides of an operand along the physical axes of the result, 0 where it is repeated."""
    missing = len(out_shape) - len(shape)
    by_axis = dict(zip(own, contiguous(physical_shape(shape, own)), strict=True))
    return tuple(0 if axis < missing or shape[axis - missing] == 1 else by_axis[axis - missing] for axis in layout)


def term(low: Lowering, unit: Unit, index: int, layout: Layout) -> Term:
    """An operand that reads in the result's layout; in an integer unit, with the meaning of the result."""
    operand = low.operand(unit, index)
    shape = shape_of(operand.value)
    values = low.constant(operand)
    meant = unit.kind == "integer" and operand.qparams is not None
    if values is None:
        view = low.read(unit, index, own_layout(layout, len(layout), len(shape)))
        return Term(shape, low.same_meaning(unit, view, operand) if meant else view)
    if meant and operand.qparams is not None:
        source, output = stored(operand.qparams), low.quantized_output(unit)
        table = identity_table(source, output.qparams, output.low, output.high)
        values = lookup(QArray(values, source), table)  # type: ignore[arg-type]
    return Term(shape, values=values)


def emit(low: Lowering, names: Sequence[str], op: str, function: str, terms: Sequence[Term], y: View) -> None:
    """A call of ``binary``, ``compare`` or ``where`` into a view."""
    out_shape = graph_shape(y.shape, y.layout)
    reads, consts, strides = [], {}, []
    for role, item in zip(_ROLES, terms, strict=False):
        own = own_layout(y.layout, len(out_shape), len(item.shape))
        strides.append(broadcast_strides(item.shape, own, out_shape, y.layout))
        if item.view is not None:
            reads.append(item.view)
        else:
            assert item.values is not None, "an operand is computed or constant"
            consts[role] = low.builder.const(role, np.ascontiguousarray(item.values.transpose(own)))
    low.builder.call(op, Broadcast(function, y.shape, tuple(strides)), reads, y, names, consts=consts)


def lower_plain_binary(low: Lowering, unit: Unit) -> None:
    """Two operands, or any number for Max and Min, taken one after another."""
    function = _function(low, unit)
    rank = len(shape_of(unit.output.value))
    count = len(unit.inputs)
    layout = common_layout(low, unit, range(count), rank)
    terms = [term(low, unit, index, layout) for index in range(count)]
    if all(item.view is None for item in terms):
        raise UnsupportedError("all operands are constants", node=low.where(unit), hint="Fold constants first.")
    names = low.names(unit)
    if count > 2:
        # Every call then reads a computed operand.
        terms.sort(key=lambda item: item.view is None)
    if count == 1:
        view = terms[0].view
        assert view is not None, "checked above"
        value = unit.output.value
        low.views[value] = low.builder.alias(view, shape_of(value), view.layout, value.name or "", view.qparams)
        return
    made = terms[0]
    for item in terms[1:-1]:
        shape = tuple(int(extent) for extent in np.broadcast_shapes(made.shape, item.shape))
        partial = low.builder.tensor(shape, low.result_dtype(unit), None, "", own_layout(layout, rank, len(shape)))
        emit(low, names, "binary", function, (made, item), partial)
        made = Term(shape, partial)
    emit(low, names, "binary", function, (made, terms[-1]), low.result(unit, layout))


def _function(low: Lowering, unit: Unit) -> str:
    op_type, attrs = unit.node.op_type, low.attrs(unit)
    if op_type == "Mod":
        return "fmod" if attrs.fmod else "mod"
    if op_type == "BitShift":
        return "shift_left" if attrs.left else "shift_right"
    return _BINARY[op_type]


def lower_clamped_binary(low: Lowering, unit: Unit) -> None:
    """Add, Sub or Mul of other types or more axes than their own kernels have; an activation is a call of its own."""
    if unit.activation is None:
        lower_plain_binary(low, unit)
        return
    shape = shape_of(unit.output.value)
    layout = common_layout(low, unit, (0, 1), len(shape))
    terms = [term(low, unit, index, layout) for index in (0, 1)]
    plain = low.builder.tensor(shape, low.result_dtype(unit), None, "", layout)
    emit(low, low.names(unit), "binary", _function(low, unit), terms, plain)
    epilogue = low.epilogue(unit)
    limits = (
        -np.inf if epilogue.low is None else epilogue.low,
        np.inf if epilogue.high is None else epilogue.high,
    )
    low.builder.call("unary", Unary("clamp", limits), [plain], low.result(unit, layout), low.names(unit))


def lower_pow(low: Lowering, unit: Unit) -> None:
    """Pow: an exponent of another type is brought to that of the base, or both to float32."""
    base, exponent = (low.operand(unit, index) for index in (0, 1))
    if base.value.dtype == exponent.value.dtype:
        lower_plain_binary(low, unit)
        return
    shape, names = shape_of(unit.output.value), low.names(unit)
    layout = common_layout(low, unit, (0, 1), len(shape))
    floats = "f32" in (dtype_of(base.value), dtype_of(exponent.value))
    common: DType = "f32" if floats else dtype_of(base.value)
    terms = [_cast_term(low, term(low, unit, index, layout), common, names) for index in (0, 1)]
    if common == low.result_dtype(unit):
        emit(low, names, "binary", "pow", terms, low.result(unit, layout))
        return
    power = low.builder.tensor(shape, common, None, "", layout)
    emit(low, names, "binary", "pow", terms, power)
    low.builder.call("cast", Cast(), [power], low.result(unit, layout), names)


def _cast_term(low: Lowering, item: Term, dtype: DType, names: Sequence[str]) -> Term:
    if item.view is None:
        assert item.values is not None, "an operand is computed or constant"
        return Term(item.shape, values=cast(item.values, NUMPY[dtype]))
    if item.view.dtype == dtype:
        return item
    y = low.builder.tensor(item.shape, dtype, None, "", item.view.layout)
    low.builder.call("cast", Cast(), [item.view], y, names)
    return Term(item.shape, y)


def lower_compare(low: Lowering, unit: Unit) -> None:
    """Equal, Greater ...: two operands of one type to booleans."""
    layout = common_layout(low, unit, (0, 1), len(shape_of(unit.output.value)))
    terms = [term(low, unit, index, layout) for index in (0, 1)]
    emit(low, low.names(unit), "compare", _COMPARE[unit.node.op_type], terms, low.result(unit, layout))


def lower_where(low: Lowering, unit: Unit) -> None:
    """Where: a condition and two operands."""
    layout = common_layout(low, unit, (1, 2, 0), len(shape_of(unit.output.value)))
    terms = [term(low, unit, index, layout) for index in range(3)]
    emit(low, low.names(unit), "where", "", terms, low.result(unit, layout))


def lower_cast(low: Lowering, unit: Unit) -> None:
    """Cast and CastLike."""
    x = low.read(unit, 0)
    low.builder.call("cast", Cast(), [x], low.result(unit, x.layout), low.names(unit))


def lower_integer_unary(low: Lowering, unit: Unit) -> None:
    """One function of every integer or boolean."""
    x = low.read(unit, 0)
    parameters: tuple[int, ...] = ()
    if unit.node.op_type in ("Relu", "Clip"):
        dtype = np.dtype(NUMPY[x.dtype])
        info = np.iinfo(dtype)
        relu = unit.node.op_type == "Relu"
        function = "clamp"
        parameters = (0, int(info.max)) if relu else integer_bounds(low.attrs(unit), dtype)
    else:
        function = _INTEGER_UNARY[unit.node.op_type]
    low.builder.call("unary", Unary(function, parameters), [x], low.result(unit, x.layout), low.names(unit))


def lower_float_test(low: Lowering, unit: Unit) -> None:
    """IsNaN and IsInf."""
    x, attrs = low.read(unit, 0), low.attrs(unit)
    function = "nan"
    if unit.node.op_type == "IsInf":
        sign = "" if attrs.negative and attrs.positive else "negative_" if attrs.negative else "positive_"
        function = f"{sign}infinity"
    low.builder.call("test", Test(function), [x], low.result(unit, x.layout), low.names(unit))
