"""Weights of four bits and activations of sixteen, with a scale for each channel, against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tflite_checks
from microlith.compile.pipeline import compile_graph
from microlith.core.errors import UnsupportedError
from microlith.device.load import device
from microlith.graph.reference import Reference
from tflite_models import Node, Oracle, Tensor, build, constant, options
from tflite_networks import loaded, quantized, random_bias, random_weights


def _packed(shape: tuple[int, ...], axis: int) -> Tensor:
    """Weights of -7 to 7, two in a byte, with a scale for each channel."""
    rng = np.random.default_rng(3)
    flat = rng.integers(-7, 8, shape).astype(np.int8).reshape(-1, 2).astype(np.uint8) & 15
    stored = (flat[:, 0] | flat[:, 1] << 4).astype(np.uint8)
    return Tensor(shape, "int4", stored, scale=rng.uniform(0.05, 0.2, shape[axis]), axis=axis)


def _layer(op: str, weights: Tensor, shape: tuple[int, ...], out: tuple[int, ...]) -> bytes:
    tensors = {
        "x": quantized(shape, 0.05, 3),
        "w": weights,
        "b": random_bias(np.random.default_rng(4), weights, 0.05),
        "y": quantized(out, 0.3, -4),
    }
    given = options("FullyConnectedOptions")
    if op == "CONV_2D":
        given = options("Conv2DOptions", padding=0, strideW=1, strideH=1)
    elif op == "DEPTHWISE_CONV_2D":
        given = options("DepthwiseConv2DOptions", padding=0, strideW=1, strideH=1, depthMultiplier=1)
    return build(tensors, [Node(op, ["x", "w", "b"], ["y"], given)], ["x"], ["y"])


def test_weights_of_four_bits_equal_litert(tmp_path: Path) -> None:
    image = (1, 5, 6, 8)
    contents = {
        "dense": _layer("FULLY_CONNECTED", _packed((6, 10), 0), (1, 10), (1, 6)),
        "conv": _layer("CONV_2D", _packed((6, 3, 3, 8), 0), image, (1, 5, 6, 6)),
        "depthwise": _layer("DEPTHWISE_CONV_2D", _packed((1, 3, 3, 8), 3), image, image),
    }
    tflite_checks.check(contents, tmp_path)


def _wide(bias: type[np.signedinteger]) -> bytes:
    """Activations of sixteen bits."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, (16, 24), 0)
    scales = np.asarray(weights.scale, np.float32) * np.float32(0.001)
    tensors = {
        "x": quantized((1, 24), 0.001, 0, "int16"),
        "w": weights,
        "b": constant(rng.integers(-9000, 9000, 16).astype(bias), scale=scales),
        "y": quantized((1, 16), 0.0007, 0, "int16"),
    }
    given = options("FullyConnectedOptions")
    return build(tensors, [Node("FULLY_CONNECTED", ["x", "w", "b"], ["y"], given)], ["x"], ["y"])


@pytest.mark.parametrize(("bias", "quanta"), [(np.int32, 0), (np.int64, 1)])
def test_activations_of_sixteen_bits(bias: type[np.signedinteger], quanta: int, tmp_path: Path) -> None:
    """With a bias of 64 bits LiteRT scales by a multiplier of 16 bits, which is another rounding."""
    content = _wide(bias)
    model, oracle, rng = loaded(content, tmp_path), Oracle(content), np.random.default_rng(1)
    for _ in range(10):
        x = rng.integers(-32768, 32768, (1, 24)).astype(np.int16)
        difference = Reference(model).run({"x": x})["y"].astype(int) - oracle.run(x)[0]
        assert np.abs(difference).max() <= quanta
    with pytest.raises(UnsupportedError, match="x is quantized to int16, only 8-bit integers can be compiled"):
        compile_graph(model, device("host"), name="wide")


@pytest.mark.parametrize(("op", "given"), [("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions")])
def test_pairs_of_sixteen_bits_equal_litert(op: str, given: str, tmp_path: Path) -> None:
    scale = 0.05 if op == "MUL" else 0.0013
    tensors = {
        "a": quantized((1, 40), 0.001, 0, "int16"),
        "b": quantized((1, 40), 0.0007, 0, "int16"),
        "y": quantized((1, 40), scale, 0, "int16"),
    }
    chosen = options(given) if op == "MUL" else options(given, potScaleInt16=False)
    content = build(tensors, [Node(op, ["a", "b"], ["y"], chosen)], ["a", "b"], ["y"])
    model, oracle, rng = loaded(content, tmp_path), Oracle(content), np.random.default_rng(1)
    for _ in range(20):
        a, b = (rng.integers(-32768, 32768, (1, 40)).astype(np.int16) for _ in range(2))
        np.testing.assert_array_equal(Reference(model).run({"a": a, "b": b})["y"], oracle.run(a, b)[0])
