"""Normalizations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from microlith.compile.layout import Layout, channels_last, identity
from microlith.compile.lower_reduce import reduced_operand
from microlith.compile.lower_volume import operands
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.lp_normalization import DEVIATION_OFFSET
from microlith.program.neural_attrs import Lrn, Normalize
from microlith.program.types import View


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _normalize(low: Lowering, unit: Unit, attrs: Normalize, layout: Layout) -> None:
    """The call, on operands that may be constants, with the further results that are used."""
    if unit.kind != "float":
        raise UnsupportedError(f"{unit.node.op_type} has no integer form", node=low.where(unit))
    found = operands(low, unit, {"x": (0, layout), "scale": (1, None), "bias": (2, None)})
    others: list[View] = []
    shapes = [shape_of(item.value) if item is not None else None for item in unit.others]
    for item, shape in zip(unit.others, shapes, strict=True):
        # A result that nobody reads still has its place among the arguments.
        lanes = shape or next(other for other in shapes if other is not None)
        view = low.builder.tensor(lanes, "f32", None, "" if item is None else item.value.name or "")
        others.append(view)
        if item is not None:
            low.views[item.value] = view
    if all(item is None for item in unit.others):
        others = []
    low.builder.call(
        "normalize",
        replace(attrs, operands=found.roles),
        found.reads,
        low.result(unit, layout),
        low.names(unit),
        consts=found.consts,
        others=others,
    )


def lower_layer_normalization(low: Lowering, unit: Unit) -> None:
    """LayerNormalization and RMSNormalization."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    at = attrs.split(shape)
    for index in (1, 2):
        item = unit.inputs[index] if index < len(unit.inputs) else None
        if item is not None and _size(shape_of(item.value)) != _size(shape[at:]):
            raise UnsupportedError(
                f"a scale or bias of shape {shape_of(item.value)} for axes of sizes {shape[at:]} cannot be compiled",
                node=low.where(unit),
            )
    size = "deviation" if attrs.centers else "root_mean_square"
    call = Normalize(size, _size(shape[:at]), _size(shape[at:]), 1, epsilon=attrs.epsilon)
    _normalize(low, unit, call, identity(len(shape)))


def lower_group_normalization(low: Lowering, unit: Unit) -> None:
    """InstanceNormalization, in the order of images, and GroupNormalization."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    groups, area = attrs.count(shape), _size(shape[2:])
    if groups == shape[1]:
        call = Normalize("deviation", shape[0], area, groups, groups, 1, area, attrs.epsilon)
        _normalize(low, unit, call, channels_last(len(shape)))
        return
    each = shape[1] // groups
    per_group, span = (1, each * area) if attrs.per_group else (each, area)
    call = Normalize("deviation", shape[0] * groups, each * area, 1, groups, per_group, span, attrs.epsilon)
    _normalize(low, unit, call, identity(len(shape)))


def lower_lane_normalization(low: Lowering, unit: Unit) -> None:
    """LpNormalization and MeanVarianceNormalization."""
    attrs = low.attrs(unit)
    found = reduced_operand(low, unit, attrs.lanes(len(shape_of(low.operand(unit, 0).value))))
    size, offset = ("deviation", DEVIATION_OFFSET) if attrs.p is None else (f"l{attrs.p}", 0.0)
    call = Normalize(size, found.outer, found.count, found.inner, offset=offset)
    _normalize(low, unit, call, found.layout)


def lower_lrn(low: Lowering, unit: Unit) -> None:
    """LRN, along the last axis of images."""
    attrs = low.attrs(unit)
    layout = channels_last(len(shape_of(low.operand(unit, 0).value)))
    before = (attrs.size - 1) // 2
    call = Lrn(before, attrs.size - 1 - before, attrs.alpha / attrs.size, attrs.beta, attrs.bias)
    low.builder.call("lrn", call, [low.read(unit, 0, layout)], low.result(unit, layout), low.names(unit))
