"""DepthToSpace and SpaceToDepth: blocks of pixels to channels and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import movement


@dataclass(frozen=True)
class DepthSpaceAttrs:
    """Attributes of both.

    Attributes:
        block: rows and columns of a block.
        column_first: of DepthToSpace: the block's row and column vary fastest in the channels (mode CRD), not slowest.
    """

    block: int
    column_first: bool = False


def parse(node: ir.Node) -> DepthSpaceAttrs:
    """Attributes of a DepthToSpace or SpaceToDepth node."""
    block = nodes.integer(node, "blocksize", 0)
    if block < 1:
        raise ModelError(f"its blocksize is {block}, expected 1 or more", node=nodes.where(node))
    mode = nodes.text(node, "mode", "DCR") if node.op_type == "DepthToSpace" else "DCR"
    if mode not in ("DCR", "CRD"):
        raise ModelError(f"its mode is {mode!r}, expected DCR or CRD", node=nodes.where(node))
    return DepthSpaceAttrs(block, mode == "CRD")


def infer_space(attrs: DepthSpaceAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Fewer channels, more pixels."""
    block, shape = attrs.block, inputs[0]
    if len(shape) != 4 or shape[1] % block**2:
        raise ModelError(f"DepthToSpace by {block} got an input of shape {shape}")
    return ((shape[0], shape[1] // block**2, shape[2] * block, shape[3] * block),)


def infer_depth(attrs: DepthSpaceAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """More channels, fewer pixels."""
    block, shape = attrs.block, inputs[0]
    if len(shape) != 4 or shape[2] % block or shape[3] % block:
        raise ModelError(f"SpaceToDepth by {block} got an input of shape {shape}")
    return ((shape[0], shape[1] * block**2, shape[2] // block, shape[3] // block),)


def _to_space(attrs: DepthSpaceAttrs, x: Array) -> Array:
    (shape,) = infer_space(attrs, (x.shape,))
    n, _, height, width = x.shape
    block, channels = attrs.block, shape[1]
    if attrs.column_first:
        parts = x.reshape(n, channels, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, block, block, channels, height, width).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(shape)


def _to_depth(attrs: DepthSpaceAttrs, x: Array) -> Array:
    (shape,) = infer_depth(attrs, (x.shape,))
    n, channels, height, width = x.shape
    block = attrs.block
    parts = x.reshape(n, channels, height // block, block, width // block, block)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(shape)


DEPTH_TO_SPACE = movement(
    "DepthToSpace",
    parse,
    infer_space,
    _to_space,
    lambda attrs, inputs, output: True,
    lowering="lower_remap.lower_depth_space",
)
SPACE_TO_DEPTH = movement(
    "SpaceToDepth",
    parse,
    infer_depth,
    _to_depth,
    lambda attrs, inputs, output: True,
    lowering="lower_remap.lower_depth_space",
)
