from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.core.errors import InputError, VerificationError
from microlith.graph.values import add_initializer
from microlith.graph.verifier import verify


@pytest.fixture
def model(load):
    return load(models.tiny_cnn())


@pytest.fixture
def quantized(load):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize", axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize", axis=1),
    ]
    weights = {"s": np.float32([0.5, 0.25]), "z": np.int8([0, 3])}
    return load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, weights))


def refused(model, message):
    with pytest.raises(VerificationError, match=message):
        verify(model)


def test_a_loaded_model_is_legal(model, quantized):
    verify(model)
    verify(quantized)


def test_two_values_of_one_name(model):
    model.graph[2].outputs[0].name = "pool"
    refused(model, "more than one value is called 'pool'")


def test_values_and_nodes_without_a_name(model):
    model.graph[2].name = None
    refused(model, "called None, expected unique names")
    model.graph[2].name = "pool"
    refused(model, r"2 node\(s\) of the graph are called 'pool'")
    model.graph[2].outputs[0].name = None
    refused(model, "has no name")


def test_a_value_read_before_it_is_produced(model):
    node = model.graph[2]
    model.graph.remove(node)
    model.graph.append(node)
    refused(model, r"'stem.relu' is read before it is produced \(node 'pool'")


def test_a_value_that_nothing_produces(model):
    model.graph[2].replace_input_with(0, ir.Value(name="loose"))
    refused(model, "'loose' is read before it is produced")


@pytest.mark.parametrize("change", ["type", "shape"])
def test_a_constant_that_is_not_what_it_says(model, change):
    value = model.graph.initializers["fc.bias"]
    if change == "type":
        value.type = ir.TensorType(ir.DataType.INT32)
    else:
        value.shape = ir.Shape([7])
    refused(model, "the constant 'fc.bias' is FLOAT")


def test_a_constant_without_data(model):
    model.graph.initializers["fc.bias"].const_value = None
    refused(model, "'fc.bias' has no data")


def test_types_and_shapes_that_inference_does_not_give(model):
    value = model.graph[2].outputs[0]
    value.shape = ir.Shape([1, 4, 8, 9])
    refused(model, r"'stem.relu' says FLOAT \[1,4,8,9\], inference gives FLOAT \(1, 4, 8, 8\)")
    value.shape = None
    refused(model, "'stem.relu' says FLOAT None")
    value.shape, value.type = ir.Shape([1, 4, 8, 8]), ir.TensorType(ir.DataType.INT8)
    refused(model, "'stem.relu' says INT8")


def test_an_input_without_a_known_shape(model):
    model.graph.inputs[0].shape = ir.Shape([1, 3, "height", 8])
    refused(model, "graph input 'image' has no known type or shape")


def test_operators_that_contradict_each_other(model):
    model.graph[8].replace_input_with(0, model.graph.inputs[0])
    assert model.graph[8].op_type == "Relu"
    model.graph[7].replace_input_with(0, model.graph.inputs[0])
    refused(model, "do not fit together|does not fit")


def test_weights_of_another_number_of_channels(model):
    conv = model.graph[0]
    conv.replace_input_with(1, add_initializer(model.graph, "w", np.ones((4, 2, 3, 3), np.float32)))
    refused(model, r"'w' has shape \(4, 2, 3, 3\), which does not fit .*'stem.conv' \(Conv\)")


def test_outputs(model):
    graph = model.graph
    output = graph.outputs[0]
    graph.outputs.append(output)
    refused(model, "listed twice")
    graph.outputs.clear()
    refused(model, "has no output")
    graph.outputs.append(graph.inputs[0])
    refused(model, "'image' is not produced by a node")


@pytest.mark.parametrize("scale", [0.0, -0.5, np.nan, np.inf])
def test_scales(quantized, scale):
    array = np.float32([0.5, scale])
    quantized.graph[0].replace_input_with(1, add_initializer(quantized.graph, "t", array))
    refused(quantized, r"scale is not a positive finite number \(node 'quantize'")


def test_scales_that_do_not_fit_the_axis(quantized):
    graph = quantized.graph
    for index, array in ((1, np.ones(3, np.float32)), (2, np.zeros(3, np.int8))):
        graph[1].replace_input_with(index, add_initializer(graph, "p", array))
    refused(quantized, r"3 scales on axis 1 do not fit the shape \(1, 2\)|do not fit together")


def test_a_scale_that_is_computed(quantized):
    graph = quantized.graph
    graph.inputs.append(ir.Value(name="s2", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2])))
    graph[0].replace_input_with(1, graph.inputs[1])
    refused(quantized, "scale is not a constant")


def test_zero_points(quantized):
    graph = quantized.graph
    graph[1].replace_input_with(2, add_initializer(graph, "u", np.uint8([0, 3])))
    refused(quantized, "zero point is UINT8 and the integers INT8|do not fit together")
    graph[1].replace_input_with(2, add_initializer(graph, "v", np.int8([0])))
    refused(quantized, "zero point is not a constant of the scale's shape|do not fit together")


def test_blocked_quantization(quantized):
    quantized.graph[0].attributes.add(ir.AttrInt64("block_size", 2))
    refused(quantized, "blocked quantization")


def test_a_file_with_bad_quantization_is_the_users_error(load):
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize")]
    nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]))
    weights = {"s": np.float32(0), "z": np.int8(0)}
    with pytest.raises(InputError, match="scale is not a positive finite number"):
        load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, weights))


def test_a_constant_among_the_inputs(model):
    model.graph.inputs.append(model.graph.initializers["fc.bias"])
    refused(model, "more than one value is called 'fc.bias'|is a constant and a graph input")
