"""Models of the ops of neural networks beyond the first ones: convolutions, reductions, normalizations, recurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

import models

RNG = np.random.default_rng(11)
Shape = Sequence[int]
IMAGE = (1, 6, 7, 9)


def _w(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.4, shape).astype(np.float32)


def _ints(*items: int) -> np.ndarray:
    return np.array(items, np.int64)


def _one(
    op: str,
    shapes: Sequence[Shape],
    out: Shape,
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    **attributes: object,
) -> onnx.ModelProto:
    """One node on inputs ``x0``, ``x1`` ... and then on the weights; a weight named ``-`` is an absent input."""
    weights = weights or {}
    inputs = {f"x{index}": shape for index, shape in enumerate(shapes)}
    names = [*inputs, *("" if name.startswith("-") else name for name in weights)]
    node = helper.make_node(op, names, ["y"], name="y", **attributes)
    kept = {name: values for name, values in weights.items() if not name.startswith("-")}
    return models.make_model([node], inputs, {"y": out}, kept, opset=opset)


def _reduce(op: str, axes: Sequence[int], out: Shape, keepdims: int = 1, shape: Shape = IMAGE) -> onnx.ModelProto:
    if op == "ReduceSum":
        return _one(op, [shape], out, {"axes": _ints(*axes)}, keepdims=keepdims)
    return _one(op, [shape], out, axes=list(axes), keepdims=keepdims)


def quantizable_models() -> dict[str, onnx.ModelProto]:
    """Models with a float and an integer form, by name, which is a C identifier."""
    return {
        "sum_channels": _reduce("ReduceSum", [1], (1, 1, 7, 9)),
        "sum_apart": _reduce("ReduceSum", [1, 3], (1, 7), 0),
        "max_image": _reduce("ReduceMax", [2, 3], (1, 6), 0),
        "min_rows": _reduce("ReduceMin", [2], (1, 6, 1, 9)),
        "conv_transpose": _one(
            "ConvTranspose", [IMAGE], (1, 5, 15, 19), {"w": _w(6, 5, 3, 3), "b": _w(5)}, strides=[2, 2]
        ),
        "conv_transpose_padded": _one(
            "ConvTranspose", [IMAGE], (1, 9, 14, 10), {"w": _w(6, 9, 3, 2)}, strides=[2, 1], pads=[1, 0, 1, 0],
            output_padding=[1, 0],
        ),
        "conv_transpose_dilated": _one(
            "ConvTranspose", [IMAGE], (1, 2, 9, 27), {"w": _w(6, 2, 2, 3)}, strides=[1, 3], dilations=[2, 1],
        ),
        "conv_transpose_same": _one(
            "ConvTranspose", [IMAGE], (1, 3, 14, 18), {"w": _w(6, 3, 3, 3)}, strides=[2, 2], auto_pad="SAME_UPPER"
        ),
        "conv_transpose_row": _one(
            "ConvTranspose", [(1, 4, 11)], (1, 5, 24), {"w": _w(4, 5, 4), "b": _w(5)}, strides=[2], pads=[0, 0]
        ),
        "matmul_left": _left_matmul(),
        "matmul_stack": _one("MatMul", [(1, 3, 4, 5)], (1, 3, 4, 2), {"w": _w(3, 5, 2)}),
        "matmul_broadcast": _one("MatMul", [(2, 1, 3, 4), (1, 3, 4, 5)], (2, 3, 3, 5)),
        "matmul_vector": _one("MatMul", [(5,), (5, 3)], (3,)),
        "matmul_by_vector": _one("MatMul", [(2, 5)], (2,), {"w": _w(5)}),
        "gemm_factors": _one(
            "Gemm", [(3, 4)], (3, 5), {"w": _w(5, 4), "b": _w(1, 5)}, transB=1, alpha=0.5, beta=-2.0
        ),
        "gemm_transposed": _one("Gemm", [(4, 3)], (3, 5), {"w": _w(4, 5)}, transA=1),
        "gemm_column": _one("Gemm", [(3, 4)], (3, 5), {"w": _w(4, 5), "c": _w(3, 1)}, beta=0.5),
        "gemm_computed": _one("Gemm", [(4, 3), (5, 4), (3, 5)], (3, 5), transA=1, transB=1, alpha=0.25, beta=0.75),
        "gemm_product": _one("Gemm", [(3, 4), (4, 5)], (3, 5), alpha=2.0),
        "einsum_stack": _one("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), equation="bij, bjk -> bik"),
        "einsum_heads": _one("Einsum", [(2, 5, 3, 4), (2, 6, 3, 4)], (2, 3, 5, 6), equation="bqhd,bkhd->bhqk"),
        "global_max_pool": _one("GlobalMaxPool", [IMAGE], (1, 6, 1, 1)),
    }  # fmt: skip


def _left_matmul() -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["w", "x"], ["y"], name="y")
    return models.make_model([node], {"x": (2, 5, 7)}, {"y": (2, 4, 7)}, {"w": _w(4, 5)})


def float_models() -> dict[str, onnx.ModelProto]:
    """Models with a float form only."""
    found = {
        f"{op.lower()}_{name}": _reduce(op, axes, out, keep)
        for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare")
        for name, axes, out, keep in (("rows", [3], (1, 6, 7, 1), 1), ("planes", [1, 2], (1, 9), 0))
    }
    log_sum = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="s"),
        helper.make_node("ReduceLogSum", ["s"], ["y"], name="y", axes=[2]),
    ]
    found |= {
        "log_sum": models.make_model(log_sum, {"x": IMAGE}, {"y": (1, 6, 1, 9)}, {}),
        "conv_transpose_grouped": _one(
            "ConvTranspose", [IMAGE], (1, 8, 15, 19), {"w": _w(6, 4, 3, 3), "b": _w(8)}, strides=[2, 2], group=2
        ),
        "conv_transpose_volume": _one(
            "ConvTranspose", [(2, 4, 3, 4, 5)], (2, 9, 5, 9, 5), {"w": _w(4, 9, 3, 3, 1)}, strides=[1, 2, 1]
        ),
        "conv_transpose_computed": _one("ConvTranspose", [(1, 4, 5, 5), (4, 3, 3, 3), (3,)], (1, 3, 7, 7)),
    }
    found |= {
        "einsum_transpose": _one("Einsum", [(3, 4)], (4, 3), equation="ij->ji"),
        "einsum_sum": _one("Einsum", [(3, 4)], (3,), equation="ij->i"),
        "einsum_implicit": _one("Einsum", [(3, 4), (4, 5)], (3, 5), equation="ij,jk"),
        "einsum_dots": _one("Einsum", [(2, 3, 4), (5, 4)], (2, 3, 5), equation="...i,ji->...j"),
        "einsum_apart": _one("Einsum", [(3, 4), (5, 2)], (5, 3), equation="ij,kl->ki"),
        "einsum_three": _one("Einsum", [(3, 4), (4, 5), (5, 3)], (4, 3), equation="ij,jk,kl->jl"),
    }
    found |= _convolutions() | _pools() | _normalizations() | _recurrent()
    found |= _attention()
    return found


def _attention() -> dict[str, onnx.ModelProto]:
    mask = _w(5, 6)
    return {
        "attention": _one("Attention", [(1, 3, 5, 4), (1, 3, 6, 4), (1, 3, 6, 9)], (1, 3, 5, 9), opset=23),
        "attention_groups": _one(
            "Attention", [(2, 5, 32), (2, 6, 16), (2, 6, 6)], (2, 5, 12), opset=23, q_num_heads=4, kv_num_heads=2
        ),
        "attention_causal": _one(
            "Attention", [(1, 2, 9, 8), (1, 2, 9, 8), (1, 2, 9, 8)], (1, 2, 9, 8), opset=23, is_causal=1
        ),
        "attention_masked": _one(
            "Attention", [(1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 3)], (1, 2, 5, 3), {"m": mask}, opset=23, scale=0.7
        ),
        "attention_of_parts": _self_attention(),
    }


def _self_attention() -> onnx.ModelProto:
    """Queries, keys and values as parts of one product; a computed mask."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["all"]),
        helper.make_node("Reshape", ["all", "apart"], ["heads"]),
        helper.make_node("Transpose", ["heads"], ["turned"], perm=[2, 0, 3, 1, 4]),
        helper.make_node("Split", ["turned"], ["q5", "k5", "v5"], axis=0, num_outputs=3),
        *(helper.make_node("Squeeze", [f"{name}5", "zero"], [name]) for name in "qkv"),
        helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "t"], ["products"]),
        helper.make_node("Mul", ["products", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"]),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["rows"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["rows", "together"], ["y"]),
    ]
    for item in nodes:
        item.name = item.output[0]
    weights = {
        "w": _w(8, 24),
        "apart": _ints(1, 7, 3, 2, 4),
        "zero": _ints(0),
        "scale": np.array(0.5, np.float32),
        "together": _ints(1, 7, 8),
    }
    inputs = {"x": (1, 7, 8), "mask": (1, 1, 7, 7)}
    return models.make_model(nodes, inputs, {"y": (1, 7, 8)}, weights, opset=18)


def _convolutions() -> dict[str, onnx.ModelProto]:
    volume = (1, 4, 5, 6, 7)
    return {
        "conv_volume": _one(
            "Conv", [volume], (1, 9, 3, 6, 3), {"w": _w(9, 4, 3, 3, 2), "b": _w(9)},
            pads=[0, 1, 0, 0, 1, 0], strides=[1, 1, 2],
        ),
        "conv_volume_grouped": _one("Conv", [volume], (1, 6, 5, 2, 7), {"w": _w(6, 2, 1, 3, 1)}, group=2,
                                    dilations=[1, 2, 1]),
        "conv_computed": _one("Conv", [IMAGE, (5, 6, 3, 3), (5,)], (1, 5, 7, 9), pads=[1] * 4),
        "conv_batch": _one("Conv", [(2, 4, 8)], (2, 9, 7), {"w": _w(9, 4, 2)}),
    }  # fmt: skip


def _pools() -> dict[str, onnx.ModelProto]:
    volume = (2, 3, 5, 6, 7)
    return {
        "max_pool_volume": _one("MaxPool", [volume], (2, 3, 2, 3, 3), kernel_shape=[2, 3, 2], strides=[2, 2, 2],
                                pads=[0, 1, 0, 0, 0, 0], dilations=[1, 1, 2]),
        "max_pool_batch": _one("MaxPool", [(2, 3, 6, 5)], (2, 3, 5, 4), kernel_shape=[2, 2]),
        "max_pool_indices": _indices((2, 3, 6, 5), (2, 3, 4, 3), kernel_shape=[2, 2], strides=[2, 2], pads=[1] * 4),
        "max_pool_indices_columns": _indices((1, 3, 6, 5), (1, 3, 5, 4), kernel_shape=[2, 2], storage_order=1),
        "average_pool_volume": _one("AveragePool", [volume], (2, 3, 3, 4, 6), kernel_shape=[2, 3, 2],
                                    strides=[2, 2, 1], pads=[0, 1, 0, 1, 1, 0], ceil_mode=1),
        "average_pool_ceil": _one("AveragePool", [IMAGE], (1, 6, 4, 5), kernel_shape=[3, 3], strides=[2, 2],
                                  pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1),
        "average_pool_batch": _one("AveragePool", [(2, 3, 6)], (2, 3, 5), kernel_shape=[2]),
        "lp_pool": _one("LpPool", [IMAGE], (1, 6, 4, 5), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, p=3),
        "lp_pool_row": _one("LpPool", [(1, 3, 9)], (1, 3, 7), kernel_shape=[3]),
        "global_lp_pool": _one("GlobalLpPool", [IMAGE], (1, 6, 1, 1)),
        "global_lp_pool_cubic": _one("GlobalLpPool", [IMAGE], (1, 6, 1, 1), p=3),
    }  # fmt: skip


def _normalizations() -> dict[str, onnx.ModelProto]:
    rows = (2, 5, 8)
    return {
        "layer_norm": _one("LayerNormalization", [rows], rows, {"s": _w(8), "b": _w(8)}, epsilon=1e-3),
        "layer_norm_axes": _one("LayerNormalization", [rows], rows, {"s": _w(5, 8)}, axis=1),
        "layer_norm_computed": _one("LayerNormalization", [rows, (8,), (8,)], rows),
        "layer_norm_statistics": _layer_norm_statistics(),
        "rms_norm": _one("RMSNormalization", [rows], rows, {"s": _w(8)}, opset=23),
        "instance_norm": _one("InstanceNormalization", [IMAGE], IMAGE, {"s": _w(6), "b": _w(6)}),
        "instance_norm_row": _one("InstanceNormalization", [(2, 3, 9), (3,), (3,)], (2, 3, 9)),
        "group_norm": _one("GroupNormalization", [IMAGE], IMAGE, {"s": _w(6), "b": _w(6)}, opset=21, num_groups=2),
        "lp_norm": _one("LpNormalization", [IMAGE], IMAGE, axis=1),
        "lp_norm_sum": _one("LpNormalization", [rows], rows, p=1),
        "mean_variance_norm": _one("MeanVarianceNormalization", [(2, 3, 4, 5)], (2, 3, 4, 5), axes=[0, 2, 3]),
        "mean_variance_norm_axes": _one("MeanVarianceNormalization", [IMAGE], IMAGE, axes=[1, 3]),
        "lrn": _one("LRN", [IMAGE], IMAGE, size=5, alpha=0.5, beta=0.6, bias=1.5),
        "log_softmax": _one("LogSoftmax", [rows], rows),
        "log_softmax_channels": _one("LogSoftmax", [IMAGE], IMAGE, axis=1),
        "hardmax": _one("Hardmax", [rows], rows, axis=1),
    }


def _layer(
    op: str,
    directions: int,
    *,
    bias: bool = True,
    states: bool = False,
    lengths: Sequence[int] | None = None,
    peepholes: bool = False,
    results: Sequence[str] = ("y",),
    **attributes: object,
) -> onnx.ModelProto:
    """A recurrent layer over five steps of two sequences of seven numbers, with states of four."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    batch_first = attributes.get("layout", 0) == 1
    last = (2, directions, 4) if batch_first else (directions, 2, 4)
    weights = {"w": _w(directions, gates * 4, 7), "r": _w(directions, gates * 4, 4)}
    names = ["x", "w", "r"]
    optional = {
        "b": _w(directions, 2 * gates * 4) if bias else None,
        "n": None if lengths is None else np.array(lengths, np.int32),
        "h": _w(*last) if states else None,
        "c": _w(*last) if states and op == "LSTM" else None,
        "p": _w(directions, 12) if peepholes else None,
    }
    for name, values in optional.items():
        names.append("" if values is None else name)
        if values is not None:
            weights[name] = values
    while not names[-1]:
        names.pop()
    node = helper.make_node(op, names, list(results), name="y", hidden_size=4, **attributes)
    shapes = {"y": (2, 5, directions, 4) if batch_first else (5, directions, 2, 4), "s": last, "t": last}
    outputs = {name: shapes[name] for name in results if name}
    return models.make_model([node], {"x": (2, 5, 7) if batch_first else (5, 2, 7)}, outputs, weights)


def _recurrent() -> dict[str, onnx.ModelProto]:
    return {
        "lstm": _layer("LSTM", 1),
        "lstm_bidirectional": _layer("LSTM", 2, direction="bidirectional", states=True, results=("y", "s", "t")),
        "lstm_reverse": _layer("LSTM", 1, direction="reverse", lengths=[3, 5], results=("y", "s", "t")),
        "lstm_peepholes": _layer("LSTM", 1, peepholes=True, states=True, lengths=[5, 5], clip=0.7),
        "lstm_coupled": _layer("LSTM", 1, bias=False, input_forget=1, results=("", "s")),
        "lstm_functions": _layer(
            "LSTM", 1, activations=["HardSigmoid", "Elu", "Softsign"], activation_alpha=[0.3, 0.8],
            activation_beta=[0.4],
        ),
        "gru": _layer("GRU", 1, results=("y", "s")),
        "gru_linear": _layer("GRU", 2, linear_before_reset=1, direction="bidirectional", lengths=[2, 4]),
        "gru_functions": _layer("GRU", 1, activations=["Sigmoid", "Softplus"], states=True, clip=1.0),
        "rnn": _layer("RNN", 1, states=True, results=("y", "s")),
        "rnn_reverse": _layer("RNN", 1, direction="reverse", activations=["Relu"]),
        "rnn_functions": _layer(
            "RNN", 2, direction="bidirectional", activations=["LeakyRelu", "ScaledTanh"], activation_alpha=[0.1, 0.5],
            activation_beta=[1.5],
        ),
        "rnn_affine": _layer("RNN", 2, direction="bidirectional", activations=["Affine", "ThresholdedRelu"],
                             activation_alpha=[0.5, 0.1], activation_beta=[0.2]),
    }  # fmt: skip


def _layer_norm_statistics() -> onnx.ModelProto:
    node = helper.make_node("LayerNormalization", ["x", "s"], ["y", "m", "i"], name="y", axis=1)
    outputs = {"y": (2, 5, 8), "m": (2, 1, 1), "i": (2, 1, 1)}
    return models.make_model([node], {"x": (2, 5, 8)}, outputs, {"s": _w(5, 8)})


def _indices(shape: Shape, out: Shape, **attributes: object) -> onnx.ModelProto:
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], name="y", **attributes)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, out),
            helper.make_tensor_value_info("i", TensorProto.INT64, out),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model
