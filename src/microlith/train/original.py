"""The floats that the integers of a quantized model were made from."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.qdq_qparams import layer_constants
from microlith.graph.values import constant

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_WEIGHTS, _BIAS = 1, 2


def original_weights(model: ir.Model, original: ir.Model) -> dict[str, NDArray[np.float32]]:
    """Floats by the name of the initializer of integers that stands for them: where training can start.

    Args:
        model: quantized.
        original: float, with the same names of nodes.

    Returns:
        Weights and biases of layers and other constant operands, factors of a Gemm multiplied in as quantization does.
        Constants of another shape, such as weights stored in groups, are left out.
    """
    before = {str(node.name): node for node in original.graph}
    found: dict[str, NDArray[np.float32]] = {}
    for node in model.graph:
        integers = constant(node.inputs[0]) if node.op_type == "DequantizeLinear" else None
        if integers is None:
            continue
        for use in node.outputs[0].uses():
            source = before.get(str(use.node.name))
            floats = None if source is None or source.op_type != use.node.op_type else _operand(source, use.idx)
            if floats is not None and floats.shape == integers.shape:
                found[str(node.inputs[0].name)] = floats  # type: ignore[union-attr]
    return found


def _operand(node: ir.Node, index: int) -> NDArray[np.float32] | None:
    value = constant(node.inputs[index]) if index < len(node.inputs) else None
    if value is None or value.dtype != np.float32:
        return None
    if node.op_type in _LAYERS and index in (_WEIGHTS, _BIAS) and constant(node.inputs[_WEIGHTS]) is not None:
        return layer_constants(node)[index - _WEIGHTS]
    return value.astype(np.float32)
