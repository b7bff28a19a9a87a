"""Types and shapes of all values from graph inputs and constants."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.inference import infer_types
from microlith.graph.pass_base import EXACT, PassResult, Property


class InferShapes:
    """Writes the inferred type and shape to every value, as far as they can be known.

    Source: the shape functions of the ONNX operators (onnx.shape_inference, strict, with data propagation).
    """

    name = "InferShapes"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: values whose type or shape was not known, or was another."""
        changes = 0
        inferred = infer_types(model)
        for node in model.graph:
            for value in node.outputs:
                info = inferred.get(value.name or "")
                if info is None:
                    continue
                shape = None if info.shape is None else ir.Shape(info.shape)
                if value.dtype != info.dtype or (shape is not None and value.shape != shape):
                    changes += 1
                    value.type = ir.TensorType(info.dtype)
                    value.shape = shape
        return PassResult(changes)
