"""Files as a whole: integers bit for bit, layouts, names, metadata, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import microlith as ml
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.metadata import io_qparams, requantization
from microlith.graph.reference import Reference
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Oracle, Tensor, build, constant, options
from tflite_networks import int8_network, loaded, quantized, random_weights

Tensors = dict[str, Tensor]


def test_int8_network_equals_litert(rng: np.random.Generator, tmp_path: Path) -> None:
    content = int8_network(rng)
    model, oracle = loaded(content, tmp_path), Oracle(content)
    assert requantization(model) == "fixed"
    meaning = io_qparams(model, "image")
    assert meaning is not None
    assert (float(meaning.scale), int(meaning.zero_point)) == (np.float32(0.03), 5)
    x = rng.integers(-128, 128, (40, 8, 8, 4)).astype(np.int8)
    want = np.concatenate([oracle.run(sample[None])[0] for sample in x])
    got = Reference(model).run({"image": x})["scores"]
    np.testing.assert_array_equal(got, want)
    assert np.unique(want).size > 20


def test_layouts_meet_only_at_the_borders(rng: np.random.Generator, tmp_path: Path) -> None:
    model = loaded(int8_network(rng), tmp_path)
    assert [node.op_type for node in model.graph].count("Transpose") == 1
    assert [value.name for value in model.graph.inputs] == ["image"]
    assert model.graph.inputs[0].shape.numpy() == (1, 8, 8, 4)


def test_names_of_layers_and_tensors_survive(rng: np.random.Generator, tmp_path: Path) -> None:
    model = loaded(int8_network(rng), tmp_path)
    names = {node.op_type: node.name for node in model.graph}
    assert names["Softmax"] == "scores"
    assert {"conv/relu6", "depthwise", "pointwise"} <= {node.name for node in model.graph}
    assert "w" in model.graph.initializers


def _one(op: str, tensors: Tensors, inputs: list[str], given: object = None) -> bytes:
    return build(tensors, [Node(op, inputs, ["y"], given)], ["x"], ["y"])


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_fully_connected_with_narrowrandom_weights(bits: str, rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.integers(-7, 8, (3, 6)).astype(np.int8)
    stored = values
    if bits == "int4":
        flat = values.reshape(-1, 2).astype(np.uint8) & 15
        stored = (flat[:, 0] | flat[:, 1] << 4).astype(np.uint8)
    tensors = {
        "x": quantized((1, 6), 0.05, 3),
        "w": Tensor((3, 6), bits, stored, scale=0.1),
        "y": quantized((1, 3), 0.08, -4),
    }
    content = _one("FULLY_CONNECTED", tensors, ["x", "w"], options("FullyConnectedOptions"))
    x = rng.integers(-128, 128, (20, 6)).astype(np.int8)
    oracle = Oracle(content)
    want = np.concatenate([oracle.run(sample[None])[0] for sample in x])
    np.testing.assert_array_equal(Reference(loaded(content, tmp_path)).run({"x": x})["y"], want)


def test_quantized_weights_of_float_arithmetic_are_dequantized(rng: np.random.Generator, tmp_path: Path) -> None:
    weights = random_weights(rng, (3, 6), 0)
    tensors = {"x": Tensor((1, 6)), "w": weights, "y": Tensor((1, 3))}
    model = loaded(_one("FULLY_CONNECTED", tensors, ["x", "w"], options("FullyConnectedOptions")), tmp_path)
    assert [node.op_type for node in model.graph] == ["Gemm"]
    assert requantization(model) == "float"
    x = rng.normal(0, 1, (1, 6)).astype(np.float32)
    assert weights.values is not None
    matrix = weights.values * np.asarray(weights.scale, np.float32)[:, None]
    np.testing.assert_allclose(Reference(model).run({"x": x})["y"], x @ matrix.T, rtol=1e-5)


def test_quantize_and_dequantize_at_the_borders(rng: np.random.Generator, tmp_path: Path) -> None:
    tensors = {
        "x": Tensor((1, 8)),
        "q": quantized((1, 8), 0.02, 4),
        "r": quantized((1, 8), 0.03, -9),
        "y": Tensor((1, 8)),
    }
    nodes = [Node("QUANTIZE", ["x"], ["q"]), Node("RELU", ["q"], ["r"]), Node("DEQUANTIZE", ["r"], ["y"])]
    content = build(tensors, nodes, ["x"], ["y"])
    x = rng.uniform(-3, 3, (1, 8)).astype(np.float32)
    got = Reference(loaded(content, tmp_path)).run({"x": x})["y"]
    np.testing.assert_allclose(got, Oracle(content).run(x)[0], rtol=1e-6)


def test_half_precisionrandom_weights(rng: np.random.Generator, tmp_path: Path) -> None:
    half = rng.normal(0, 1, (3, 6)).astype(np.float16)
    tensors = {"x": Tensor((1, 6)), "h": constant(half), "w": Tensor((3, 6)), "y": Tensor((1, 3))}
    nodes = [
        Node("DEQUANTIZE", ["h"], ["w"]),
        Node("FULLY_CONNECTED", ["x", "w"], ["y"], options("FullyConnectedOptions")),
    ]
    content = build(tensors, nodes, ["x"], ["y"])
    x = rng.normal(0, 1, (1, 6)).astype(np.float32)
    got = Reference(loaded(content, tmp_path)).run({"x": x})["y"]
    np.testing.assert_allclose(got, x @ half.astype(np.float32).T, rtol=1e-5)


def test_shapes_of_the_file_are_constants(tmp_path: Path) -> None:
    tensors = {
        "x": Tensor((1, 2, 3)),
        "shape": Tensor((3,), "int32"),
        "y": Tensor((1, 2, 3)),
        "value": constant(np.array(2.0, np.float32)),
        "filled": Tensor((1, 2, 3)),
    }
    nodes = [
        Node("SHAPE", ["x"], ["shape"], options("ShapeOptions", outType=2)),
        Node("FILL", ["shape", "value"], ["filled"]),
        Node("MUL", ["x", "filled"], ["y"], options("MulOptions")),
    ]
    model = loaded(build(tensors, nodes, ["x"], ["y"]), tmp_path)
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], 2 * x)


def test_ranges_and_ranks_of_the_file_are_constants(tmp_path: Path) -> None:
    scalars = {"start": 7.0, "limit": 0.5, "step": -1.5}
    tensors = {
        "x": Tensor((1, 5)),
        **{name: constant(np.array(value, np.float32)) for name, value in scalars.items()},
        "range": Tensor((5,)),
        "sum": Tensor((1, 5)),
        "rank": Tensor((), "int32"),
        "rank/real": Tensor(()),
        "y": Tensor((1, 5)),
    }
    nodes = [
        Node("RANGE", ["start", "limit", "step"], ["range"]),
        Node("ADD", ["x", "range"], ["sum"], options("AddOptions")),
        Node("RANK", ["x"], ["rank"], options("RankOptions")),
        Node("CAST", ["rank"], ["rank/real"]),
        Node("MUL", ["sum", "rank/real"], ["y"], options("MulOptions")),
    ]
    content = build(tensors, nodes, ["x"], ["y"])
    model, x = loaded(content, tmp_path), np.arange(5, dtype=np.float32)[None]
    np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], Oracle(content).run(x)[0])
    assert {node.op_type for node in model.graph} == {"Add", "Mul"}


@pytest.mark.parametrize("axis", [-1, 1])
def test_one_hot(axis: int, tmp_path: Path) -> None:
    tensors = {
        "x": Tensor((1, 3), "int32"),
        "depth": constant(np.array(4, np.int32)),
        "on": constant(np.array(2.5, np.float32)),
        "off": constant(np.array(-1.0, np.float32)),
        "y": Tensor((1, 3, 4) if axis < 0 else (1, 4, 3)),
    }
    content = build(
        tensors,
        [Node("ONE_HOT", ["x", "depth", "on", "off"], ["y"], options("OneHotOptions", axis=axis))],
        ["x"],
        ["y"],
    )
    oracle, model = Oracle(content), loaded(content, tmp_path)
    for x in (np.array([[0, 3, 1]], np.int32), np.array([[-1, 4, -4]], np.int32)):
        np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], oracle.run(x)[0])


RELU: Tensors = {"x": Tensor((1, 4)), "y": Tensor((1, 4))}
REFUSED = {
    "operators DENSIFY, CUSTOM": (
        build(
            {**RELU, "z": Tensor((1, 4))},
            [Node("DENSIFY", ["x"], ["z"]), Node("CUSTOM", ["z"], ["y"])],
            ["x"],
            ["y"],
        ),
        "the operators DENSIFY, CUSTOM '' of TensorFlow Lite",
    ),
    "uint8 arithmetic": (
        _one("RELU", {"x": quantized((1, 4), 0.1, 3, "uint8"), "y": quantized((1, 4), 0.1, 3, "uint8")}, ["x"]),
        "quantized in a way that is not supported, expected int8",
    ),
    "several nodes of integers": (
        _one("SQUARE", {"x": quantized((1, 4), 0.1, 3), "y": quantized((1, 4), 0.1, 3)}, ["x"]),
        "SQUARE of quantized tensors",
    ),
    "a pool that changes parameters": (
        _one(
            "MAX_POOL_2D",
            {"x": quantized((1, 2, 2, 1), 0.1, 3), "y": quantized((1, 1, 1, 1), 0.2, 3)},
            ["x"],
            options("Pool2DOptions", padding=1, strideW=2, strideH=2, filterWidth=2, filterHeight=2),
        ),
        "different quantization parameters",
    ),
    "a computed permutation": (
        _one("TRANSPOSE", {"x": Tensor((1, 4)), "p": Tensor((2,), "int32"), "y": Tensor((4, 1))}, ["x", "p"]),
        "only a constant can be imported",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported_is_refused_by_name(case: str) -> None:
    content, message = REFUSED[case]
    with pytest.raises(UnsupportedError, match=message):
        onnx_of_tflite(content, "test")


MALFORMED = {
    "read before computed": (build({**RELU, "z": Tensor((1, 4))}, [Node("RELU", ["z"], ["y"])], ["x"], ["y"]), "'z'"),
    "computed twice": (
        build(RELU, [Node("RELU", ["x"], ["y"]), Node("ABS", ["x"], ["y"])], ["x"], ["y"]),
        "'y' is computed twice",
    ),
    "output not computed": (build({**RELU, "z": Tensor((1, 4))}, [Node("RELU", ["x"], ["y"])], ["x"], ["z"]), "'z'"),
    "input missing": (_one("ADD", RELU, ["x"], options("AddOptions")), "input 1 is missing"),
    "zero stride": (
        _one(
            "MAX_POOL_2D",
            {"x": Tensor((1, 2, 2, 1)), "y": Tensor((1, 1, 1, 1))},
            ["x"],
            options("Pool2DOptions", filterWidth=2, filterHeight=2),
        ),
        "expected positive numbers",
    ),
    "axis outside": (
        _one(
            "MEAN",
            {"x": Tensor((1, 4)), "a": constant(np.array([7], np.int32)), "y": Tensor((1,))},
            ["x", "a"],
            options("ReducerOptions"),
        ),
        "axes",
    ),
    "too few bytes": (
        _one("ADD", {**RELU, "c": Tensor((1, 4), values=np.zeros(3, np.float32))}, ["x", "c"], options("AddOptions")),
        "holds 12 B, expected 16 B",
    ),
    "huge": (_one("RELU", {"x": Tensor((1 << 16, 1 << 16)), "y": Tensor((1, 4))}, ["x"]), "expected at most"),
    "negative": (_one("RELU", {"x": Tensor((1, -4)), "y": Tensor((1, 4))}, ["x"]), "expected at most"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_graphs_are_refused(case: str) -> None:
    content, message = MALFORMED[case]
    with pytest.raises(InputError, match=message):
        onnx_of_tflite(content, "test")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        ml.load(tmp_path / "none.tflite")
    (tmp_path / "empty.tflite").write_bytes(b"")
    with pytest.raises(InputError, match=r"is empty, expected a \.tflite file"):
        ml.load(tmp_path / "empty.tflite")


def test_int16_activations_become_standard_onnx(rng: np.random.Generator) -> None:
    """Integers of 16 bits with an int64 bias: the graph says what they mean, whether or not it can be compiled."""
    weights = random_weights(rng, (3, 6), 0)
    assert weights.scale is not None
    bias = constant(np.array([40, -70, 9]), scale=np.asarray(weights.scale, np.float32) * np.float32(0.001))
    tensors = {
        "x": quantized((1, 6), 0.001, 0, "int16"),
        "w": weights,
        "b": bias,
        "y": quantized((1, 3), 0.0007, 0, "int16"),
    }
    content = _one("FULLY_CONNECTED", tensors, ["x", "w", "b"], options("FullyConnectedOptions"))
    proto = onnx_of_tflite(content, "test")
    x = rng.integers(-9000, 9000, (1, 6)).astype(np.int16)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    difference = session.run(None, {"x": x})[0].astype(int) - Oracle(content).run(x)[0]
    assert np.abs(difference).max() <= 1
