"""Layers as matrix products: what a layer multiplies its weights by, as columns.

A layer is ``W X`` with W of shape (groups, outputs, K) and X of shape (groups, K, places). Methods that choose weights
by the error of a layer's results need X, or its products with itself, and nothing else of the layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.values import Array, constant, input_at, integer, known_shape
from microlith.ops import op_of
from microlith.ops.conv import ConvAttrs
from microlith.ops.spatial import as_rows
from microlith.quant.windows import columns

Float64 = NDArray[np.float64]

_IMAGES = 16


def is_matrix_product(node: ir.Node) -> bool:
    """Whether a node is a layer that has this form here.

    Those are Conv over one or two axes, Gemm, and MatMul by a constant matrix on the right.
    """
    weights = constant(input_at(node, 1)) if node.op_type in ("Conv", "Gemm", "MatMul") else None
    if weights is None or integer(node, "transA", 0):
        return False
    if node.op_type == "Conv":
        return isinstance(op_of(node).parse(node), ConvAttrs)
    rank = len(known_shape(node.inputs[0]) or ())
    return weights.ndim == 2 and rank >= (1 if node.op_type == "MatMul" else 2)


def as_matrices(node: ir.Node, weights: Array) -> Array:
    """Weights as (groups, outputs, K); :func:`from_matrices` is its inverse."""
    if node.op_type == "Conv":
        groups = integer(node, "group", 1)
        return weights.reshape(groups, weights.shape[0] // groups, -1)
    across = node.op_type == "MatMul" or not integer(node, "transB", 0)
    return (weights.T if across else weights)[None]


def from_matrices(node: ir.Node, matrices: Array, shape: tuple[int, ...]) -> Array:
    """Matrices (groups, outputs, K) in the shape of the layer's weights."""
    if node.op_type == "Conv":
        return matrices.reshape(shape)
    across = node.op_type == "MatMul" or not integer(node, "transB", 0)
    matrix: Array = matrices[0]
    return matrix.T if across else matrix


def windows(node: ir.Node, x: Array) -> Iterator[NDArray[np.float32]]:
    """What the weights are multiplied by, as arrays (groups, K, places), some samples at a time.

    Args:
        node: of which :func:`is_matrix_product` holds.
        x: inputs, with samples along the first axis.
    """
    if node.op_type != "Conv":
        flat = np.asarray(x, np.float32).reshape(-1, x.shape[-1])
        yield np.ascontiguousarray(flat.T)[None]
        return
    attrs = op_of(node).parse(node)
    for start in range(0, len(x), _IMAGES):
        part = np.asarray(as_rows(np.asarray(x[start : start + _IMAGES], np.float32)), np.float32)
        gathered = columns(part, attrs.spatial.geometry(x.shape))
        area = int(np.prod(gathered.shape[-2:], dtype=np.int64))
        split = gathered.reshape(len(part), attrs.groups, -1, area)
        yield np.ascontiguousarray(split.transpose(1, 2, 0, 3)).reshape(attrs.groups, -1, len(part) * area)
