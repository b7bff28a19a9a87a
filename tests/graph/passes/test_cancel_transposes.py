from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.cancel_transposes import CancelTransposes
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.pipeline import run_passes

NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def T(source, result, perm):
    return helper.make_node("Transpose", [source], [result], perm=perm)


def settle(load, run, proto, **feeds):
    """Apply all passes under the verifier, compare bit for bit, and give the ops left."""
    model = load(proto)
    wanted = run(model, feeds)
    run_passes(model, DEFAULT_PASSES, verify=True)
    for got, expected in zip(run(model, feeds), wanted, strict=True):
        np.testing.assert_array_equal(got, expected)
    return [node.op_type for node in model.graph]


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 3, 4, 5)).astype(np.float32)


def test_a_pair_vanishes(rewrite, x):
    nodes = [T("x", "a", NHWC), T("a", "b", NCHW), helper.make_node("Neg", ["b"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]})
    assert rewrite(proto, CancelTransposes(), x=x) == ["Neg"]


def test_a_pair_is_composed(rewrite, x):
    nodes = [T("x", "a", NHWC), T("a", "y", NHWC)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 5, 3, 4]})
    assert rewrite(proto, CancelTransposes(), x=x) == ["Transpose"]
    assert list(rewrite.model.graph[0].attributes["perm"].as_ints()) == [0, 3, 1, 2]


def test_the_order_of_a_composition(rewrite, x):
    nodes = [T("x", "a", [0, 1, 3, 2]), T("a", "y", [0, 2, 3, 1])]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 5, 4, 3]})
    assert rewrite(proto, CancelTransposes(), x=x) == ["Transpose"]
    assert list(rewrite.model.graph[0].attributes["perm"].as_ints()) == [0, 3, 2, 1]


def test_two_operands_transposed_differently_stay(load, run, rng):
    nodes = [T("x", "a", [0, 2, 1]), T("z", "b", [2, 1, 0]), helper.make_node("Add", ["a", "b"], ["c"])]
    nodes.append(T("c", "y", [0, 2, 1]))
    proto = models.make_model(nodes, {"x": [1, 3, 4], "z": [3, 4, 1]}, {"y": [1, 3, 4]})
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1
    proto.graph.input[1].type.tensor_type.shape.dim[2].dim_value = 1
    feeds = {"x": rng.random((1, 3, 4), np.float32), "z": rng.random((1, 4, 1), np.float32)}
    assert settle(load, run, proto, **feeds).count("Add") == 1


def test_one_transpose_undone_twice(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        *(T("a", f"b{i}", NCHW) for i in range(2)),
        helper.make_node("Neg", ["b0"], ["c"]),
        helper.make_node("Add", ["c", "b1"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]})
    assert settle(load, run, proto, x=x) == ["Neg", "Add"]


UNARY = {
    "Relu": ({}, {}),
    "LeakyRelu": ({"alpha": 0.1}, {}),
    "Sigmoid": ({}, {}),
    "Tanh": ({}, {}),
    "HardSigmoid": ({}, {}),
    "HardSwish": ({}, {}),
    "Clip": ({}, {"low": np.float32(0), "high": np.float32(6)}),
    "Add": ({}, {"k": np.arange(3, dtype=np.float32)}),
    "Sub": ({}, {"k": np.float32(0.5)}),
    "Mul": ({}, {"k": np.arange(12, dtype=np.float32).reshape(4, 1, 3)}),
    "Softmax": ({"axis": 3}, {}),
}


@pytest.mark.parametrize("op", UNARY)
def test_through_an_operator(load, run, rewrite, x, op):
    attributes, weights = UNARY[op]
    nodes = [T("x", "a", NHWC), helper.make_node(op, ["a", *weights], ["b"], **attributes), T("b", "y", NCHW)]
    if op == "Mul":
        weights = {"k": np.arange(15, dtype=np.float32).reshape(5, 3)}
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, weights)
    assert settle(load, run, proto, x=x) == [{"Sub": "Add"}.get(op, op)]


