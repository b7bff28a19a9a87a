"""HardSigmoid: ``max(0, min(1, alpha * x + beta))``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Pointwise, Rule
from microlith.ops.unary import unary
from microlith.quant.lut import Curve


@dataclass(frozen=True)
class HardSigmoidAttrs:
    """Slope and value at zero."""

    alpha: float
    beta: float


def parse(node: ir.Node) -> HardSigmoidAttrs:
    """Attributes of a HardSigmoid node."""
    return HardSigmoidAttrs(nodes.real(node, "alpha", 0.2), nodes.real(node, "beta", 0.5))


def _compute(attrs: HardSigmoidAttrs, x: NDArray[np.float32]) -> NDArray[np.float32]:
    line = np.float32(attrs.alpha) * x + np.float32(attrs.beta)
    return np.asarray(np.clip(line, np.float32(0.0), np.float32(1.0)))


def _curve(attrs: HardSigmoidAttrs) -> Curve:
    return lambda x: np.clip(attrs.alpha * x + attrs.beta, 0.0, 1.0)


HARD_SIGMOID = unary(
    "HardSigmoid",
    parse,
    _compute,
    _curve,
    rule=Rule("table", scale=1 / 256),
    lowering=Pointwise("hard_sigmoid", ("alpha", "beta")),
)
