"""Small ONNX models for the tests: ``import models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Shapes = Mapping[str, Sequence[int | str | None]]
Array = NDArray[np.generic]


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    elem_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A checked model of the default domain; inputs and outputs are of ``elem_type``."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def one_node(
    op: str,
    inputs: Shapes,
    outputs: Shapes,
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    elem_type: int = TensorProto.FLOAT,
    **attributes: object,
) -> onnx.ModelProto:
    """A model of one node named ``node`` that takes the inputs, then the weights, in the order given."""
    names = [*inputs, *(weights or {})]
    node = helper.make_node(op, names, list(outputs), name="node", **attributes)
    return make_model([node], inputs, outputs, weights, opset=opset, elem_type=elem_type)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    fan_in = int(np.prod(shape[1:], dtype=np.int64)) or 1
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)


def _norm(rng: np.random.Generator, name: str, channels: int) -> dict[str, Array]:
    return {
        f"{name}.gamma": rng.uniform(0.5, 1.5, channels).astype(np.float32),
        f"{name}.beta": rng.normal(0, 0.1, channels).astype(np.float32),
        f"{name}.mean": rng.normal(0, 0.1, channels).astype(np.float32),
        f"{name}.variance": rng.uniform(0.5, 1.5, channels).astype(np.float32),
    }


def tiny_cnn(seed: int = 0, *, channels: int = 4, size: int = 8, classes: int = 5) -> onnx.ModelProto:
    """Conv, BatchNorm, Relu, MaxPool, a depthwise-separable residual, GlobalAveragePool, Gemm.

    Input ``image`` 1,3,size,size; output ``logits`` 1,classes.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {"stem.weight": _normal(rng, channels, 3, 3, 3)}
    weights |= _norm(rng, "stem", channels)
    weights |= {"depthwise.weight": _normal(rng, channels, 1, 3, 3), "depthwise.bias": _normal(rng, channels)}
    weights |= {"pointwise.weight": _normal(rng, channels, channels, 1, 1), "pointwise.bias": _normal(rng, channels)}
    weights |= {"fc.weight": _normal(rng, classes, channels), "fc.bias": np.zeros(classes, np.float32)}

    def node(op: str, name: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, list(inputs), [name], name=name, **attributes)

    nodes = [
        node("Conv", "stem.conv", "image", "stem.weight", pads=[1] * 4),
        node(
            "BatchNormalization",
            "stem.norm",
            "stem.conv",
            *(f"stem.{part}" for part in ("gamma", "beta", "mean", "variance")),
        ),
        node("Relu", "stem.relu", "stem.norm"),
        node("MaxPool", "pool", "stem.relu", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "depthwise", "pool", "depthwise.weight", "depthwise.bias", pads=[1] * 4, group=channels),
        node("Relu", "depthwise.relu", "depthwise"),
        node("Conv", "pointwise", "depthwise.relu", "pointwise.weight", "pointwise.bias"),
        node("Add", "residual", "pool", "pointwise"),
        node("Relu", "residual.relu", "residual"),
        node("GlobalAveragePool", "gap", "residual.relu"),
        node("Flatten", "features", "gap"),
        node("Gemm", "logits", "features", "fc.weight", "fc.bias", transB=1),
    ]
    model = make_model(nodes, {"image": [1, 3, size, size]}, {"logits": [1, classes]}, weights)
    run = ReferenceEvaluator(model).run
    logits = [run(None, {"image": image[None]})[0][0] for image in images(rng, 16, size=size)]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "fc.bias")
    bias.CopyFrom(numpy_helper.from_array(-np.mean(logits, axis=0), "fc.bias"))  # or one class wins for every image
    return model


def images(rng: np.random.Generator, count: int, *, size: int = 8) -> NDArray[np.float32]:
    """Images count,3,size,size in [0, 1] for :func:`tiny_cnn`: each has a colour of its own under some noise."""
    colour = rng.uniform(0, 1, (count, 3, 1, 1))
    noise = rng.uniform(-0.3, 0.3, (count, 3, size, size))
    return np.clip(colour + noise, 0, 1).astype(np.float32)


def tiny_mlp(seed: int = 0, *, features: int = 12, hidden: int = 8, classes: int = 3) -> onnx.ModelProto:
    """Gemm, Relu, Gemm, Softmax. Input ``features`` 1,features; output ``probabilities`` 1,classes."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {
        "fc1.weight": _normal(rng, hidden, features),
        "fc1.bias": _normal(rng, hidden),
        "fc2.weight": _normal(rng, classes, hidden),
        "fc2.bias": _normal(rng, classes),
    }
    nodes = [
        helper.make_node("Gemm", ["features", "fc1.weight", "fc1.bias"], ["fc1"], name="fc1", transB=1),
        helper.make_node("Relu", ["fc1"], ["relu"], name="relu"),
        helper.make_node("Gemm", ["relu", "fc2.weight", "fc2.bias"], ["fc2"], name="fc2", transB=1),
        helper.make_node("Softmax", ["fc2"], ["probabilities"], name="softmax", axis=1),
    ]
    return make_model(nodes, {"features": [1, features]}, {"probabilities": [1, classes]}, weights)
