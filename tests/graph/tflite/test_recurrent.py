"""Layers with a memory: sequences of inferences, in the reference and in C, against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tflite_checks
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.state import read_states
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Tensor, build, constant, options
from tflite_networks import quantized, random_weights

TANH, RELU = 4, 1
STEPS, SIZE, UNITS = 3, 5, 4


def _random(*shape: int) -> Tensor:
    return constant(np.random.default_rng(sum(shape)).normal(0, 0.5, shape).astype(np.float32))


def rnn(activation: int = TANH, time_major: bool = False, one_step: bool = False) -> bytes:
    order = (STEPS, 1) if time_major else (1, STEPS)
    tensors = {
        "x": Tensor((1, SIZE) if one_step else (*order, SIZE)),
        "w": _random(UNITS, SIZE),
        "r": _random(UNITS, UNITS),
        "b": _random(UNITS),
        "h": Tensor((1, UNITS), variable=True),
        "y": Tensor((1, UNITS) if one_step else (*order, UNITS)),
    }
    op, given = "UNIDIRECTIONAL_SEQUENCE_RNN", options("SequenceRNNOptions", timeMajor=time_major)
    if one_step:
        op, given = "RNN", options("RNNOptions")
    given.fusedActivationFunction = activation
    return build(tensors, [Node(op, ["x", "w", "r", "b", "h"], ["y"], given)], ["x"], ["y"])


def lstm(
    time_major: bool = False, one_step: bool = False, coupled: bool = False, peepholes: bool = False, **fields: object
) -> bytes:
    order = (STEPS, 1) if time_major else (1, STEPS)
    tensors = {"x": Tensor((1, SIZE) if one_step else (*order, SIZE))}
    names: list[str] = ["x"]
    shapes = [(UNITS, SIZE)] * 4 + [(UNITS, UNITS)] * 4 + [(UNITS,)] * 7
    for position, shape in enumerate(shapes, 1):
        absent = (coupled and position in (1, 5, 9, 12)) or (not peepholes and position in (9, 10, 11))
        names.append("" if absent else f"in{position}")
        if not absent:
            values = np.random.default_rng(position).normal(0, 0.5, shape).astype(np.float32)
            tensors[names[-1]] = constant(values)
    names += ["", "", "h", "c"] + ([] if one_step else [""] * 4)
    tensors |= {
        "h": Tensor((1, UNITS), variable=True),
        "c": Tensor((1, UNITS), variable=True),
        "y": Tensor((1, UNITS) if one_step else (*order, UNITS)),
    }
    op, given = "UNIDIRECTIONAL_SEQUENCE_LSTM", None
    if one_step:
        op, given = "LSTM", options("LSTMOptions", fusedActivationFunction=TANH, **fields)
    else:
        kind = "UnidirectionalSequenceLSTMOptions"
        given = options(kind, fusedActivationFunction=TANH, timeMajor=time_major, **fields)
    return build(tensors, [Node(op, names, ["y"], given)], ["x"], ["y"])


def svdf(rank: int = 2, activation: int = 0, bias: bool = True, memory: int = 6) -> bytes:
    filters = UNITS * rank
    tensors = {
        "x": Tensor((1, SIZE)),
        "feature": _random(filters, SIZE),
        "time": _random(filters, memory),
        "b": _random(UNITS),
        "state": Tensor((1, memory * filters), variable=True),
        "y": Tensor((1, UNITS)),
    }
    given = options("SVDFOptions", rank=rank, fusedActivationFunction=activation)
    inputs = ["x", "feature", "time", "b" if bias else "", "state"]
    return build(tensors, [Node("SVDF", inputs, ["y"], given)], ["x"], ["y"])


def test_layers_with_a_memory_equal_litert(tmp_path: Path) -> None:
    contents = {
        "rnn": rnn(),
        "rnn_relu": rnn(RELU, time_major=True),
        "rnn_plain": rnn(0),
        "rnn_step": rnn(one_step=True),
        "lstm": lstm(),
        "lstm_time": lstm(time_major=True),
        "lstm_step": lstm(one_step=True),
        "lstm_coupled": lstm(coupled=True),
        "lstm_peepholes": lstm(peepholes=True),
        "lstm_both": lstm(coupled=True, peepholes=True),
        "svdf": svdf(),
        "svdf_relu": svdf(1, RELU, bias=False),
        "svdf_short": svdf(memory=1),
    }
    graphs = tflite_checks.check(contents, tmp_path, turns=8)
    for name, graph in graphs.items():
        assert len(read_states(graph)) == (2 if name.startswith("lstm") else 0 if name == "svdf_short" else 1)


def test_a_layer_keeps_the_name_of_its_state() -> None:
    proto = onnx_of_tflite(lstm(), "test")
    assert [value.name for value in proto.graph.input] == ["x", "h", "c"]


REFUSED = {
    "an activation": (rnn(3), "the activation RELU6 of a layer with a memory"),
    "a clipped cell": (lstm(cellClip=2.0), "a projection, a clipped cell or a normalization"),
    "the basic kernel": (lstm(one_step=True, kernelType=1), "the BASIC kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_forms_that_cannot_be_imported_are_refused_by_name(case: str) -> None:
    content, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        onnx_of_tflite(content, "test")


def test_integer_layers_are_refused() -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "x": quantized((1, SIZE), 0.05, 3),
        "feature": random_weights(rng, (UNITS, SIZE), 0),
        "time": random_weights(rng, (UNITS, 6), 0),
        "state": Tensor((1, 6 * UNITS), "int16", variable=True, scale=0.001),
        "y": quantized((1, UNITS), 0.05, 3),
    }
    nodes = [Node("SVDF", ["x", "feature", "time", "", "state"], ["y"], options("SVDFOptions", rank=1))]
    with pytest.raises(UnsupportedError, match="SVDF of quantized tensors cannot be imported"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"]), "test")


def test_a_state_that_is_no_variable_is_refused() -> None:
    tensors = {
        "x": Tensor((1, SIZE)),
        "w": _random(UNITS, SIZE),
        "r": _random(UNITS, UNITS),
        "b": _random(UNITS),
        "h": Tensor((1, UNITS)),
        "y": Tensor((1, UNITS)),
    }
    nodes = [Node("RNN", ["x", "w", "r", "b", "h"], ["y"], options("RNNOptions"))]
    with pytest.raises(UnsupportedError, match="'h' is no variable tensor"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"]), "test")


def test_weights_of_another_shape_are_malformed() -> None:
    tensors = {
        "x": Tensor((1, SIZE)),
        "feature": _random(4, SIZE + 1),
        "time": _random(4, 6),
        "state": Tensor((1, 24), variable=True),
        "y": Tensor((1, 4)),
    }
    nodes = [Node("SVDF", ["x", "feature", "time", "", "state"], ["y"], options("SVDFOptions", rank=1))]
    with pytest.raises(InputError, match=r"'feature' has the shape \[4, 6\], expected \[4, 5\]"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"]), "test")