def test_through_several(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["k", "b"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["d"]),
        T("d", "y", NCHW),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, {"k": np.float32([1, 2, 3])})
    assert settle(load, run, proto, x=x) == ["Relu", "Add", "Sigmoid"]


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_two_operands_transposed_alike(load, run, x, op):
    nodes = [T("x", "a", NHWC), T("z", "b", NHWC), helper.make_node(op, ["a", "b"], ["c"]), T("c", "y", NCHW)]
    shape = [1, 3, 4, 5]
    proto = models.make_model(nodes, {"x": shape, "z": shape}, {"y": shape})
    assert settle(load, run, proto, x=x, z=x[:, ::-1].copy()) == [op]


def test_the_same_operand_twice(load, run, x):
    nodes = [T("x", "a", NHWC), helper.make_node("Mul", ["a", "a"], ["b"]), T("b", "y", NCHW)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]})
    assert settle(load, run, proto, x=x) == ["Mul"]


def test_operands_of_fewer_axes_transposed_alike_stay(load, run, rng):
    nodes = [T("x", "a", [1, 0]), T("z", "b", [0, 2, 1]), helper.make_node("Add", ["a", "b"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 3], "z": [1, 2, 3]}, {"y": [1, 3, 2]})
    feeds = {"x": rng.random((1, 3), np.float32), "z": rng.random((1, 2, 3), np.float32)}
    assert "Transpose" in settle(load, run, proto, **feeds)


def test_concat(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        T("z", "b", NHWC),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=-1),
        T("c", "y", NCHW),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5], "z": [1, 2, 4, 5]}, {"y": [1, 5, 4, 5]})
    assert settle(load, run, proto, x=x, z=x[:, :2].copy()) == ["Concat"]


def test_quantization_a_tensor_and_a_channel(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"], axis=3),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=-1),
        helper.make_node("QuantizeLinear", ["d", "t", "u"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "t", "u"], ["e"]),
        T("e", "y", NCHW),
    ]
    weights = {
        "s": np.float32([0.01, 0.02, 0.03]),
        "z": np.int8([0, 1, -5]),
        "t": np.float32(0.02),
        "u": np.uint8(128),
    }
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, weights)
    assert settle(load, run, proto, x=x) == ["QuantizeLinear", "DequantizeLinear"] * 2


def test_a_mean_over_the_image_takes_the_transpose_in(rewrite, run, load, x):
    nodes = [T("x", "a", NHWC), helper.make_node("ReduceMean", ["a", "axes"], ["y"], keepdims=0)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3]}, {"axes": np.array([1, -2])}, opset=18)
    model = load(proto)
    wanted = run(model, {"x": x})[0]
    assert CancelTransposes().apply(model).changes == 1
    assert [node.op_type for node in model.graph] == ["ReduceMean"]
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, rtol=1e-6)


def test_a_mean_whose_rest_changes_order_stays(rewrite, x):
    nodes = [T("x", "a", NHWC), helper.make_node("ReduceMean", ["a", "axes"], ["y"], keepdims=0)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 4, 3]}, {"axes": np.array([2])}, opset=18)
    rewrite(proto, CancelTransposes(), x=x)
    assert rewrite.result.changes == 0


def test_a_transpose_that_meets_no_other_stays_where_it_is(rewrite, x):
    nodes = [T("x", "a", NHWC), helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Flatten", ["b"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 60]})
    rewrite(proto, CancelTransposes(), x=x)
    assert rewrite.result.changes == 0


def test_a_transposed_value_that_others_read_is_made_for_them_alone(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("Relu", ["a"], ["b"]),
        T("b", "y", NCHW),
        helper.make_node("Neg", ["a"], ["z"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5], "z": [1, 4, 5, 3]})
    assert sorted(settle(load, run, proto, x=x)) == ["Neg", "Relu", "Transpose"]


def test_an_input_that_is_also_the_output_keeps_both_names(load, run, x):
    nodes = [T("x", "a", NHWC), T("a", "y", NCHW)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]})
    model = load(proto)
    run_passes(model, DEFAULT_PASSES, verify=True)
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
    np.testing.assert_array_equal(run(model, {"x": x})[0], x)


