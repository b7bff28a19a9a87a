"""Windows over up to three spatial axes, and operands that may be constants or computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microlith.compile.layout import Layout, channels_last, identity
from microlith.compile.lower_linear import linear_consts, linear_requantization, weights_of
from microlith.compile.lowering import Array, Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.program.neural_attrs import ConvNd, Triple, Volume
from microlith.program.types import ConstRef, View
from microlith.quant.integer_linear import output_rows
from microlith.quant.volumes import VolumeGeometry


@dataclass(frozen=True, eq=False)
class Operands:
    """Operands of a call, by role.

    Attributes:
        roles: of all, in order.
        reads: the computed ones, in order.
        consts: the constant ones.
    """

    roles: tuple[str, ...]
    reads: tuple[View, ...]
    consts: Mapping[str, ConstRef]


def operands(low: Lowering, unit: Unit, wanted: Mapping[str, tuple[int, Layout | None]]) -> Operands:
    """Float operands that may be constants or computed.

    Args:
        low: the lowering.
        unit: the unit.
        wanted: by role, the position of the input and its layout (None for the graph's own); absent inputs are left
            out.
    """
    reads, consts, roles = [], {}, []
    for role, (index, layout) in wanted.items():
        if index >= len(unit.inputs) or unit.inputs[index] is None:
            continue
        operand = low.operand(unit, index)
        order = identity(len(shape_of(operand.value))) if layout is None else layout
        values = low.constant(operand)
        roles.append(role)
        if values is None:
            reads.append(low.read(unit, index, order))
        else:
            consts[role] = low.builder.const(role[0], np.ascontiguousarray(values.transpose(order), np.float32))
    return Operands(tuple(roles), tuple(reads), consts)


def triple(values: tuple[int, ...], fill: int) -> Triple:
    """Numbers of up to three spatial axes, filled up in front."""
    filled = (*(fill,) * (3 - len(values)), *values)
    return filled[0], filled[1], filled[2]


def volume_of(geometry: VolumeGeometry) -> Volume:
    """The window in Program terms."""
    return Volume(
        triple(geometry.kernel, 1),
        triple(geometry.stride, 1),
        triple(geometry.dilation, 1),
        triple(geometry.before, 0),
        triple(geometry.after, 0),
    )


def lower_conv_transpose(low: Lowering, unit: Unit) -> None:
    """ConvTranspose: of floats ``conv_nd``, of integers ``conv_transpose2d``."""
    attrs = low.attrs(unit)
    geometry = attrs.geometry(shape_of(low.operand(unit, 0).value))
    if unit.kind == "integer":
        _integers(low, unit, volume_of(geometry), attrs.groups, attrs.filters)
        return
    conv_nd(low, unit, volume_of(geometry), attrs.groups, transposed=True)


def conv_nd(low: Lowering, unit: Unit, volume: Volume, groups: int, *, transposed: bool) -> None:
    """A float convolution by weights (O, C/groups, ...), or a transposed one by weights (C, O/groups, ...)."""
    rank = len(shape_of(low.operand(unit, 0).value))
    taps = tuple(range(2, rank))
    found = operands(
        low,
        unit,
        {
            "x": (0, channels_last(rank)),
            "weights": (1, (*taps, 0, 1) if transposed else (*taps, 1, 0)),
            "bias": (2, None),
        },
    )
    if "x" in found.consts:
        raise UnsupportedError("a convolution of a constant cannot be compiled", node=low.where(unit))
    low.builder.call(
        "conv_nd",
        ConvNd(volume, groups, transposed, found.roles),
        found.reads,
        low.result(unit, channels_last(rank)),
        low.names(unit),
        consts=found.consts,
        epilogue=low.epilogue(unit),
    )


def _integers(low: Lowering, unit: Unit, volume: Volume, groups: int, filters: int) -> None:
    x = low.image(unit, 0)
    weights: Array = output_rows(weights_of(low, unit, 1), groups)
    if weights.ndim == 3:
        weights = weights[:, :, None]
    if weights.ndim != 4:
        raise UnsupportedError("ConvTranspose over three spatial axes has no integer form", node=low.where(unit))
    packed = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
    y = low.result(unit, channels_last(len(shape_of(unit.output.value))))
    low.builder.call(
        "conv_transpose2d",
        ConvNd(volume, groups, True, ("x",)),
        [x],
        low.as_image(y),
        low.names(unit),
        consts=linear_consts(low, unit, packed, filters),
        epilogue=low.epilogue(unit),
        requant=linear_requantization(low, unit),
    )
