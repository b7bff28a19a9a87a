"""Tile: copies side by side, a constant number of times along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.ops.movement import movement


@dataclass(frozen=True)
class TileAttrs:
    """How many times along each axis."""

    repeats: tuple[int, ...]


def parse(node: ir.Node) -> TileAttrs:
    """Repeats of a Tile node."""
    repeats = nodes.required(node, nodes.constant_integers(node, 1, "its repeats"), "its repeats")
    if min(repeats, default=1) < 1:
        raise nodes.unsupported(node, f"its repeats are {repeats}, expected 1 or more")
    return TileAttrs(repeats)


def infer(attrs: TileAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Sizes times repeats."""
    if len(attrs.repeats) != len(inputs[0]):
        raise ModelError(f"Tile by {attrs.repeats} got an input of shape {inputs[0]}")
    return (tuple(size * count for size, count in zip(inputs[0], attrs.repeats, strict=True)),)


TILE = movement(
    "Tile",
    parse,
    infer,
    lambda attrs, x: np.tile(x, attrs.repeats),
    lambda attrs, inputs, output: attrs.repeats[0] == 1,
    lowering="lower_remap.lower_tile",
)
