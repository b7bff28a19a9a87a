from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import models
from microlith.graph.passes.eliminate_identity import EliminateIdentity

SHAPE = [1, 2, 3, 4]

CASES = {
    "Identity": ({}, {}),
    "Dropout": ({}, {"ratio": np.float32(0.5), "training": np.array(False)}),
    "Cast": ({"to": TensorProto.FLOAT}, {}),
    "CastLike": ({}, {"like": np.float32(0)}),
    "Reshape": ({}, {"shape": np.array([0, 2, -1, 4])}),
    "Flatten": ({"axis": 1}, {}),
    "Expand": ({}, {"shape": np.array([3, 4])}),
    "Tile": ({}, {"repeats": np.array([1, 1, 1, 1])}),
    "Transpose": ({"perm": [0, 1, 2, 3]}, {}),
    "Pad": ({}, {"pads": np.zeros(8, np.int64)}),
    "Slice": ({}, {"starts": np.array([0]), "ends": np.array([2**62]), "axes": np.array([2])}),
    "Concat": ({"axis": 1}, {}),
    "Sum": ({}, {}),
    "Clip": ({}, {}),
    "MaxPool": ({"kernel_shape": [1, 1]}, {}),
    "AveragePool": ({"kernel_shape": [1, 1], "strides": [1, 1]}, {}),
    "Mul": ({}, {"one": np.float32([1])}),
    "Div": ({}, {"one": np.ones((2, 1, 1), np.float32)}),
    "Sub": ({}, {"zero": np.float32(0)}),
    "Pow": ({}, {"one": np.float32(1)}),
    "Split": ({"axis": 1}, {"sizes": np.array([2])}),
    "ReduceMax": ({}, {"axes": np.array([0])}),
    "ReduceMean": ({"keepdims": 1}, {"axes": np.array([-4])}),
}


def between(op, attributes, weights, shape=SHAPE, out=None):
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node(op, ["a", *weights], ["b"], name="middle", **attributes),
        helper.make_node("Abs", ["b"], ["y"]),
    ]
    return models.make_model(nodes, {"x": shape}, {"y": out or shape}, weights, opset=21)


@pytest.mark.parametrize("op", CASES)
def test_nodes_that_change_nothing(rewrite, rng, op):
    shape = [1, 24] if op == "Flatten" else SHAPE
    x = rng.standard_normal(shape).astype(np.float32)
    assert rewrite(between(op, *CASES[op], shape=shape), EliminateIdentity(), x=x) == ["Neg", "Abs"]
    assert rewrite.result.changes == 1


@pytest.mark.parametrize(
    ("op", "attributes", "weights", "out"),
    [
        ("Reshape", {}, {"shape": np.array([1, 2, 4, 3])}, [1, 2, 4, 3]),
        ("Transpose", {"perm": [0, 1, 3, 2]}, {}, [1, 2, 4, 3]),
        ("Transpose", {}, {}, [4, 3, 2, 1]),
        ("Pad", {}, {"pads": np.array([0, 0, 0, 0, 0, 0, 0, 1])}, [1, 2, 3, 5]),
        (
            "Slice",
            {},
            {
                "starts": np.array([-1]),
                "ends": np.array([-100]),
                "axes": np.array([3]),
                "steps": np.array([-1]),
            },
            SHAPE,
        ),
        ("Clip", {}, {"low": np.float32(-0.1)}, SHAPE),
        ("MaxPool", {"kernel_shape": [1, 1], "strides": [2, 2]}, {}, [1, 2, 2, 2]),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {}, SHAPE),
        ("Mul", {}, {"ones": np.ones((1, 2, 1, 1, 1), np.float32)}, [1, 2, 2, 3, 4]),
        ("Mul", {}, {"almost": np.nextafter(np.float32([1]), 2)}, SHAPE),
        ("Sub", {}, {"some": np.float32([0, 0, 0, 1])}, SHAPE),
    ],
)
def test_nodes_that_change_something(rewrite, rng, op, attributes, weights, out):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    rewrite(between(op, attributes, weights, out=out), EliminateIdentity(), x=x)
    assert rewrite.result.changes == 0


