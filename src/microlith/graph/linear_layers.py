"""Layers with constant weights, and affine maps a channel taken into them.

A layer is a Conv, ConvTranspose or Gemm, or a MatMul by a constant matrix (which has no bias): ``y = W x + b``.

* Behind it: ``s * (W x + b) + t = (s W) x + (s b + t)``, s along output channels.
* In front of it: ``W (s x + t) + b = (W s) x + (W t + b)``, s along input channels. Where the layer pads, padding is
  0 behind the map, so t must be 0. A ConvTranspose sums another number of products at its borders, so t must be 0 too.

Products are taken in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.moments import scale_moments
from microlith.graph.values import add_initializer, constant, input_at, integer, ints, known_shape, real, static_shape

Float64 = NDArray[np.float64]

LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))


def fits_float32(array: Float64) -> bool:
    """Whether all numbers are finite in float32."""
    return bool((np.abs(array) <= np.finfo(np.float32).max).all())


def weights_of(node: ir.Node) -> Float64 | None:
    """The weights; None where they are no float constant of the rank that the layer takes."""
    array = constant(input_at(node, 1)) if node.op_type in LAYERS else None
    if array is None or not np.issubdtype(array.dtype, np.floating):
        return None
    if node.op_type in ("Gemm", "MatMul") and array.ndim != 2:
        return None
    return np.asarray(array, np.float64)


def bias_of(node: ir.Node) -> Float64 | None:
    """The bias, one value an output channel, zeros where there is none; None where it is no such constant."""
    weights = weights_of(node)
    if weights is None:
        return None
    channels = output_channels(node, weights)
    value = input_at(node, 2)
    array = np.zeros(channels) if value is None else constant(value)
    if array is None or array.size not in (1, channels) or array.ndim > 2 or (array.ndim == 2 and array.shape[0] != 1):
        return None
    return np.broadcast_to(np.asarray(array, np.float64).reshape(-1), (channels,))


def output_channels(node: ir.Node, weights: Float64) -> int:
    """Number of output channels."""
    if node.op_type == "ConvTranspose":
        return int(weights.shape[1]) * integer(node, "group", 1)
    return int(weights.shape[0 if node.op_type == "Conv" or integer(node, "transB", 0) else 1])


def own_pads(node: ir.Node) -> tuple[int, ...] | None:
    """Padding of a Conv or a pooling node, begins then ends; None where it depends on auto_pad."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    source = node.inputs[0]
    assert source is not None
    spatial = len(static_shape(source)) - 2
    if mode not in ("NOTSET", "VALID"):
        return None
    return ints(node, "pads", (0,) * (2 * spatial)) if mode == "NOTSET" else (0,) * (2 * spatial)


def channel_axis(node: ir.Node, value: ir.Value) -> int:
    """The axis of an operand or a result along which a layer has its channels."""
    return len(known_shape(value) or ()) - 1 if node.op_type == "MatMul" else 1


def set_weights(node: ir.Node, array: Float64) -> None:
    """Give the layer other weights."""
    _set(node, 1, "weight", array)


def set_bias(node: ir.Node, array: Float64) -> None:
    """Give the layer another bias."""
    _set(node, 2, "bias", array)


def scale_outputs(node: ir.Node, scale: Float64, offset: Float64) -> bool:
    """Let a layer return ``scale * y + offset`` a channel; False, and no change, where it cannot."""
    weights, bias = weights_of(node), bias_of(node)
    if weights is None or bias is None or (node.op_type == "MatMul" and offset.any()):
        return False
    if node.op_type == "Gemm":  # alpha and beta stay outside: alpha (A sB) + beta (s C + t / beta)
        bias = bias * real(node, "beta", 1.0)
    scaled, shifted = weights * by_output(node, weights, scale), bias * scale + offset
    if not (fits_float32(scaled) and fits_float32(shifted)):
        return False
    node.attributes.pop("beta", None)
    set_weights(node, scaled)
    if node.op_type != "MatMul":
        set_bias(node, shifted)
    scale_moments(node, scale, offset)
    return True


def scale_inputs(node: ir.Node, scale: Float64, offset: Float64) -> bool:
    """Let a layer read x where it read ``scale * x + offset`` a channel; False, and no change, where it cannot."""
    weights, bias = weights_of(node), bias_of(node)
    if weights is None or bias is None or integer(node, "transA", 0):
        return False
    if offset.any() and not _takes_offset(node):
        return False
    scaled = by_input(node, weights, scale)
    added = _added(node, weights, offset)
    if node.op_type == "Gemm":
        added = added * real(node, "alpha", 1.0)
        bias = bias * real(node, "beta", 1.0)
    if not (fits_float32(scaled) and fits_float32(bias + added)):
        return False
    node.attributes.pop("beta", None)
    set_weights(node, scaled)
    if offset.any():
        set_bias(node, bias + added)
    elif node.op_type == "Gemm" and input_at(node, 2) is not None:
        set_bias(node, bias)
    return True


def _takes_offset(node: ir.Node) -> bool:
    if node.op_type == "Conv":
        pads = own_pads(node)
        return pads is not None and not any(pads)
    return node.op_type == "Gemm"


def by_output(node: ir.Node, weights: Float64, scale: Float64) -> Float64:
    """The scale in the shape in which it multiplies the weights."""
    spatial = (1,) * (weights.ndim - 2)
    if node.op_type == "ConvTranspose":
        groups = integer(node, "group", 1)
        return np.repeat(scale.reshape(groups, -1), weights.shape[0] // groups, axis=0).reshape(
            weights.shape[0], weights.shape[1], *spatial
        )
    if node.op_type == "Conv":
        return scale.reshape(-1, 1, *spatial)
    return scale.reshape(-1, 1) if integer(node, "transB", 0) else scale.reshape(1, -1)


def by_input(node: ir.Node, weights: Float64, scale: Float64) -> Float64:
    """The weights times the scale of their input channel."""
    if node.op_type == "Conv":
        return weights * _of_taps(node, weights, scale).reshape(*weights.shape[:2], *(1,) * (weights.ndim - 2))
    if node.op_type == "ConvTranspose":
        return weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
    return weights * (scale.reshape(1, -1) if integer(node, "transB", 0) else scale.reshape(-1, 1))


def _added(node: ir.Node, weights: Float64, offset: Float64) -> Float64:
    """What an offset of the input adds to every output channel of a layer without padding."""
    if node.op_type == "Conv":
        taps = weights.reshape(*weights.shape[:2], -1).sum(axis=2)
        return np.asarray((taps * _of_taps(node, weights, offset)).sum(axis=1))
    if node.op_type == "ConvTranspose":
        return np.zeros(output_channels(node, weights))
    return np.asarray(weights @ offset if integer(node, "transB", 0) else offset @ weights)


def _of_taps(node: ir.Node, weights: Float64, by_channel: Float64) -> Float64:
    """One value an input channel in the shape (O, I / groups) of a Conv's weights."""
    groups = integer(node, "group", 1)
    outputs, inputs = weights.shape[:2]
    group_of = np.repeat(np.arange(groups), outputs // groups)
    return np.asarray(by_channel[group_of[:, None] * inputs + np.arange(inputs)[None, :]])


def _set(node: ir.Node, index: int, what: str, array: Float64) -> None:
    assert node.graph is not None
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    base = f"{node.outputs[0].name}_{what}" if old is None or old.name is None else old.name
    node.replace_input_with(index, add_initializer(node.graph, base, array.astype(np.float32)))
