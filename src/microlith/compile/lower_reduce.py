"""Reductions over axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microlith.compile.layout import Layout, identity
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.reduce import is_of_image
from microlith.program.attrs import ImageMean, ReduceMean
from microlith.program.neural_attrs import Reduce
from microlith.program.types import View
from microlith.quant.factors import IMAGE_MEAN_GROUP, image_mean_offset, image_mean_requant, mean_requant
from microlith.quant.requantize import Requant
from microlith.quant.types import QParams


@dataclass(frozen=True)
class Reduced:
    """An operand whose reduced axes are neighbours: it is (outer, count, inner).

    Attributes:
        x: the operand.
        outer: lanes before.
        count: elements of the reduced axes.
        inner: lanes after.
        layout: of the result.
    """

    x: View
    outer: int
    count: int
    inner: int
    layout: Layout


def reduced_operand(low: Lowering, unit: Unit, axes: tuple[int, ...]) -> Reduced:
    """The operand in a layout where those axes are neighbours; others are brought together by a copy."""
    shape = shape_of(low.operand(unit, 0).value)
    current = low.read(unit, 0).layout
    layout = current if _neighbours(shape, current, axes) else identity(len(shape))
    if not _neighbours(shape, layout, axes):
        layout = tuple(axis for axis in range(len(shape)) if axis not in axes) + axes
    x = low.read(unit, 0, layout)
    moving = [axis for axis in layout if shape[axis] != 1]
    reduced = [axis for axis in moving if axis in axes]
    at = moving.index(reduced[0]) if reduced else 0
    outer, count, inner = (
        int(np.prod([shape[axis] for axis in part], dtype=np.int64))
        for part in (moving[:at], reduced, moving[at + len(reduced) :])
    )
    kept = [axis for axis in layout if axis not in axes]
    if len(shape_of(unit.output.value)) == len(shape):
        return Reduced(x, outer, count, inner, layout)
    ranks = {axis: index for index, axis in enumerate(sorted(kept))}
    return Reduced(x, outer, count, inner, tuple(ranks[axis] for axis in kept))


def _neighbours(shape: tuple[int, ...], layout: Layout, axes: tuple[int, ...]) -> bool:
    moving = [axis in axes for axis in layout if shape[axis] != 1]
    return sum(1 for first, second in zip([False, *moving], [*moving, False], strict=True) if first != second) <= 2


def lower_reduce_mean(low: Lowering, unit: Unit) -> None:
    """ReduceMean."""
    found = reduced_operand(low, unit, low.attrs(unit).reduced(len(shape_of(low.operand(unit, 0).value))))
    attrs = ReduceMean(found.outer, found.count, found.inner)
    source = low.operand(unit, 0).qparams
    if unit.kind == "integer" and source is not None and is_of_image(low.attrs(unit), source, low.mode):
        _lower_image_mean(low, unit, found, source)
        return
    add_up(low, unit, found.x, attrs, found.layout, found.count)


def _lower_image_mean(low: Lowering, unit: Unit, found: Reduced, x: QParams) -> None:
    """The one that LiteRT's kernel for images computes."""
    y = low.quantized_output(unit).qparams
    channels = shape_of(low.operand(unit, 0).value)[low.attrs(unit).channel]
    image = ImageMean(image_mean_offset(x, y), channels, channels // IMAGE_MEAN_GROUP * IMAGE_MEAN_GROUP)
    low.builder.call(
        "reduce_mean",
        ReduceMean(found.outer, found.count, found.inner, image),
        [found.x],
        low.result(unit, found.layout),
        low.names(unit),
        epilogue=low.epilogue(unit),
        requant=image_mean_requant(x, y, found.count),
    )


def lower_reduce_sum(low: Lowering, unit: Unit) -> None:
    """ReduceSum: on integers a mean that divides by one."""
    if unit.kind != "integer":
        lower_reduce(low, unit)
        return
    found = reduced_operand(low, unit, low.attrs(unit).reduced(len(shape_of(low.operand(unit, 0).value))))
    add_up(low, unit, found.x, ReduceMean(found.outer, found.count, found.inner), found.layout, 1)


def add_up(low: Lowering, unit: Unit, x: View, attrs: ReduceMean, layout: Layout, divisor: int) -> None:
    """A ``reduce_mean`` whose requantization divides by ``divisor``."""
    y = low.result(unit, layout)
    requant: Requant | None = None
    if unit.kind == "integer":
        source = low.operand(unit, 0).qparams
        assert source is not None, "an integer unit has quantized operands"
        requant = mean_requant(source, low.quantized_output(unit).qparams, divisor, low.mode)
    low.builder.call("reduce_mean", attrs, [x], y, low.names(unit), epilogue=low.epilogue(unit), requant=requant)


_FUNCTIONS = {
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
    "ReduceSumSquare": "sum_square",
}


def lower_reduce(low: Lowering, unit: Unit) -> None:
    """The other reductions: floats, plain integers, and extremes of quantized ones, requantized afterwards."""
    found = reduced_operand(low, unit, low.attrs(unit).reduced(len(shape_of(low.operand(unit, 0).value))))
    reduce_with(low, unit, found, _FUNCTIONS[unit.node.op_type])


def reduce_with(low: Lowering, unit: Unit, found: Reduced, function: str) -> None:
    """A ``reduce`` by that function."""
    attrs = Reduce(function, found.outer, found.count, found.inner)
    value = unit.output.value
    if unit.kind != "integer":
        low.builder.call(
            "reduce", attrs, [found.x], low.result(unit, found.layout), low.names(unit), epilogue=low.epilogue(unit)
        )
        return
    if function not in ("max", "min"):
        raise UnsupportedError(f"{unit.node.op_type} has no integer form", node=low.where(unit))
    y = low.builder.tensor(shape_of(value), found.x.dtype, found.x.qparams, value.name or "", found.layout)
    low.builder.call("reduce", attrs, [found.x], y, low.names(unit))
    low.views[value] = low.same_meaning(unit, y, low.operand(unit, 0))
