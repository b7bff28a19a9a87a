"""Attention: ``softmax(scale * Q K' + mask) V`` for every head; quantized, it is the ops that it consists of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

_MASK = 3


@dataclass(frozen=True)
class AttentionAttrs:
    """Attributes.

    Attributes:
        scale: of the products of queries and keys; None for one divided by the root of the size of a query.
        causal: whether query i sees the keys up to i only.
        cap: scaled products become ``cap * tanh(product / cap)``; 0 for none.
        heads: of queries, and of keys and values, where these are side by side in tensors of rank 3.
    """

    scale: float | None
    causal: bool
    cap: float
    heads: tuple[int, int] | None

    def split(self, shape: Shape, index: int) -> tuple[int, int, int, int]:
        """Batch, heads, rows and columns of an operand: 0 for queries, 1 for keys, 2 for values."""
        if len(shape) == 4:
            return shape[0], shape[1], shape[2], shape[3]
        heads = None if self.heads is None else self.heads[min(index, 1)]
        if len(shape) != 3 or not heads or shape[2] % heads:
            raise ModelError(f"Attention got an operand of shape {shape} for {heads or 'an unknown number of'} heads")
        return shape[0], heads, shape[1], shape[2] // heads

    def factor(self, depth: int) -> float:
        """The scale for queries of that size."""
        return 1 / math.sqrt(depth) if self.scale is None else self.scale


def parse(node: ir.Node) -> AttentionAttrs:
    """Attributes of an Attention node without caches, windows and further results."""
    if is_more_than_a_mix(node):
        raise nodes.unsupported(node, "caches, windows and results beside the first are not computed in one piece")
    heads = (nodes.integer(node, "q_num_heads", 0), nodes.integer(node, "kv_num_heads", 0))
    scale = nodes.real(node, "scale", math.nan)
    return AttentionAttrs(
        None if math.isnan(scale) else scale,
        bool(nodes.integer(node, "is_causal", 0)),
        nodes.real(node, "softcap", 0.0),
        heads if all(heads) else None,
    )


def is_more_than_a_mix(node: ir.Node) -> bool:
    """Whether a node keeps keys and values, sees a window of them, or tells its products."""
    windows = [nodes.integer(node, name, -1) for name in ("left_window_size", "right_window_size")]
    extra = any(nodes.has_input(node, index) for index in (4, 5, 6))
    return extra or any(item.name for item in node.outputs[1:]) or any(item >= 0 for item in windows)


def infer(attrs: AttentionAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Of the queries, with the columns of the values."""
    query, key, value = (attrs.split(inputs[index], index) for index in range(3))
    if query[3] != key[3] or key[:3] != value[:3] or query[0] != key[0] or query[1] % key[1]:
        raise ModelError(f"Attention got queries {inputs[0]}, keys {inputs[1]} and values {inputs[2]}")
    full = (*query[:3], key[2])
    if len(inputs) > _MASK:
        mask = inputs[_MASK]
        if len(mask) > len(full) or np.broadcast_shapes(mask, full) != full:
            raise ModelError(f"Attention got a mask of shape {mask} for products of shape {full}")
    if len(inputs[0]) == 4:
        return ((*query[:3], value[3]),)
    return ((query[0], query[2], query[1] * value[3]),)


def reference(attrs: AttentionAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32; a mask of booleans says which keys are seen, any other is added."""
    query, key, value = (_by_heads(attrs, nodes.f32(inputs, index), index) for index in range(3))
    group = query.shape[1] // key.shape[1]
    key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
    products = query @ key.swapaxes(2, 3) * np.float32(attrs.factor(query.shape[3]))
    if attrs.cap:
        products = np.float32(attrs.cap) * np.tanh(products / np.float32(attrs.cap))
    mask = inputs[_MASK] if len(inputs) > _MASK else None
    if mask is not None:
        products = np.where(mask, products, -np.inf) if mask.dtype == np.bool_ else products + mask
    if attrs.causal:
        products = np.where(np.tri(*products.shape[2:], dtype=np.bool_), products, -np.inf)
    with np.errstate(invalid="ignore"):
        shares = np.exp(products - products.max(axis=3, keepdims=True))
    mixed = (shares / shares.sum(axis=3, keepdims=True)) @ value
    if nodes.f32(inputs).ndim == 3:
        mixed = mixed.swapaxes(1, 2).reshape(*mixed.shape[::2], -1)
    return np.asarray(mixed, np.float32)


def _by_heads(attrs: AttentionAttrs, array: np.ndarray, index: int) -> np.ndarray:
    batch, heads, rows, columns = attrs.split(array.shape, index)
    if array.ndim == 4:
        return array
    return array.reshape(batch, rows, heads, columns).swapaxes(1, 2)


def _macs(attrs: AttentionAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    query, value = attrs.split(inputs[0], 0), attrs.split(inputs[2], 2)
    return math.prod(query[:3]) * value[2] * (query[3] + value[3])


ATTENTION = Op(
    "Attention",
    parse,
    infer,
    reference,
    macs=_macs,
    written_out=lambda node: True,
    lowering="lower_attention.lower_attention",
)
"""Written out in every graph that is loaded, so that its products can be quantized; lowering recovers what is float."""
