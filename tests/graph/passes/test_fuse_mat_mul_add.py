from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_mat_mul_add import FuseMatMulAdd


def product(shape, out, row, *, left=False):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["b", "m"] if left else ["m", "b"], ["y"]),
    ]
    weights = {"w": np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), "b": row}
    return models.make_model(nodes, {"x": shape}, {"y": out}, weights)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("row", [np.float32([1, 2, 3]), np.float32([[1, 2, 3]])])
def test_a_row_becomes_the_bias(rewrite, rng, row, left):
    proto = product([1, 4], [1, 3], row, left=left)
    assert rewrite(proto, FuseMatMulAdd(), x=rng.random((1, 4), np.float32)) == ["Gemm"]


@pytest.mark.parametrize(
    ("shape", "out", "row"),
    [
        ([1, 2, 4], [1, 2, 3], np.float32([1, 2, 3])),
        ([1, 4], [1, 3], np.float32([1])),
        ([1, 4], [2, 3], np.ones((2, 3), np.float32)),
    ],
)
def test_what_is_no_row_of_a_matrix_stays(rewrite, rng, shape, out, row):
    rewrite(product(shape, out, row), FuseMatMulAdd(), x=rng.random(shape, np.float32))
    assert rewrite.result.changes == 0


def test_two_computed_operands_stay(rewrite, rng):
    nodes = [helper.make_node("MatMul", ["x", "x"], ["m"]), helper.make_node("Add", ["m", "x"], ["y"])]
    proto = models.make_model(nodes, {"x": [1, 1]}, {"y": [1, 1]})
    rewrite(proto, FuseMatMulAdd(), x=rng.random((1, 1), np.float32))
    assert rewrite.result.changes == 0


def test_a_product_that_others_read_stays(rewrite, rng):
    proto = product([1, 4], [1, 3], np.float32([1, 2, 3]))
    proto.graph.node.append(helper.make_node("Neg", ["m"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", 1, [1, 3]))
    rewrite(proto, FuseMatMulAdd(), x=rng.random((1, 4), np.float32))
    assert rewrite.result.changes == 0
