"""LeakyRelu: ``x`` where it is positive, ``alpha * x`` elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.unary import unary
from microlith.quant import fixed_curves


@dataclass(frozen=True)
class LeakyReluAttrs:
    """Slope below zero."""

    alpha: float


def parse(node: ir.Node) -> LeakyReluAttrs:
    """Attributes of a LeakyRelu node."""
    return LeakyReluAttrs(nodes.real(node, "alpha", 0.01))


LEAKY_RELU = unary(
    "LeakyRelu",
    parse,
    lambda attrs, x: np.where(x < 0, np.float32(attrs.alpha) * x, x),
    lambda attrs: lambda x: np.where(x < 0, attrs.alpha * x, x),
    fixed=lambda attrs, x, out: fixed_curves.leaky_relu(x, out.qparams, attrs.alpha, out.low, out.high),
    lowering=Pointwise("leaky_relu", ("alpha",)),
)