def test_branches_that_join_on_two_transposed_operands(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        T("z", "b", NHWC),
        helper.make_node("Relu", ["a"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        T("d", "y", NCHW),
    ]
    shape = [1, 3, 4, 5]
    proto = models.make_model(nodes, {"x": shape, "z": shape}, {"y": shape})
    assert settle(load, run, proto, x=x, z=x[:, ::-1].copy()) == ["Relu", "Add"]


def test_of_two_branches_the_smaller_number_of_transposes_is_kept(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("Relu", ["a"], ["c"]),
        helper.make_node("Add", ["c", "z"], ["d"]),
        T("d", "y", NCHW),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5], "z": [1, 4, 5, 3]}, {"y": [1, 3, 4, 5]})
    left = settle(load, run, proto, x=x, z=np.arange(60, dtype=np.float32).reshape(1, 4, 5, 3))
    assert sorted(left) == ["Add", "Relu", "Transpose"]


def test_a_mean_behind_an_operator(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["y"], keepdims=0),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3]}, {"axes": np.array([1, 2])}, opset=18)
    model = load(proto)
    wanted = run(model, {"x": x})[0]
    run_passes(model, DEFAULT_PASSES, verify=True)
    assert [node.op_type for node in model.graph] == ["Relu", "GlobalAveragePool", "Flatten"]
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, rtol=1e-6)


AXES = np.array([1, -2])
MOVED = {
    "Erf": ((1, 3, 4, 5), {}, {}),
    "Pad": ((1, 5, 5, 7), {}, {"p": np.array([0, 0, 1, 2, 0, 1, 1, 0])}),
    "Pad edge of some": ((1, 3, 5, 7), {"mode": "edge"}, {"p": np.array([1, 2, 0, 0]), "v": None, "i": AXES}),
    "Slice": ((1, 2, 2, 5), {}, {"s": np.array([1, 0]), "e": np.array([3, 2]), "i": np.array([1, -1])}),
    "Slice of the first axes": ((1, 3, 2, 5), {}, {"s": np.array([0, 1]), "e": np.array([1, 3])}),
    "Concat": ((1, 4, 4, 5), {"axis": 3}, {"k": np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)}),
    "ReduceMean": ((1, 3, 1, 1), {}, {"axes": np.array([1, 2])}),
    "ReduceMax": ((1, 1, 4, 5), {"keepdims": 1}, {"axes": np.array([-1])}),
    "PRelu": ((1, 3, 4, 5), {}, {"k": np.float32([0.1, 0.2, 0.3])}),
    "LogSoftmax": ((1, 3, 4, 5), {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("what", MOVED)
def test_through_an_operator_that_names_axes(load, run, x, what):
    shape, attributes, weights = MOVED[what]
    op = what.split()[0]
    names = ["" if array is None else name for name, array in weights.items()]
    weights = {name: array for name, array in weights.items() if array is not None}
    nodes = [T("x", "a", NHWC), helper.make_node(op, ["a", *names], ["b"], **attributes), T("b", "y", NCHW)]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": shape}, weights, opset=18)
    model = load(proto)
    wanted = run(model, {"x": x})
    run_passes(model, (CancelTransposes(), EliminateDeadNodes()), verify=True)
    assert [node.op_type for node in model.graph] == [op]
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted[0], rtol=1e-6)


def test_split_and_join(load, run, x):
    nodes = [
        T("x", "a", NHWC),
        helper.make_node("Split", ["a", "sizes"], ["b", "c"], axis=-1),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Concat", ["d", "b"], ["e"], axis=3),
        T("e", "y", NCHW),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, {"sizes": np.array([1, 2])})
    assert settle(load, run, proto, x=x) == ["Slice", "Slice", "Relu", "Concat"]


def test_a_residual_network_with_channels_last_between_its_convolutions(load, run, rng):
    """What comes from a format with channels last: every Conv stands between two Transposes."""
    nodes, weights, value = [], {}, "x"
    for index in range(3):
        weights[f"w{index}"] = rng.standard_normal((4, 4, 1, 1)).astype(np.float32)
        nodes += [
            T(value, f"a{index}", NCHW),
            helper.make_node("Conv", [f"a{index}", f"w{index}"], [f"b{index}"]),
            T(f"b{index}", f"c{index}", NHWC),
            helper.make_node("Relu", [f"c{index}"], [f"d{index}"]),
            helper.make_node("Add", [f"d{index}", value], [f"e{index}"]),
        ]
        value = f"e{index}"
    gate = [
        helper.make_node("ReduceMean", [value, "axes"], ["g"], keepdims=1),
        helper.make_node("Sigmoid", ["g"], ["h"]),
        helper.make_node("Mul", [value, "h"], ["y"]),
    ]
    weights["axes"] = np.array([1, 2])
    proto = models.make_model([*nodes, *gate], {"x": [1, 5, 6, 4]}, {"y": [1, 5, 6, 4]}, weights, opset=18)
    x = rng.standard_normal((1, 5, 6, 4)).astype(np.float32)
    model = load(proto)
    wanted = run(model, {"x": x})[0]
    run_passes(model, DEFAULT_PASSES, verify=True)
    perms = [list(node.attributes["perm"].as_ints()) for node in model.graph if node.op_type == "Transpose"]
    assert perms == [NCHW, NHWC]
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)


