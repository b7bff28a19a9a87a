from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.rewrite_split_as_slices import RewriteSplitAsSlices


def split(axis, sizes, shape=(1, 8, 5)):
    weights = {"sizes": np.array(list(sizes.values()), np.int64)}
    return [helper.make_node("Split", ["x", "sizes"], list(sizes), axis=axis)], weights, list(shape)


@pytest.mark.parametrize("axis", [1, -2])
def test_every_part_is_a_slice(rewrite, rng, axis):
    nodes, weights, shape = split(axis, {"a": 3, "b": 5})
    proto = models.make_model(nodes, {"x": shape}, {"a": [1, 3, 5], "b": [1, 5, 5]}, weights)
    assert rewrite(proto, RewriteSplitAsSlices(), x=rng.random(shape, np.float32)) == ["Slice", "Slice"]
    assert rewrite.result.changes == 1


def test_what_nothing_reads_is_left_out(rewrite, rng):
    nodes, weights, shape = split(1, {"a": 3, "b": 3, "c": 2})
    nodes.append(helper.make_node("Add", ["a", "a"], ["y"]))
    nodes.append(helper.make_node("Neg", ["c"], ["z"]))
    proto = models.make_model(nodes, {"x": shape}, {"y": [1, 3, 5], "z": [1, 2, 5]}, weights)
    assert rewrite(proto, RewriteSplitAsSlices(), x=rng.random(shape, np.float32)) == ["Slice", "Slice", "Add", "Neg"]


def test_other_nodes_stay(rewrite, rng):
    proto = models.make_model([helper.make_node("Neg", ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, {})
    assert rewrite(proto, RewriteSplitAsSlices(), x=rng.random((1, 4), np.float32)) == ["Neg"]
    assert rewrite.result.changes == 0
