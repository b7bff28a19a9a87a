from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import models
from microlith.graph.load import load_bytes
from microlith.graph.passes.fold_transpose_into_gemm import FoldTransposeIntoGemm
from microlith.graph.pipeline import run_passes


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], output, **attributes)


def weights(rows, columns):
    return np.linspace(-1, 1, rows * columns, dtype=np.float32).reshape(rows, columns)


def before(shape, perm, layer="Gemm", *, turned=False, columns=3):
    size = math.prod(shape[1:])
    first = [node("Transpose", "x", "t", perm=perm), node("Flatten", "t", "f")]
    if layer == "MatMul":
        nodes, constants = [*first, node("MatMul", "f w", "y")], {"w": weights(size, columns)}
    else:
        matrix = weights(columns, size) if turned else weights(size, columns)
        nodes = [*first, node("Gemm", "f w b", "y", transB=int(turned))]
        constants = {"w": matrix, "b": np.arange(columns, dtype=np.float32)}
    return models.make_model(nodes, {"x": shape}, {"y": [shape[0], columns]}, constants)


def behind(shape, perm, *, turned=False, bias=True):
    size = math.prod(shape[1:])
    inputs = "x w b" if bias else "x w"
    nodes = [
        node("Gemm", inputs, "g", transB=int(turned)),
        node("Reshape", "g shape", "r"),
        node("Transpose", "r", "y", perm=perm),
    ]
    constants = {"w": weights(size, 4) if turned else weights(4, size), "shape": np.array(shape)}
    if bias:
        constants["b"] = np.arange(size, dtype=np.float32)
    return models.make_model(nodes, {"x": [shape[0], 4]}, {"y": [shape[axis] for axis in perm]}, constants)


@pytest.mark.parametrize(("layer", "turned"), [("Gemm", False), ("Gemm", True), ("MatMul", False)])
def test_before_a_layer(rewrite, rng, layer, turned):
    proto = before([2, 3, 4, 5], [0, 2, 3, 1], layer, turned=turned)
    assert rewrite(proto, FoldTransposeIntoGemm(), x=rng.random((2, 3, 4, 5), np.float32)) == ["Reshape", layer]


@pytest.mark.parametrize(("turned", "bias"), [(False, True), (True, True), (True, False)])
def test_behind_a_layer(rewrite, rng, turned, bias):
    proto = behind([2, 3, 4, 5], [0, 3, 1, 2], turned=turned, bias=bias)
    assert rewrite(proto, FoldTransposeIntoGemm(), x=rng.random((2, 4), np.float32)) == ["Gemm", "Reshape"]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), data=st.data(), side=st.sampled_from((before, behind))
)
def test_random_orders(sizes, data, side):
    perm = [0, *data.draw(st.permutations(range(1, len(sizes) + 1)))]
    model = load_bytes(side([2, *sizes], perm).SerializeToString(), "model.onnx")
    (value,) = model.graph.inputs
    x = {"x": np.random.default_rng(1).standard_normal(value.shape.numpy()).astype(np.float32)}
    (wanted,) = compiled.reference(model, x)
    run_passes(model, (FoldTransposeIntoGemm(),), verify=True)
    assert "Transpose" not in [item.op_type for item in model.graph]
    np.testing.assert_allclose(compiled.reference(model, x)[0], wanted, rtol=1e-5, atol=1e-5)


def test_an_order_that_moves_the_batch_stays(rewrite, rng):
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Flatten", "t", "f"), node("MatMul", "f w", "y")]
    proto = models.make_model(nodes, {"x": [2, 3, 4]}, {"y": [3, 5]}, {"w": weights(8, 5)})
    rewrite(proto, FoldTransposeIntoGemm(), x=rng.random((2, 3, 4), np.float32))
    assert rewrite.result.changes == 0


def test_a_row_of_one_axis_stays(rewrite, rng):
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Reshape", "t s", "f"), node("MatMul", "f w", "y")]
    proto = models.make_model(nodes, {"x": [2, 3, 4]}, {"y": [8, 5]}, {"w": weights(3, 5), "s": np.array([8, 3])})
    rewrite(proto, FoldTransposeIntoGemm(), x=rng.random((2, 3, 4), np.float32))
    assert rewrite.result.changes == 0


def test_what_others_read_stays(rewrite, rng):
    proto = before([2, 3, 4, 5], [0, 2, 3, 1])
    proto.graph.output.append(helper.make_tensor_value_info("t", 1, [2, 4, 5, 3]))
    rewrite(proto, FoldTransposeIntoGemm(), x=rng.random((2, 3, 4, 5), np.float32))
    assert rewrite.result.changes == 0
