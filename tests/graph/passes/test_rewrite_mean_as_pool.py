from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.rewrite_mean_as_pool import RewriteMeanAsPool


def proto(shape, axes, keepdims, out):
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keepdims)
    return models.make_model([node], {"x": shape}, {"y": out}, {"axes": np.array(axes)}, opset=18)


@pytest.mark.parametrize(
    ("shape", "axes", "keepdims", "out", "ops"),
    [
        ((1, 3, 4, 5), [2, 3], 1, (1, 3, 1, 1), ["GlobalAveragePool"]),
        ((1, 3, 4, 5), [-1, 2], 0, (1, 3), ["GlobalAveragePool", "Flatten"]),
        ((1, 3, 7), [2], 0, (1, 3), ["ReduceMean"]),
        ((1, 3, 4, 5), [1, 2], 1, (1, 1, 1, 5), ["ReduceMean"]),
        ((1, 3, 4, 5), [3], 1, (1, 3, 4, 1), ["ReduceMean"]),
        ((1, 3), [1], 1, (1, 1), ["ReduceMean"]),
    ],
)
def test_axes(rewrite, rng, shape, axes, keepdims, out, ops):
    x = rng.standard_normal(shape).astype(np.float32)
    assert rewrite(proto(shape, axes, keepdims, out), RewriteMeanAsPool(), x=x) == ops


def test_a_mean_of_integers_stays(rewrite, rng):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("ReduceMean", ["d", "axes"], ["y"], keepdims=0),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0), "axes": np.array([2, 3])}
    found = models.make_model(nodes, {"x": [1, 3, 4, 5]}, {"y": [1, 3]}, weights, opset=18)
    rewrite(found, RewriteMeanAsPool(), x=rng.standard_normal((1, 3, 4, 5)).astype(np.float32))
    assert rewrite.result.changes == 0
