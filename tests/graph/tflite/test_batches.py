"""Blocks moved to batches and back, and the dilated convolutions that are written with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tflite_checks
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Tensor, build, constant, options
from tflite_networks import loaded, quantized, random_bias, random_weights


def _i(*values: object) -> Tensor:
    return constant(np.array(values, np.int32))


def _blocks(shape: tuple[int, ...], block: tuple[int, ...], edges: tuple[object, ...], out: tuple[int, ...]) -> bytes:
    """Into batches and back, with a Relu between."""
    tensors = {
        "x": quantized(shape, 0.05, 3),
        "b": _i(*block),
        "e": _i(*edges),
        "s": quantized(out, 0.05, 3),
        "r": quantized(out, 0.05, 3),
        "y": quantized(shape, 0.05, 3),
    }
    nodes = [
        Node("SPACE_TO_BATCH_ND", ["x", "b", "e"], ["s"]),
        Node("RELU", ["s"], ["r"]),
        Node("BATCH_TO_SPACE_ND", ["r", "b", "e"], ["y"]),
    ]
    return build(tensors, nodes, ["x"], ["y", "r"])


def dilated(
    kind: str = "int8",
    op: str = "CONV_2D",
    padding: int = 1,
    pads: tuple[tuple[int, int], ...] = ((2, 3), (3, 3)),
    crops: tuple[tuple[int, int], ...] = ((0, 1), (0, 0)),
    block: tuple[int, int] = (2, 3),
    between: bool = False,
) -> bytes:
    """A convolution of 3 by 3 over batches; with ``between``, what is between is a result as well.

    Eight channels, since LiteRT's depthwise kernel rounds ties otherwise in what is left of them over a multiple of 8.
    """
    rng = np.random.default_rng(4)
    padded = tuple(size + sum(pair) for size, pair in zip((7, 9), pads, strict=True))
    n, inner = block[0] * block[1], tuple(size // step for size, step in zip(padded, block, strict=True))
    made = inner if padding == 0 else (inner[0] - 2, inner[1] - 2)
    out = tuple(s * b - sum(c) for s, b, c in zip(made, block, crops, strict=True))
    axis = 0 if op == "CONV_2D" else 3
    weights = random_weights(rng, (8, 3, 3, 8) if op == "CONV_2D" else (1, 3, 3, 8), axis)
    bias = random_bias(rng, weights, 0.05)
    if kind == "float32":
        weights, bias = (constant(rng.normal(0, 0.3, item.shape).astype(np.float32)) for item in (weights, bias))

    def made_tensor(shape: tuple[int, ...], scale: float, zero: int) -> Tensor:
        return Tensor(shape) if kind == "float32" else quantized(shape, scale, zero)

    tensors = {
        "x": made_tensor((1, 7, 9, 8), 0.05, 3),
        "block": _i(*block),
        "pads": _i(*pads),
        "crops": _i(*crops),
        "batches": made_tensor((n, *inner, 8), 0.05, 3),
        "w": weights,
        "bias": bias,
        "conv": made_tensor((n, *made, 8), 0.09, -8),
        "y": made_tensor((1, *out, 8), 0.09, -8),
    }
    if op == "CONV_2D":
        given = options("Conv2DOptions", padding=padding, strideW=1, strideH=1, fusedActivationFunction=1)
    else:
        given = options("DepthwiseConv2DOptions", padding=padding, strideW=1, strideH=1, depthMultiplier=1)
    nodes = [
        Node("SPACE_TO_BATCH_ND", ["x", "block", "pads"], ["batches"]),
        Node(op, ["batches", "w", "bias"], ["conv"], given),
        Node("BATCH_TO_SPACE_ND", ["conv", "block", "crops"], ["y"]),
    ]
    return build(tensors, nodes, ["x"], ["y", "batches"] if between else ["y"])


def test_blocks_equal_litert(tmp_path: Path) -> None:
    contents = {
        "images": _blocks((1, 4, 6, 3), (2, 3), ((0, 0), (0, 0)), (6, 2, 2, 3)),
        "padded": _blocks((1, 3, 4, 2), (2, 3), ((1, 0), (0, 2)), (6, 2, 2, 2)),
        "rows": _blocks((1, 5, 2), (3,), ((0, 1),), (3, 2, 2)),
    }
    tflite_checks.check(contents, tmp_path)


RECOVERED = {
    "valid": {},
    "same": {"padding": 0, "pads": ((0, 1), (0, 0)), "block": (2, 3)},
    "depthwise": {"op": "DEPTHWISE_CONV_2D"},
    "cropped": {"crops": ((1, 1), (2, 0))},
    "floats": {"kind": "float32"},
    "floats_same": {"kind": "float32", "padding": 0, "pads": ((0, 1), (0, 0))},
}
# Integer kernels take one image, so what stays in batches is compiled as float.
KEPT = {
    "more_cut_than_padded": {"kind": "float32", "crops": ((0, 1), (5, 0))},
    "read_elsewhere": {"kind": "float32", "between": True},
}


def test_convolutions_over_batches_equal_litert(tmp_path: Path) -> None:
    graphs = tflite_checks.check({k: dilated(**v) for k, v in (RECOVERED | KEPT).items()}, tmp_path)  # type: ignore[arg-type]
    for name, graph in graphs.items():
        convs = [node for node in graph.graph if node.op_type == "Conv"]
        assert [tuple(node.attributes["dilations"].as_ints()) for node in convs] == [
            (2, 3) if name in RECOVERED else (1, 1)
        ]
        assert all(node.name == ("y" if name in RECOVERED else "conv") for node in convs)


def test_a_dilated_convolution_is_all_that_is_left(tmp_path: Path) -> None:
    ops = {node.op_type for node in loaded(dilated("float32"), tmp_path).graph}
    assert ops == {"Transpose", "Conv", "Relu"}


@pytest.mark.parametrize(
    ("shape", "block", "edges", "message"),
    [
        ((1, 4, 6, 3), (2, 0), ((0, 0), (0, 0)), "blocks of"),
        ((1, 4, 6, 3), (2, 3), ((0, -1), (0, 0)), "blocks of"),
        ((1, 5, 6, 3), (2, 3), ((0, 0), (0, 0)), "do not divide"),
        ((1, 4, 6, 3), (2, 3, 1, 1), ((0, 0),) * 4, "blocks of"),
    ],
)
def test_blocks_that_do_not_fit_are_malformed(
    shape: tuple[int, ...], block: tuple[int, ...], edges: tuple[object, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        onnx_of_tflite(_blocks(shape, block, edges, (6, 2, 2, 3)), "test")


def test_padding_with_other_parameters_is_refused() -> None:
    tensors = {"x": quantized((1, 4, 2), 0.05, 3), "b": _i(2), "e": _i((0, 0)), "y": quantized((2, 2, 2), 0.06, 3)}
    content = build(tensors, [Node("SPACE_TO_BATCH_ND", ["x", "b", "e"], ["y"])], ["x"], ["y"])
    with pytest.raises(UnsupportedError, match="different quantization parameters"):
        onnx_of_tflite(content, "test")
