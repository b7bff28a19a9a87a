from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.rewrite_einsum import RewriteEinsum
from oracles import onnxruntime_run, reference_run


def _einsum(equation: str, *shapes: tuple[int, ...], out: tuple[int, ...]) -> onnx.ModelProto:
    inputs = {f"x{index}": shape for index, shape in enumerate(shapes)}
    node = helper.make_node("Einsum", [*inputs], ["y"], name="einsum", equation=equation)
    return models.make_model([node], inputs, {"y": out})


CASES = {
    "ij,jk->ik": ((3, 4), (4, 5), (3, 5)),
    "bij,bkj->bki": ((2, 3, 4), (2, 5, 4), (2, 5, 3)),
    "i,i->": ((4,), (4,), ()),
    "abc,cd->d": ((2, 3, 4), (4, 5), (5,)),
}


@pytest.mark.parametrize("equation", CASES)
def test_means_the_same(equation: str) -> None:
    *shapes, out = CASES[equation]
    proto = _einsum(equation, *shapes, out=out)
    model = ir.from_proto(proto)
    InferShapes().apply(model)
    assert RewriteEinsum().apply(model).changes == 1
    assert "Einsum" not in [node.op_type for node in model.graph]
    rng = np.random.default_rng(3)
    feeds = {f"x{i}": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)}
    (wanted,) = onnxruntime_run(proto, feeds)
    for found in (onnxruntime_run(ir.to_proto(model), feeds), reference_run(proto, feeds)):
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_diagonal_is_left_alone() -> None:
    model = ir.from_proto(_einsum("ii->i", (3, 3), out=(3,)))
    InferShapes().apply(model)
    assert RewriteEinsum().apply(model).changes == 0
