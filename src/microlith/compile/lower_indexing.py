"""Ops that read or write where indices say, and those that find indices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from microlith.compile.layout import Layout, channels_last, identity
from microlith.compile.lower_remap import fill_value, moved, remap
from microlith.compile.lowering import Lowering, dtype_of, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.indices import bounded
from microlith.ops.max_unpool import least_shape
from microlith.program.attrs import Copy, Fill
from microlith.program.attrs_indexing import (
    ArgSelect,
    CumulativeSum,
    Gather,
    GatherElements,
    GridSample,
    NonMaxSuppression,
    OneHot,
    ReverseSequence,
    Scatter,
    ScatterElements,
)
from microlith.program.types import ConstRef, View, contiguous
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray, stored

_PADDINGS = {"zeros": 0, "border": 1, "reflection": 2}


class Operands:
    """Operands in the graph's order: views of those that are computed, consts of the others by role."""

    def __init__(self, low: Lowering, unit: Unit, roles: Mapping[int, str], moving: Sequence[int]) -> None:
        self.reads: list[View] = []
        self.consts: dict[str, ConstRef] = {}
        for index, role in roles.items():
            operand = low.operand(unit, index)
            if operand.value.const_value is None:
                view = low.read(unit, index, identity(len(shape_of(operand.value))))
                self.reads.append(low.same_meaning(unit, view, operand) if index in moving else view)
            elif index in moving:
                self.consts[role] = low.builder.const(role, constant(low, unit, index))
            else:
                values = np.asarray(operand.value.const_value.numpy())
                self.consts[role] = low.builder.const(role, _narrowed(values))


def _narrowed(values: np.typing.NDArray[np.generic]) -> np.typing.NDArray[np.generic]:
    """Indices as int32, which every tensor that is compiled can be counted with; floats as they are."""
    limits = np.iinfo(np.int32)
    whole = np.issubdtype(values.dtype, np.integer)
    return np.clip(values, limits.min, limits.max).astype(np.int32) if whole else values


def constant(low: Lowering, unit: Unit, index: int) -> np.typing.NDArray[np.generic]:
    """A constant operand that moves, with the meaning of the result, in the graph's order."""
    operand = low.operand(unit, index)
    values = low.constant(operand)
    assert values is not None, "asked of constants only"
    if unit.kind != "integer":
        return values
    assert operand.qparams is not None, "an integer unit has quantized operands"
    output = low.quantized_output(unit)
    return requantize(QArray(values, stored(operand.qparams)), output.qparams, output.low, output.high)  # type: ignore[arg-type]


def lower_gather(low: Lowering, unit: Unit) -> None:
    """Gather: by a list of places where that is known and the rank stays, else by a kernel that reads indices."""
    data, indices = shape_of(low.operand(unit, 0).value), low.operand(unit, 1).value
    axis = low.attrs(unit).axis % len(data)
    known = None if indices.const_value is None else np.asarray(indices.const_value.numpy())
    if known is not None and known.ndim == 1 and low.operand(unit, 0).value.const_value is None:
        remap(low, unit, [bounded(known, size) if a == axis else None for a, size in enumerate(data)])
        return
    inner = math.prod(data[axis + 1 :])
    count = math.prod(shape_of(indices))
    attrs = Gather(math.prod(data[:axis]), count, inner, data[axis] * inner, 0, 1)
    _gather(low, unit, attrs, ((data[axis], inner),))


def lower_gather_nd(low: Lowering, unit: Unit) -> None:
    """GatherND."""
    data, indices = (shape_of(low.operand(unit, index).value) for index in (0, 1))
    batch, depth = low.attrs(unit).batch_dims, indices[-1]
    count = math.prod(indices[batch:-1])
    inner = math.prod(data[batch + depth :])
    attrs = Gather(math.prod(data[:batch]), count, inner, math.prod(data[batch:]), count * depth, depth)
    axes = range(batch, batch + depth)
    _gather(low, unit, attrs, [(data[axis], contiguous(data)[axis]) for axis in axes])


def _gather(low: Lowering, unit: Unit, attrs: Gather, places: Sequence[tuple[int, int]]) -> None:
    operands = Operands(low, unit, {0: "data", 1: "indices"}, (0,))
    y = low.result(unit)
    consts = operands.consts | {"places": low.builder.const("places", np.array(places, np.int32))}
    low.builder.call("gather", attrs, operands.reads, y, low.names(unit), consts=consts)


def lower_gather_elements(low: Lowering, unit: Unit) -> None:
    """GatherElements."""
    data = shape_of(low.operand(unit, 0).value)
    operands = Operands(low, unit, {0: "data", 1: "indices"}, (0,))
    y = low.result(unit)
    attrs, axes = _single_elements(low.attrs(unit).axis % len(data), y.shape, data)
    consts = operands.consts | {"axes": low.builder.const("axes", axes)}
    low.builder.call("gather_elements", attrs, operands.reads, y, low.names(unit), consts=consts)


