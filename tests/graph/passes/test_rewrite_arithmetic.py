"""Sums, means, quotients and powers written as what has an integer form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.rewrite_arithmetic import RewriteArithmetic
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference

SHAPES = {"x": [1, 3, 4], "v": [1, 1, 4]}


def _node(op: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), ["y"], name="node", **attributes)


def _both(
    node: onnx.NodeProto, weights: Mapping[str, np.ndarray], inputs: Sequence[str] = ("x", "v")
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The ops after the pass, and what the graph computes before and after it."""
    proto = models.make_model([node], {name: SHAPES[name] for name in inputs}, {"y": [1, 3, 4]}, weights)
    rng = np.random.default_rng(4)
    feeds = {name: rng.uniform(0.5, 2, SHAPES[name]).astype(np.float32) for name in inputs}
    graph = ir.from_proto(proto)
    run_passes(graph, (InferShapes(),))
    before = Reference(graph).run(feeds)["y"]
    run_passes(graph, (RewriteArithmetic(), InferShapes()), verify=True)
    return [item.op_type for item in graph.graph], before, Reference(graph).run(feeds)["y"]


@pytest.mark.parametrize(
    ("node", "weights", "inputs", "ops"),
    [
        (_node("Sum", "x", "v", "x"), {}, ("x", "v"), ["Add", "Add"]),
        (_node("Sum", "x"), {}, ("x",), ["Identity"]),
        (_node("Mean", "x", "v", "v"), {}, ("x", "v"), ["Add", "Add", "Mul"]),
        (_node("Mean", "x"), {}, ("x",), ["Identity"]),
        (_node("Div", "x", "c"), {"c": np.float32([3, -7, 0.1, 1e6])}, ("x",), ["Mul"]),
        (_node("Pow", "x", "c"), {"c": np.float32(2)}, ("x",), ["Mul"]),
        (_node("Pow", "x", "c"), {"c": np.array([2], np.int64)}, ("x",), ["Mul"]),
        (_node("Pow", "x", "c"), {"c": np.float32(0.5)}, ("x",), ["Sqrt"]),
        (_node("Pow", "x", "c"), {"c": np.float32(-1)}, ("x",), ["Reciprocal"]),
        (_node("Pow", "x", "c"), {"c": np.float32(1)}, ("x",), ["Identity"]),
    ],
)
def test_what_is_written_out(
    node: onnx.NodeProto, weights: dict[str, np.ndarray], inputs: tuple[str, ...], ops: list[str]
) -> None:
    found, before, after = _both(node, weights, inputs)
    assert found == ops
    np.testing.assert_allclose(after, before, rtol=3e-7)


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (_node("Div", "x", "v"), {}),
        (_node("Div", "x", "c"), {"c": np.float32([0, 1, 1, 1])}),  # no reciprocal
        (_node("Div", "x", "c"), {"c": np.float32(3e38)}),  # the reciprocal has few digits
        (_node("Pow", "x", "c"), {"c": np.float32(3)}),
        (_node("Pow", "x", "c"), {"c": np.float32([1, 2, 3, 2])}),
        (_node("Pow", "x", "v"), {}),
    ],
)
def test_what_stays(node: onnx.NodeProto, weights: dict[str, np.ndarray]) -> None:
    inputs = ("x", "v") if "v" in node.input else ("x",)
    with np.errstate(divide="ignore"):
        found, before, after = _both(node, weights, inputs)
    assert found == [node.op_type]
    assert np.array_equal(after, before)
