"""A BatchNormalization in inference is an affine map a channel, and a Conv or Gemm can hold it.

With ``s = gamma / sqrt(var + epsilon)`` and ``t = beta - mean * s``, BatchNormalization is ``y = s * x + t`` a channel.

* After a Conv or Gemm with weights W and bias b: ``s * (W x + b) + t = (s W) x + (s b + t)``, s along output channels.
* Before a Conv without padding, or a Gemm: ``W (s x + t) + b = (W s) x + (W t + b)``, s along input channels. With
  padding it does not hold: the padding is 0 after the map and not before it.

The products are taken in float64 and rounded once.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018, section 3.2; Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 2.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.passes.fold_pad_into_conv import own_pads
from microlith.graph.values import add_initializer, bypass, can_bypass, constant, input_at, integer, real, sole_consumer

Float64 = NDArray[np.float64]


class FoldBatchNormIntoConv:
    """Multiplies a BatchNormalization into the weights and bias of the Conv or Gemm before or after it."""

    name = "FoldBatchNormIntoConv"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "weights are rounded to float32 after the product")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: BatchNormalizations folded."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "BatchNormalization" and (_fold_backward(node) or _fold_forward(node)):
                changes += 1
        return PassResult(changes)


def affine_of(node: ir.Node) -> tuple[Float64, Float64] | None:
    """Scale and offset a channel of a BatchNormalization with constant parameters."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        return None
    gamma, beta, mean, var = (np.asarray(array, np.float64) for array in arrays)
    scale = gamma / np.sqrt(var + real(node, "epsilon", 1e-5))
    return scale, beta - mean * scale


def scale_outputs(node: ir.Node, scale: Float64, offset: Float64) -> bool:
    """Let a Conv or Gemm return ``scale * y + offset`` a channel; False, and no change, where it cannot."""
    weights, bias = _weights(node), _bias(node)
    if weights is None or bias is None:
        return False
    axis = _output_axis(node)
    shape = [1] * weights.ndim
    shape[axis] = -1
    if node.op_type == "Gemm":  # alpha and beta stay outside: alpha (A sB) + beta (s C + t / beta)
        beta = real(node, "beta", 1.0)
        node.attributes.pop("beta", None)
        bias = bias * beta
    _set(node, 1, "weight", weights * scale.reshape(shape))
    _set(node, 2, "bias", bias * scale + offset)
    return True


def _fold_backward(node: ir.Node) -> bool:
    middle, affine = node.inputs[0], affine_of(node)
    producer = None if middle is None else middle.producer()
    if middle is None or producer is None or affine is None or producer.op_type not in ("Conv", "Gemm"):
        return False
    if sole_consumer(middle) is not node or not can_bypass(node, middle) or not scale_outputs(producer, *affine):
        return False
    bypass(node, middle)
    return True


def _fold_forward(node: ir.Node) -> bool:
    consumer, affine, source = sole_consumer(node.outputs[0]), affine_of(node), node.inputs[0]
    if consumer is None or affine is None or source is None or not _reads_unpadded(consumer, node.outputs[0]):
        return False
    weights, bias = _weights(consumer), _bias(consumer)
    if weights is None or bias is None:
        return False
    scale, offset = affine
    by_input, added = _input_map(consumer, weights, scale, offset)
    if consumer.op_type == "Gemm":
        alpha, beta = real(consumer, "alpha", 1.0), real(consumer, "beta", 1.0)
        consumer.attributes.pop("beta", None)
        bias, added = bias * beta, added * alpha
    _set(consumer, 1, "weight", by_input)
    _set(consumer, 2, "bias", bias + added)
    bypass(node, source)
    return True


def _reads_unpadded(consumer: ir.Node, value: ir.Value) -> bool:
    if consumer.inputs[0] is not value:
        return False
    if consumer.op_type == "Conv":
        pads = own_pads(consumer)
        return pads is not None and not any(pads)
    return consumer.op_type == "Gemm" and not integer(consumer, "transA", 0)


def _input_map(node: ir.Node, weights: Float64, scale: Float64, offset: Float64) -> tuple[Float64, Float64]:
    """Weights times the scale of their input channel, and what the offset adds to every output channel."""
    if node.op_type == "Gemm":
        rows = 1 - _output_axis(node)
        by_row = scale.reshape([-1, 1] if rows == 0 else [1, -1])
        return weights * by_row, np.tensordot(offset, weights, axes=(0, rows))
    groups = integer(node, "group", 1)
    outputs, inputs = weights.shape[:2]
    group_of = np.repeat(np.arange(groups), outputs // groups)
    channels = group_of[:, None] * inputs + np.arange(inputs)[None, :]
    spatial = (1,) * (weights.ndim - 2)
    taps = weights.reshape(outputs, inputs, -1).sum(axis=2)
    return weights * scale[channels].reshape(outputs, inputs, *spatial), (taps * offset[channels]).sum(axis=1)


def _output_axis(node: ir.Node) -> int:
    return 0 if node.op_type == "Conv" or integer(node, "transB", 0) else 1


def _weights(node: ir.Node) -> Float64 | None:
    array = constant(node.inputs[1])
    return None if array is None else np.asarray(array, np.float64)


def _bias(node: ir.Node) -> Float64 | None:
    """The bias, one value an output channel, zeros where there is none; None where it is no such constant."""
    weights = constant(node.inputs[1])
    if weights is None:
        return None
    channels = weights.shape[_output_axis(node)]
    value = input_at(node, 2)
    array = np.zeros(channels) if value is None else constant(value)
    if array is None or array.size not in (1, channels) or array.ndim > 2 or (array.ndim == 2 and array.shape[0] != 1):
        return None
    return np.broadcast_to(np.asarray(array, np.float64).reshape(-1), (channels,))


def _set(node: ir.Node, index: int, what: str, array: Float64) -> None:
    assert node.graph is not None
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    base = f"{node.outputs[0].name}_{what}" if old is None or old.name is None else old.name
    node.replace_input_with(index, add_initializer(node.graph, base, array.astype(np.float32)))
