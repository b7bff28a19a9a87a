from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fuse_hard_swish import FuseHardSwish

CONSTANTS = {
    "three": np.float32(3),
    "low": np.float32(0),
    "high": np.float32(6),
    "six": np.float32([6]),
    "sixth": np.float32(1 / 6),
}


def chain(*nodes, opset=13, **changed):
    weights = {name: changed.get(name, value) for name, value in CONSTANTS.items()}
    made = [helper.make_node("Neg", ["input"], ["x"]), *(helper.make_node(*node[:3], **node[3]) for node in nodes)]
    used = {name for node in made for name in node.input}
    weights = {name: np.asarray(value) for name, value in weights.items() if name in used}
    return models.make_model(made, {"input": [1, 33]}, {"y": [1, 33]}, weights, opset=opset)


ADD = ("Add", ["x", "three"], ["a"], {})
CLIP = ("Clip", ["a", "low", "high"], ["c"], {})
GATE = ("HardSigmoid", ["x"], ["g"], {"alpha": 1 / 6})
RAMP = np.linspace(-5, 5, 33, dtype=np.float32)[None]


@pytest.mark.parametrize(
    "nodes",
    [
        (GATE, ("Mul", ["x", "g"], ["y"], {})),
        (GATE, ("Mul", ["g", "x"], ["y"], {})),
        (ADD, CLIP, ("Div", ["c", "six"], ["d"], {}), ("Mul", ["x", "d"], ["y"], {})),
        (ADD, CLIP, ("Mul", ["c", "sixth"], ["d"], {}), ("Mul", ["d", "x"], ["y"], {})),
        (("Add", ["three", "x"], ["a"], {}), CLIP, ("Mul", ["sixth", "c"], ["d"], {}), ("Mul", ["d", "x"], ["y"], {})),
    ],
)
def test_forms_that_exporters_write(rewrite, nodes):
    assert rewrite(chain(*nodes), FuseHardSwish(), input=RAMP) == ["Neg", "HardSwish"]
    assert rewrite.result.changes == 1


@pytest.mark.parametrize(
    "nodes",
    [
        (("HardSigmoid", ["x"], ["g"], {"alpha": 0.2}), ("Mul", ["x", "g"], ["y"], {})),
        (("HardSigmoid", ["x"], ["g"], {"alpha": 1 / 6, "beta": 0.4}), ("Mul", ["x", "g"], ["y"], {})),
        (("HardSigmoid", ["input"], ["g"], {"alpha": 1 / 6}), ("Mul", ["x", "g"], ["y"], {})),
        (GATE, ("Mul", ["x", "g"], ["p"], {}), ("Add", ["p", "g"], ["y"], {})),
        (ADD, CLIP, ("Div", ["c", "six"], ["d"], {}), ("Mul", ["input", "d"], ["y"], {})),
    ],
)
def test_other_products_stay(rewrite, nodes):
    rewrite(chain(*nodes), FuseHardSwish(), input=RAMP)
    assert rewrite.result.changes == 0


@pytest.mark.parametrize("changed", [{"three": 2.5}, {"low": -1}, {"high": 5}, {"six": 7}])
def test_other_constants_stay(rewrite, changed):
    arrays = {name: np.float32(value) for name, value in changed.items()}
    nodes = (ADD, CLIP, ("Div", ["c", "six"], ["d"], {}), ("Mul", ["x", "d"], ["y"], {}))
    rewrite(chain(*nodes, **arrays), FuseHardSwish(), input=RAMP)
    assert rewrite.result.changes == 0
