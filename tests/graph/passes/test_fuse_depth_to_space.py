from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_depth_to_space import FuseDepthToSpace

BOTH = ("DepthToSpace", "SpaceToDepth")
FORMS = {
    "DCR": ((1, 8, 3, 5), (1, 2, 2, 2, 3, 5), (0, 3, 4, 1, 5, 2), (1, 2, 6, 10), "DepthToSpace"),
    "CRD": ((1, 8, 3, 5), (1, 2, 2, 2, 3, 5), (0, 1, 4, 2, 5, 3), (1, 2, 6, 10), "DepthToSpace"),
    "CRD of 3": ((1, 18, 3, 5), (1, 2, 3, 3, 3, 5), (0, 1, 4, 2, 5, 3), (1, 2, 9, 15), "DepthToSpace"),
    "back": ((1, 2, 6, 10), (1, 2, 3, 2, 5, 2), (0, 3, 5, 1, 2, 4), (1, 8, 3, 5), "SpaceToDepth"),
}
OTHERS = {
    "another order": ((1, 8, 3, 5), (1, 2, 2, 2, 3, 5), (0, 3, 4, 2, 5, 1), (1, 2, 6, 10)),
    "a shuffle of channels": ((1, 8, 3, 5), (1, 2, 4, 3, 5), (0, 2, 1, 3, 4), (1, 8, 3, 5)),
    "another shape": ((1, 8, 3, 5), (1, 2, 2, 2, 3, 5), (0, 3, 4, 1, 5, 2), (1, 12, 10)),
}


def proto(before, middle, perm, after):
    nodes = [
        helper.make_node("Reshape", ["x", "a"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=perm),
        helper.make_node("Reshape", ["t", "b"], ["y"]),
    ]
    return models.make_model(nodes, {"x": before}, {"y": after}, {"a": np.array(middle), "b": np.array(after)})


@pytest.mark.parametrize("form", FORMS)
def test_forms(rewrite, rng, form):
    *shapes, op = FORMS[form]
    x = rng.standard_normal(shapes[0]).astype(np.float32)
    assert rewrite(proto(*shapes), FuseDepthToSpace(BOTH), x=x) == [op]
    rewrite(proto(*shapes), FuseDepthToSpace(()), x=x)
    assert rewrite.result.changes == 0


@pytest.mark.parametrize("form", OTHERS)
def test_what_looks_alike_stays(rewrite, rng, form):
    shapes = OTHERS[form]
    rewrite(proto(*shapes), FuseDepthToSpace(BOTH), x=rng.standard_normal(shapes[0]).astype(np.float32))
    assert rewrite.result.changes == 0
