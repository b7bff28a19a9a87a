from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.rewrite_gemm import RewriteGemm
from oracles import onnxruntime_run

RNG = np.random.default_rng(5)


def _w(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _gemm(
    inputs: Mapping[str, tuple[int, ...]], weights: Mapping[str, np.ndarray], **attributes: object
) -> onnx.ModelProto:
    node = helper.make_node("Gemm", [*inputs, *weights], ["y"], name="gemm", **attributes)
    return models.make_model([node], inputs, {"y": (3, 5)}, weights)


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


CASES = {
    "alpha": (_gemm({"a": (3, 4)}, {"b": _w(4, 5)}, alpha=0.5), ["Gemm"]),
    "beta": (_gemm({"a": (3, 4)}, {"b": _w(5, 4), "c": _w(5)}, transB=1, beta=3.0), ["Gemm"]),
    "transposed": (_gemm({"a": (4, 3)}, {"b": _w(4, 5), "c": _w()}, transA=1), ["Transpose", "Gemm"]),
    "column": (_gemm({"a": (3, 4)}, {"b": _w(5, 4), "c": _w(3, 1)}, transB=1), ["MatMul", "Add"]),
    "product": (_gemm({"a": (3, 4), "b": (4, 5)}, {}), ["MatMul"]),
    "factor": (_gemm({"a": (3, 4), "b": (4, 5)}, {}, alpha=2.0), ["MatMul", "Mul"]),
    "all": (
        _gemm({"a": (4, 3), "b": (5, 4), "c": (5,)}, {}, transA=1, transB=1, alpha=0.5, beta=2.0),
        ["Transpose", "Transpose", "MatMul", "Mul", "Mul", "Add"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_means_the_same(name: str) -> None:
    proto, ops = CASES[name]
    model = ir.from_proto(proto)
    InferShapes().apply(model)
    assert RewriteGemm().apply(model).changes == 1
    assert _ops(model) == ops
    assert RewriteGemm().apply(model).changes == 0
    feeds = {value.name: _w(*value.shape.numpy()) for value in model.graph.inputs}
    (before,), (after,) = onnxruntime_run(proto, feeds), onnxruntime_run(ir.to_proto(model), feeds)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


def test_a_layer_is_left_alone() -> None:
    model = ir.from_proto(_gemm({"a": (3, 4)}, {"b": _w(5, 4), "c": _w(1, 5)}, transB=1))
    InferShapes().apply(model)
    assert RewriteGemm().apply(model).changes == 0


def test_operands_of_a_quantized_gemm_are_left_alone() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["b"], name="dequantize"),
        helper.make_node("Gemm", ["a", "b"], ["y"], name="gemm", alpha=0.5),
    ]
    weights = {"q": np.ones((4, 5), np.uint8), "s": np.float32(0.1)}
    model = ir.from_proto(models.make_model(nodes, {"a": (3, 4)}, {"y": (3, 5)}, weights))
    InferShapes().apply(model)
    assert RewriteGemm().apply(model).changes == 0
