from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_softmax import FuseSoftmax


def proto(*, axis=2, shifted=True, keepdims=1, sum_axis=None, extra=()):
    source, nodes = "x", []
    if shifted:
        nodes = [
            helper.make_node("ReduceMax", ["x", "axis"], ["m"], keepdims=1),
            helper.make_node("Sub", ["x", "m"], ["s"]),
        ]
        source = "s"
    nodes += [
        helper.make_node("Exp", [source], ["e"]),
        helper.make_node("ReduceSum", ["e", "sums"], ["t"], keepdims=keepdims),
        helper.make_node("Div", ["e", "t"], ["y"]),
    ]
    weights = {"axis": np.array([axis]), "sums": np.array([axis if sum_axis is None else sum_axis])}
    if not shifted:
        del weights["axis"]
    return models.make_model(
        nodes, {"x": [1, 4, 4]}, {"y": [1, 4, 4], **{key: [1, 4, 4] for key in extra}}, weights, opset=18
    )


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
@pytest.mark.parametrize("shifted", [True, False])
def test_forms(rewrite, rng, axis, shifted):
    x = rng.standard_normal((1, 4, 4)).astype(np.float32)
    assert rewrite(proto(axis=axis, shifted=shifted), FuseSoftmax(), x=x) == ["Softmax"]
    assert rewrite.model.graph[0].attributes["axis"].as_int() == axis % 3


def test_of_another_shift_that_is_kept(rewrite, rng):
    """The sum runs along another axis than the greatest value: a softmax of the shifted values."""
    x = rng.standard_normal((1, 4, 4)).astype(np.float32)
    assert rewrite(proto(sum_axis=1), FuseSoftmax(), x=x) == ["ReduceMax", "Sub", "Softmax"]


@pytest.mark.parametrize("change", [{"keepdims": 0}, {"extra": ["e"]}])
def test_what_looks_alike_stays(rewrite, rng, change):
    rewrite(proto(**change), FuseSoftmax(), x=rng.standard_normal((1, 4, 4)).astype(np.float32))
    assert rewrite.result.changes == 0


def test_only_where_the_operator_can_be_compiled(rewrite, rng):
    rewrite(proto(), FuseSoftmax({"Exp"}), x=rng.standard_normal((1, 4, 4)).astype(np.float32))
    assert rewrite.result.changes == 0
