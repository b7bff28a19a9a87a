"""Elementwise ops: sums and products of two tensors, functions of one, changes of type."""

from __future__ import annotations

import math

import numpy as np

from microlith.compile.layout import channels_last, physical_shape
from microlith.compile.lower_plain import (
    Term,
    broadcast_strides,
    common_layout,
    emit,
    lower_clamped_binary,
    lower_integer_unary,
    own_layout,
)
from microlith.compile.lowering import Lowering, dtype_of, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit, activation_bounds
from microlith.ops import op_of
from microlith.ops.base import Pointwise
from microlith.program.attrs import Affine, Binary, Convert, ConvertChannels, Lut, Unary
from microlith.program.types import ConstRef, Epilogue, View
from microlith.quant.factors import mul_requant, sum_requant
from microlith.quant.requantize import Requant
from microlith.quant.types import QParams, as_held, stored

_BINARY = {"Add": "add", "Sub": "sub", "Mul": "mul"}
INTEGER_FUNCTIONS = frozenset({"Abs", "Clip", "Neg", "Relu", "Sign"})
"""Unary ops that integers which stand for themselves have, too."""
AXES = 4


def lower_binary(low: Lowering, unit: Unit) -> None:
    """Add, Sub, Mul with broadcasting; one operand may be a constant."""
    out_shape = shape_of(unit.output.value)
    if unit.kind == "raw" or (len(out_shape) > AXES and unit.kind == "float"):
        lower_clamped_binary(low, unit)
        return
    if len(out_shape) > AXES:
        raise UnsupportedError(
            f"a quantized result of {len(out_shape)} axes; at most {AXES} can be compiled", node=low.where(unit)
        )
    layout = common_layout(low, unit, (0, 1), len(out_shape))
    reads: list[View] = []
    consts: dict[str, ConstRef] = {}
    strides = []
    for role, index in (("a", 0), ("b", 1)):
        operand = low.operand(unit, index)
        shape = shape_of(operand.value)
        own = own_layout(layout, len(out_shape), len(shape))
        values = low.constant(operand)
        if values is None:
            reads.append(low.read(unit, index, own))
        else:
            consts[role] = low.builder.const(role, np.ascontiguousarray(values.transpose(own)))
        strides.append(broadcast_strides(shape, own, out_shape, layout))
    if not reads:
        raise UnsupportedError("both operands are constants", node=low.where(unit), hint="Fold constants first.")
    physical = physical_shape(out_shape, layout)
    attrs = Binary(_four(physical, 1), _four(strides[0], 0), _four(strides[1], 0), *_zero_points(low, unit))
    y = low.result(unit, layout)
    low.builder.call(
        _BINARY[unit.node.op_type],
        attrs,
        reads,
        y,
        low.names(unit),
        consts=consts,
        epilogue=low.epilogue(unit),
        requant=_binary_requant(low, unit),
    )


def _four(items: tuple[int, ...], fill: int) -> tuple[int, int, int, int]:
    padded = (fill,) * (AXES - len(items)) + items
    return padded[0], padded[1], padded[2], padded[3]


def _zero_points(low: Lowering, unit: Unit) -> tuple[int, int]:
    if unit.kind != "integer":
        return 0, 0
    zeros = [stored(q).zero_point for index in (0, 1) if (q := low.operand(unit, index).qparams) is not None]
    return int(zeros[0]), int(zeros[1])


def _binary_requant(low: Lowering, unit: Unit) -> Requant | None:
    if unit.kind != "integer":
        return None
    a, b = low.operand(unit, 0).qparams, low.operand(unit, 1).qparams
    assert a is not None and b is not None, "an integer unit has quantized operands"
    made = mul_requant if unit.node.op_type == "Mul" else sum_requant
    return made(a, b, low.quantized_output(unit).qparams, low.mode)


def lower_unary(low: Lowering, unit: Unit) -> None:
    """One function of every element: a table for integers, the function itself for floats."""
    x = low.read(unit, 0)
    op = op_of(unit.node)
    if unit.kind == "integer":
        qparams = low.operand(unit, 0).qparams
        assert op.tables is not None and qparams is not None, "integer units of these ops have tables"
        table = op.tables(low.attrs(unit), stored(qparams), low.quantized_output(unit))
        _lookup(low, unit, x, table)
        return
    if unit.kind == "raw":
        if unit.node.op_type not in INTEGER_FUNCTIONS:
            raise UnsupportedError("only floats and quantized integers can be compiled", node=low.where(unit))
        lower_integer_unary(low, unit)
        return
    parameters: tuple[float, ...]
    if unit.node.op_type in ("Relu", "Clip"):
        function, parameters = "clamp", activation_bounds(unit.node)
    else:
        assert isinstance(op.lowering, Pointwise), "ops of one function state it"
        function, attrs = op.lowering.function, low.attrs(unit)
        parameters = tuple(float(getattr(attrs, name)) for name in op.lowering.parameters)
        function += "_tanh" if function == "gelu" and attrs.tanh else ""
    low.builder.call("unary", Unary(function, parameters), [x], low.result(unit, x.layout), low.names(unit))


