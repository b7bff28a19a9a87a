"""A BatchNormalization in inference is an affine map a channel, and a layer with constant weights can hold it.

With ``s = gamma / sqrt(var + epsilon)`` and ``t = beta - mean * s``, BatchNormalization is ``y = s * x + t`` a channel;
:mod:`microlith.graph.linear_layers` says how a Conv, ConvTranspose, Gemm or MatMul takes it in on either side. What it
knew of the distribution of the layer's results stays beside the layer (:mod:`microlith.graph.moments`).

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018, section 3.2; Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 2.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import LAYERS, channel_axis, scale_inputs, scale_outputs
from microlith.graph.moments import Moments, set_moments
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import bypass, can_bypass, constant, real, sole_consumer

Float64 = NDArray[np.float64]


class FoldBatchNormIntoConv:
    """Multiplies a BatchNormalization into the weights and bias of the layer before or after it."""

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
    spread = var + real(node, "epsilon", 1e-5)
    if not (spread > 0).all():
        return None
    scale = gamma / np.sqrt(spread)
    return scale, beta - mean * scale


def _fold_backward(node: ir.Node) -> bool:
    middle, affine = node.inputs[0], affine_of(node)
    layer = None if middle is None else middle.producer()
    if middle is None or layer is None or affine is None or layer.op_type not in LAYERS:
        return False
    if channel_axis(layer, middle) != 1 or sole_consumer(middle) is not node or not can_bypass(node, middle):
        return False
    if not scale_outputs(layer, *affine):
        return False
    gamma, beta = (np.asarray(constant(value), np.float64) for value in node.inputs[1:3])
    set_moments(layer, Moments(beta, np.abs(gamma)))
    bypass(node, middle)
    return True


def _fold_forward(node: ir.Node) -> bool:
    layer, affine, source = sole_consumer(node.outputs[0]), affine_of(node), node.inputs[0]
    if layer is None or affine is None or source is None or layer.op_type not in LAYERS:
        return False
    if layer.inputs[0] is not node.outputs[0] or channel_axis(layer, source) != 1 or not scale_inputs(layer, *affine):
        return False
    bypass(node, source)
    return True
