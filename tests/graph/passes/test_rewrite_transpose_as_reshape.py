from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.rewrite_transpose_as_reshape import RewriteTransposeAsReshape
from microlith.graph.pipeline import run_passes


def transpose(shape, perm):
    out = [shape[axis] for axis in perm]
    return models.one_node("Transpose", {"x": shape}, {"y": out}, perm=perm)


@pytest.mark.parametrize(
    ("shape", "perm"),
    [([1, 5, 1, 1], [0, 2, 3, 1]), ([1, 4, 4, 1], [0, 3, 1, 2]), ([1, 1, 3, 4], [1, 0, 2, 3]), ([1, 2, 3], [0, 1, 2])],
)
def test_axes_of_size_one(rewrite, rng, shape, perm):
    assert rewrite(transpose(shape, perm), RewriteTransposeAsReshape(), x=rng.random(shape, np.float32)) == ["Reshape"]


@pytest.mark.parametrize(("shape", "perm"), [([1, 2, 3, 1], [0, 2, 1, 3]), ([1, 3, 2, 2], [0, 2, 3, 1])])
def test_axes_that_move_elements(rewrite, rng, shape, perm):
    rewrite(transpose(shape, perm), RewriteTransposeAsReshape(), x=rng.random(shape, np.float32))
    assert rewrite.result.changes == 0


def test_the_head_of_a_converted_network(load, run, rng):
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[4, 4]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["y"], transB=1),
    ]
    weights = {"shape": np.array([-1, 8]), "w": rng.random((3, 8), np.float32)}
    model = load(models.make_model(nodes, {"x": [1, 8, 4, 4]}, {"y": [1, 3]}, weights))
    x = rng.random((1, 8, 4, 4), np.float32)
    wanted = run(model, {"x": x})[0]
    run_passes(model, DEFAULT_PASSES, verify=True)
    assert [node.op_type for node in model.graph] == ["GlobalAveragePool", "Reshape", "Gemm"]
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, rtol=1e-6)
