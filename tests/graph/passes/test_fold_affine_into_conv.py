from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fold_affine_into_conv import FoldAffineIntoConv


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def behind(op, constant, weights, *, left=False, layer="Conv", shape=(1, 3, 4, 4), out=(1, 5, 4, 4)):
    operands = ["k", "c"] if left else ["c", "k"]
    nodes = [helper.make_node(layer, ["x", *weights], ["c"]), helper.make_node(op, operands, ["y"])]
    return models.make_model(nodes, {"x": list(shape)}, {"y": list(out)}, {**weights, "k": constant})


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("size", [(1, 5, 1, 1), (5, 1, 1), (1,), ()])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_a_constant_a_channel(rewrite, rng, op, size, left):
    constant = np.asarray(rng.uniform(0.5, 2, size), np.float32)
    weights = {"w": normal(rng, 5, 3, 1, 1), "b": normal(rng, 5)}
    ops = rewrite(behind(op, constant, weights, left=left), FoldAffineIntoConv(), x=normal(rng, 1, 3, 4, 4))
    assert ops == (["Conv", "Div"] if op == "Div" and left else ["Conv"])


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_behind_a_gemm(rewrite, rng, op):
    weights = {"w": normal(rng, 3, 5)}
    proto = behind(op, normal(rng, 5), weights, layer="Gemm", shape=(1, 3), out=(1, 5))
    assert rewrite(proto, FoldAffineIntoConv(), x=normal(rng, 1, 3)) == ["Gemm"]


@pytest.mark.parametrize(
    ("op", "size", "out"),
    [("Add", (1, 5, 4, 4), (1, 5, 4, 4)), ("Mul", (4,), (1, 5, 4, 4)), ("Add", (1, 1, 5, 1, 1), (1, 1, 5, 4, 4))],
)
def test_constants_of_another_shape(rewrite, rng, op, size, out):
    proto = behind(op, normal(rng, *size), {"w": normal(rng, 5, 3, 1, 1)}, out=out)
    rewrite(proto, FoldAffineIntoConv(), x=normal(rng, 1, 3, 4, 4))
    assert rewrite.result.changes == 0


def test_division_by_zero_stays(rewrite, rng):
    proto = behind("Div", np.zeros((5, 1, 1), np.float32), {"w": normal(rng, 5, 3, 1, 1)})
    rewrite(proto, FoldAffineIntoConv(), x=np.abs(normal(rng, 1, 3, 4, 4)) * 0 + 1)
    assert rewrite.result.changes == 0
