"""Models that together use every op that can be compiled, in every form that lowers differently."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

import models

RNG = np.random.default_rng(7)


def _w(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def _node(op: str, inputs: Sequence[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], name=output, **attributes)


def _chain(shape: Sequence[int], *nodes: onnx.NodeProto, out: Sequence[int], **weights: np.ndarray) -> onnx.ModelProto:
    return models.make_model(list(nodes), {"x": shape}, {nodes[-1].output[0]: out}, weights)


def _conv(shape: tuple[int, ...], weights: np.ndarray, out: Sequence[int], **attributes: object) -> onnx.ModelProto:
    bias = _w(weights.shape[0])
    return _chain(shape, _node("Conv", ["x", "w", "b"], "y", **attributes), out=out, w=weights, b=bias)


def _unary(op: str, **attributes: object) -> onnx.ModelProto:
    return _chain((1, 3, 4, 5), _node(op, ["x"], "y", **attributes), out=(1, 3, 4, 5))


def _ints(*items: int) -> np.ndarray:
    return np.array(items, np.int64)


def all_models() -> dict[str, onnx.ModelProto]:
    """By name, which is a C identifier."""
    spatial = (1, 6, 7, 9)
    return {
        "conv": _conv(spatial, _w(5, 6, 3, 3), (1, 5, 7, 9), pads=[1] * 4),
        "conv_strided": _conv(spatial, _w(8, 6, 3, 3), (1, 8, 4, 5), pads=[1] * 4, strides=[2, 2]),
        "conv_dilated": _conv(spatial, _w(4, 6, 3, 3), (1, 4, 3, 5), dilations=[2, 2]),
        "conv_grouped": _conv(spatial, _w(6, 2, 3, 3), (1, 6, 5, 7), group=3),
        "conv_pointwise": _conv(spatial, _w(7, 6, 1, 1), (1, 7, 7, 9)),
        "conv_same_lower": _conv(spatial, _w(4, 6, 2, 4), (1, 4, 4, 5), auto_pad="SAME_LOWER", strides=[2, 2]),
        "conv_row": _conv((1, 4, 11), _w(5, 4, 3), (1, 5, 11), pads=[1, 1]),
        "depthwise": _conv(spatial, _w(6, 1, 3, 3), (1, 6, 7, 9), pads=[1] * 4, group=6),
        "depthwise_twice": _conv(spatial, _w(12, 1, 3, 3), (1, 12, 4, 5), pads=[1] * 4, strides=[2, 2], group=6),
        "depthwise_large": _conv(spatial, _w(6, 1, 5, 5), (1, 6, 7, 9), pads=[2] * 4, group=6),
        "gemm": _chain((1, 10), _node("Gemm", ["x", "w", "b"], "y", transB=1), out=(1, 7), w=_w(7, 10), b=_w(7)),
        "gemm_plain": _chain((1, 10), _node("Gemm", ["x", "w"], "y"), out=(1, 7), w=_w(10, 7)),
        "matmul_rows": _chain((1, 5, 8), _node("MatMul", ["x", "w"], "y"), out=(1, 5, 6), w=_w(8, 6)),
        "matmul_square": _matmul_of_itself(),
        "add_channel": _chain(spatial, _node("Add", ["x", "c"], "y"), out=spatial, c=_w(1, 6, 1, 1)),
        "sub_scalar": _chain(spatial, _node("Sub", ["c", "x"], "y"), out=spatial, c=_w(1)),
        "mul_row": _chain(spatial, _node("Mul", ["x", "c"], "y"), out=spatial, c=_w(9)),
        "gate": _gate(),
        "residual": _residual(),
        "relu": _unary("Relu"),
        "leaky_relu": _unary("LeakyRelu", alpha=0.2),
        "sigmoid": _unary("Sigmoid"),
        "tanh": _unary("Tanh"),
        "hard_sigmoid": _unary("HardSigmoid", alpha=0.25, beta=0.4),
        "hard_swish": _unary("HardSwish"),
        "clip": _chain(
            (1, 3, 4, 5), _node("Clip", ["x", "a", "z"], "y"), out=(1, 3, 4, 5),
            a=np.float32(-0.5), z=np.float32(1.0),
        ),
        "conv_relu6": _chain(
            spatial, _node("Conv", ["x", "w"], "t"), _node("Clip", ["t", "a", "z"], "y"), out=(1, 4, 7, 9),
            w=_w(4, 6, 1, 1), a=np.float32(0), z=np.float32(1.5),
        ),
        "batch_norm": _batch_norm(),
        "max_pool": _chain(
            spatial, _node("MaxPool", ["x"], "y", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
            out=(1, 6, 4, 5),
        ),
        "max_pool_ceil": _chain(
            spatial, _node("MaxPool", ["x"], "y", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), out=(1, 6, 4, 5)
        ),
        "average_pool": _chain(
            spatial, _node("AveragePool", ["x"], "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
            out=(1, 6, 4, 5),
        ),
        "average_pool_padded": _chain(
            spatial, _node("AveragePool", ["x"], "y", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
            out=spatial,
        ),
        "average_pool_row": _chain((1, 4, 11), _node("AveragePool", ["x"], "y", kernel_shape=[3]), out=(1, 4, 9)),
        "global_average_pool": _chain(spatial, _node("GlobalAveragePool", ["x"], "y"), out=(1, 6, 1, 1)),
        "mean_channels": _chain(spatial, _node("ReduceMean", ["x"], "y", axes=[1]), out=(1, 1, 7, 9)),
        "mean_image": _chain(spatial, _node("ReduceMean", ["x"], "y", axes=[2, 3], keepdims=0), out=(1, 6)),
        "mean_apart": _chain(spatial, _node("ReduceMean", ["x"], "y", axes=[1, 3], keepdims=0), out=(1, 7)),
        "softmax": _chain((1, 9), _node("Softmax", ["x"], "y"), out=(1, 9)),
        "softmax_channels": _chain(spatial, _node("Softmax", ["x"], "y", axis=1), out=spatial),
        "flatten_gemm": _flatten_gemm(),
        "flatten_alone": _conv_then(_node("Flatten", ["t"], "y"), out=(1, 84)),
        "reshape": _conv_then(_node("Reshape", ["t", "s"], "y"), out=(1, 12, 7), s=_ints(1, 12, 7)),
        "squeeze": _chain((1, 4, 1, 5), _node("Squeeze", ["x", "s"], "y"), out=(1, 4, 5), s=_ints(2)),
        "unsqueeze": _chain((1, 4, 5), _node("Unsqueeze", ["x", "s"], "y"), out=(1, 4, 1, 5), s=_ints(2)),
        "transpose": _conv_then(_node("Transpose", ["t"], "y", perm=[0, 2, 3, 1]), out=(1, 7, 3, 4)),
        "transpose_odd": _chain(spatial, _node("Transpose", ["x"], "y", perm=[0, 3, 1, 2]), out=(1, 9, 6, 7)),
        "concat": _concat(1, (1, 8, 7, 3)),
        "concat_rows": _concat(2, (1, 4, 14, 3)),
        "pad": _chain(
            spatial, _node("Pad", ["x", "p", "v"], "y"), out=(1, 6, 10, 12),
            p=_ints(0, 0, 1, 2, 0, 0, 2, 1), v=np.float32(0.5),
        ),
        "slice": _chain(
            spatial, _node("Slice", ["x", "s", "e", "a", "t"], "y"), out=(1, 3, 7, 4),
            s=_ints(1, 8), e=_ints(4, 0), a=_ints(1, 3), t=_ints(1, -2),
        ),
        "two_outputs": _two_outputs(),
        "two_inputs": _two_inputs(),
        "cnn": models.tiny_cnn(),
    }  # fmt: skip


def _conv_then(node: onnx.NodeProto, out: Sequence[int], **weights: np.ndarray) -> onnx.ModelProto:
    conv = _node("Conv", ["x", "w"], "t")
    return _chain((1, 3, 7, 3), conv, node, out=out, w=_w(4, 3, 1, 1), **weights)


def _matmul_of_itself() -> onnx.ModelProto:
    nodes = [_node("Transpose", ["x"], "t", perm=[0, 2, 1]), _node("MatMul", ["x", "t"], "y")]
    return _chain((1, 4, 6), *nodes, out=(1, 4, 4))


def _gate() -> onnx.ModelProto:
    """A channel gate: broadcasting of two computed operands."""
    nodes = [
        _node("Conv", ["x", "w"], "t"),
        _node("GlobalAveragePool", ["t"], "g"),
        _node("Sigmoid", ["g"], "s"),
        _node("Mul", ["t", "s"], "y"),
    ]
    return _chain((1, 3, 5, 4), *nodes, out=(1, 6, 5, 4), w=_w(6, 3, 1, 1))


def _residual() -> onnx.ModelProto:
    nodes = [
        _node("Conv", ["x", "w"], "t", pads=[1] * 4),
        _node("Add", ["t", "x"], "s"),
        _node("Relu", ["s"], "y"),
    ]
    return _chain((1, 4, 6, 6), *nodes, out=(1, 4, 6, 6), w=_w(4, 4, 3, 3))


def _batch_norm() -> onnx.ModelProto:
    nodes = [
        _node("Relu", ["x"], "t"),
        _node("BatchNormalization", ["t", "g", "b", "m", "v"], "n"),
        _node("Relu", ["n"], "y"),
    ]
    weights = {"g": _w(6), "b": _w(6), "m": _w(6), "v": np.abs(_w(6)) + np.float32(0.5)}
    return _chain((1, 6, 5, 4), *nodes, out=(1, 6, 5, 4), **weights)


def _flatten_gemm() -> onnx.ModelProto:
    nodes = [
        _node("Conv", ["x", "w"], "t"),
        _node("Flatten", ["t"], "f"),
        _node("Gemm", ["f", "u", "b"], "y", transB=1),
    ]
    return _chain((1, 3, 7, 3), *nodes, out=(1, 5), w=_w(4, 3, 1, 1), u=_w(5, 84), b=_w(5))


def _concat(axis: int, out: Sequence[int]) -> onnx.ModelProto:
    nodes = [
        _node("Conv", ["x", "w"], "t"),
        _node("Tanh", ["t"], "u"),
        _node("Concat", ["t", "u"], "y", axis=axis),
    ]
    return _chain((1, 3, 7, 3), *nodes, out=out, w=_w(4, 3, 1, 1))


def _two_outputs() -> onnx.ModelProto:
    nodes = [_node("Conv", ["x", "w"], "t"), _node("Relu", ["t"], "y"), _node("GlobalAveragePool", ["y"], "z")]
    outputs = {"y": (1, 4, 7, 3), "z": (1, 4, 1, 1)}
    return models.make_model(nodes, {"x": (1, 3, 7, 3)}, outputs, {"w": _w(4, 3, 1, 1)})


def _two_inputs() -> onnx.ModelProto:
    nodes = [_node("Add", ["x", "z"], "s"), _node("MaxPool", ["s"], "y", kernel_shape=[2, 2])]
    return models.make_model(nodes, {"x": (1, 3, 4, 5), "z": (1, 3, 4, 5)}, {"y": (1, 3, 3, 4)})
