from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fold_pad_into_conv import FoldPadIntoConv


def padded(op, widths, out, weights=None, *, value=None, mode="constant", axes=None, **attributes):
    extra = {"pads": np.array(widths)}
    if value is not None or axes is not None:
        extra["value"] = np.float32(value or 0)
    if axes is not None:
        extra["axes"] = np.array(axes)
    nodes = [
        helper.make_node("Pad", ["x", *extra], ["p"], mode=mode),
        helper.make_node(op, ["p", *(weights or {})], ["y"], **attributes),
    ]
    return models.make_model(nodes, {"x": [1, 2, 6, 6]}, {"y": out}, {**extra, **(weights or {})}, opset=21)


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 2, 6, 6)).astype(np.float32)


@pytest.fixture
def kernel(rng):
    return {"w": rng.standard_normal((3, 2, 3, 3)).astype(np.float32)}


def test_into_a_conv(rewrite, x, kernel):
    proto = padded("Conv", [0, 0, 1, 0, 0, 0, 2, 1], [1, 3, 7, 5], kernel)
    assert rewrite(proto, FoldPadIntoConv(), x=x) == ["Conv"]
    assert list(rewrite.model.graph[0].attributes["pads"].as_ints()) == [1, 0, 2, 1]


def test_added_to_the_padding_of_the_conv(rewrite, x, kernel):
    proto = padded("Conv", [1, 0, 0, 1], [1, 3, 3, 4], kernel, axes=[-2, 3], pads=[0, 1, 1, 1], strides=[2, 2])
    assert rewrite(proto, FoldPadIntoConv(), x=x) == ["Conv"]
    assert list(rewrite.model.graph[0].attributes["pads"].as_ints()) == [1, 1, 1, 2]


def test_a_conv_with_valid_padding(rewrite, x, kernel):
    proto = padded("Conv", [0, 0, 1, 1, 0, 0, 1, 1], [1, 3, 6, 6], kernel, auto_pad="VALID")
    assert rewrite(proto, FoldPadIntoConv(), x=x) == ["Conv"]


def test_into_an_average_pool_that_counts_it(rewrite, x):
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    assert rewrite(padded("AveragePool", pads, [1, 2, 6, 6], kernel_shape=[3, 3]), FoldPadIntoConv(), x=x) == [
        "AveragePool"
    ]
    assert rewrite.model.graph[0].attributes["count_include_pad"].as_int() == 1
    counting = padded(
        "AveragePool", [0, 0, 1, 1, 0, 0, 1, 1], [1, 2, 6, 6], kernel_shape=[5, 5], pads=[1] * 4, count_include_pad=1
    )
    assert rewrite(counting, FoldPadIntoConv(), x=x) == ["AveragePool"]


@pytest.mark.parametrize(
    ("pads", "out", "options"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], [1, 3, 6, 6], {"value": 0.5}),
        ([0, 0, 1, 1, 0, 0, 1, 1], [1, 3, 6, 6], {"mode": "reflect"}),
        ([0, 0, 1, 1, 0, 0, -1, 1], [1, 3, 4, 6], {}),
        ([0, 0, 1, 1, 0, 0, 1, 1], [1, 3, 8, 8], {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_what_cannot_be_folded_into_a_conv(rewrite, x, kernel, pads, out, options):
    rewrite(padded("Conv", pads, out, kernel, **options), FoldPadIntoConv(), x=x)
    assert rewrite.result.changes == 0


def test_padded_channels_stay(rewrite, x, rng):
    weights = {"w": rng.standard_normal((3, 3, 3, 3)).astype(np.float32)}
    rewrite(padded("Conv", [0, 1, 0, 0, 0, 0, 0, 0], [1, 3, 4, 4], weights), FoldPadIntoConv(), x=x)
    assert rewrite.result.changes == 0


def test_an_average_pool_that_does_not_count_its_padding(rewrite, x):
    proto = padded("AveragePool", [0, 0, 1, 1, 0, 0, 1, 1], [1, 2, 8, 8], kernel_shape=[3, 3], pads=[1] * 4)
    rewrite(proto, FoldPadIntoConv(), x=x)
    assert rewrite.result.changes == 0


def test_a_pad_that_others_read(rewrite, x, kernel):
    proto = padded("Conv", [0, 0, 1, 1, 0, 0, 1, 1], [1, 3, 6, 6], kernel)
    proto.graph.node.append(helper.make_node("Neg", ["p"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", 1, [1, 2, 8, 8]))
    rewrite(proto, FoldPadIntoConv(), x=x)
    assert rewrite.result.changes == 0
