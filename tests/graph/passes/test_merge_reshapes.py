from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.merge_reshapes import MergeReshapes
from microlith.graph.values import constant

CASES = {  # from (1, 1, 6, 1), and from every shape that one of them leaves
    "Reshape": (np.array([0, 1, -1, 1]), lambda x: x.reshape(1, 1, -1, 1)),
    "Flatten": (None, lambda x: x.reshape(1, -1)),
    "Squeeze": (np.array([0]), lambda x: x.squeeze(0)),
    "Unsqueeze": (np.array([1]), lambda x: np.expand_dims(x, 1)),
}


@pytest.mark.parametrize(("first", "second"), tuple(itertools.product(CASES, CASES)))
def test_two_in_a_row_are_one(rewrite, rng, first, second):
    x = rng.random((1, 1, 6, 1), np.float32)
    weights, nodes, value, out = {}, [], "x", x
    for op, name in ((first, "m"), (second, "n")):
        parameter, meaning = CASES[op]
        if parameter is not None:
            weights[f"{name}_parameter"] = parameter
        nodes.append(helper.make_node(op, [value, *(key for key in weights if key.startswith(name))], [name]))
        value, out = name, meaning(out)
    nodes.append(helper.make_node("Neg", ["n"], ["y"]))
    proto = models.make_model(nodes, {"x": list(x.shape)}, {"y": list(out.shape)}, weights)
    assert rewrite(proto, MergeReshapes(), x=x) == ["Reshape", "Neg"]
    assert rewrite.result.changes == 1


def test_the_batch_is_copied(rewrite, rng):
    nodes = [
        helper.make_node("Flatten", ["x"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 2, 3]}, {"y": [1, 3, 2]}, {"shape": np.array([1, 3, 2])})
    rewrite(proto, MergeReshapes(), x=rng.random((1, 2, 3), np.float32))
    assert constant(rewrite.model.graph[0].inputs[1]).tolist() == [0, 3, 2]


def test_a_value_that_others_read_stays(rewrite, rng):
    nodes = [
        helper.make_node("Flatten", ["x"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
        helper.make_node("Neg", ["m"], ["z"]),
    ]
    outputs = {"y": [1, 3, 2], "z": [1, 6]}
    proto = models.make_model(nodes, {"x": [1, 2, 3]}, outputs, {"shape": np.array([1, 3, 2])})
    rewrite(proto, MergeReshapes(), x=rng.random((1, 2, 3), np.float32))
    assert rewrite.result.changes == 0
