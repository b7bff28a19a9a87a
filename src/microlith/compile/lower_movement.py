"""Ops that only move elements: most move no byte at all, but change what a view says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from microlith.compile.builder import ALIGN
from microlith.compile.layout import Layout, graph_shape, identity, physical_shape, reshaped, transposed
from microlith.compile.lower_indexing import constant
from microlith.compile.lower_remap import fill_value, moved, remap
from microlith.compile.lowering import Flattened, Lowering, shape_of
from microlith.graph.units import Unit
from microlith.ops import op_of
from microlith.program.attrs import Copy, Fill
from microlith.program.types import ITEM_BYTES, View, contiguous
from microlith.quant.types import QParams, stored


def lower_reshape(low: Lowering, unit: Unit) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: another shape of the same bytes, in whatever order these are.

    Axes that become one must stand next to each other, in the graph's order; where they do not, whoever reads copies.
    """
    if _is_constant(low, unit):
        return
    value = unit.output.value
    shape = shape_of(value)
    view = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    qparams = _output_qparams(unit, view)
    if low.is_plain(view):
        layout: Layout | None = identity(len(shape))
    else:
        layout = reshaped(graph_shape(view.shape, view.layout), shape, view.layout)
    if layout is None:
        low.flattened[value] = Flattened(view, shape, qparams)
    else:
        low.views[value] = low.builder.alias(view, shape, layout, value.name or "", qparams)


def _is_constant(low: Lowering, unit: Unit) -> bool:
    """Move the floats of a constant that is kept as integers now: whoever reads them takes them for a constant."""
    values = low.dequantized.get(low.operand(unit, 0).value)
    if values is None or unit.output.value.is_graph_output():
        return False
    low.dequantized[unit.output.value] = op_of(unit.node).reference(low.attrs(unit), [values])
    return True


def lower_transpose(low: Lowering, unit: Unit) -> None:
    """Transpose: the same bytes with another layout; whoever reads them copies if it must."""
    if _is_constant(low, unit):
        return
    view = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    shape = shape_of(unit.output.value)
    layout = transposed(view.layout, low.attrs(unit).axes(len(shape)))
    name = unit.output.value.name or ""
    low.views[unit.output.value] = low.builder.alias(view, shape, layout, name, _output_qparams(unit, view))


def lower_concat(low: Lowering, unit: Unit) -> None:
    """Concat: each operand is copied to its place in the result."""
    shape = shape_of(unit.output.value)
    axis = low.attrs(unit).axis % len(shape)
    operands = [low.operand(unit, index) for index in range(len(unit.inputs))]
    computed = [index for index, item in enumerate(operands) if item.value.const_value is None]
    layout = low.read(unit, computed[0]).layout
    y = low.result(unit, layout)
    place = layout.index(axis)
    offset = 0
    for index, item in enumerate(operands):
        extents = physical_shape(shape_of(item.value), layout)
        attrs = Copy(extents, 0, contiguous(extents), offset * y.strides[place], y.strides)
        if index in computed:
            x = low.same_meaning(unit, low.read(unit, index, layout), item)
            low.builder.call("copy", attrs, [x], y, low.names(unit))
        else:
            data = low.builder.const("data", constant(low, unit, index).transpose(layout))
            low.builder.call("copy", attrs, [], y, low.names(unit), consts={"data": data})
        offset += extents[place]


def lower_slice(low: Lowering, unit: Unit) -> None:
    """Slice: a part of the bytes where it lies together, else a strided copy."""
    x = low.same_meaning(unit, low.read(unit, 0), low.operand(unit, 0))
    shape = tuple(x.shape[x.layout.index(axis)] for axis in range(len(x.shape)))
    ranges = low.attrs(unit).ranges(shape)
    skipped = _skipped(x, ranges)
    if skipped is not None:
        value = unit.output.value
        qparams = _output_qparams(unit, x)
        low.views[value] = low.builder.alias(x, shape_of(value), x.layout, value.name or "", qparams, skipped)
        return
    y = low.result(unit, x.layout)
    starts = tuple(ranges[axis].start for axis in x.layout)
    steps = tuple(ranges[axis].step for axis in x.layout)
    read_offset = sum(start * stride for start, stride in zip(starts, x.strides, strict=True))
    read_strides = tuple(step * stride for step, stride in zip(steps, x.strides, strict=True))
    low.builder.call("copy", Copy(y.shape, read_offset, read_strides, 0, y.strides), [x], y, low.names(unit))


def lower_pad(low: Lowering, unit: Unit) -> None:
    """Pad: the result is filled, then the operand copied into it; otherwise than by a constant, by places."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    widths = attrs.widths(len(shape))
    if attrs.mode != "constant" or any(before < 0 or after < 0 for before, after in widths):
        remap(low, unit, attrs.places(shape), attrs.value)
        return
    x = moved(low, unit)
    y = low.result(unit, x.layout)
    low.builder.call("fill", Fill(fill_value(low, unit, attrs.value)), [], y, low.names(unit))
    offset = sum(widths[axis][0] * stride for axis, stride in zip(y.layout, y.strides, strict=True))
    low.builder.call("copy", Copy(x.shape, 0, x.strides, offset, y.strides), [x], y, low.names(unit))


def _skipped(x: View, ranges: Sequence[range]) -> int | None:
    """Bytes before a slice whose elements lie together at an aligned place; None for another one."""
    cut = [place for place, axis in enumerate(x.layout) if ranges[axis] != range(x.shape[place])]
    if len(cut) > 1 or any(math.prod(x.shape[:place]) != 1 or ranges[x.layout[place]].step != 1 for place in cut):
        return None
    first = sum(ranges[x.layout[place]].start * x.strides[place] for place in cut)
    skipped = first * ITEM_BYTES[x.dtype]
    return skipped if skipped % ALIGN == 0 else None


def _output_qparams(unit: Unit, view: View) -> QParams | None:
    return view.qparams if unit.output.qparams is None else stored(unit.output.qparams)
