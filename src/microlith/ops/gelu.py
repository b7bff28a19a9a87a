"""Gelu: ``x`` times the normal distribution function of ``x``, by erf or by its approximation with tanh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.math_functions import erf, gated
from microlith.ops.unary import unary


@dataclass(frozen=True)
class GeluAttrs:
    """Whether the approximation with tanh is meant."""

    tanh: bool


def parse(node: ir.Node) -> GeluAttrs:
    """Attributes of a Gelu node."""
    approximate = nodes.text(node, "approximate", "none")
    if approximate not in ("none", "tanh"):
        raise nodes.unsupported(node, f"approximate is {approximate!r}, expected 'none' or 'tanh'")
    return GeluAttrs(approximate == "tanh")


def _gelu(attrs: GeluAttrs, x: NDArray[np.floating[Any]]) -> NDArray[Any]:
    kind = x.dtype.type
    if attrs.tanh:
        inner = kind(np.sqrt(2 / np.pi)) * (x + kind(0.044715) * x * x * x)
        return gated(x, kind(0.5) * (1 + np.tanh(inner)))
    return gated(x, kind(0.5) * (1 + erf(x * kind(np.sqrt(0.5)))))


GELU = unary("Gelu", parse, _gelu, lambda attrs: lambda x: _gelu(attrs, x), lowering=Pointwise("gelu"))
