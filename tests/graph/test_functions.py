"""Functions that a model defines, written out."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph import functions

LOCAL = helper.make_opsetid("local", 1)
IMPORTS = [helper.make_opsetid("", 17), LOCAL]


def calling(*bodies):
    """y = F0(x), with the functions F0, F1 ... of these nodes."""
    proto = models.make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]})
    proto.graph.node[0].CopyFrom(helper.make_node("F0", ["x"], ["y"], domain="local"))
    proto.opset_import.append(LOCAL)
    for index, nodes in enumerate(bodies):
        proto.functions.append(helper.make_function("local", f"F{index}", ["a"], ["b"], nodes, IMPORTS))
    return proto


def test_calls_are_replaced_by_bodies(load, run, rng):
    inner = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "a"], ["b"])]
    outer = [helper.make_node("F1", ["a"], ["h"], domain="local"), helper.make_node("F1", ["h"], ["b"], domain="local")]
    model = load(calling(outer, inner))
    assert [node.op_type for node in model.graph] == ["Relu", "Add", "Relu", "Add"]
    x = rng.standard_normal((1, 4)).astype(np.float32)
    once = np.maximum(x, 0) + x
    np.testing.assert_array_equal(run(model, {"x": x})[0], np.maximum(once, 0) + once)


@pytest.mark.parametrize("chain", [["F0"], ["F1", "F0"]])
def test_a_function_that_calls_itself(load, chain):
    bodies = [[helper.make_node(name, ["a"], ["b"], domain="local")] for name in chain]
    with pytest.raises(InputError, match="'F0' of the model calls itself"):
        load(calling(*bodies))


def test_calls_that_multiply_without_bound(load):
    bodies = []
    for level in range(1, 40):
        call = f"F{level}"
        twice = [
            helper.make_node(call, ["a"], ["h"], domain="local"),
            helper.make_node(call, ["h"], ["b"], domain="local"),
        ]
        bodies.append(twice)
    bodies.append([helper.make_node("Relu", ["a"], ["b"])])
    with pytest.raises(UnsupportedError, match=f"come to {2**39} nodes, and at most {functions.MAX_NODES}"):
        load(calling(*bodies))


def test_a_function_that_is_defined_twice(load):
    proto = calling([helper.make_node("Relu", ["a"], ["b"])])
    proto.functions.append(proto.functions[0])
    with pytest.raises(InputError, match="defined twice"):
        load(proto)
