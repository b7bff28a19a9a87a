"""Pooling, means and softmax."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import channels_last, identity, physical_shape
from microlith.compile.lower_linear import whole_windows
from microlith.compile.lower_reduce import add_up
from microlith.compile.lowering import Lowering, shape_of, stored
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Operand, Unit
from microlith.program.attrs import Pool2d, ReduceMean, Softmax, Window
from microlith.quant.factors import average_pool_requant, softmax_requant
from microlith.quant.lut import exp_table
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
    if geometry.output == (1, 1) and geometry.kernel == geometry.size and not any(geometry.pad):
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
    if unit.kind == "integer":
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
    out_layout = channels_last(len(shape_of(unit.output.value)))
    add_up(low, unit, x, ReduceMean(shape[0], count, shape[1]), out_layout, count)


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
        requant = softmax_requant(low.quantized_output(unit).qparams, low.mode)
        consts["table"] = low.builder.const("table", exp_table(stored(_qparams(operand))))
    attrs = Softmax(outer, physical[place], inner)
    epilogue = low.epilogue(unit)
    low.builder.call("softmax", attrs, [x], y, low.names(unit), consts=consts, epilogue=epilogue, requant=requant)


def _qparams(operand: Operand) -> QParams:
    assert operand.qparams is not None, "an integer unit has quantized operands"
    return operand.qparams
