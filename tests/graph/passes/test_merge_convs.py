from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.merge_convs import MergeConvs
from microlith.graph.pipeline import run_passes


def normal(*shape):
    return np.random.default_rng(int(np.prod(shape))).normal(0, 0.5, shape).astype(np.float32)


def conv(source, name, result, bias=False, **attributes):
    return helper.make_node("Conv", [source, name, *([f"{name}b"] if bias else [])], [result], **attributes)


# first: weights, attributes; second: weights, attributes; shape of y; whether it pays
ROWS = {
    "pointwise twice": (normal(6, 4, 1, 1), {}, normal(3, 6, 1, 1), {}, (1, 3, 8, 8), True),
    "narrow between wide ones": (normal(2, 4, 1, 1), {}, normal(8, 2, 1, 1), {}, (1, 8, 8, 8), False),
    "a large kernel first": (
        normal(6, 4, 3, 3), {"pads": [1] * 4, "strides": [2, 2]}, normal(5, 6, 1, 1), {}, (1, 5, 4, 4), True,
    ),
    "a large kernel second": (normal(6, 4, 1, 1), {}, normal(5, 6, 3, 3), {"strides": [1, 2]}, (1, 5, 6, 3), True),
    "padding between": (normal(6, 4, 1, 1), {}, normal(5, 6, 3, 3), {"pads": [1] * 4}, (1, 5, 8, 8), None),
    "pointwise with a stride": (normal(6, 4, 3, 3), {}, normal(5, 6, 1, 1), {"strides": [2, 2]}, (1, 5, 3, 3), None),
    "groups": (normal(4, 2, 1, 1), {"group": 2}, normal(3, 4, 1, 1), {}, (1, 3, 8, 8), None),
}  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("what", ROWS)
def test_in_a_row(rewrite, rng, what, bias):
    first, before, second, after, shape, merges = ROWS[what]
    nodes = [conv("x", "v", "t", bias, **before), conv("t", "w", "y", bias, **after)]
    weights = {"v": first, "w": second}
    if bias:
        weights |= {"vb": normal(len(first)), "wb": normal(len(second))}
    proto = models.make_model(nodes, {"x": [1, 4, 8, 8]}, {"y": shape}, weights)
    left = rewrite(proto, MergeConvs(), x=rng.standard_normal((1, 4, 8, 8)).astype(np.float32))
    assert len(left) == (1 if merges else 2)


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemms_in_a_row(rewrite, rng, transposed):
    first, second = normal(5, 9), normal(9, 4)
    weights = {"v": first.T.copy() if transposed[0] else first, "w": second.T.copy() if transposed[1] else second}
    weights |= {"b": normal(9), "c": normal(1, 4)}
    nodes = [
        helper.make_node("Gemm", ["x", "v", "b"], ["t"], transB=transposed[0]),
        helper.make_node("Gemm", ["t", "w", "c"], ["y"], transB=transposed[1]),
    ]
    proto = models.make_model(nodes, {"x": [1, 5]}, {"y": [1, 4]}, weights)
    assert rewrite(proto, MergeConvs(), x=rng.standard_normal((1, 5)).astype(np.float32)) == ["Gemm"]


def test_an_activation_between_stays(rewrite, rng):
    nodes = [conv("x", "v", "t"), helper.make_node("Relu", ["t"], ["u"]), conv("u", "w", "y")]
    weights = {"v": normal(6, 4, 1, 1), "w": normal(3, 6, 1, 1)}
    proto = models.make_model(nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 3, 8, 8]}, weights)
    rewrite(proto, MergeConvs(), x=rng.standard_normal((1, 4, 8, 8)).astype(np.float32))
    assert rewrite.result.changes == 0


def side_by_side(activations, *, pads=(0, 0, 0), order="abc"):
    nodes, weights, names = [], {}, []
    for index, activation in enumerate(activations):
        name = "uvw"[index]
        weights |= {name: normal(2 + index, 4, 1, 1), f"{name}b": normal(2 + index)}
        nodes.append(conv("x", name, f"t{index}", True, pads=[pads[index]] * 4))
        if activation:
            nodes.append(helper.make_node(activation, [f"t{index}"], [f"r{index}"]))
        names.append(f"r{index}" if activation else f"t{index}")
    ordered = [names["abc".index(letter)] for letter in order]
    nodes.append(helper.make_node("Concat", ordered, ["y"], axis=1))
    size = 8 + 2 * pads[0]
    return models.make_model(nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 9, size, size]}, weights)


@pytest.mark.parametrize(
    ("activations", "order", "left"),
    [
        (("", "", ""), "abc", ["Conv"]),
        (("Relu", "Relu", "Relu"), "cab", ["Conv", "Relu"]),
        (("Relu", "Relu", "Sigmoid"), "abc", ["Conv", "Conv", "Relu", "Sigmoid", "Concat"]),
        (("Relu", "Sigmoid", "Relu"), "abc", ["Conv"] * 3 + ["Relu", "Relu", "Sigmoid", "Concat"]),
        (("Relu", "", ""), "bac", ["Conv"] * 3 + ["Relu", "Concat"]),
    ],
)
def test_side_by_side(load, run, rng, activations, order, left):
    model = load(side_by_side(activations, order=order))
    feeds = {"x": rng.standard_normal((1, 4, 8, 8)).astype(np.float32)}
    wanted = run(model, feeds)[0]
    run_passes(model, (MergeConvs(),), verify=True)
    assert sorted(node.op_type for node in model.graph) == sorted(left)
    np.testing.assert_allclose(run(model, feeds)[0], wanted, atol=1e-5)


def test_side_by_side_of_two_geometries_stays(rewrite, rng):
    weights = {"u": normal(2, 4, 1, 1), "v": normal(2, 4, 3, 3)}
    nodes = [
        conv("x", "u", "a"),
        conv("x", "v", "b", pads=[1] * 4),
        helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
    ]
    proto = models.make_model(nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 4, 8, 8]}, weights)
    rewrite(proto, MergeConvs(), x=rng.standard_normal((1, 4, 8, 8)).astype(np.float32))
    assert rewrite.result.changes == 0


def test_side_by_side_that_does_not_meet_stays(rewrite, rng):
    weights = {"u": normal(2, 4, 1, 1), "v": normal(2, 4, 1, 1)}
    nodes = [conv("x", "u", "a"), conv("x", "v", "b"), helper.make_node("Add", ["a", "b"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 2, 8, 8]}, weights)
    rewrite(proto, MergeConvs(), x=rng.standard_normal((1, 4, 8, 8)).astype(np.float32))
    assert rewrite.result.changes == 0
