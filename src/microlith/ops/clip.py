"""Clip between constant bounds; Relu6 is Clip between 0 and 6."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array
from microlith.ops.unary import unary
from microlith.quant import fixed_curves
from microlith.quant.lut import Curve


@dataclass(frozen=True)
class ClipAttrs:
    """Bounds, infinite where a side is open; of integers, integers."""

    low: float | int
    high: float | int


def parse(node: ir.Node) -> ClipAttrs:
    """Bounds from the attributes (opset 6) or the constant inputs (opset 11)."""
    low, high = (
        _bound(node, name, index, default) for name, index, default in (("min", 1, -np.inf), ("max", 2, np.inf))
    )
    return ClipAttrs(low, high)


def has_computed_bounds(node: ir.Node) -> bool:
    """Whether a bound is no constant."""
    return any(value is not None and value.const_value is None for value in node.inputs[1:])


def _bound(node: ir.Node, name: str, index: int, default: float) -> float | int:
    values = nodes.constant(node, index, f"its {name}")
    if values is None:
        return nodes.real(node, name, default)
    if values.size != 1:
        raise nodes.unsupported(node, f"its {name} has shape {values.shape}, expected a single number")
    return int(values.reshape(())) if np.issubdtype(values.dtype, np.integer) else float(values.reshape(()))


def _compute(attrs: ClipAttrs, x: NDArray[np.float32]) -> NDArray[np.float32]:
    # Not np.clip: where the bounds cross, ONNX means min(max(x, low), high), and so does this.
    return np.minimum(np.maximum(x, np.float32(attrs.low)), np.float32(attrs.high))


def _curve(attrs: ClipAttrs) -> Curve:
    return lambda x: np.minimum(np.maximum(x, attrs.low), attrs.high)


def integer_bounds(attrs: ClipAttrs, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Bounds for an integer type, its own where a side is open."""
    info = np.iinfo(dtype)
    low = info.min if attrs.low == -np.inf else int(attrs.low)
    return low, info.max if attrs.high == np.inf else int(attrs.high)


def _integers(attrs: ClipAttrs, x: Array) -> Array:
    low, high = (np.asarray(item, x.dtype) for item in integer_bounds(attrs, x.dtype))
    return np.asarray(np.minimum(np.maximum(x, low), high))


CLIP = replace(
    unary(
        "Clip",
        parse,
        _compute,
        _curve,
        _integers,
        fixed=lambda attrs, x, out: fixed_curves.clamp(x, out.qparams, (attrs.low, attrs.high), out.low, out.high),
        lowering="lower_elementwise.lower_unary",
    ),
    written_out=has_computed_bounds,
)
