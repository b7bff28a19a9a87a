from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fold_pad_into_max_pool import FoldPadIntoMaxPool


def padded(value, before="Relu", pads=(0, 0, 1, 1, 0, 0, 1, 1)):
    weights = {"pads": np.array(pads), "value": np.float32(value)}
    bounds = {"low": np.float32(0.5), "high": np.float32(6)} if before == "Clip" else {}
    nodes = [
        helper.make_node(before, ["x", *bounds], ["r"]),
        helper.make_node("Pad", ["r", *weights], ["p"]),
        helper.make_node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    out = [1, 2, (6 + pads[2] + pads[6] - 3) // 2 + 1, (6 + pads[3] + pads[7] - 3) // 2 + 1]
    return models.make_model(nodes, {"x": [1, 2, 6, 6]}, {"y": out}, {**weights, **bounds}, opset=21)


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 2, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("before", ["Neg", "Relu"])
def test_minus_infinity(rewrite, x, before):
    assert rewrite(padded(-np.inf, before), FoldPadIntoMaxPool(), x=x) == [before, "MaxPool"]


@pytest.mark.parametrize("before", ["Relu", "Clip", "Sigmoid"])
def test_zero_where_nothing_is_negative(rewrite, x, before):
    assert rewrite(padded(0, before), FoldPadIntoMaxPool(), x=x) == [before, "MaxPool"]


@pytest.mark.parametrize(("value", "before"), [(0, "Neg"), (0, "Tanh"), (0.5, "Relu"), (-1, "Relu")])
def test_values_that_could_win_or_are_not_the_least(rewrite, x, value, before):
    rewrite(padded(value, before), FoldPadIntoMaxPool(), x=x)
    assert rewrite.result.changes == 0


def test_windows_that_hold_padding_only(rewrite, x):
    rewrite(padded(0, "Relu", pads=(0, 0, 3, 3, 0, 0, 3, 3)), FoldPadIntoMaxPool(), x=x)
    assert rewrite.result.changes == 0


def test_uneven_padding(rewrite, x):
    proto = padded(0, "Relu", pads=(0, 0, 0, 1, 0, 0, 2, 1))
    assert rewrite(proto, FoldPadIntoMaxPool(), x=x) == ["Relu", "MaxPool"]
    assert list(rewrite.model.graph[1].attributes["pads"].as_ints()) == [0, 1, 2, 1]