def test_a_constant_on_the_left(rewrite, rng):
    nodes = [helper.make_node("Mul", ["one", "x"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"one": np.float32([1])})
    assert rewrite(proto, EliminateIdentity(), x=rng.random((1, 2), np.float32)) == ["Neg"]


def test_a_second_relu(rewrite, rng):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    x = rng.standard_normal((1, 8)).astype(np.float32)
    assert rewrite(models.make_model(nodes, {"x": [1, 8]}, {"y": [1, 8]}), EliminateIdentity(), x=x) == ["Relu"]
    assert rewrite.model.graph.outputs[0].name == "y"


def test_infinite_bounds_are_dropped(rewrite, rng):
    weights = {"low": np.float32(0), "high": np.float32(np.inf)}
    x = rng.standard_normal(SHAPE).astype(np.float32)
    rewrite(between("Clip", {}, weights), EliminateIdentity(), x=x)
    assert rewrite.model.graph.node("middle").inputs[2] is None
    weights = {"low": np.float32(-np.inf), "high": np.float32(np.inf)}
    assert rewrite(between("Clip", {}, weights), EliminateIdentity(), x=x) == ["Neg", "Abs"]


def test_between_an_input_and_an_output_it_stays(rewrite, rng):
    proto = models.one_node("Identity", {"x": [1, 2]}, {"y": [1, 2]})
    assert rewrite(proto, EliminateIdentity(), x=rng.random((1, 2), np.float32)) == ["Identity"]


def test_the_graph_output_keeps_its_name(rewrite, rng):
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Identity", ["a"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]})
    assert rewrite(proto, EliminateIdentity(), x=rng.random((1, 2), np.float32)) == ["Neg"]
    assert [value.name for value in rewrite.model.graph.outputs] == ["y"]


def test_one_value_under_two_output_names_keeps_one_identity(rewrite, rng):
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Identity", ["a"], ["y"]),
        helper.make_node("Identity", ["a"], ["z"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2], "z": [1, 2]})
    assert rewrite(proto, EliminateIdentity(), x=rng.random((1, 2), np.float32)) == ["Neg", "Identity"]
    assert [value.name for value in rewrite.model.graph.outputs] == ["y", "z"]


@pytest.mark.parametrize(
    ("op", "low", "goes"), [("Sigmoid", None, True), ("Clip", 0, True), ("Clip", -1, False), ("Tanh", None, False)]
)
def test_a_relu_of_what_is_never_negative(rewrite, rng, op, low, goes):
    weights = {} if low is None else {"low": np.float32(low)}
    nodes = [helper.make_node(op, ["x", *weights], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    proto = models.make_model(nodes, {"x": SHAPE}, {"y": SHAPE}, weights)
    left = rewrite(proto, EliminateIdentity(), x=rng.standard_normal(SHAPE).astype(np.float32))
    assert left == ([op] if goes else [op, "Relu"])


def test_an_operand_without_elements(rewrite, rng):
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Concat", ["e", "a", "a"], ["y"], axis=1)]
    weights = {"e": np.zeros((1, 0, 3, 4), np.float32)}
    proto = models.make_model(nodes, {"x": SHAPE}, {"y": [1, 4, 3, 4]}, weights)
    assert rewrite(proto, EliminateIdentity(), x=rng.standard_normal(SHAPE).astype(np.float32)) == ["Abs", "Concat"]
    assert len(rewrite.model.graph[1].inputs) == 2


@pytest.mark.parametrize(
    ("condition", "changes"), [(np.ones((3, 1), bool), 1), (np.zeros(1, bool), 1), (np.eye(3, 4, dtype=bool), 0)]
)
def test_where_that_takes_one_side(rewrite, rng, condition, changes):
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Exp", ["x"], ["b"]),
        helper.make_node("Where", ["c", "a", "b"], ["w"]),
        helper.make_node("Abs", ["w"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": SHAPE}, {"y": SHAPE}, {"c": condition})
    found = rewrite(proto, EliminateIdentity(), x=rng.standard_normal(SHAPE).astype(np.float32))
    assert rewrite.result.changes == changes
    assert ("Where" in found) == (changes == 0)


def test_where_that_repeats_the_side_it_takes_stays(rewrite, rng):
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Where", ["c", "a", "o"], ["y"])]
    weights = {"c": np.ones(1, bool), "o": np.ones((5, 4), np.float32)}
    proto = models.make_model(nodes, {"x": [1, 4]}, {"y": [5, 4]}, weights)
    rewrite(proto, EliminateIdentity(), x=rng.standard_normal((1, 4)).astype(np.float32))
    assert rewrite.result.changes == 0
