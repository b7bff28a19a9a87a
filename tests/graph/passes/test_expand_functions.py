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


def loss(**attributes):
    """A model whose function depends on types and attributes."""
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["y"], name="loss_3", **attributes)
    shape = [2, 2, 2] if attributes.get("reduction") == "none" else []
    weights = {"t": np.array([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])}
    return models.make_model([node], {"x": [2, 3, 2, 2]}, {"y": shape}, weights, opset=13)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_body_that_depends_on_its_call(rng, reduction):
    proto = loss(reduction=reduction)
    feeds = {"x": rng.standard_normal((2, 3, 2, 2)).astype(np.float32)}
    changes, found = expanded(proto)
    assert changes >= 1  # a body may hold functions again
    assert "SoftmaxCrossEntropyLoss" not in {node.op_type for node in found.graph.node}
    assert [value.name for value in found.graph.output] == ["y"]
    wanted = ReferenceEvaluator(proto).run(None, feeds)[0]
    np.testing.assert_allclose(ReferenceEvaluator(found).run(None, feeds)[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_body_of_an_older_opset_with_several_results(rng):
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "t"], ["z", "logs"], name="loss")
    both = helper.make_node("Add", ["z", "logs"], ["y"])
    labels = np.array([[[0, 1], [2, 0]], [[1, 1], [0, 2]]])
    proto = models.make_model([node, both], {"x": [2, 3, 2, 2]}, {"y": [2, 3, 2, 2]}, {"t": labels}, opset=21)
    feeds = {"x": rng.standard_normal((2, 3, 2, 2)).astype(np.float32)}
    changes, found = expanded(proto)
    assert changes >= 1
    assert "SoftmaxCrossEntropyLoss" not in {node.op_type for node in found.graph.node}
    wanted = ReferenceEvaluator(proto).run(None, feeds)[0]
    np.testing.assert_allclose(ReferenceEvaluator(found).run(None, feeds)[0], wanted, rtol=1e-5, atol=1e-6)


def test_names_tell_which_layer_a_node_came_from():
    _, found = expanded(loss())
    assert all("loss_3" in node.name or node.name.startswith("y") for node in found.graph.node)


def test_defaults_of_a_function_are_stated(load):
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"])
    graph = helper.make_graph(
        [node],
        "norm",
        [helper.make_tensor_value_info("x", 1, [2, 3, 4, 5])],
        [helper.make_tensor_value_info("y", 1, [2, 3, 4, 5])],
    )
    assert len(load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)).graph) > 0


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
