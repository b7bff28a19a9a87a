"""Elu and Selu: ``gamma * x`` above 0, ``gamma * alpha * (exp(x) - 1)`` below; Elu has a gamma of 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.math_functions import expm1_below_zero
from microlith.ops.unary import unary
from microlith.quant.lut import Curve


@dataclass(frozen=True)
class EluAttrs:
    """Scale of the curve below 0, and of all."""

    alpha: float
    gamma: float


def parse_elu(node: ir.Node) -> EluAttrs:
    """Attributes of an Elu node."""
    return EluAttrs(nodes.real(node, "alpha", 1.0), 1.0)


def parse_selu(node: ir.Node) -> EluAttrs:
    """Attributes of a Selu node."""
    alpha = nodes.real(node, "alpha", 1.67326319217681884765625)
    return EluAttrs(alpha, nodes.real(node, "gamma", 1.05070102214813232421875))


def _compute(attrs: EluAttrs, x: NDArray[np.float32]) -> NDArray[np.float32]:
    below = np.float32(attrs.alpha) * expm1_below_zero(x)
    return np.asarray(np.float32(attrs.gamma) * np.where(x < 0, below, x), np.float32)


def _curve(attrs: EluAttrs) -> Curve:
    return lambda x: attrs.gamma * np.where(x < 0, attrs.alpha * expm1_below_zero(x), x)


ELU = unary("Elu", parse_elu, _compute, _curve, lowering=Pointwise("elu", ("alpha", "gamma")))
SELU = unary("Selu", parse_selu, _compute, _curve, lowering=Pointwise("elu", ("alpha", "gamma")))
