"""If with a constant condition, and loops whose number of turns is known, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.subgraphs import MAX_NODES


def value(name, shape=None, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def branch(op, *inputs, name="z"):
    """A graph of one node that reads values of the graph around it."""
    return helper.make_graph([helper.make_node(op, list(inputs), [name])], op, [], [value(name)])


def choosing(condition):
    node = helper.make_node(
        "If", ["c"], ["y"], name="choose", then_branch=branch("Relu", "x"), else_branch=branch("Neg", "x")
    )
    return models.make_model([node], {"x": [1, 3]}, {"y": [1, 3]}, {"c": np.array(condition)})


@pytest.mark.parametrize(("condition", "op"), [(True, "Relu"), (False, "Neg")])
def test_the_branch_that_is_taken(load, run, rng, condition, op):
    model = load(choosing(condition))
    assert [node.op_type for node in model.graph if node.op_type != "Identity"] == [op]
    feeds = {"x": rng.standard_normal((1, 3)).astype(np.float32)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(choosing(condition), feeds)[0])


def test_a_condition_that_depends_on_shapes(load, run, rng):
    nodes = [
        helper.make_node("Size", ["x"], ["n"]),
        helper.make_node("Greater", ["n", "limit"], ["c"]),
        helper.make_node("If", ["c"], ["h"], then_branch=branch("Relu", "x"), else_branch=branch("Neg", "x")),
        helper.make_node("Add", ["h", "x"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {"limit": np.array(5)})
    model = load(proto)
    assert [node.op_type for node in model.graph] == ["Neg", "Add"]
    feeds = {"x": rng.standard_normal((1, 3)).astype(np.float32)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(proto, feeds)[0])


def test_a_condition_that_is_computed(load):
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["c"], to=TensorProto.BOOL),
        helper.make_node(
            "If", ["c"], ["y"], name="choose", then_branch=branch("Relu", "x"), else_branch=branch("Neg", "x")
        ),
    ]
    with pytest.raises(UnsupportedError, match=r"If that depends on computed values.*'choose' \(If\)"):
        load(models.make_model(nodes, {"x": [1, 3]}, {"y": [1, 3]}))


def loop(turns, *, opset=17, condition=None):
    """x is doubled every turn, and each turn yields its number plus what is carried."""
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Add", ["v", "v"], ["w"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["w", "f"], ["s"]),
    ]
    inputs = [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", [1, 3])]
    body = helper.make_graph(nodes, "turn", inputs, [value("on", [], TensorProto.BOOL), value("w"), value("s")])
    node = helper.make_node(
        "Loop", ["n", "c" if condition is not None else "", "x"], ["y", "z"], name="spin", body=body
    )
    weights = {"n": np.array(turns)} | ({} if condition is None else {"c": np.array(condition)})
    return models.make_model([node], {"x": [1, 3]}, {"y": [1, 3], "z": [turns, 1, 3]}, weights, opset=opset)


@pytest.mark.parametrize("condition", [None, True])
@pytest.mark.parametrize("opset", [11, 17])
def test_a_loop_is_written_out(load, run, rng, opset, condition):
    proto = loop(3, opset=opset, condition=condition)
    model = load(proto)
    assert [node.op_type for node in model.graph].count("Add") == 6
    feeds = {"x": rng.standard_normal((1, 3)).astype(np.float32)}
    for got, wanted in zip(run(model, feeds), run(proto, feeds), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_loop_of_too_many_turns(load):
    with pytest.raises(UnsupportedError, match=r"Loop that .* runs too often.*'spin' \(Loop\)"):
        load(loop(MAX_NODES // 4 + 1))


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_is_written_out(load, run, rng, backwards):
    nodes = [helper.make_node("Add", ["sum", "e"], ["next"]), helper.make_node("Neg", ["next"], ["row"])]
    body = helper.make_graph(
        nodes, "step", [value("sum", [2]), value("e", [2])], [value("next", [2]), value("row", [2])]
    )
    node = helper.make_node(
        "Scan", ["start", "x"], ["y", "z"], name="scan", body=body, num_scan_inputs=1, scan_input_axes=[1],
        scan_input_directions=[backwards], scan_output_directions=[backwards], scan_output_axes=[1],
    )  # fmt: skip
    proto = models.make_model([node], {"start": [2], "x": [2, 4]}, {"y": [2], "z": [2, 4]})
    model = load(proto)
    assert [node.op_type for node in model.graph].count("Gather") == 4
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("start", 2), ("x", (2, 4)))}
    for got, wanted in zip(run(model, feeds), run(proto, feeds), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_names_within_subgraphs(load):
    proto = choosing(True)
    proto.graph.node[0].attribute[0].g.node[0].output[0] = "x"
    proto.graph.node[0].attribute[0].g.output[0].name = "x"
    with pytest.raises(InputError, match="'x' is given to more than one value"):
        load(proto)
    proto = choosing(True)
    proto.graph.node[0].attribute[0].g.node[0].input[0] = "nothing"
    with pytest.raises(InputError, match="'nothing' is read but never produced"):
        load(proto)
