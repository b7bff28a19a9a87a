"""Trilu: the upper or lower triangle of matrices, zero elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import rearrangement

# Farther than any matrix reaches, and an int32_t in C.
_FAR = 1 << 30


@dataclass(frozen=True)
class TriluAttrs:
    """Attributes of Trilu.

    Attributes:
        upper: which triangle stays.
        k: its outermost diagonal; 0 is the main one, larger ones are to the right.
    """

    upper: bool
    k: int


def parse(node: ir.Node) -> TriluAttrs:
    """Attributes of a Trilu node."""
    k = nodes.constant_integers(node, 1, "its k")
    if k is not None and len(k) != 1:
        raise ModelError(f"its k is {k}, expected one integer", node=nodes.where(node))
    return TriluAttrs(bool(nodes.integer(node, "upper", 1)), min(max(k[0], -_FAR), _FAR) if k else 0)


def infer(attrs: TriluAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape stays."""
    if len(inputs[0]) < 2:
        raise ModelError(f"Trilu got an input of shape {inputs[0]}, expected matrices")
    return (inputs[0],)


def _move(attrs: TriluAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    (x,) = inputs
    infer(attrs, (x.shape,))
    distance = np.arange(x.shape[-1]) - np.arange(x.shape[-2]).reshape(-1, 1)
    return np.where(distance >= attrs.k if attrs.upper else distance <= attrs.k, x, zero)


TRILU = rearrangement(
    "Trilu",
    parse,
    infer,
    _move,
    batches=lambda attrs, inputs, output: len(output) > 2,
    lowering="lower_remap.lower_trilu",
)
