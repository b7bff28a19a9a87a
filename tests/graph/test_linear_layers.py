"""Affine maps on either side of every kind of layer, by the two passes that find them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.fold_affine_into_conv import FoldAffineIntoConv
from microlith.graph.passes.fold_batch_norm_into_conv import FoldBatchNormIntoConv


def normal(*shape):
    return np.random.default_rng(int(np.prod(shape))).standard_normal(shape).astype(np.float32)


# op, attributes, shape of x, shape of y, weights, output channels
LAYERS = {
    "Conv": ({}, (1, 4, 5, 5), (1, 6, 3, 3), normal(6, 4, 3, 3)),
    "Conv grouped": ({"group": 2}, (1, 4, 5, 5), (1, 6, 3, 3), normal(6, 2, 3, 3)),
    "Conv padded": ({"pads": [1] * 4}, (1, 4, 5, 5), (1, 6, 5, 5), normal(6, 4, 3, 3)),
    "ConvTranspose": ({"strides": [2, 2]}, (1, 4, 3, 3), (1, 6, 7, 7), normal(4, 6, 3, 3)),
    "ConvTranspose grouped": ({"group": 2, "pads": [1] * 4}, (1, 4, 3, 3), (1, 6, 3, 3), normal(4, 3, 3, 3)),
    "Gemm": ({"alpha": 0.5, "beta": 2.0}, (1, 4), (1, 6), normal(4, 6)),
    "Gemm transposed": ({"transB": 1}, (1, 4), (1, 6), normal(6, 4)),
}
TAKES_OFFSET = {"Conv", "Conv grouped", "Gemm", "Gemm transposed"}
CASES = [(layer, op, where) for layer in LAYERS for op in ("Mul", "Add", "Norm") for where in ("before", "after")]


def affine(op, source, result, shape, weights):
    wide = (shape[1], *(1,) * (len(shape) - 2))
    if op == "Norm":
        for index, name in enumerate("gbm"):
            weights[f"n{name}"] = normal(shape[1] + index)[: shape[1]]
        weights["nv"] = np.abs(normal(shape[1])) + np.float32(0.5)
        return helper.make_node("BatchNormalization", [source, "ng", "nb", "nm", "nv"], [result])
    weights["k"] = normal(*wide) if len(shape) > 2 else normal(1, shape[1])
    return helper.make_node(op, [source, "k"], [result])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layer", "op", "where"), CASES)
def test_either_side(rewrite, rng, layer, op, where, bias):
    attributes, before, after, array = LAYERS[layer]
    weights = {"w": array} | ({"c": normal(after[1])} if bias else {})
    inputs = ["w", "c"] if bias else ["w"]
    kind = layer.split()[0]
    if where == "before":
        nodes = [affine(op, "x", "t", before, weights), helper.make_node(kind, ["t", *inputs], ["y"], **attributes)]
    else:
        nodes = [helper.make_node(kind, ["x", *inputs], ["t"], **attributes), affine(op, "t", "y", after, weights)]
    proto = models.make_model(nodes, {"x": before}, {"y": after}, weights)
    item = FoldBatchNormIntoConv() if op == "Norm" else FoldAffineIntoConv()
    left = rewrite(proto, item, x=rng.standard_normal(before).astype(np.float32))
    folds = where == "after" or op == "Mul" or layer in TAKES_OFFSET
    assert left == ([kind] if folds else [node.op_type for node in nodes])


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize(("op", "folds"), [("Mul", True), ("Add", False)])
def test_a_product_of_matrices_has_its_channels_last(rewrite, rng, op, folds, where):
    if where == "before":
        nodes = [helper.make_node(op, ["x", "k"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    else:
        nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node(op, ["k", "t"], ["y"])]
    weights = {"w": normal(4, 6), "k": normal(4 if where == "before" else 6)}
    proto = models.make_model(nodes, {"x": [1, 5, 4]}, {"y": [1, 5, 6]}, weights)
    left = rewrite(proto, FoldAffineIntoConv(), x=rng.standard_normal((1, 5, 4)).astype(np.float32))
    assert len(left) == (1 if folds else 2)


def test_a_constant_along_rows_is_none_along_channels(rewrite, rng):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Mul", ["t", "k"], ["y"])]
    weights = {"w": normal(4, 6), "k": normal(5, 1)}
    proto = models.make_model(nodes, {"x": [1, 5, 4]}, {"y": [1, 5, 6]}, weights)
    assert len(rewrite(proto, FoldAffineIntoConv(), x=rng.standard_normal((1, 5, 4)).astype(np.float32))) == 2


@pytest.mark.parametrize("op", ["Mul", "Div"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_weights_that_would_overflow_stay(load, op, where):
    weights = {"w": np.full((4, 6), 1e20, np.float32), "k": np.float32([1e30 if op == "Mul" else 1e-30])}
    affine, layer = (op, ["x", "k"], ["t"]), ("Gemm", ["t", "w"], ["y"])
    if where == "after":
        affine, layer = (op, ["t", "k"], ["y"]), ("Gemm", ["x", "w"], ["t"])
    nodes = [helper.make_node(*item) for item in ((affine, layer) if where == "before" else (layer, affine))]
    model = load(models.make_model(nodes, {"x": [1, 4]}, {"y": [1, 6]}, weights))
    assert FoldAffineIntoConv().apply(model).changes == 0
    assert len(model.graph) == 2
