"""Pooling, means and softmax."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import channels_last, identity, physical_shape
from microlith.compile.lower_linear import whole_windows
from microlith.compile.lower_reduce import Reduced, add_up, reduce_with
from microlith.compile.lower_volume import lower_pool_nd, pool_nd, triple, volume_of_image
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Operand, Unit
from microlith.ops.pool_nd import PoolNdAttrs
from microlith.program.attrs import Pool2d, ReduceMean, Softmax, Window
from microlith.program.neural_attrs import PoolNd, Volume
from microlith.quant.factors import average_pool_requant, mean_is_division, softmax_requant
from microlith.quant.lut import exp_table, float_exp_table
from microlith.quant.types import QParams, stored


def lower_max_pool(low: Lowering, unit: Unit) -> None:
    """MaxPool; a change of parameters comes after the maximum."""
    attrs = low.attrs(unit)
    if isinstance(attrs, PoolNdAttrs):
        lower_pool_nd(low, unit)
        return
    in_shape = shape_of(low.operand(unit, 0).value)
    geometry = attrs.spatial.geometry(in_shape)
    if unit.kind != "integer" and in_shape[0] != 1:
        pool_nd(low, unit, PoolNd(volume_of_image(geometry), "max"))
        return
    x = low.image(unit, 0)
    window = Window(geometry.kernel, geometry.stride, geometry.dilation, whole_windows(geometry))
    shape = shape_of(unit.output.value)
    layout = channels_last(len(shape))
    pooled = low.builder.tensor(shape, x.dtype, x.qparams, unit.output.value.name or "", layout)
    low.builder.call("max_pool2d", Pool2d(window), [x], low.as_image(pooled), low.names(unit))
    low.views[unit.output.value] = low.same_meaning(unit, pooled, low.operand(unit, 0))


def lower_average_pool(low: Lowering, unit: Unit) -> None:
    """AveragePool: ``reduce_mean`` where one window is the whole image, else ``average_pool2d``."""
    attrs = low.attrs(unit)
    if isinstance(attrs, PoolNdAttrs):
        lower_pool_nd(low, unit)
        return
    operand = low.operand(unit, 0)
    geometry = attrs.spatial.geometry(shape_of(operand.value))
    divides = unit.kind == "integer" and mean_is_division(
        stored(_qparams(operand)), low.quantized_output(unit).qparams, low.mode
    )
    if geometry.output == (1, 1) and geometry.kernel == geometry.size and not any(geometry.pad) and not divides:
        _mean_over_image(low, unit)
        return
    window = Window(geometry.kernel, geometry.stride, geometry.dilation, whole_windows(geometry))
    beyond = any(have > stated for have, stated in zip(window.pad, geometry.pad, strict=True))
    if unit.kind != "integer" and (shape_of(operand.value)[0] != 1 or (beyond and attrs.count_include_pad)):
        volume = volume_of_image(geometry)
        pool_nd(low, unit, PoolNd(volume, "average", count_include_pad=attrs.count_include_pad))
        return
    x = low.image(unit, 0)
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


def lower_global_max_pool(low: Lowering, unit: Unit) -> None:
    """GlobalMaxPool."""
    reduce_with(low, unit, _over_image(low, unit), "max")


def lower_global_lp_pool(low: Lowering, unit: Unit) -> None:
    """GlobalLpPool: a norm, or for a p beyond 2 a window as large as the image."""
    p = low.attrs(unit).p
    if p in (1, 2):
        reduce_with(low, unit, _over_image(low, unit), f"l{p}")
        return
    kernel = triple(shape_of(low.operand(unit, 0).value)[2:], 1)
    ones = (1, 1, 1)
    pool_nd(low, unit, PoolNd(Volume(kernel, ones, ones, (0, 0, 0)), "lp", p))


def _over_image(low: Lowering, unit: Unit) -> Reduced:
    shape = shape_of(low.operand(unit, 0).value)
    layout = channels_last(len(shape))
    return Reduced(low.read(unit, 0, layout), shape[0], int(np.prod(shape[2:], dtype=np.int64)), shape[1], layout)


def _mean_over_image(low: Lowering, unit: Unit) -> None:
    shape = shape_of(low.operand(unit, 0).value)
    layout = channels_last(len(shape))
    x = low.read(unit, 0, layout)
    count = int(np.prod(shape[2:], dtype=np.int64))
    out_layout = channels_last(len(shape_of(unit.output.value)))
    add_up(low, unit, x, ReduceMean(shape[0], count, shape[1]), out_layout, count)


_SOFTMAX = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "hardmax"}


def lower_softmax(low: Lowering, unit: Unit) -> None:
    """Softmax, LogSoftmax and Hardmax along an axis of the layout that the operand has, or over all from one on."""
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
    op = _SOFTMAX[unit.node.op_type]
    if unit.kind == "integer" and op != "softmax":
        raise UnsupportedError(f"{unit.node.op_type} has no integer form", node=low.where(unit))
    low.builder.call(op, attrs, [x], y, low.names(unit), consts=consts, epilogue=epilogue, requant=requant)


def _qparams(operand: Operand) -> QParams:
    assert operand.qparams is not None, "an integer unit has quantized operands"
    return operand.qparams
