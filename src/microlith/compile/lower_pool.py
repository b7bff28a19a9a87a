"""Pooling, means and softmax."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import Layout, channels_last, identity, physical_shape
from microlith.compile.lower_linear import whole_windows
from microlith.compile.lowering import Lowering, shape_of, stored
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Operand, Unit
from microlith.program.attrs import Pool2d, ReduceMean, Softmax, Window
from microlith.program.types import View
from microlith.quant.factors import average_pool_requant, mean_is_division, mean_requant, softmax_requant
from microlith.quant.lut import exp_table, float_exp_table
from microlith.quant.requantize import Requant
from microlith.quant.types import QParams


def lower_max_pool(low: Lowering, unit: Unit) -> None:
    """MaxPool; a change of parameters comes after the maximum."""
    attrs = low.attrs(unit)
    x = low.image(unit, 0)
    geometry = attrs.spatial.geometry(shape_of(low.operand(unit, 0).value))
    window = Window(geometry.kernel, geometry.stride, geometry.dilation, whole_windows(geometry))
    shape = shape_of(unit.output.value)
    layout = channels_last(len(shape))
    pooled = low.builder.tensor(shape, x.dtype, x.qparams, unit.output.value.name or "", layout)
    low.builder.call("max_pool2d", Pool2d(window), [x], low.as_image(pooled), low.names(unit))
    low.views[unit.output.value] = low.same_meaning(unit, pooled, low.operand(unit, 0))


def lower_average_pool(low: Lowering, unit: Unit) -> None:
    """AveragePool: ``reduce_mean`` where one window is the whole image, else ``average_pool2d``."""
    attrs = low.attrs(unit)
    operand = low.operand(unit, 0)
    geometry = attrs.spatial.geometry(shape_of(operand.value))
    divides = unit.kind == "integer" and mean_is_division(
        stored(_qparams(operand)), low.quantized_output(unit).qparams, low.mode
    )
    if geometry.output == (1, 1) and geometry.kernel == geometry.size and not any(geometry.pad) and not divides:
        _mean_over_image(low, unit)
        return
    x = low.image(unit, 0)
    window = Window(geometry.kernel, geometry.stride, geometry.dilation, whole_windows(geometry))
    beyond = any(have > stated for have, stated in zip(window.pad, geometry.pad, strict=True))
    if beyond and attrs.count_include_pad:
        raise UnsupportedError(
            "windows that reach beyond the padding and count it cannot be compiled", node=low.where(unit),
            hint="Use ceil_mode=0 or count_include_pad=0.",
        )  # fmt: skip
    y = low.result(unit, channels_last(len(shape_of(unit.output.value))))
    requant = None
    if unit.kind == "integer" and not divides:
        taps = geometry.kernel[0] * geometry.kernel[1]
        requant = average_pool_requant(_qparams(operand), low.quantized_output(unit).qparams, taps, low.mode)
    low.builder.call(
        "average_pool2d",
        Pool2d(window, attrs.count_include_pad),
        [x],
        low.as_image(y),
        low.names(unit),
        epilogue=low.epilogue(unit),
        requant=requant,
    )


def lower_global_average_pool(low: Lowering, unit: Unit) -> None:
    """GlobalAveragePool: a mean over all rows and columns."""
    _mean_over_image(low, unit)


def _mean_over_image(low: Lowering, unit: Unit) -> None:
    shape = shape_of(low.operand(unit, 0).value)
    layout = channels_last(len(shape))
    x = low.read(unit, 0, layout)
    count = int(np.prod(shape[2:], dtype=np.int64))
    _reduce(low, unit, x, ReduceMean(shape[0], count, shape[1]), channels_last(len(shape_of(unit.output.value))))


def lower_reduce_mean(low: Lowering, unit: Unit) -> None:
    """ReduceMean over axes that are neighbours in some layout; others are brought together by a copy."""
    shape = shape_of(low.operand(unit, 0).value)
    axes = low.attrs(unit).reduced(len(shape))
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
    out_shape = shape_of(unit.output.value)
    kept = [axis for axis in layout if axis not in axes]
    if len(out_shape) == len(shape):
        out_layout: Layout = layout
    else:
        ranks = {axis: index for index, axis in enumerate(sorted(kept))}
        out_layout = tuple(ranks[axis] for axis in kept)
    _reduce(low, unit, x, ReduceMean(outer, count, inner), out_layout)


def _neighbours(shape: tuple[int, ...], layout: Layout, axes: tuple[int, ...]) -> bool:
    moving = [axis in axes for axis in layout if shape[axis] != 1]
    return sum(1 for first, second in zip([False, *moving], [*moving, False], strict=True) if first != second) <= 2


def _reduce(low: Lowering, unit: Unit, x: View, attrs: ReduceMean, layout: Layout) -> None:
    y = low.result(unit, layout)
    requant: Requant | None = None
    if unit.kind == "integer":
        out = low.quantized_output(unit).qparams
        requant = mean_requant(_qparams(low.operand(unit, 0)), out, attrs.count, low.mode)
    low.builder.call("reduce_mean", attrs, [x], y, low.names(unit), epilogue=low.epilogue(unit), requant=requant)


def lower_softmax(low: Lowering, unit: Unit) -> None:
    """Softmax along one axis of the layout that the operand has, or over all axes from one on."""
    operand = low.operand(unit, 0)
    shape = shape_of(operand.value)
    seen, axis = low.attrs(unit).view(shape)
    flattens = seen != shape
    x = low.read(unit, 0, identity(len(shape)) if flattens else None)
    place = axis if flattens else x.layout.index(axis)
    physical = seen if flattens else physical_shape(shape, x.layout)
    outer, inner = (int(np.prod(part, dtype=np.int64)) for part in (physical[:place], physical[place + 1 :]))
    y = low.result(unit, x.layout)
    requant, consts = None, {}
    if unit.kind == "integer":
        if low.mode == "fixed":
            consts["table"] = low.builder.const("table", float_exp_table(stored(_qparams(operand))))
        else:
            requant = softmax_requant(low.quantized_output(unit).qparams, low.mode)
            consts["table"] = low.builder.const("table", exp_table(stored(_qparams(operand))))
    attrs = Softmax(outer, physical[place], inner)
    epilogue = low.epilogue(unit)
    low.builder.call("softmax", attrs, [x], y, low.names(unit), consts=consts, epilogue=epilogue, requant=requant)


def _qparams(operand: Operand) -> QParams:
    assert operand.qparams is not None, "an integer unit has quantized operands"
    return operand.qparams
