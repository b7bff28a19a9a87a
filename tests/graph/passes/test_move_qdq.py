from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from microlith.graph.passes.move_qdq import MoveQdq

S, Z, Z8 = np.float32(0.02), np.int8(3), np.uint8(128)
WEIGHTS = {"s": S, "z": Z}


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 3, 4, 5)).astype(np.float32)


FRONT = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]
MOVES = {
    "Transpose": ((1, 4, 5, 3), {"perm": [0, 2, 3, 1]}, {}),
    "Reshape": ((1, 60), {}, {"k": np.array([1, -1])}),
    "Flatten": ((1, 60), {}, {}),
    "Slice": ((1, 2, 4, 5), {}, {"k": np.array([1]), "e": np.array([3]), "a": np.array([1])}),
    "Unsqueeze": ((1, 1, 3, 4, 5), {}, {"k": np.array([1])}),
}


@pytest.mark.parametrize("op", MOVES)
def test_a_dequantization_moves_down(rewrite, x, op):
    shape, attributes, weights = MOVES[op]
    nodes = [*FRONT, node(op, " ".join(["d", *weights]), "m", **attributes), node("Relu", "m", "y")]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": shape}, WEIGHTS | weights)
    assert rewrite(proto, MoveQdq(), x=x) == ["QuantizeLinear", op, "DequantizeLinear", "Relu"]


@pytest.mark.parametrize("op", MOVES)
def test_a_quantization_moves_up(rewrite, x, op):
    shape, attributes, weights = MOVES[op]
    nodes = [node("Relu", "x", "r"), node(op, " ".join(["r", *weights]), "m", **attributes)]
    nodes += [node("QuantizeLinear", "m s z", "q"), node("DequantizeLinear", "q s z", "y")]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": shape}, WEIGHTS | weights)
    assert rewrite(proto, MoveQdq(), x=x) == ["Relu", "QuantizeLinear", op, "DequantizeLinear"]


def test_a_dequantized_tensor_that_others_read_stays_for_them(rewrite, x):
    nodes = [*FRONT, node("Flatten", "d", "m"), node("Neg", "m", "y"), node("Neg", "d", "z2")]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 60], "z2": [1, 3, 4, 5]}, WEIGHTS)
    left = rewrite(proto, MoveQdq(), x=x)
    assert sorted(left) == sorted(["QuantizeLinear", "Flatten", *["DequantizeLinear", "Neg"] * 2])


def test_movement_between_both_is_integer_already(rewrite, x):
    nodes = [
        *FRONT,
        node("Flatten", "d", "m"),
        node("QuantizeLinear", "m s2 z", "p"),
        node("DequantizeLinear", "p s2 z", "y"),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 60]}, {**WEIGHTS, "s2": np.float32(0.03)})
    rewrite(proto, MoveQdq(), x=x)
    assert rewrite.result.changes == 0


def test_scales_a_channel_stay(rewrite, x):
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node("Flatten", "d", "y")]
    weights = {"s": np.float32([0.01, 0.02, 0.03]), "z": np.int8([0, 1, 2])}
    rewrite(models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 60]}, weights), MoveQdq(), x=x)
    assert rewrite.result.changes == 0


@pytest.mark.parametrize("equal", [True, False])
def test_a_pair_of_equal_parameters_cancels(rewrite, x, equal):
    nodes = [*FRONT, node("QuantizeLinear", "d s2 z2", "p"), node("DequantizeLinear", "p s2 z2", "y")]
    weights = {**WEIGHTS, "s2": S.copy(), "z2": Z if equal else np.int8(4)}
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, weights)
    assert len(rewrite(proto, MoveQdq(), x=x)) == (2 if equal else 4)


def test_a_pair_of_two_types_stays(rewrite, x):
    nodes = [*FRONT, node("QuantizeLinear", "d s u", "p"), node("DequantizeLinear", "p s u", "y")]
    proto = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, {**WEIGHTS, "u": Z8})
    assert len(rewrite(proto, MoveQdq(), x=x)) == 4


def test_every_integer_comes_back():
    """The claim of the docstring, for scales that are no powers of two."""
    every = np.arange(-128, 128, dtype=np.int8)
    for scale in np.float32([1e-7, 0.02, 1 / 3, 0.1, 7.77, 1e9]):
        for zero in np.int8([-128, -3, 0, 127]):
            real = (every.astype(np.int32) - int(zero)).astype(np.float32) * scale
            back = np.clip(np.rint(real / scale) + int(zero), -128, 127)
            np.testing.assert_array_equal(back, every)


def test_an_output_keeps_its_name(load, run, apply, x):
    graph = helper.make_graph(
        [node("Relu", "x", "r"), node("Flatten", "r", "m"), node("QuantizeLinear", "m s z", "y")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [1, 60])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in WEIGHTS.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    model = load(proto)
    wanted = run(model, {"x": x})
    apply(model, MoveQdq())
    assert [item.op_type for item in model.graph] == ["Relu", "QuantizeLinear", "Flatten"]
    assert model.graph.outputs[0].name == "y"
    np.testing.assert_array_equal(run(model, {"x": x})[0], wanted[0])