def _single_elements(
    axis: int, shape: Sequence[int], data: tuple[int, ...]
) -> tuple[GatherElements, np.typing.NDArray[np.int32]]:
    strides = contiguous(data)
    axes = [(size, 0 if place == axis else strides[place]) for place, size in enumerate(shape)]
    attrs = GatherElements(math.prod(shape), data[axis], strides[axis], len(data))
    return attrs, np.array(axes, np.int32)


def lower_scatter(low: Lowering, unit: Unit) -> None:
    """ScatterElements and ScatterND: the data is copied, then updates are written into it."""
    attrs = low.attrs(unit)
    shape, indices = (shape_of(low.operand(unit, index).value) for index in (0, 1))
    if unit.kind == "integer" and attrs.reduction != "none":
        raise UnsupportedError(f"combining quantized integers by {attrs.reduction!r}", node=low.where(unit))
    y = low.result(unit)
    copy = Copy(shape, 0, y.strides, 0, y.strides)
    data = Operands(low, unit, {0: "data"}, (0,))
    low.builder.call("copy", copy, data.reads, y, low.names(unit), consts=data.consts)
    operands = Operands(low, unit, {1: "indices", 2: "updates"}, (2,))
    if unit.node.op_type == "ScatterND":
        depth = indices[-1]
        places = np.array(list(zip(shape[:depth], contiguous(shape)[:depth], strict=True)), np.int32)
        consts = operands.consts | {"places": low.builder.const("places", places)}
        call = Scatter(math.prod(indices[:-1]), math.prod(shape[depth:]), depth, attrs.reduction)
        low.builder.call("scatter", call, operands.reads, y, low.names(unit), consts=consts)
        return
    item, axes = _single_elements(attrs.axis % len(shape), indices, shape)
    consts = operands.consts | {"axes": low.builder.const("axes", axes)}
    elements = ScatterElements(item.count, item.size, item.stride, item.rank, attrs.reduction)
    low.builder.call("scatter_elements", elements, operands.reads, y, low.names(unit), consts=consts)


def lower_max_unpool(low: Lowering, unit: Unit) -> None:
    """MaxUnpool: zeros, into which every element is written where its index says."""
    operands = Operands(low, unit, {1: "indices", 0: "updates"}, (0,))
    zero = Fill(fill_value(low, unit, 0))
    shape = shape_of(low.operand(unit, 0).value)
    least = least_shape(low.attrs(unit), shape)
    y = low.result(unit)
    # Indices count the elements of the least shape; a larger one is filled, and that copied into it.
    target = y if least == y.shape else low.builder.tensor(least, y.dtype, y.qparams, y.source)
    low.builder.call("fill", zero, [], target, low.names(unit))
    places = low.builder.const("places", np.array([[target.size, 1]], np.int32))
    call, consts = Scatter(math.prod(shape), 1, 1, "none"), operands.consts | {"places": places}
    low.builder.call("scatter", call, operands.reads, target, low.names(unit), consts=consts)
    if target is not y:
        low.builder.call("fill", zero, [], y, low.names(unit))
        low.builder.call("copy", Copy(least, 0, target.strides, 0, y.strides), [target], y, low.names(unit))


def lower_col2im(low: Lowering, unit: Unit) -> None:
    """Col2Im: columns are added into a padded image, channels last, the inside of which is the result."""
    attrs = low.attrs(unit)
    x = low.read(unit, 0, identity(3))
    y = low.result(unit)
    batch, channels, *image = shape_of(unit.output.value)
    places = attrs.places()
    slices = low.builder.tensor((places.size, batch, channels), y.dtype, None, y.source)
    elements, blocks = places.shape
    order = Copy(
        (elements, blocks, batch, channels), 0, (blocks, 1, channels * places.size, places.size), 0,
        contiguous((elements, blocks, batch, channels)),
    )  # fmt: skip
    low.builder.call("copy", order, [x], slices, low.names(unit))
    target = low.builder.tensor((*attrs.padded, batch, channels), y.dtype, None, y.source)
    low.builder.call("fill", Fill(0), [], target, low.names(unit))
    consts = {
        "indices": low.builder.const("indices", places.reshape(-1).astype(np.int32)),
        "places": low.builder.const("places", np.array([[math.prod(attrs.padded), batch * channels]], np.int32)),
    }
    add = Scatter(places.size, batch * channels, 1, "add")
    low.builder.call("scatter", add, [slices], target, low.names(unit), consts=consts)
    offset = sum(before * stride for before, stride in zip(attrs.pads, target.strides[: len(image)], strict=False))
    strides = (*target.strides[-2:], *target.strides[:-2])
    low.builder.call("copy", Copy(y.shape, offset, strides, 0, y.strides), [target], y, low.names(unit))


