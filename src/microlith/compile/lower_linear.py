"""Convolution and matrix products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.compile.layout import channels_last, identity
from microlith.compile.lowering import Array, Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Operand, Unit
from microlith.program.attrs import Conv2d, Copy, FullyConnected, MatMul, Window
from microlith.program.types import ConstRef, View, contiguous
from microlith.quant.factors import linear_requant
from microlith.quant.requantize import Requant
from microlith.quant.types import QParams, stored
from microlith.quant.windows import Geometry


def conv2d(low: Lowering, unit: Unit) -> None:
    """Conv over one or two spatial axes: ``depthwise_conv2d`` where every filter sees one of several channels, else
    ``conv2d``."""
    attrs = low.attrs(unit)
    x = low.image(unit, 0)
    weights = weights_of(low, unit, 1)
    if weights.ndim == 3:
        weights = weights[:, :, None]
    geometry = attrs.spatial.geometry(shape_of(low.operand(unit, 0).value))
    pad = whole_windows(geometry)
    window = Window(geometry.kernel, geometry.stride, geometry.dilation, pad)
    packed = np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
    consts = linear_consts(low, unit, packed, attrs.filters)
    y = low.result(unit, channels_last(len(shape_of(unit.output.value))))
    low.builder.call(
        "depthwise_conv2d" if attrs.is_depthwise else "conv2d",
        Conv2d(window, attrs.groups),
        [x],
        low.as_image(y),
        low.names(unit),
        consts=consts,
        epilogue=low.epilogue(unit),
        requant=linear_requantization(low, unit),
    )


def whole_windows(geometry: Geometry) -> tuple[int, int, int, int]:
    """Top, left, bottom, right padding with which every window lies inside, and no more.

    Rounding up may need more than the graph states; padding after the last window is left out.
    """
    after = [
        (geometry.output[axis] - 1) * geometry.stride[axis]
        + (geometry.kernel[axis] - 1) * geometry.dilation[axis]
        + 1
        - geometry.pad[axis]
        - geometry.size[axis]
        for axis in (0, 1)
    ]
    return geometry.pad[0], geometry.pad[1], max(0, after[0]), max(0, after[1])


def lower_gemm(low: Lowering, unit: Unit) -> None:
    """Gemm by constant weights, without factors."""
    attrs = low.attrs(unit)
    if attrs.alpha != 1.0 or attrs.beta != 1.0 or attrs.trans_a:
        raise UnsupportedError(
            f"Gemm with alpha {attrs.alpha:g}, beta {attrs.beta:g} and transA {int(attrs.trans_a)} cannot be compiled",
            node=low.where(unit),
            hint="Fold the factors into the weights and the bias, and transpose the input before.",
        )
    weights = weights_of(low, unit, 1)
    _fully_connected(low, unit, weights if attrs.trans_b else weights.T)


def lower_matmul(low: Lowering, unit: Unit) -> None:
    """MatMul: ``fully_connected`` where the right operand is a constant matrix or vector, else ``matmul``."""
    right = low.operand(unit, 1)
    constant = low.constant(right) is not None
    if constant and low.constant(low.operand(unit, 0)) is None and len(shape_of(right.value)) <= 2:
        weights = weights_of(low, unit, 1)
        _fully_connected(low, unit, weights.reshape(1, -1) if weights.ndim == 1 else weights.T)
        return
    a_shape, b_shape = (shape_of(low.operand(unit, index).value) for index in (0, 1))
    left = a_shape if len(a_shape) > 1 else (1, *a_shape)
    other = b_shape if len(b_shape) > 1 else (*b_shape, 1)
    stack = tuple(int(item) for item in np.broadcast_shapes(left[:-2], other[:-2]))
    batch = int(np.prod(stack, dtype=np.int64))
    reads, consts, zeros, once = [], {}, [0, 0], [False, False]
    for index, (role, shape) in enumerate((("a", left), ("b", other))):
        once[index] = batch > 1 and int(np.prod(shape[:-2], dtype=np.int64)) == 1
        full = shape if once[index] else (*stack, *shape[-2:])
        operand = low.operand(unit, index)
        values = low.constant(operand)
        if values is None:
            reads.append(_stacked(low, unit, index, shape, full))
        else:
            consts[role] = low.builder.const(role, np.broadcast_to(values.reshape(shape), full))
            zeros[index] = 0 if operand.qparams is None else _scalar_zero(low, unit, operand)
    attrs = MatMul(batch, left[-2], left[-1], other[-1], once[0], once[1], zeros[0], zeros[1])
    low.builder.call(
        "matmul",
        attrs,
        reads,
        low.result(unit),
        low.names(unit),
        consts=consts,
        epilogue=low.epilogue(unit),
        requant=linear_requantization(low, unit),
    )


def _scalar_zero(low: Lowering, unit: Unit, operand: Operand) -> int:
    assert operand.qparams is not None, "only asked of quantized operands"
    if operand.qparams.axis is not None:
        raise UnsupportedError(
            "a stack of matrices that is quantized per channel cannot be compiled", node=low.where(unit)
        )
    return int(stored(operand.qparams).zero_point)


def _stacked(low: Lowering, unit: Unit, index: int, shape: tuple[int, ...], full: tuple[int, ...]) -> View:
    """A computed operand of that shape, repeated where it broadcasts to ``full``."""
    view = low.read(unit, index, identity(len(shape_of(low.operand(unit, index).value))))
    if int(np.prod(shape, dtype=np.int64)) == int(np.prod(full, dtype=np.int64)):
        return view
    shape = (*(1,) * (len(full) - len(shape)), *shape)
    strides = tuple(0 if size == 1 else stride for size, stride in zip(shape, contiguous(shape), strict=True))
    repeated = low.builder.tensor(full, view.dtype, view.qparams, view.source)
    low.builder.call("copy", Copy(full, 0, strides, 0, repeated.strides), [view], repeated, low.names(unit))
    return repeated


def _fully_connected(low: Lowering, unit: Unit, weights: NDArray[np.generic]) -> None:
    """``weights`` (O, K); a flattened image is read in its own order, with the columns of the weights moved."""
    operand = low.operand(unit, 0)
    waiting = low.flattened.get(operand.value)
    if waiting is not None and waiting.shape == (1, weights.shape[1]) and len(operand.value.uses()) == 1:
        shape = tuple(waiting.view.shape[waiting.view.layout.index(axis)] for axis in range(len(waiting.view.shape)))
        order = np.arange(weights.shape[1]).reshape(shape).transpose(waiting.view.layout).reshape(-1)
        weights = weights[:, order]
        del low.flattened[operand.value]
        qparams = None if operand.qparams is None else stored(operand.qparams)
        view = waiting.view if qparams is None else low.as_stored(waiting.view, low.names(unit))
        x = low.builder.alias(view, waiting.shape, (0, 1), waiting.view.source, qparams)
    else:
        x = low.read(unit, 0, identity(len(shape_of(operand.value))))
    consts = linear_consts(low, unit, np.ascontiguousarray(weights), weights.shape[0])
    y = low.result(unit)
    low.builder.call(
        "fully_connected",
        FullyConnected(),
        [x],
        y,
        low.names(unit),
        consts=consts,
        epilogue=low.epilogue(unit),
        requant=linear_requantization(low, unit),
    )


def weights_of(low: Lowering, unit: Unit, index: int) -> Array:
    """The values of constant weights, as stored."""
    values = low.constant(low.operand(unit, index))
    if values is None:
        raise UnsupportedError("weights that are computed and not constant cannot be compiled", node=low.where(unit))
    return values


def linear_consts(low: Lowering, unit: Unit, weights: Array, outputs: int) -> dict[str, ConstRef]:
    """Weights, a bias of (O,), and the zero points of the weights where one is not 0."""
    name = "w"
    consts = {"weights": low.builder.const(name, weights)}
    bias = unit.inputs[2] if len(unit.inputs) > 2 else None
    dtype = np.int32 if unit.kind == "integer" else np.float32
    values = np.zeros(outputs, dtype)
    if bias is not None:
        found = low.constant(bias)
        if found is None or found.size not in (1, outputs) or found.dtype != dtype:
            raise UnsupportedError(
                f"a bias that is not a constant {np.dtype(dtype)} vector cannot be compiled", node=low.where(unit)
            )
        values = np.broadcast_to(found.reshape(-1), (outputs,)).astype(dtype)
    consts["bias"] = low.builder.const("bias", values)
    if unit.kind == "integer":
        zero = np.broadcast_to(_weight_qparams(low, unit).zero_point.reshape(-1), (outputs,))
        if zero.any():
            consts["weight_zero"] = low.builder.const("weight_zero", zero.astype(np.int32))
    return consts


def _weight_qparams(low: Lowering, unit: Unit) -> QParams:
    qparams = low.operand(unit, 1).qparams
    assert qparams is not None, "an integer unit has quantized operands"
    return stored(qparams)


def linear_requantization(low: Lowering, unit: Unit) -> Requant | None:
    """How sums of products become integers; None in a float unit."""
    if unit.kind != "integer":
        return None
    x = low.operand(unit, 0).qparams
    assert x is not None, "an integer unit has quantized operands"
    return linear_requant(x, _weight_qparams(low, unit), low.quantized_output(unit).qparams, low.mode)
