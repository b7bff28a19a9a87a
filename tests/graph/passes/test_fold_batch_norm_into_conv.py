from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.pass_base import NO_BATCH_NORM
from microlith.graph.passes.fold_batch_norm_into_conv import FoldBatchNormIntoConv


def norm(rng, channels):
    return {
        "gamma": rng.uniform(-1.5, 1.5, channels).astype(np.float32),
        "beta": rng.normal(size=channels).astype(np.float32),
        "mean": rng.normal(size=channels).astype(np.float32),
        "variance": rng.uniform(0.1, 2, channels).astype(np.float32),
    }


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def after(op, shape, out, weights, parameters, **attributes):
    nodes = [
        helper.make_node(op, ["x", *weights], ["c"], **attributes),
        helper.make_node("BatchNormalization", ["c", *parameters], ["y"], epsilon=1e-3),
    ]
    return models.make_model(nodes, {"x": shape}, {"y": out}, {**weights, **parameters})


def before(op, shape, out, weights, parameters, **attributes):
    nodes = [
        helper.make_node("BatchNormalization", ["x", *parameters], ["c"], epsilon=1e-3),
        helper.make_node(op, ["c", *weights], ["y"], **attributes),
    ]
    return models.make_model(nodes, {"x": shape}, {"y": out}, {**weights, **parameters})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("groups", "outputs"), [(1, 5), (4, 4), (2, 6), (4, 8)])
def test_after_a_conv(rewrite, rng, bias, groups, outputs):
    weights = {"w": normal(rng, outputs, 4 // groups, 3, 3)} | ({"b": normal(rng, outputs)} if bias else {})
    out = [1, outputs, 6, 6]
    proto = after("Conv", [1, 4, 6, 6], out, weights, norm(rng, outputs), group=groups, pads=[1] * 4)
    assert rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4, 6, 6)) == ["Conv"]
    assert rewrite.model.graph.outputs[0].name == "y"
    assert NO_BATCH_NORM.violation(rewrite.model) is None


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
@pytest.mark.parametrize("bias", [None, (3,), (1, 3), (1,), (1, 1)])
def test_after_a_gemm(rewrite, rng, attributes, bias):
    weights = {"w": normal(rng, *((3, 4) if "transB" in attributes else (4, 3)))}
    weights |= {} if bias is None else {"b": normal(rng, *bias)}
    proto = after("Gemm", [1, 4], [1, 3], weights, norm(rng, 3), **attributes)
    assert rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4)) == ["Gemm"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("groups", "outputs"), [(1, 5), (4, 4), (2, 6), (4, 8)])
def test_before_a_conv_without_padding(rewrite, rng, bias, groups, outputs):
    weights = {"w": normal(rng, outputs, 4 // groups, 3, 3)} | ({"b": normal(rng, outputs)} if bias else {})
    proto = before("Conv", [1, 4, 6, 6], [1, outputs, 4, 4], weights, norm(rng, 4), group=groups)
    assert rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4, 6, 6)) == ["Conv"]


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
def test_before_a_gemm(rewrite, rng, attributes):
    weights = {"w": normal(rng, *((3, 4) if "transB" in attributes else (4, 3))), "b": normal(rng, 3)}
    proto = before("Gemm", [1, 4], [1, 3], weights, norm(rng, 4), **attributes)
    assert rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4)) == ["Gemm"]


def test_before_a_conv_with_padding_it_stays(rewrite, rng):
    weights = {"w": normal(rng, 5, 4, 3, 3)}
    proto = before("Conv", [1, 4, 6, 6], [1, 5, 6, 6], weights, norm(rng, 4), pads=[1] * 4)
    rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4, 6, 6))
    assert rewrite.result.changes == 0
    assert NO_BATCH_NORM.violation(rewrite.model) is not None


def test_a_conv_that_others_read_stays(rewrite, rng):
    proto = after("Conv", [1, 4, 6, 6], [1, 5, 6, 6], {"w": normal(rng, 5, 4, 1, 1)}, norm(rng, 5))
    proto.graph.node.append(helper.make_node("Relu", ["c"], ["z"]))
    proto.graph.output.append(helper.make_tensor_value_info("z", 1, [1, 5, 6, 6]))
    rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4, 6, 6))
    assert rewrite.result.changes == 0


def test_weights_that_two_convs_share_are_not_changed_for_the_other(rewrite, rng):
    parameters, weights = norm(rng, 4), {"w": normal(rng, 4, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *parameters], ["n"]),
        helper.make_node("Conv", ["n", "w"], ["y"]),
    ]
    shape = [1, 4, 3, 3]
    proto = models.make_model(nodes, {"x": shape}, {"y": shape}, {**weights, **parameters})
    assert rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, *shape)) == ["Conv", "Conv"]


def test_a_weight_that_is_computed_stays(rewrite, rng):
    parameters = norm(rng, 5)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", *parameters], ["y"]),
    ]
    weights = {"q": rng.integers(-9, 9, (5, 4, 1, 1)).astype(np.int8), "s": np.float32(0.1)}
    proto = models.make_model(nodes, {"x": [1, 4, 2, 2]}, {"y": [1, 5, 2, 2]}, {**weights, **parameters})
    rewrite(proto, FoldBatchNormIntoConv(), x=normal(rng, 1, 4, 2, 2))
    assert rewrite.result.changes == 0
