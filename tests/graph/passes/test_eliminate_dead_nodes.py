from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import helper

import models
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.passes.infer_shapes import InferShapes


def test_nodes_outputs_and_constants_without_readers(rng):
    nodes = [
        helper.make_node("MaxPool", ["x"], ["y", "indices"], kernel_shape=[2, 2]),
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 1, 3, 3]}, {"w": np.ones(1, np.float32)})
    model = ir.serde.deserialize_model(proto)
    InferShapes().apply(model)
    assert EliminateDeadNodes.ensures[0].violation(model) is not None
    assert EliminateDeadNodes().apply(model).changes == 3
    assert [node.op_type for node in model.graph] == ["MaxPool"]
    assert len(model.graph[0].outputs) == 1
    assert not model.graph.initializers
    assert EliminateDeadNodes.ensures[0].violation(model) is None
    assert EliminateDeadNodes().apply(model).changes == 0


def test_inputs_stay():
    proto = models.make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 2], "unused": [1, 2]}, {"y": [1, 2]})
    model = ir.serde.deserialize_model(proto)
    EliminateDeadNodes().apply(model)
    assert [value.name for value in model.graph.inputs] == ["x", "unused"]
