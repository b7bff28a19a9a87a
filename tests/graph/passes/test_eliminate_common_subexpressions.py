from __future__ import annotations

import numpy as np
from onnx import helper

import models
from microlith.graph.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions


def test_equal_nodes_are_computed_once(rewrite, rng):
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Neg", ["x"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]})
    assert rewrite(proto, EliminateCommonSubexpressions(), x=rng.random((1, 2), np.float32)) == ["Neg", "Add"]
    assert rewrite.result.changes == 1


def test_equal_integer_constants_are_one(rewrite, rng):
    nodes = [
        helper.make_node("Reshape", ["x", "a"], ["r"]),
        helper.make_node("Reshape", ["x", "b"], ["s"]),
        helper.make_node("Add", ["r", "s"], ["y"]),
    ]
    weights = {"a": np.array([1, 4]), "b": np.array([1, 4])}
    proto = models.make_model(nodes, {"x": [1, 2, 2]}, {"y": [1, 4]}, weights)
    x = rng.random((1, 2, 2), np.float32)
    assert rewrite(proto, EliminateCommonSubexpressions(), x=x) == ["Reshape", "Add"]
    assert list(rewrite.model.graph.initializers) == ["a"]


def test_equal_float_constants_stay_parameters_of_their_own(rewrite, rng):
    nodes = [helper.make_node("Add", ["x", "a"], ["r"]), helper.make_node("Add", ["r", "b"], ["y"])]
    weights = {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, weights)
    rewrite(proto, EliminateCommonSubexpressions(), x=rng.random((1, 2), np.float32))
    assert rewrite.result.changes == 0


def test_nodes_that_differ_in_an_attribute_stay(rewrite, rng):
    nodes = [
        helper.make_node("LeakyRelu", ["x"], ["a"], alpha=0.1),
        helper.make_node("LeakyRelu", ["x"], ["b"], alpha=0.2),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]})
    rewrite(proto, EliminateCommonSubexpressions(), x=-rng.random((1, 2), np.float32))
    assert rewrite.result.changes == 0


def test_three_equal_outputs_come_to_rest(rewrite, load, rng):
    nodes = [helper.make_node("Neg", ["x"], [name]) for name in "abc"]
    proto = models.make_model(nodes, {"x": [1, 2]}, {name: [1, 2] for name in "abc"})
    rewrite(proto, EliminateCommonSubexpressions(), x=rng.random((1, 2), np.float32))
    assert [value.name for value in rewrite.model.graph.outputs] == ["a", "b", "c"]