def test_integers_are_transposed_rather_than_floats(load, run, x):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        T("d", "t", NHWC),
        helper.make_node("MatMul", ["t", "m"], ["u"]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["v"]),
        helper.make_node("Add", ["u", "v"], ["y"]),
    ]
    weights = {"s": np.float32(0.02), "z": np.int8(3), "m": np.eye(3, dtype=np.float32)}
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 4, 5, 3]}, weights)
    left = settle(load, run, proto, x=x)
    assert left[:3] == ["QuantizeLinear", "Transpose", "DequantizeLinear"]


def test_operators_on_both_sides_of_a_transpose_that_undoes_itself(load, run, rng):
    swap = [0, 3, 2, 1]
    nodes = [
        T("x", "a", swap),
        helper.make_node("Relu", ["a"], ["b"]),
        T("b", "c", swap),
        helper.make_node("Neg", ["c"], ["d"]),
        T("d", "e", swap),
        helper.make_node("Abs", ["b"], ["f"]),
        helper.make_node("Sub", ["e", "f"], ["y"]),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 5, 4, 3]})
    x = rng.standard_normal((1, 3, 4, 5)).astype(np.float32)
    settle(load, run, proto, x=x)


def test_a_transpose_between_operators_whose_results_are_outputs(load, run, rng):
    swap = [0, 3, 2, 1]
    nodes = [
        helper.make_node("Concat", ["x", "x"], ["a"], axis=1),
        helper.make_node("Relu", ["a"], ["b"]),
        T("b", "c", swap),
        helper.make_node("Neg", ["c"], ["y"]),
        T("y", "z", swap),
    ]
    proto = models.make_model(nodes, {"x": [1, 2, 4, 4]}, {"y": [1, 4, 4, 4], "z": [1, 4, 4, 4]})
    settle(load, run, proto, x=rng.standard_normal((1, 2, 4, 4)).astype(np.float32))


def test_a_long_chain_takes_no_time(load):
    count = 400
    nodes = [T("x", "t0", NHWC)]
    for index in range(count):
        nodes += [helper.make_node("Relu", [f"t{index}"], [f"r{index}"])]
        nodes += [helper.make_node("Neg", [f"r{index}"], [f"t{index + 1}"])]
    nodes.append(T(f"t{count}", "y", NCHW))
    model = load(models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}))
    assert CancelTransposes().apply(model).changes == 2 * count
    assert "Transpose" not in {node.op_type for node in model.graph}
