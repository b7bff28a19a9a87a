"""DynamicQuantizeLinear: to uint8 with the scale and the zero point that the range of the tensor gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape


@dataclass(frozen=True)
class DynamicQuantizeAttrs:
    """DynamicQuantizeLinear has no attributes."""


def parse(node: ir.Node) -> DynamicQuantizeAttrs:
    """Nothing to read."""
    return DynamicQuantizeAttrs()


def infer(attrs: DynamicQuantizeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape stays; scale and zero point are single numbers."""
    return inputs[0], (), ()


def results(attrs: DynamicQuantizeAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """Integers, scale and zero point; a tensor of zeros has a scale of 1.

    Source: the scale where all is 0 is left open by ONNX, and is ONNX Runtime's.
    """
    x = nodes.f32(inputs, 0)
    low, high = np.minimum(x.min(), np.float32(0)), np.maximum(x.max(), np.float32(0))
    scale = np.float32((high - low) / np.float32(255))
    if scale == 0:
        scale = np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    integers = np.clip(np.rint(x / scale) + zero, 0, 255)
    found = np.asarray(np.nan_to_num(integers), np.uint8)
    return found, np.asarray(scale, np.float32), np.asarray(np.nan_to_num(zero), np.uint8)


DYNAMIC_QUANTIZE_LINEAR = Op(
    "DynamicQuantizeLinear",
    parse,
    infer,
    lambda attrs, inputs: results(attrs, inputs)[0],
    results=results,
    lowering="lower_integer.lower_dynamic_quantize",
)
