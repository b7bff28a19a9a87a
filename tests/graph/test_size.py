from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import models
from microlith.graph.size import graph_size


def test_figures_by_hand(load):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "s"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["y"]),
    ]
    weights = {"w": np.ones((6, 2, 1, 1), np.float32), "s": np.array([1, 24])}
    size = graph_size(load(models.make_model(nodes, {"x": [1, 2, 2, 2]}, {"y": [1, 24]}, weights)))
    assert (size.nodes, size.macs, size.weight_bytes) == (4, 48, 48)
    assert size.peak_activation_bytes == 4 * (24 + 24)  # Relu and Add: input and result; a Reshape stores nothing


def test_quantized_tensors_count_as_their_integers(load):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Neg", ["d"], ["n"]),
        helper.make_node("QuantizeLinear", ["n", "s", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0)}
    size = graph_size(load(models.make_model(nodes, {"x": [1, 100]}, {"y": [1, 100]}, weights)))
    assert size.peak_activation_bytes == 400 + 100


def test_a_value_lives_until_its_last_reader(load):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["y"]),
    ]
    size = graph_size(load(models.make_model(nodes, {"x": [1, 10]}, {"y": [1, 10]})))
    assert size.peak_activation_bytes == 3 * 40


def test_an_operand_is_alive_while_quantized_results_are_written(load):
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "s", "z"], ["y"]),
    ]
    weights = {"s": np.float32(0.1), "z": np.int8(0)}
    proto = models.make_model(nodes[:2], {"x": [1, 100]}, {"b": [1, 100]})
    assert graph_size(load(proto)).peak_activation_bytes == 800
    del proto.graph.output[:]
    proto.graph.node.append(nodes[2])
    proto.graph.output.append(helper.make_tensor_value_info("y", TensorProto.INT8, [1, 100]))
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items())
    assert graph_size(load(proto)).peak_activation_bytes == 800
    proto.graph.node[0].op_type = "Identity"
    assert graph_size(load(proto)).peak_activation_bytes == 500


def test_dequantized_weights_are_no_activations(load):
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    weights = {"w": np.ones((10, 500), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    size = graph_size(load(models.make_model(nodes, {"x": [1, 10]}, {"y": [1, 500]}, weights)))
    assert size.peak_activation_bytes == 40 + 2000
    assert size.weight_bytes == 5000 + 5