def _lookup(low: Lowering, unit: Unit, x: View, table: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> None:
    consts = {"table": low.builder.const("table", table)}
    low.builder.call("lut", Lut(table.shape[0]), [x], low.result(unit, x.layout), low.names(unit), consts=consts)


def lower_prelu(low: Lowering, unit: Unit) -> None:
    """PRelu: a table, or one for each channel, for integers; a product with the slope for others."""
    shape = shape_of(low.operand(unit, 0).value)
    attrs = low.attrs(unit)
    x = low.read(unit, 0, channels_last(len(shape)))
    if unit.kind == "integer":
        op = op_of(unit.node)
        qparams = low.operand(unit, 0).qparams
        assert op.tables is not None and qparams is not None, "integer units of this op have tables"
        _lookup(low, unit, x, op.tables(attrs, stored(qparams), low.quantized_output(unit)))
        return
    terms = (Term(shape, x), Term(attrs.slope.shape, values=attrs.slope))
    emit(low, low.names(unit), "binary", "prelu", terms, low.result(unit, x.layout))


def lower_batch_norm(low: Lowering, unit: Unit) -> None:
    """A BatchNormalization that no convolution took up: a table for each channel, or a product and a sum."""
    rank = len(shape_of(low.operand(unit, 0).value))
    x = low.read(unit, 0, channels_last(rank))
    attrs = low.attrs(unit)
    if unit.kind == "integer":
        op = op_of(unit.node)
        qparams = low.operand(unit, 0).qparams
        assert op.tables is not None and qparams is not None, "integer units of this op have tables"
        _lookup(low, unit, x, op.tables(attrs, stored(qparams), low.quantized_output(unit)))
        return
    consts = {
        "scale": low.builder.const("gain", np.asarray(attrs.scale, np.float32)),
        "offset": low.builder.const("offset", np.asarray(attrs.offset, np.float32)),
    }
    y = low.result(unit, x.layout)
    low.builder.call("affine", Affine(), [x], y, low.names(unit), consts=consts, epilogue=low.epilogue(unit))


def lower_requantize(low: Lowering, unit: Unit) -> None:
    """QuantizeLinear straight after DequantizeLinear: the table of the change of parameters."""
    x = low.read(unit, 0)
    qparams = low.operand(unit, 0).qparams
    assert qparams is not None, "an integer unit has quantized operands"
    tables = op_of(unit.node).tables
    assert tables is not None, "QuantizeLinear has tables"
    _lookup(low, unit, x, tables(low.attrs(unit), stored(qparams), low.quantized_output(unit)))


def _is_folded(low: Lowering, unit: Unit) -> bool:
    """Take floats of a constant that is kept as integers for a constant themselves: no kernel reads such weights."""
    values = low.operand(unit, 0).value.const_value
    if unit.kind != "dequantize" or values is None or unit.output.value.is_graph_output():
        return False
    low.dequantized[unit.output.value] = op_of(unit.node).reference(low.attrs(unit), [as_held(values.numpy())])
    return True


def _lower_channels(low: Lowering, unit: Unit, qparams: QParams) -> None:
    """A scale for each channel, or integers of other than 8 bits; no integer op reads or makes such ones."""
    if unit.kind == "quantize" and qparams.dtype == "int32":
        raise UnsupportedError("quantizing to int32 cannot be compiled", node=low.where(unit))
    x = low.read_value(low.operand(unit, 0).value, None, low.names(unit), as_stored=unit.kind == "dequantize")
    value, narrow = unit.output.value, unit.kind == "quantize" and qparams.dtype in ("int8", "uint8")
    y = low.builder.tensor(shape_of(value), "s8" if narrow else dtype_of(value), None, value.name or "", x.layout)
    low.views[value] = y
    place = 0 if qparams.axis is None else x.layout.index(qparams.axis)
    end = 0 if qparams.axis is None else place + 1
    sizes = math.prod(x.shape[:place]), math.prod(x.shape[place:end]), math.prod(x.shape[end:])
    kept = stored(qparams)
    consts = {
        "scale": low.builder.const("scale", kept.scale.reshape(-1).astype(np.float32)),
        "zero": low.builder.const("zero", kept.zero_point.reshape(-1).astype(np.int32)),
    }
    limits = Epilogue(kept.low, kept.high) if unit.kind == "quantize" else Epilogue()
    op, attrs = f"{unit.kind}_channels", ConvertChannels(*sizes)
    low.builder.call(op, attrs, [x], y, low.names(unit), consts=consts, epilogue=limits)


def lower_border(low: Lowering, unit: Unit) -> None:
    """QuantizeLinear of floats, or DequantizeLinear to floats."""
    qparams = unit.output.qparams or low.operand(unit, 0).qparams
    assert qparams is not None, "the nodes at the border have parameters"
    if _is_folded(low, unit):
        return
    if qparams.axis is not None or qparams.dtype not in ("int8", "uint8"):
        _lower_channels(low, unit, qparams)
        return
    x = low.read(unit, 0)
    low.builder.call(unit.kind, Convert(), [x], low.result(unit, x.layout), low.names(unit))
