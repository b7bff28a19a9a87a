"""Shrink: 0 within ``lambd`` of 0, elsewhere ``x`` moved towards 0 by ``bias``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.unary import unary


@dataclass(frozen=True)
class ShrinkAttrs:
    """Half the width of what becomes 0, and the move."""

    lambd: float
    bias: float


def parse(node: ir.Node) -> ShrinkAttrs:
    """Attributes of a Shrink node."""
    return ShrinkAttrs(nodes.real(node, "lambd", 0.5), nodes.real(node, "bias", 0.0))


def _shrink(attrs: ShrinkAttrs, x: NDArray[np.floating[Any]]) -> NDArray[Any]:
    kind = x.dtype.type
    lambd, bias = kind(attrs.lambd), kind(attrs.bias)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, np.where(np.isnan(x), x, kind(0))))


SHRINK = unary(
    "Shrink", parse, _shrink, lambda attrs: lambda x: _shrink(attrs, x), lowering=Pointwise("shrink", ("lambd", "bias"))
)
