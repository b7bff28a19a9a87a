"""Col2Im: blocks of columns added up into an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape
from microlith.ops.movement import operand


@dataclass(frozen=True)
class Col2ImAttrs:
    """Attributes of Col2Im, each with one number for every spatial axis.

    Attributes:
        image: sizes of the result.
        block: sizes of a block.
        strides: from block to block.
        dilations: from element to element of a block.
        pads: elements before each axis, then elements after each.
    """

    image: tuple[int, ...]
    block: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def padded(self) -> tuple[int, ...]:
        """Sizes of the image with its padding, into which all blocks fit."""
        count = len(self.image)
        return tuple(
            size + before + after
            for size, before, after in zip(self.image, self.pads[:count], self.pads[count:], strict=True)
        )

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many blocks there are along each axis."""
        return tuple(
            (size - dilation * (block - 1) - 1) // stride + 1
            for size, block, stride, dilation in zip(self.padded, self.block, self.strides, self.dilations, strict=True)
        )

    def places(self) -> NDArray[np.int64]:
        """The place in the padded image, counted row by row, of each element of each block: (elements, blocks)."""
        rank = len(self.image)
        element, block = np.indices(self.block), np.indices(self.blocks)
        total = np.zeros((math.prod(self.block), math.prod(self.blocks)), np.int64)
        for axis in range(rank):
            along = (
                element[axis].reshape(-1, 1) * self.dilations[axis] + block[axis].reshape(1, -1) * self.strides[axis]
            )
            total += along * math.prod(self.padded[axis + 1 :])
        return total


def parse(node: ir.Node) -> Col2ImAttrs:
    """Attributes and constant shapes of a Col2Im node."""
    image = nodes.required(node, nodes.constant_integers(node, 1, "its image_shape"), "its image_shape")
    block = nodes.required(node, nodes.constant_integers(node, 2, "its block_shape"), "its block_shape")
    rank = len(image)
    strides, dilations = (nodes.integers(node, name, (1,) * rank) for name in ("strides", "dilations"))
    pads = nodes.integers(node, "pads", (0,) * 2 * rank)
    assert strides is not None and dilations is not None and pads is not None, "all have defaults"
    attrs = Col2ImAttrs(image, block, strides, dilations, pads)
    if {len(block), len(strides), len(dilations)} != {rank} or len(pads) != 2 * rank:
        raise ModelError(
            f"its image_shape, block_shape and attributes do not go together: {attrs}", node=nodes.where(node)
        )
    if min((*image, *block, *strides, *dilations)) < 1 or min(pads) < 0 or min(attrs.blocks) < 1:
        raise ModelError(f"its shapes leave no block: {attrs}", node=nodes.where(node))
    return attrs


def infer(attrs: Col2ImAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Images of as many channels as the blocks hold."""
    shape, elements = inputs[0], math.prod(attrs.block)
    if len(shape) != 3 or shape[1] % elements or shape[2] != math.prod(attrs.blocks):
        raise ModelError(f"Col2Im got columns of shape {shape} for {math.prod(attrs.blocks)} blocks of {elements}")
    return ((shape[0], shape[1] // elements, *attrs.image),)


def reference(attrs: Col2ImAttrs, inputs: Sequence[Array | None]) -> Array:
    """Sums in the type of the input, block after block of each element."""
    x = operand(inputs)
    (shape,) = infer(attrs, (x.shape,))
    columns = x.reshape(shape[0] * shape[1], -1)
    padded = np.zeros((columns.shape[0], math.prod(attrs.padded)), x.dtype)
    np.add.at(padded, (slice(None), attrs.places().reshape(-1)), columns)  # type: ignore[arg-type]
    images = padded.reshape(*shape[:2], *attrs.padded)
    inside = [slice(before, before + size) for before, size in zip(attrs.pads, attrs.image, strict=False)]
    return np.ascontiguousarray(images[(slice(None), slice(None), *inside)])


COL2IM = Op(
    "Col2Im",
    parse,
    infer,
    reference,
    data_inputs=(0,),
    batches=lambda attrs, inputs, output: True,
    lowering="lower_indexing.lower_col2im",
)
