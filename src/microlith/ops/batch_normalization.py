"""BatchNormalization at inference: a scale and an offset for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.unary import always
from microlith.quant.lut import channel_tables, lookup
from microlith.quant.types import QArray, QParams


@dataclass(frozen=True, eq=False)
class BatchNormalizationAttrs:
    """``y = x * scale[c] + offset[c]``, the statistics folded in, float64 of shape (C,)."""

    scale: NDArray[np.float64]
    offset: NDArray[np.float64]


def parse(node: ir.Node) -> BatchNormalizationAttrs:
    """Attributes of a BatchNormalization node, whose parameters must be constants."""
    if nodes.integer(node, "training_mode", 0) or sum(bool(item.uses()) for item in node.outputs[1:]):
        raise nodes.unsupported(node, "batch statistics are asked for", "Export the model for inference.")
    names = ("scale", "bias", "mean", "variance")
    values = [
        nodes.required(node, nodes.constant(node, index, f"its {name}"), f"its {name}").astype(np.float64)
        for index, name in enumerate(names, 1)
    ]
    gamma, beta, mean, variance = values
    if len({item.shape for item in values}) != 1 or gamma.ndim != 1:
        raise ModelError(
            f"its parameters have shapes {[item.shape for item in values]}, expected one number a channel in each",
            node=nodes.where(node),
        )
    scale = gamma / np.sqrt(variance + nodes.real(node, "epsilon", 1e-5))
    if not np.isfinite(scale).all():
        raise ModelError("its variance is negative or not a number", node=nodes.where(node))
    return BatchNormalizationAttrs(scale, beta - mean * scale)


def infer(attrs: BatchNormalizationAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the input, whose axis 1 holds the channels."""
    if len(inputs[0]) < 2 or inputs[0][1] != attrs.scale.size:
        raise ModelError(f"BatchNormalization of {attrs.scale.size} channels got an input of shape {inputs[0]}")
    return (inputs[0],)


def reference(attrs: BatchNormalizationAttrs, inputs: Sequence[Array | None]) -> Array:
    """Float32, one product and one sum."""
    x = nodes.f32(inputs)
    shape = (-1, *[1] * (x.ndim - 2))
    return x * attrs.scale.astype(np.float32).reshape(shape) + attrs.offset.astype(np.float32).reshape(shape)


def tables(attrs: BatchNormalizationAttrs, x: QParams, output: Output) -> NDArray[np.integer]:
    """One table a channel."""
    return channel_tables(attrs.scale, attrs.offset, x, output.qparams, output.low, output.high)


def quantized(attrs: BatchNormalizationAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """By table."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    return lookup(x, tables(attrs, x.qparams, output))


BATCH_NORMALIZATION = Op(
    "BatchNormalization",
    parse,
    infer,
    reference,
    quantized,
    data_inputs=(0,),
    tables=tables,
    batches=always,
    rule=Rule("table"),
    lowering="lower_elementwise.lower_batch_norm",
)
