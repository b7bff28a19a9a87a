"""Small networks as ``.tflite`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

import microlith as ml
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from tflite_models import Node, Tensor, build, constant, options


def loaded(content: bytes, directory: Path) -> ir.Model:
    """The graph of a file after the passes, verified after each."""
    path = directory / "model.tflite"
    path.write_bytes(content)
    model = ml.load(path)
    run_passes(model, DEFAULT_PASSES, verify=True)
    return model


def quantized(shape: tuple[int, ...], scale: float, zero: int, dtype: str = "int8") -> Tensor:
    return Tensor(shape, dtype, scale=scale, zero_point=zero)


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> Tensor:
    scales = rng.uniform(0.004, 0.02, shape[axis])
    values = rng.integers(-127, 128, shape).astype(np.int8)
    return constant(values, scale=scales, axis=axis)


def random_bias(rng: np.random.Generator, weights: Tensor, scale: float) -> Tensor:
    assert weights.scale is not None
    scales = np.asarray(weights.scale, np.float32) * np.float32(scale)
    return constant(rng.integers(-900, 900, len(scales)).astype(np.int32), scale=scales)


def int8_network(rng: np.random.Generator) -> bytes:
    """Convolutions, a residual sum, a pool, a mean, a product, and a softmax, all int8.

    The scales of the sum have no small ratio: LiteRT's vector code rounds ties of sums otherwise than its scalar code.
    """
    w, d, p, f = (
        random_weights(rng, shape, axis)
        for shape, axis in (((8, 3, 3, 4), 0), ((1, 3, 3, 8), 3), ((8, 1, 1, 8), 0), ((5, 8), 0))
    )
    tensors = {
        "image": quantized((1, 8, 8, 4), 0.03, 5),
        "w": w,
        "wb": random_bias(rng, w, 0.03),
        "conv/relu6;conv/bias": quantized((1, 4, 4, 8), 0.0213, -128),
        "d": d,
        "db": random_bias(rng, d, 0.0213),
        "depthwise": quantized((1, 4, 4, 8), 0.04, -20),
        "p": p,
        "pb": random_bias(rng, p, 0.04),
        "pointwise": quantized((1, 4, 4, 8), 0.0517, 11),
        "sum": quantized((1, 4, 4, 8), 0.0631, -7),
        "pooled": quantized((1, 2, 2, 8), 0.0631, -7),
        "swish": quantized((1, 2, 2, 8), 0.05, -30),
        "axes": constant(np.array([1, 2], np.int32)),
        "mean": quantized((1, 8), 0.04, -30),
        "f": f,
        "fb": random_bias(rng, f, 0.04),
        "logits": quantized((1, 5), 0.2, 3),
        "scores": quantized((1, 5), 1 / 256, -128),
    }
    same = options("Conv2DOptions", padding=0, strideW=2, strideH=2, fusedActivationFunction=3)
    depthwise = options("DepthwiseConv2DOptions", padding=0, strideW=1, strideH=1, depthMultiplier=1)
    plain = options("Conv2DOptions", padding=1, strideW=1, strideH=1)
    pool = options("Pool2DOptions", padding=1, strideW=2, strideH=2, filterWidth=2, filterHeight=2)
    nodes = [
        Node("CONV_2D", ["image", "w", "wb"], ["conv/relu6;conv/bias"], same),
        Node("DEPTHWISE_CONV_2D", ["conv/relu6;conv/bias", "d", "db"], ["depthwise"], depthwise),
        Node("CONV_2D", ["depthwise", "p", "pb"], ["pointwise"], plain),
        Node("ADD", ["pointwise", "conv/relu6;conv/bias"], ["sum"], options("AddOptions")),
        Node("AVERAGE_POOL_2D", ["sum"], ["pooled"], pool),
        Node("HARD_SWISH", ["pooled"], ["swish"]),
        Node("MEAN", ["swish", "axes"], ["mean"], options("ReducerOptions", keepDims=False)),
        Node("FULLY_CONNECTED", ["mean", "f", "fb"], ["logits"], options("FullyConnectedOptions")),
        Node("SOFTMAX", ["logits"], ["scores"], options("SoftmaxOptions", beta=1.0)),
    ]
    return build(tensors, nodes, ["image"], ["scores"])
