"""Layers whose activations are quantized while they run: by the range of each tensor, with sums that stay int32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microlith.compile.layout import channels_last, identity
from microlith.compile.lower_volume import volume_of, volume_of_image
from microlith.compile.lowering import Array, Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.conv3d import Conv3dAttrs
from microlith.program.attrs import Convert
from microlith.program.neural_attrs import ConvNd, Volume
from microlith.program.types import ConstRef, View
from microlith.quant.types import stored_values

_X, _WEIGHTS, _X_ZERO, _W_ZERO = range(4)


def lower_dynamic_quantize(low: Lowering, unit: Unit) -> None:
    """DynamicQuantizeLinear: integers, scale and zero point by one call."""
    x = low.read(unit, 0)
    y = low.result(unit, x.layout)
    others = []
    for index, dtype in enumerate(("f32", "u8")):
        operand = unit.others[index] if index < len(unit.others) else None
        name = y.source if operand is None else operand.value.name or ""
        view = low.builder.tensor((), dtype, None, name)  # type: ignore[arg-type]
        if operand is not None:
            low.views[operand.value] = view
        others.append(view)
    low.builder.call("dynamic_quantize", Convert(), [x], y, low.names(unit), others=others)


def lower_conv_integer(low: Lowering, unit: Unit) -> None:
    """ConvInteger, channels last."""
    attrs = low.attrs(unit)
    shape = shape_of(low.operand(unit, _X).value)
    volume = (
        volume_of(attrs.volume.geometry(shape))
        if isinstance(attrs, Conv3dAttrs)
        else volume_of_image(attrs.spatial.geometry(shape))
    )
    weights = _weights(low, unit)
    packed = np.ascontiguousarray(np.moveaxis(weights, 1, -1))
    x = low.read(unit, _X, channels_last(len(shape)))
    _call(low, unit, volume, attrs.groups, x, packed, low.result(unit, channels_last(len(shape))))


def lower_matmul_integer(low: Lowering, unit: Unit) -> None:
    """MatMulInteger by a constant matrix: a convolution over the rows."""
    weights = _weights(low, unit)
    if any(extent != 1 for extent in weights.shape[:-2]):
        raise UnsupportedError(
            f"the second operand is {weights.shape}, expected one matrix for all products", node=low.where(unit)
        )
    matrix = weights.reshape(-1, weights.shape[-1] if weights.ndim > 1 else 1)
    depth, columns = len(matrix), matrix[0].size
    given = low.read(unit, _X, identity(len(shape_of(low.operand(unit, _X).value))))
    rows = given.size // depth
    x = low.builder.alias(given, (1, rows, depth), identity(3), given.source, None)
    made = low.result(unit)
    y = low.builder.alias(made, (1, rows, columns), identity(3), made.source, None)
    one = (1, 1, 1)
    packed = np.ascontiguousarray(matrix.T)[:, None]
    _call(low, unit, Volume(one, one, one, (0, 0, 0)), 1, x, packed, y)


def _weights(low: Lowering, unit: Unit) -> Array:
    values = low.constant(low.operand(unit, _WEIGHTS))
    if values is None:
        raise UnsupportedError(
            "its second operand is computed, and products of integers compile with constant weights",
            node=low.where(unit),
            hint="Quantize with constant weights only, such as MatMulConstBOnly of ONNX Runtime's quantizer.",
        )
    return values


def _call(low: Lowering, unit: Unit, volume: Volume, groups: int, x: View, weights: Array, y: View) -> None:
    reads, consts, roles = [x], dict[str, ConstRef](), ["x"]
    if _has(unit, _X_ZERO):
        operand = low.operand(unit, _X_ZERO)
        if int(np.prod(shape_of(operand.value), dtype=np.int64)) != 1:
            raise UnsupportedError("each row has a zero point, and one for all is computed", node=low.where(unit))
        roles.append("x_zero")
        values = low.constant(operand)
        if values is None:
            reads.append(low.read(unit, _X_ZERO))
        else:
            consts["x_zero"] = low.builder.const("zero", values.reshape(-1))
    zeros = _zeros(low, unit, weights)
    if zeros.any():
        consts["weight_zero"] = low.builder.const("zero", zeros)
    consts["weights"] = low.builder.const("w", stored_values(weights))
    attrs = ConvNd(volume, groups, False, tuple(roles))
    low.builder.call("conv_integer", attrs, reads, y, low.names(unit), consts=consts)


def _zeros(low: Lowering, unit: Unit, weights: Array) -> Array:
    """The zero point of the weights of each filter, as the weights are stored."""
    filters = len(weights)
    zeros: Array = np.zeros(filters, np.int32)
    if _has(unit, _W_ZERO):
        values = low.constant(low.operand(unit, _W_ZERO))
        if values is None or values.size not in (1, filters):
            raise UnsupportedError(
                "the zero points of its weights are not constants, one or one for each output", node=low.where(unit)
            )
        zeros = np.broadcast_to(values.reshape(-1).astype(np.int32), filters)
    return np.asarray(zeros - 128 if weights.dtype == np.uint8 else zeros, np.int32)


def _has(unit: Unit, index: int) -> bool:
    found: Sequence[object] = unit.inputs
    return index < len(found) and found[index] is not None
