"""Ops that only move elements: most move no byte at all, but change what a view says of them."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import identity, transposed
from microlith.compile.lowering import Flattened, Lowering, shape_of, stored
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.program.attrs import Copy, Fill
from microlith.program.types import View
from microlith.quant.integer_move import quantize
from microlith.quant.types import QParams


def lower_reshape(low: Lowering, unit: Unit) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: another shape of the same bytes, once they stand in the graph's order."""
    value = unit.output.value
    shape = shape_of(value)
    view = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    qparams = _output_qparams(unit, view)
    if low.is_plain(view):
        low.views[value] = low.builder.alias(view, shape, identity(len(shape)), value.name or "", qparams)
    else:
        low.flattened[value] = Flattened(view, shape, qparams)


def lower_transpose(low: Lowering, unit: Unit) -> None:
    """Transpose: the same bytes with another layout; whoever reads them copies if it must."""
    view = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    shape = shape_of(unit.output.value)
    layout = transposed(view.layout, low.attrs(unit).axes(len(shape)))
    name = unit.output.value.name or ""
    low.views[unit.output.value] = low.builder.alias(view, shape, layout, name, _output_qparams(unit, view))


def lower_concat(low: Lowering, unit: Unit) -> None:
    """Concat: each operand is copied to its place in the result."""
    shape = shape_of(unit.output.value)
    axis = low.attrs(unit).axis % len(shape)
    computed = [index for index in range(len(unit.inputs)) if low.constant(low.operand(unit, index)) is None]
    if len(computed) != len(unit.inputs):
        raise UnsupportedError("a Concat with a constant operand cannot be compiled", node=low.where(unit))
    layout = low.read(unit, computed[0]).layout
    y = low.result(unit, layout)
    place = layout.index(axis)
    offset = 0
    for index in computed:
        x = low.same_meaning(unit, low.read(unit, index, layout), low.operand(unit, index))
        attrs = Copy(x.shape, 0, x.strides, offset * y.strides[place], y.strides)
        low.builder.call("copy", attrs, [x], y, low.names(unit))
        offset += x.shape[place]


def lower_slice(low: Lowering, unit: Unit) -> None:
    """Slice: a strided copy."""
    x = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    shape = tuple(x.shape[x.layout.index(axis)] for axis in range(len(x.shape)))
    ranges = low.attrs(unit).ranges(shape)
    y = low.result(unit, x.layout)
    starts = tuple(ranges[axis].start for axis in x.layout)
    steps = tuple(ranges[axis].step for axis in x.layout)
    read_offset = sum(start * stride for start, stride in zip(starts, x.strides, strict=True))
    read_strides = tuple(step * stride for step, stride in zip(steps, x.strides, strict=True))
    low.builder.call("copy", Copy(y.shape, read_offset, read_strides, 0, y.strides), [x], y, low.names(unit))


def lower_pad(low: Lowering, unit: Unit) -> None:
    """Pad with a constant: the result is filled, then the operand copied into it."""
    attrs = low.attrs(unit)
    x = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    widths = attrs.widths(len(x.shape))
    if any(before < 0 or after < 0 for before, after in widths):
        raise UnsupportedError("a Pad that takes elements away cannot be compiled", node=low.where(unit))
    y = low.result(unit, x.layout)
    low.builder.call("fill", Fill(_fill_value(low, unit, attrs.value)), [], y, low.names(unit))
    offset = sum(widths[axis][0] * stride for axis, stride in zip(y.layout, y.strides, strict=True))
    low.builder.call("copy", Copy(x.shape, 0, x.strides, offset, y.strides), [x], y, low.names(unit))


def _fill_value(low: Lowering, unit: Unit, value: float) -> float:
    if unit.kind != "integer":
        return value
    output = low.quantized_output(unit)
    return float(np.clip(quantize(np.asarray(value, np.float32), output.qparams), output.low, output.high))


def _output_qparams(unit: Unit, view: View) -> QParams | None:
    return view.qparams if unit.output.qparams is None else stored(unit.output.qparams)
