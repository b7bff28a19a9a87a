"""Multiplying by and adding a constant a channel beside a layer belongs into its weights and bias.

Exporters often write a BatchNormalization as a Mul and an Add; scales of attention and the preprocessing of images look
alike. :mod:`microlith.graph.linear_layers` says what a Conv, ConvTranspose, Gemm or MatMul takes in on either side.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import LAYERS, channel_axis, fits_float32, scale_inputs, scale_outputs
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import bypass, can_bypass, constant, sole_consumer, static_shape

Float64 = NDArray[np.float64]


class FoldAffineIntoConv:
    """Folds Mul, Div, Add, Sub by a constant a channel into the layer before or after it."""

    name = "FoldAffineIntoConv"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "weights and bias are rounded to float32 after the product")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: operators folded."""
        changes = 0
        for node in list(model.graph):
            if node.op_type in ("Add", "Div", "Mul", "Sub") and (_fold_backward(node) or _fold_forward(node)):
                changes += 1
        return PassResult(changes)


def _fold_backward(node: ir.Node) -> bool:
    for index in (0, 1):
        value, array = node.inputs[index], constant(node.inputs[1 - index])
        producer = None if value is None else value.producer()
        if value is None or array is None or producer is None or producer.op_type not in LAYERS:
            continue
        channel = _per_channel(array, static_shape(value), channel_axis(producer, value))
        affine = None if channel is None else _affine(node.op_type, index, channel)
        if affine is None or sole_consumer(value) is not node or not can_bypass(node, value):
            continue
        if static_shape(value) == static_shape(node.outputs[0]) and scale_outputs(producer, *affine):
            bypass(node, value)
            return True
    return False


def _fold_forward(node: ir.Node) -> bool:
    for index in (0, 1):
        value, array = node.inputs[index], constant(node.inputs[1 - index])
        layer = sole_consumer(node.outputs[0])
        if value is None or array is None or layer is None or layer.op_type not in LAYERS:
            continue
        if layer.inputs[0] is not node.outputs[0] or static_shape(value) != static_shape(node.outputs[0]):
            continue
        channel = _per_channel(array, static_shape(value), channel_axis(layer, value))
        affine = None if channel is None else _affine(node.op_type, index, channel)
        if affine is not None and scale_inputs(layer, *affine):
            bypass(node, value)
            return True
    return False


def _per_channel(array: NDArray[np.generic], shape: tuple[int, ...], axis_of_channels: int) -> Float64 | None:
    """The constant as one value a channel, None where it varies along another axis."""
    if array.ndim > len(shape) or not 0 <= axis_of_channels < len(shape):
        return None
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(size != 1 for axis, size in enumerate(full.shape) if axis != axis_of_channels):
        return None
    return np.broadcast_to(np.asarray(full, np.float64).reshape(-1), (shape[axis_of_channels],))


def _affine(op_type: str, index: int, constant_values: Float64) -> tuple[Float64, Float64] | None:
    """Scale and offset of ``y op c`` (index 0) or ``c op y`` (index 1)."""
    one, zero = np.ones_like(constant_values), np.zeros_like(constant_values)
    if op_type == "Add":
        return one, constant_values
    if op_type == "Sub":
        return (one, -constant_values) if index == 0 else (-one, constant_values)
    if op_type == "Mul":
        return constant_values, zero
    if index == 0 and (constant_values != 0).all() and fits_float32(one / constant_values):
        return one / constant_values, zero
    return None
