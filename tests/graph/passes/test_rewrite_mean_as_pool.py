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


@pytest.mark.parametrize(
    ("attributes", "out", "op"),
    [
        ({"kernel_shape": [4, 5]}, (1, 3, 1, 1), "GlobalAveragePool"),
        ({"kernel_shape": [4, 5], "strides": [4, 5]}, (1, 3, 1, 1), "GlobalAveragePool"),
        ({"kernel_shape": [4, 4], "strides": [2, 2]}, (1, 3, 1, 1), "AveragePool"),
        ({"kernel_shape": [4, 5], "pads": [1, 0, 0, 0], "strides": [2, 1]}, (1, 3, 1, 1), "AveragePool"),
        ({"kernel_shape": [2, 2]}, (1, 3, 3, 4), "AveragePool"),
    ],
)
def test_windows_over_a_whole_image(rewrite, rng, attributes, out, op):
    pool = models.one_node("AveragePool", {"x": (1, 3, 4, 5)}, {"y": out}, **attributes)
    assert rewrite(pool, RewriteMeanAsPool(), x=rng.standard_normal((1, 3, 4, 5)).astype(np.float32)) == [op]


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
