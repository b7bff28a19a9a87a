from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_mat_mul_add import FuseMatMulAdd
from microlith.graph.patterns import FUSED_NODES


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


@pytest.mark.parametrize("activation", ["Relu", "Neg"])
@pytest.mark.parametrize("row", [np.float32([1, 2, 3]), np.float32([[[1, 2, 3]]])])
def test_a_stack_is_one_matrix_for_lowering(rewrite, rng, row, activation):
    proto = product([1, 2, 4], [1, 2, 3], row)
    proto.graph.node[-1].output[0] = "s"
    proto.graph.node.append(helper.make_node(activation, ["s"], ["y"], "act"))
    found = rewrite(proto, FuseMatMulAdd(stacks=True), x=rng.standard_normal((1, 2, 4)).astype(np.float32))
    assert found == (
        ["Reshape", "Gemm", "Relu", "Reshape"] if activation == "Relu" else ["Reshape", "Gemm", "Reshape", "Neg"]
    )
    gemm = next(node for node in rewrite.model.graph if node.op_type == "Gemm")
    assert len(gemm.meta[FUSED_NODES]) == 2


@pytest.mark.parametrize("row", [np.float32([1]), np.ones((2, 3), np.float32), np.ones((2, 1, 3), np.float32)])
def test_what_is_no_row_of_a_stack_stays(rewrite, rng, row):
    out = list(np.broadcast_shapes((1, 2, 3), row.shape))
    rewrite(product([1, 2, 4], out, row), FuseMatMulAdd(stacks=True), x=rng.random((1, 2, 4), np.float32))
    assert rewrite.result.changes == 0
