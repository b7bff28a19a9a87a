from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

import models
from microlith.graph.passes.fuse_normalization import FuseNormalization
from microlith.graph.pipeline import run_passes

ALL = ("InstanceNormalization", "LayerNormalization", "RMSNormalization")


def normal(*shape):
    return np.random.default_rng(int(np.prod(shape))).standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def proto(shape, axes, *, scale=None, bias=None, square="Pow", inverse=False, epsilon=1e-5):
    nodes = [node("ReduceMean", "x axes", "m"), node("Sub", "x m", "d")]
    nodes.append(node("Pow", "d two", "q") if square == "Pow" else node("Mul", "d d", "q"))
    nodes += [node("ReduceMean", "q axes", "v"), node("Add", "v epsilon", "w"), node("Sqrt", "w", "r")]
    if inverse:
        nodes += [node("Reciprocal", "r", "i"), node("Mul", "i d", "n0")]
    else:
        nodes.append(node("Div", "d r", "n0"))
    weights = {"axes": np.array(axes), "two": np.float32(2), "epsilon": np.float32(epsilon)}
    if square != "Pow":
        del weights["two"]
    last = "n0"
    for op, array in (("Mul", scale), ("Add", bias)):
        if array is not None:
            weights[op] = array
            nodes.append(node(op, f"{last} {op}", f"n{op}"))
            last = f"n{op}"
    nodes[-1].output[0] = "y"
    return models.make_model(nodes, {"x": shape}, {"y": shape}, weights, opset=18)


def settle(load, run, model_proto, supported=ALL):
    model = load(model_proto)
    shape = [int(size) for size in model.graph.inputs[0].shape]
    x = normal(*shape) * np.float32(3) + np.float32(1)
    wanted = run(model, {"x": x})[0]
    run_passes(model, (FuseNormalization(supported),), verify=True)
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, atol=2e-5)
    return [item.op_type for item in model.graph]


@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_forms_of_layer_normalization(load, run, square, inverse):
    wide = normal(8)
    found = proto([1, 5, 8], [-1], scale=wide, bias=wide + 1, square=square, inverse=inverse)
    assert settle(load, run, found) == ["LayerNormalization"]


LAYER = {
    "without parameters": ([1, 5, 8], [2], None, None),
    "scale alone": ([1, 5, 8], [2], normal(8), None),
    "bias alone": ([1, 5, 8], [2], None, normal(1, 8)),
    "two axes": ([1, 5, 4, 3], [-2, -1], normal(4, 3), normal(3)),
    "the last of four axes": ([1, 5, 4, 3], [3], normal(3), normal(3)),
    "one number": ([1, 5, 8], [2], normal(1), normal(1)),
}


@pytest.mark.parametrize("what", LAYER)
def test_layer_normalization(load, run, what):
    shape, axes, scale, bias = LAYER[what]
    assert settle(load, run, proto(shape, axes, scale=scale, bias=bias)) == ["LayerNormalization"]


INSTANCE = {
    "without parameters": ([1, 5, 4, 3], [2, 3], None, None),
    "scale and bias a channel": ([1, 5, 4, 3], [-1, -2], normal(1, 5, 1, 1), normal(5, 1, 1)),
    "a sequence": ([1, 5, 8], [2], normal(5, 1), normal(5, 1)),
}


@pytest.mark.parametrize("what", INSTANCE)
def test_instance_normalization(load, run, what):
    shape, axes, scale, bias = INSTANCE[what]
    assert settle(load, run, proto(shape, axes, scale=scale, bias=bias)) == ["InstanceNormalization"]


def rms_proto(*, opset, bias=None):
    nodes = [node("Mul", "x x", "q"), node("ReduceMean", "q axes", "v"), node("Add", "v epsilon", "w")]
    nodes += [node("Sqrt", "w", "r"), node("Reciprocal", "r", "i"), node("Mul", "x i", "n"), node("Mul", "n k", "y")]
    weights = {"axes": np.array([-1]), "epsilon": np.float32(1e-5), "k": normal(8)}
    if bias is not None:
        nodes[-1].output[0] = "s"
        nodes.append(node("Add", "s b", "y"))
        weights["b"] = bias
    return models.make_model(nodes, {"x": [1, 5, 8]}, {"y": [1, 5, 8]}, weights, opset=opset)


@pytest.mark.parametrize("bias", [None, normal(8)])
def test_root_mean_square(bias):
    """By the definition of the operator: the loader's opset need not have it."""
    proto = rms_proto(opset=23, bias=bias)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    x = normal(1, 5, 8) * np.float32(3)
    wanted = ReferenceEvaluator(proto).run(None, {"x": x})[0]
    run_passes(model, (FuseNormalization(("RMSNormalization",)),))
    assert [item.op_type for item in model.graph] == ["RMSNormalization"] + ["Add"] * (bias is not None)
    np.testing.assert_allclose(ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})[0], wanted, atol=2e-5)


def test_root_mean_square_in_an_opset_without_it():
    model = ir.from_proto(onnx.shape_inference.infer_shapes(rms_proto(opset=21), data_prop=True))
    assert FuseNormalization(("RMSNormalization",)).apply(model).changes == 0


def test_a_constant_along_another_axis_stays(load, run):
    found = proto([1, 5, 8], [2], scale=normal(5, 1), bias=normal(8))
    assert settle(load, run, found, ("LayerNormalization",)) == ["LayerNormalization", "Mul", "Add"]


def test_axes_that_are_not_last_stay(load, run):
    assert len(settle(load, run, proto([1, 5, 4, 3], [1]))) == 7


def test_only_where_the_operators_can_be_compiled(load, run):
    assert len(settle(load, run, proto([1, 5, 8], [2]), ())) == 7


def test_the_variance_of_something_else_stays(load, run):
    found = proto([1, 5, 8], [2])
    found.graph.node[2].input[0] = "x"
    assert len(settle(load, run, found)) == 7
