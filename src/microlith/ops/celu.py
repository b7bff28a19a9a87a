"""Celu: ``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Pointwise
from microlith.ops.unary import unary
from microlith.quant.lut import Curve


@dataclass(frozen=True)
class CeluAttrs:
    """Scale of the curve below 0."""

    alpha: float


def parse(node: ir.Node) -> CeluAttrs:
    """Attributes of a Celu node."""
    alpha = nodes.real(node, "alpha", 1.0)
    if alpha <= 0.0:
        raise nodes.unsupported(node, f"alpha is {alpha}, expected a positive number")
    return CeluAttrs(alpha)


def _compute(attrs: CeluAttrs, x: NDArray[np.float32]) -> NDArray[np.float32]:
    alpha = np.float32(attrs.alpha)
    return np.asarray(np.where(x < 0, alpha * np.expm1(np.minimum(x, 0) / alpha), x), np.float32)


def _curve(attrs: CeluAttrs) -> Curve:
    return lambda x: np.where(x < 0, attrs.alpha * np.expm1(np.minimum(x, 0) / attrs.alpha), x)


CELU = unary("Celu", parse, _compute, _curve, lowering=Pointwise("celu", ("alpha",)))
