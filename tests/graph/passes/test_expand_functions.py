"""Ops that are written out as the ops by which ONNX defines them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import models
from microlith.graph.opset import OPSET, to_internal_opset
from microlith.graph.passes.expand_functions import ExpandFunctions, expand_newer
from microlith.graph.save import model_bytes
from microlith.ops import OPS


def expanded(proto):
    """The model after the pass, as a proto."""
    model = ir.from_proto(proto)
    expand_newer(model)
    to_internal_opset(model, {})
    changes = ExpandFunctions().apply(model).changes
    return changes, onnx.ModelProto.FromString(model_bytes(model))


@pytest.mark.parametrize(
    ("op", "opset", "attributes"),
    [
        ("MeanVarianceNormalization", 13, {"axes": [0, 2]}),  # a body that was written in several opsets
        ("MeanVarianceNormalization", 9, {"axes": [0, 2, 3]}),
        ("SoftmaxCrossEntropyLoss", 13, {"reduction": "mean"}),  # a body that depends on types and attributes
    ],
)
def test_the_body_computes_the_same(rng, op, opset, attributes):
    feeds = {"x": rng.standard_normal((2, 3, 2, 2)).astype(np.float32)}
    inputs, shapes, weights = ["x"], {"x": [2, 3, 2, 2]}, {}
    out = [2, 3, 2, 2]
    if op == "SoftmaxCrossEntropyLoss":
        weights, out = {"t": rng.integers(0, 3, (2, 2, 2))}, []
        inputs.append("t")
    node = helper.make_node(op, inputs, ["y"], name="layer", **attributes)
    proto = models.make_model([node], shapes, {"y": out}, weights, opset=opset)
    changes, found = expanded(proto)
    assert changes >= 1  # a body may hold functions again
    assert op not in {node.op_type for node in found.graph.node}
    assert [value.name for value in found.graph.output] == ["y"]
    wanted = ReferenceEvaluator(proto).run(None, feeds)[0]
    np.testing.assert_allclose(ReferenceEvaluator(found).run(None, feeds)[0], wanted, rtol=1e-5, atol=1e-6)


def test_names_tell_which_layer_a_node_came_from():
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="norm_3", axes=[2, 3])
    _, found = expanded(models.make_model([node], {"x": [1, 2, 3, 4]}, {"y": [1, 2, 3, 4]}))
    assert all("norm_3" in node.name or "y" in node.name for node in found.graph.node)


def test_an_operator_that_is_newer_than_the_internal_opset(load):
    assert OPSET < 28
    node = helper.make_node("SwiGLU", ["a", "b"], ["y"])
    proto = models.make_model([node], {"a": [1, 4], "b": [1, 4]}, {"y": [1, 4]}, opset=28)
    assert "SwiGLU" not in {node.op_type for node in load(proto).graph}


def test_what_is_implemented_stays():
    node = helper.make_node("HardSwish", ["x"], ["y"])
    changes, found = expanded(models.make_model([node], {"x": [1, 4]}, {"y": [1, 4]}))
    assert "HardSwish" in OPS
    assert (changes, [node.op_type for node in found.graph.node]) == (0, ["HardSwish"])
