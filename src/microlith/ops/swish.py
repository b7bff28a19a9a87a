"""Swish: ``x * sigmoid(alpha * x)``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.math_functions import gated
from microlith.ops.sigmoid import sigmoid
from microlith.ops.unary import unary


@dataclass(frozen=True)
class SwishAttrs:
    """Slope of the gate."""

    alpha: float


def parse(node: ir.Node) -> SwishAttrs:
    """Attributes of a Swish node."""
    return SwishAttrs(nodes.real(node, "alpha", 1.0))


SWISH = unary(
    "Swish",
    parse,
    lambda attrs, x: np.asarray(gated(x, sigmoid(np.float32(attrs.alpha) * x)), np.float32),
    lambda attrs: lambda x: np.asarray(gated(x, sigmoid(np.asarray(attrs.alpha * x, np.float64))), np.float64),
    lowering=Pointwise("swish", ("alpha",)),
)
