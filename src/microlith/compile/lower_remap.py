"""Ops that read each axis by a list of known places: Pad, nearest Resize, CenterCropPad, constant Gather, Trilu."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.compile.layout import graph_shape, identity
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.remap import NOWHERE, Places
from microlith.program.attrs import Copy
from microlith.program.attrs_indexing import Remap, Resample, Trilu
from microlith.program.types import View
from microlith.quant.integer_move import quantize

_Offsets = NDArray[np.int64]
_AXES = 4


def moved(low: Lowering, unit: Unit, index: int = 0) -> View:
    """A computed operand in the layout that it has, with the meaning of the result."""
    return low.same_meaning(unit, low.read(unit, index), low.operand(unit, index))


def fill_value(low: Lowering, unit: Unit, value: float | int) -> float | int:
    """A value as it is stored in the result."""
    if unit.kind != "integer":
        return value
    output = low.quantized_output(unit)
    return float(np.clip(quantize(np.asarray(value, np.float32), output.qparams), output.low, output.high))


def remap(low: Lowering, unit: Unit, places: Sequence[Places | None], value: float | int = 0) -> None:
    """The operand read at those places of each graph axis, None for all in order; ``value`` where they are nowhere."""
    x = moved(low, unit)
    y = low.result(unit, x.layout)
    axes: list[_Offsets] = []
    run = 1
    for size, stride, axis in reversed(list(zip(x.shape, x.strides, x.layout, strict=True))):
        listed = places[axis]
        if listed is None and not axes:
            run *= size
            continue
        offsets = np.arange(size) * stride if listed is None else np.where(listed == NOWHERE, -1, listed * stride)
        axes.insert(0, offsets)
    axes = _four(axes)
    table = low.builder.const("table", np.concatenate(axes).astype(np.int32))
    sizes = tuple(item.size for item in axes)
    attrs = Remap((sizes[0], sizes[1], sizes[2], sizes[3]), run, fill_value(low, unit, value))
    low.builder.call("remap", attrs, [x], y, low.names(unit), consts={"table": table})


def _four(axes: list[_Offsets]) -> list[_Offsets]:
    """Four axes of offsets: more are joined where that makes the smallest table, axes of one element added."""
    axes = [item for item in axes if item.tolist() != [0]]
    while len(axes) > _AXES:
        sizes = [a.size * b.size for a, b in itertools.pairwise(axes)]
        first = sizes.index(min(sizes))
        a, b = axes[first].reshape(-1, 1), axes[first + 1]
        axes[first : first + 2] = [np.where((a < 0) | (b < 0), -1, a + b).reshape(-1)]
    return [np.zeros(1, np.int64)] * (_AXES - len(axes)) + axes


def lower_center_crop_pad(low: Lowering, unit: Unit) -> None:
    """CenterCropPad."""
    remap(low, unit, low.attrs(unit).places(shape_of(low.operand(unit, 0).value)))


def lower_resize(low: Lowering, unit: Unit) -> None:
    """Resize: places for nearest; otherwise weighted sums along one axis after the other."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    if attrs.how.mode == "nearest":
        remap(low, unit, attrs.places(shape), attrs.how.extrapolation)
        return
    if unit.kind != "float":
        raise UnsupportedError(
            f"Resize of integers in mode {attrs.how.mode!r} cannot be compiled", node=low.where(unit)
        )
    x = low.read(unit, 0)
    resized = attrs.resized(shape)
    y = low.result(unit, x.layout)
    if not resized:
        low.builder.copy(x, y, low.names(unit))
    sizes, last = list(shape), [*resized][-1:]
    for axis, item in resized.items():
        sizes[axis] = item.out
        target = y if [axis] == last else low.builder.tensor(sizes, "f32", None, y.source, x.layout)
        places, weights, base = attrs.how.weighted(item)
        consts = {
            "places": low.builder.const("places", places.astype(np.int32)),
            "weights": low.builder.const("weights", weights.astype(np.float32)),
            "base": low.builder.const("base", base.astype(np.float32)),
        }
        place = x.layout.index(axis)
        outer, inner = math.prod(x.shape[:place]), math.prod(x.shape[place + 1 :])
        call = Resample(outer, item.size, item.out, inner, places.shape[1])
        low.builder.call("resample", call, [x], target, low.names(unit), consts=consts)
        x = target


def lower_trilu(low: Lowering, unit: Unit) -> None:
    """Trilu: of matrices in the graph's order."""
    attrs = low.attrs(unit)
    *outer, rows, columns = shape_of(unit.output.value)
    x = low.builder.in_layout(moved(low, unit), identity(len(outer) + 2), low.names(unit))
    y = low.result(unit)
    call = Trilu(math.prod(outer), rows, columns, attrs.k, attrs.upper, fill_value(low, unit, 0))
    low.builder.call("trilu", call, [x], y, low.names(unit))


def lower_tile(low: Lowering, unit: Unit) -> None:
    """Tile: one copy whose reads do not move along the axes of the repeats, or by places where those are too many."""
    repeats = low.attrs(unit).repeats
    shape = shape_of(low.operand(unit, 0).value)
    if sum(size > 1 for size in (*shape, *repeats)) > 6:
        remap(low, unit, [np.arange(n * times) % n for n, times in zip(shape, repeats, strict=True)])
        return
    x = moved(low, unit)
    y = low.result(unit, x.layout)
    extents: list[int] = []
    reads: list[int] = []
    writes: list[int] = []
    for size, axis, read_stride, write_stride in zip(x.shape, x.layout, x.strides, y.strides, strict=True):
        extents += [repeats[axis], size]
        reads += [0, read_stride]
        writes += [size * write_stride, write_stride]
    low.builder.call("copy", Copy(tuple(extents), 0, tuple(reads), 0, tuple(writes)), [x], y, low.names(unit))


def lower_expand(low: Lowering, unit: Unit) -> None:
    """Expand: a copy whose reads do not move along the axes that are new or of size 1."""
    x = moved(low, unit)
    rank = len(shape_of(unit.output.value))
    missing = rank - len(x.shape)
    y = low.result(unit, (*range(missing), *(axis + missing for axis in x.layout)))
    strides = [0] * missing + [0 if size == 1 else stride for size, stride in zip(x.shape, x.strides, strict=True)]
    low.builder.call("copy", Copy(y.shape, 0, tuple(strides), 0, y.strides), [x], y, low.names(unit))


def lower_depth_space(low: Lowering, unit: Unit) -> None:
    """DepthToSpace and SpaceToDepth: one copy, in any layout."""
    attrs = low.attrs(unit)
    x = moved(low, unit)
    y = low.result(unit, x.layout)
    to_space = unit.node.op_type == "DepthToSpace"
    deep, wide = (x, y) if to_space else (y, x)
    block = attrs.block
    channels, height, width = graph_shape(wide.shape, wide.layout)[1], *graph_shape(deep.shape, deep.layout)[2:]
    n, c, h, w = (deep.strides[deep.layout.index(axis)] for axis in range(4))
    factors = (block, 1, block**2) if attrs.column_first else (block * channels, channels, 1)
    deep_strides = (n, h, factors[0] * c, w, factors[1] * c, factors[2] * c)
    n, c, h, w = (wide.strides[wide.layout.index(axis)] for axis in range(4))
    wide_strides = (n, block * h, h, block * w, w, c)
    extents = (x.shape[x.layout.index(0)], height, block, width, block, channels)
    reads, writes = (deep_strides, wide_strides) if to_space else (wide_strides, deep_strides)
    low.builder.call("copy", Copy(extents, 0, reads, 0, writes), [x], y, low.names(unit))
