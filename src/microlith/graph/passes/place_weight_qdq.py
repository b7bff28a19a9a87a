"""Places DequantizeLinear in front of the weights of layers, and leaves activations in float.

``y = f(x, w)`` becomes ``y = f(x, DequantizeLinear(q, s, z))``: fewer bytes of weights, the same arithmetic. The result
is standard ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from microlith.core.errors import InputError
from microlith.graph.passes.place_qdq import drop_unused_initializers
from microlith.graph.qdq_constants import Constants, Roundings, to_nearest
from microlith.graph.qdq_plan import check_names
from microlith.graph.qdq_schemes import node_schemes, weights_index
from microlith.graph.values import Names
from microlith.quant.schemes import Scheme


def place_weight_qdq(
    model: ir.Model, scheme: Scheme, *, float_ops: Sequence[str] = (), rounding: Roundings = to_nearest
) -> ir.Model:
    """A copy of a float model whose layers read integer weights.

    Args:
        model: float, after the passes; left as it is.
        scheme: of weights.
        float_ops: names of nodes, or op types, whose weights stay floats.
        rounding: chooses the integers of weights.

    Raises:
        InputError: no layer is left to quantize.
        UnsupportedError: weights cannot be quantized in groups.
        ModelError: a weight is not finite.
    """
    check_names(model.graph, float_ops)
    result = model.clone()
    constants = Constants(result.graph, Names(result.graph), node_schemes(result.graph, scheme), rounding)
    layers = [
        (node, index)
        for node in result.graph
        if (index := weights_index(node)) is not None and not {node.name, node.op_type} & set(float_ops)
    ]
    if not layers:
        raise InputError("the model has no layer with float weights to quantize")
    for node, index in layers:
        constants.weights(node, index)
    drop_unused_initializers(result.graph)
    return result
