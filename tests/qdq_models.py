"""Float graphs for the tests of quantization, each with the ops that its name says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper

import models
from microlith.graph.inference import infer_types

Array = NDArray[np.generic]
OPSET = 21


def finish(proto: onnx.ModelProto) -> ir.Model:
    """The model with types and shapes of all values, as the loader leaves it."""
    model = ir.from_proto(proto)
    types = infer_types(model)
    for value in (value for node in model.graph for value in node.outputs):
        info = types[str(value.name)]
        assert info.shape is not None
        value.type = ir.TensorType(info.dtype)
        value.shape = ir.Shape([int(size or 1) for size in info.shape])
    return model


def node(op: str, name: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [name], name=f"{name}_node", **attributes)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    weights: Mapping[str, Array] | None = None,
) -> ir.Model:
    return finish(models.make_model(nodes, inputs, outputs, weights, opset=OPSET))


def _w(seed: int, *shape: int, gain: float = 1.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    fan_in = int(np.prod(shape[1:], dtype=np.int64)) or 1
    return (rng.standard_normal(shape) * gain / np.sqrt(fan_in)).astype(np.float32)


IMAGE = {"x": [1, 3, 8, 8]}


def residual() -> ir.Model:
    """Conv, Relu, Conv, Add with the first, Relu, GlobalAveragePool, Flatten, Gemm, Softmax."""
    nodes = [
        node("Conv", "c1", "x", "w1", "b1", pads=[1] * 4),
        node("Relu", "r1", "c1"),
        node("Conv", "c2", "r1", "w2", pads=[1] * 4),
        node("Add", "sum", "r1", "c2"),
        node("Relu", "r2", "sum"),
        node("GlobalAveragePool", "gap", "r2"),
        node("Flatten", "flat", "gap"),
        node("Gemm", "logits", "flat", "w3", "b3", alpha=0.5, beta=2.0),
        node("Softmax", "y", "logits", axis=1),
    ]
    weights = {"w1": _w(1, 4, 3, 3, 3), "b1": _w(2, 4), "w2": _w(3, 4, 4, 3, 3), "w3": _w(4, 4, 5, gain=4)}
    return build(nodes, IMAGE, {"y": [1, 5]}, weights | {"b3": _w(5, 5)})


def separable() -> ir.Model:
    """Depthwise and pointwise Conv with Clip, a strided Conv, AveragePool, Reshape."""
    nodes = [
        node("Conv", "d", "x", "wd", "bd", pads=[1] * 4, group=3),
        node("Clip", "dc", "d", "zero", "six"),
        node("Conv", "p", "dc", "wp"),
        node("Clip", "pc", "p", "zero", "six"),
        node("Conv", "s", "pc", "ws", strides=[2, 2]),
        node("AveragePool", "a", "s", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
        node("Reshape", "y", "a", "shape"),
    ]
    weights: dict[str, Array] = {"wd": _w(1, 3, 1, 3, 3, gain=3), "bd": _w(2, 3), "wp": _w(3, 8, 3, 1, 1, gain=3)}
    weights |= {"ws": _w(4, 4, 8, 3, 3), "zero": np.float32(0).reshape(()), "six": np.float32(6).reshape(())}
    return build(nodes, IMAGE, {"y": [1, 36]}, weights | {"shape": np.array([1, 36])})


def branches() -> ir.Model:
    """Two Convs and a Sigmoid into a Concat, MaxPool, Pad, Slice, Transpose."""
    nodes = [
        node("Conv", "a", "x", "wa"),
        node("Relu", "ar", "a"),
        node("Conv", "b", "x", "wb"),
        node("Sigmoid", "s", "b"),
        node("Conv", "c", "x", "wc"),
        node("Concat", "cat", "ar", "s", "c", axis=1),
        node("MaxPool", "m", "cat", kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", "p", "m", "pads", "pad_value"),
        node("Slice", "sl", "p", "starts", "ends", "axes"),
        node("Transpose", "y", "sl", perm=[0, 2, 3, 1]),
    ]
    weights: dict[str, Array] = {name: _w(i, 2, 3, 3, 3) for i, name in enumerate(("wa", "wb", "wc"))}
    weights |= {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pad_value": np.float32(-0.5).reshape(())}
    weights |= {"starts": np.array([1]), "ends": np.array([5]), "axes": np.array([1])}
    return build(nodes, IMAGE, {"y": [1, 5, 5, 4]}, weights)


def elementwise() -> ir.Model:
    """Every unary op, and Add, Sub, Mul with constants and with each other, into ReduceMean."""
    nodes = [
        node("Mul", "scaled", "x", "k"),
        node("Add", "shifted", "scaled", "offset"),
        node("Sub", "flipped", "one", "shifted"),
        node("HardSwish", "hs", "flipped"),
        node("Tanh", "t", "hs"),
        node("LeakyRelu", "lr", "shifted", alpha=0.1),
        node("HardSigmoid", "hg", "lr"),
        node("Mul", "product", "t", "hg"),
        node("Sub", "difference", "product", "lr"),
        node("Relu", "kept", "difference"),
        node("Clip", "clipped", "lr", "", "one"),
        node("Add", "total", "kept", "clipped"),
        node("ReduceMean", "mean", "total", "axes", keepdims=0),
        node("Unsqueeze", "un", "mean", "last"),
        node("Squeeze", "y", "un", "last"),
    ]
    weights: dict[str, Array] = {
        "k": np.array([2.0, -1.0, 0.5], np.float32).reshape(3, 1, 1),
        "offset": np.array([0.25], np.float32),
        "one": np.float32(1).reshape(()),
        "axes": np.array([2, 3]),
        "last": np.array([2]),
    }
    return build(nodes, IMAGE, {"y": [1, 3]}, weights)


def attention() -> ir.Model:
    """MatMul of activations, Softmax over it, MatMul with a constant."""
    nodes = [
        node("MatMul", "q", "x", "wq"),
        node("Transpose", "xt", "x", perm=[0, 2, 1]),
        node("MatMul", "scores", "q", "xt"),
        node("Softmax", "p", "scores", axis=-1),
        node("MatMul", "mixed", "p", "x"),
        node("MatMul", "y", "mixed", "wo"),
    ]
    weights = {"wq": _w(1, 6, 6), "wo": _w(2, 6, 4)}
    return build(nodes, {"x": [1, 5, 6]}, {"y": [1, 5, 4]}, weights)


def raw_pixels() -> ir.Model:
    """An uint8 NHWC input, moved, dequantized and normalized by a BatchNormalization that is not folded."""
    nodes = [
        node("Transpose", "moved", "x", perm=[0, 3, 1, 2]),
        node("DequantizeLinear", "real", "moved", "pixel", "pixel_zero"),
        node("BatchNormalization", "normal", "real", "gamma", "beta", "mean", "variance"),
        node("Conv", "c", "normal", "w", pads=[1] * 4),
        node("Relu", "y", "c"),
    ]
    weights: dict[str, Array] = {
        "pixel": np.float32(1 / 255).reshape(()),
        "pixel_zero": np.uint8(0).reshape(()),
        "gamma": np.ones(3, np.float32),
        "beta": np.zeros(3, np.float32),
        "mean": np.array([0.5, 0.4, 0.3], np.float32),
        "variance": np.array([0.05, 0.06, 0.07], np.float32),
        "w": _w(1, 4, 3, 3, 3),
    }
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 8, 8, 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
            [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    proto.ir_version = 10
    return finish(proto)


ALL = {build.__name__: build for build in (residual, separable, branches, elementwise, attention, raw_pixels)}


def samples(model: ir.Model, count: int, seed: int = 0) -> dict[str, Array]:
    """Inputs of a model, stacked along the axis of samples: standard normal, or any pixel."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        assert value.shape is not None
        shape = (count, *(int(size) for size in value.shape.numpy()[1:]))
        raw = value.dtype == ir.DataType.UINT8
        drawn = rng.integers(0, 256, shape).astype(np.uint8) if raw else rng.standard_normal(shape).astype(np.float32)
        feeds[str(value.name)] = drawn
    return feeds
