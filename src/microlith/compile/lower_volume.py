"""Windows over up to three spatial axes, and operands that may be constants or computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microlith.compile.layout import Layout, channels_last, identity
from microlith.compile.lower_linear import conv2d, linear_consts, linear_requantization, weights_of
from microlith.compile.lowering import Array, Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.conv import ConvAttrs
from microlith.ops.conv3d import Conv3dAttrs
from microlith.ops.pool_nd import PoolNdAttrs
from microlith.program.neural_attrs import ConvNd, PoolNd, Triple, Volume
from microlith.program.types import ConstRef, View
from microlith.quant.integer_linear import output_rows
from microlith.quant.volumes import VolumeGeometry
from microlith.quant.windows import Geometry


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


def lower_conv(low: Lowering, unit: Unit) -> None:
    """Conv: the kernels of images where they serve, else ``conv_nd``."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, 0).value)
    computed = any(item is not None and low.constant(item) is None for item in unit.inputs[1:])
    if isinstance(attrs, ConvAttrs) and (unit.kind == "integer" or not (computed or shape[0] != 1)):
        conv2d(low, unit)
        return
    volume = (
        volume_of(attrs.volume.geometry(shape))
        if isinstance(attrs, Conv3dAttrs)
        else volume_of_image(attrs.spatial.geometry(shape))
    )
    conv_nd(low, unit, volume, attrs.groups, transposed=False)


def volume_of_image(geometry: Geometry) -> Volume:
    """The windows over rows and columns in Program terms."""
    before, after = geometry.pad[:2], geometry.pad[2:]
    planes = (geometry.kernel, geometry.stride, geometry.dilation)
    kernel, stride, dilation = (triple(values, 1) for values in planes)
    return Volume(kernel, stride, dilation, triple(before, 0), triple(after, 0))


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
    weights: Array = output_rows(weights_of(low, unit, 1), groups)
    if weights.ndim == 3:
        weights = weights[:, :, None]
    if weights.ndim != 4:
        raise UnsupportedError("ConvTranspose over three spatial axes has no integer form", node=low.where(unit))
    x = low.image(unit, 0)
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


def lower_pool_nd(low: Lowering, unit: Unit) -> None:
    """Pools over three spatial axes, those with indices, and LpPool."""
    attrs: PoolNdAttrs = low.attrs(unit)
    if unit.kind == "integer":
        raise UnsupportedError(f"this {unit.node.op_type} has no integer form", node=low.where(unit))
    volume = volume_of(attrs.volume.geometry(shape_of(low.operand(unit, 0).value)))
    pool_nd(low, unit, PoolNd(volume, attrs.function, attrs.p, attrs.count_include_pad, attrs.column_major))


def pool_nd(low: Lowering, unit: Unit, attrs: PoolNd) -> None:
    """A float ``pool_nd``, with indices where they are used."""
    rank = len(shape_of(low.operand(unit, 0).value))
    y = low.result(unit, channels_last(rank))
    other = unit.others[0] if unit.others else None
    indices = []
    if other is not None:
        view = low.builder.tensor(shape_of(other.value), "s64", None, other.value.name or "", channels_last(rank))
        low.views[other.value] = view
        indices.append(view)
    x = low.read(unit, 0, channels_last(rank))
    low.builder.call("pool_nd", attrs, [x], y, low.names(unit), epilogue=low.epilogue(unit), others=indices)