def lower_reverse_sequence(low: Lowering, unit: Unit) -> None:
    """ReverseSequence."""
    operands = Operands(low, unit, {0: "data", 1: "lengths"}, (0,))
    y = low.result(unit)
    attrs = low.attrs(unit)
    batch, steps = y.shape[attrs.batch_axis], y.shape[attrs.time_axis]
    strides = contiguous(y.shape)
    inner = math.prod(y.shape[2:])
    call = ReverseSequence(batch, steps, inner, strides[attrs.batch_axis], strides[attrs.time_axis])
    low.builder.call("reverse_sequence", call, operands.reads, y, low.names(unit), consts=operands.consts)


def lower_one_hot(low: Lowering, unit: Unit) -> None:
    """OneHot."""
    if unit.kind == "integer":
        raise UnsupportedError("OneHot of quantized values cannot be compiled", node=low.where(unit))
    operands = Operands(low, unit, {0: "indices", 1: "values"}, (1,))
    y = low.result(unit)
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    axis = attrs.place(len(shape))
    call = OneHot(math.prod(shape[:axis]), attrs.depth, math.prod(shape[axis:]))
    low.builder.call("one_hot", call, operands.reads, y, low.names(unit), consts=operands.consts)


def _around(view: View, axis: int) -> tuple[int, int, int]:
    """Elements before, along and after a graph axis, as they lie."""
    place = view.layout.index(axis)
    return math.prod(view.shape[:place]), view.shape[place], math.prod(view.shape[place + 1 :])


def lower_arg_extreme(low: Lowering, unit: Unit) -> None:
    """ArgMax and ArgMin, in the layout of the operand."""
    attrs = low.attrs(unit)
    x = low.read(unit, 0)
    axis = attrs.axis % len(x.shape)
    layout: Layout = x.layout if attrs.keep else tuple(a - (a > axis) for a in x.layout if a != axis)
    y = low.result(unit, layout)
    call = ArgSelect(*_around(x, axis), 1, attrs.largest, attrs.last)
    low.builder.call("arg_select", call, [x], y, low.names(unit))


def lower_top_k(low: Lowering, unit: Unit) -> None:
    """TopK: the places first, then the elements there."""
    attrs = low.attrs(unit)
    x = low.read(unit, 0)
    axis = attrs.axis % len(x.shape)
    shape = shape_of(unit.output.value)
    other = unit.others[0] if unit.others else None
    source = unit.output.value.name if other is None else other.value.name
    places = low.builder.tensor(shape, "s64", None, source or "", x.layout)
    if other is not None:
        low.views[other.value] = places
    call = ArgSelect(*_around(x, axis), attrs.k, attrs.largest)
    low.builder.call("arg_select", call, [x], places, low.names(unit))
    if unit.kind != "integer" and not unit.output.value.uses() and not unit.output.value.is_graph_output():
        return
    values = moved(low, unit)
    y = low.result(unit, x.layout)
    elements, axes = _single_elements(x.layout.index(axis), y.shape, x.shape)
    consts = {"axes": low.builder.const("axes", axes)}
    low.builder.call("gather_elements", elements, [values, places], y, low.names(unit), consts=consts)


def lower_non_max_suppression(low: Lowering, unit: Unit) -> None:
    """NonMaxSuppression."""
    attrs = low.attrs(unit)
    boxes, scores = (low.read(unit, index, identity(3)) for index in (0, 1))
    images, classes, count = scores.shape
    limit = min(attrs.limit, count)
    call = NonMaxSuppression(images, classes, count, limit, attrs.overlap, attrs.threshold, attrs.center)
    low.builder.call("non_max_suppression", call, [boxes, scores], low.result(unit), low.names(unit))


def lower_cum_sum(low: Lowering, unit: Unit) -> None:
    """CumSum, in the layout of the operand."""
    attrs = low.attrs(unit)
    x = low.read(unit, 0)
    y = low.result(unit, x.layout)
    call = CumulativeSum(*_around(x, attrs.axis % len(x.shape)), attrs.exclusive, attrs.reverse)
    low.builder.call("cumulative_sum", call, [x], y, low.names(unit))


def lower_grid_sample(low: Lowering, unit: Unit) -> None:
    """GridSample of images N,H,W,C."""
    attrs = low.attrs(unit)
    if any(item is not None and dtype_of(item.value) != "f32" for item in unit.inputs):
        raise UnsupportedError("GridSample of integers cannot be compiled", node=low.where(unit))
    image = low.read(unit, 0, channels_last(4))
    grid = low.read(unit, 1, identity(4))
    y = low.result(unit, channels_last(4))
    call = GridSample(attrs.taps, _PADDINGS[attrs.padding], attrs.align_corners)
    low.builder.call("grid_sample", call, [image, grid], y, low.names(unit))
