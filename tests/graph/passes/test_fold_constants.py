from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

import models
from microlith.core.errors import InputError
from microlith.graph.passes import fold_constants
from microlith.graph.passes.fold_constants import FoldConstants, lift_constants
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.values import constant


def bare(nodes, weights, inputs=None, outputs=None):
    """A model that no pass has seen yet, its types inferred."""
    proto = models.make_model(nodes, inputs or {"x": [1, 2]}, outputs or {"y": [1, 2]}, weights, opset=21)
    model = ir.serde.deserialize_model(proto)
    InferShapes().apply(model)
    return model


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.array([[1.5, 2]], np.float32))}, np.float32([[1.5, 2]])),
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2.0]}, np.float32([1.5, 2])),
    ],
)
def test_constant_nodes_become_initializers(attributes, wanted):
    nodes = [helper.make_node("Constant", [], ["c"], **attributes), helper.make_node("Add", ["x", "c"], ["y"])]
    model = bare(nodes, {})
    assert FoldConstants().apply(model).changes == 1
    np.testing.assert_array_equal(constant(model.graph.initializers["c"]), wanted, strict=True)
    assert [node.op_type for node in model.graph] == ["Add"]


@pytest.mark.parametrize(("attribute", "value"), [("value_int", 3), ("value_ints", [1, 2])])
def test_integer_constant_nodes(attribute, value):
    nodes = [
        helper.make_node("Constant", [], ["c"], **{attribute: value}),
        helper.make_node("Cast", ["c"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    model = bare(nodes, {})
    lift_constants(model.graph)
    np.testing.assert_array_equal(constant(model.graph.initializers["c"]), np.asarray(value, np.int64), strict=True)


def test_a_chain_folds_at_once():
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("Neg", ["t"], ["n"]),
        helper.make_node("Add", ["x", "n"], ["y"]),
    ]
    model = bare(nodes, {"w": np.float32([[1], [2]])})
    assert FoldConstants().apply(model).changes == 2
    np.testing.assert_array_equal(constant(model.graph[0].inputs[1]), [[-1, -2]])


def test_shape_and_size_of_what_is_computed():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=1),
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Mul", ["s", "n"], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=1),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    model = bare(nodes, {})
    assert FoldConstants().apply(model).changes == 4
    np.testing.assert_array_equal(constant(model.graph[0].inputs[1]), [4])


def test_results_with_several_outputs():
    nodes = [
        helper.make_node("Split", ["w"], ["a", "b"], num_outputs=2),
        helper.make_node("Sub", ["a", "b"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    model = bare(nodes, {"w": np.float32([5, 3])})
    FoldConstants().apply(model)
    np.testing.assert_array_equal(constant(model.graph[0].inputs[1]), [2])


def test_a_weight_is_quantized_and_its_dequantization_stays():
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    weights = {
        "w": np.float32([0.25, -0.75]),
        "s": np.float32([0.5, 0.1]),
        "z": np.int8([0, 3]),
    }
    model = bare(nodes, weights)
    assert FoldConstants().apply(model).changes == 1
    assert [node.op_type for node in model.graph] == ["DequantizeLinear", "Add"]
    np.testing.assert_array_equal(
        constant(model.graph.initializers["q"]), np.int8([0, -5]), strict=True
    )  # halves to even


def test_nothing_grows_beyond_the_bound(monkeypatch):
    nodes = [
        helper.make_node("Expand", ["w", "shape"], ["e"]),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    weights = {"w": np.float32([1]), "shape": np.array([1, 64])}
    inputs, outputs = {"x": [1, 64]}, {"y": [1, 64]}
    monkeypatch.setattr(fold_constants, "MAX_GROWTH_BYTES", 64 * 4 - 1)
    assert FoldConstants().apply(bare(nodes, weights, inputs, outputs)).changes == 0
    monkeypatch.setattr(fold_constants, "MAX_GROWTH_BYTES", 64 * 4)
    assert FoldConstants().apply(bare(nodes, weights, inputs, outputs)).changes == 1


def test_what_does_not_grow_is_folded_whatever_its_size():
    weights = {"w": np.ones((1, 100_000), np.float32)}
    nodes = [helper.make_node("Neg", ["w"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    model = bare(nodes, weights, {"x": [1, 100_000]}, {"y": [1, 100_000]})
    assert FoldConstants().apply(model).changes == 1


@pytest.mark.parametrize("op", ["Exp", "Sigmoid", "Softmax"])
def test_library_functions_are_left(op):
    nodes = [helper.make_node(op, ["w"], ["n"]), helper.make_node("Add", ["x", "n"], ["y"])]
    assert FoldConstants().apply(bare(nodes, {"w": np.float32([1, 2])})).changes == 0


def test_sums_of_integers_only():
    nodes = [
        helper.make_node("ReduceProd", ["i"], ["p"], keepdims=0),
        helper.make_node("Cast", ["p"], ["f"], to=1),
        helper.make_node("ReduceProd", ["w"], ["g"], keepdims=0),
        helper.make_node("Add", ["f", "g"], ["h"]),
        helper.make_node("Add", ["x", "h"], ["y"]),
    ]
    model = bare(nodes, {"i": np.array([2, 3]), "w": np.float32([0.1, 0.2])})
    assert FoldConstants().apply(model).changes == 2
    assert constant(model.graph.initializers["f"]) == 6


def test_graph_outputs_are_left():
    nodes = [helper.make_node("Neg", ["w"], ["z"]), helper.make_node("Relu", ["x"], ["y"])]
    model = bare(nodes, {"w": np.float32([[1, 2]])}, outputs={"y": [1, 2], "z": [1, 2]})
    assert FoldConstants().apply(model).changes == 0


def test_constants_that_cannot_be_computed():
    nodes = [
        helper.make_node("Gather", ["w", "i"], ["g"], name="pick"),
        helper.make_node("Add", ["x", "g"], ["y"]),
    ]
    model = bare(nodes, {"w": np.float32([1, 2]), "i": np.array([7])})
    with pytest.raises(InputError, match=r"cannot be computed from its constants.*'pick' \(Gather\)"):
        FoldConstants().apply(model)


def test_a_diagonal_of_what_is_computed():
    nodes = [helper.make_node("EyeLike", ["x"], ["e"], k=1), helper.make_node("Add", ["x", "e"], ["y"])]
    model = bare(nodes, {}, {"x": [1, 3]}, {"y": [1, 3]})
    assert FoldConstants().apply(model).changes == 1
    np.testing.assert_array_equal(constant(model.graph[0].inputs[1]), np.float32([[0, 1, 0]]), strict=True)
