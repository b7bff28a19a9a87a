from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_swish import FuseSwish


def node(op, inputs, output):
    return helper.make_node(op, inputs.split(), [output])


FORMS = {
    "plain": ([node("Sigmoid", "x", "g"), node("Mul", "x g", "y")], 1.0),
    "the gate first": ([node("Sigmoid", "x", "g"), node("Mul", "g x", "y")], 1.0),
    "scaled": ([node("Mul", "k x", "s"), node("Sigmoid", "s", "g"), node("Mul", "x g", "y")], 1.75),
    "of another x": ([node("Tanh", "x", "t"), node("Sigmoid", "t", "g"), node("Mul", "x g", "y")], None),
    "scaled by itself": ([node("Mul", "x x", "s"), node("Sigmoid", "s", "g"), node("Mul", "x g", "y")], None),
}


def of(nodes, opset):
    weights = {"k": np.float32(1.75)} if any("k" in item.input for item in nodes) else {}
    proto = models.make_model(nodes, {"x": [1, 30]}, {"y": [1, 30]}, weights, opset=opset)
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    nodes, alpha = FORMS[form]
    model = of(nodes, 24)
    changes = FuseSwish({"Swish"}).apply(model).changes
    if alpha is None:
        assert changes == 0
    else:
        assert [item.op_type for item in model.graph] == ["Swish"]
        assert model.graph[0].attributes["alpha"].as_float() == alpha
        assert model.graph[0].inputs[0] is model.graph.inputs[0]


def test_only_where_the_operator_is():
    nodes = FORMS["plain"][0]
    assert FuseSwish({"Swish"}).apply(of(nodes, 21)).changes == 0
    assert FuseSwish({"Sigmoid"}).apply(of(nodes, 24)).changes == 0
