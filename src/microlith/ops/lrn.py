"""LRN: every element is divided by a power of the squares of its neighbours along the channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.unary import always


@dataclass(frozen=True)
class LrnAttrs:
    """Attributes of LRN, as in ONNX."""

    alpha: float
    beta: float
    bias: float
    size: int


def parse(node: ir.Node) -> LrnAttrs:
    """Attributes of an LRN node."""
    size = nodes.integer(node, "size", 0)
    bias = nodes.real(node, "bias", 1.0)
    if size < 1 or bias <= 0:
        raise nodes.unsupported(node, f"its size is {size} and its bias {bias:g}, expected numbers above 0")
    return LrnAttrs(nodes.real(node, "alpha", 1e-4), nodes.real(node, "beta", 0.75), bias, size)


def infer(attrs: LrnAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the input."""
    if len(inputs[0]) < 3:
        raise ModelError(f"LRN got an input of shape {inputs[0]}, expected N, C and more axes")
    return (inputs[0],)


def reference(attrs: LrnAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32."""
    x = nodes.f32(inputs)
    squares = np.square(x)
    total = np.zeros_like(x)
    before, channels = (attrs.size - 1) // 2, x.shape[1]
    for offset in range(-before, attrs.size - before):
        low, high = max(0, -offset), min(channels, channels - offset)
        if low < high:
            total[:, low:high] += squares[:, low + offset : high + offset]
    share = np.float32(attrs.alpha / attrs.size)
    return np.asarray(x / np.power(np.float32(attrs.bias) + share * total, np.float32(attrs.beta)), np.float32)


LRN = Op("LRN", parse, infer, reference, batches=always, lowering="lower_normalization.lower_lrn")
