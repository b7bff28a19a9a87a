"""ThresholdedRelu: ``x`` above ``alpha``, 0 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.unary import unary


@dataclass(frozen=True)
class ThresholdedReluAttrs:
    """The threshold."""

    alpha: float


def parse(node: ir.Node) -> ThresholdedReluAttrs:
    """Attributes of a ThresholdedRelu node."""
    return ThresholdedReluAttrs(nodes.real(node, "alpha", 1.0))


THRESHOLDED_RELU = unary(
    "ThresholdedRelu",
    parse,
    lambda attrs, x: np.where(np.isnan(x) | (x > np.float32(attrs.alpha)), x, np.float32(0.0)),
    lambda attrs: lambda x: np.where(x > attrs.alpha, x, 0.0),
    lowering=Pointwise("thresholded_relu", ("alpha",)),
)
