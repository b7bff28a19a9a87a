"""Window attributes over up to three spatial axes, as written in a node, and the geometry that they give on an input.

Conv and pools over one and two axes without further wishes use :mod:`microlith.ops.spatial`.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.quant.volumes import VolumeGeometry

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
MOST_AXES = 3


@dataclass(frozen=True)
class Volume:
    """A window; each tuple has one number for each spatial axis, pads those before and then those after.

    Attributes:
        kernel: taps.
        stride: steps between windows.
        dilation: steps between taps.
        pads: of no meaning unless ``auto_pad`` is NOTSET.
        auto_pad: as in ONNX.
        ceil_mode: whether output sizes are rounded up.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    def geometry(self, shape: Shape) -> VolumeGeometry:
        """The windows on an input of this shape (N, C, ...)."""
        size = self.spatial(shape)
        sides = [self._side(axis, size[axis]) for axis in range(self.rank)]
        if min(side[2] for side in sides) < 1:
            raise ModelError(f"a window of {self.kernel} does not fit into an input of shape {shape}")
        before, after, output = (tuple(side[i] for side in sides) for i in range(3))
        nodes.check_padding(before, after, size)
        return VolumeGeometry(self.kernel, self.stride, self.dilation, before, after, size, output)

    def spatial(self, shape: Shape) -> tuple[int, ...]:
        """The spatial sizes of an input."""
        if len(shape) != self.rank + 2:
            raise ModelError(f"an input of shape {shape} where a window over {self.rank} spatial axes is to slide")
        return shape[2:]

    def extent(self, axis: int) -> int:
        """Elements from the first tap to the last."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def _side(self, axis: int, size: int) -> tuple[int, int, int]:
        stride, extent = self.stride[axis], self.extent(axis)
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = -(-size // stride)
            total = max(0, (output - 1) * stride + extent - size)
            less, more = total // 2, total - total // 2
            return (less, more, output) if self.auto_pad == "SAME_UPPER" else (more, less, output)
        before, after = (0, 0) if self.auto_pad == "VALID" else (self.pads[axis], self.pads[axis + self.rank])
        free = size + before + after - extent
        output = free // stride + 1
        if self.ceil_mode and free % stride:
            # A window that would begin in the padding after the input holds no element and is left out.
            output += output * stride < size + before
        return before, after, output


def parse_volume(node: ir.Node, kernel: tuple[int, ...]) -> Volume:
    """The window attributes of a node with this kernel shape."""
    rank = len(kernel)
    if not 1 <= rank <= MOST_AXES:
        raise nodes.unsupported(node, f"windows over {rank} spatial axes are not supported; 1 to {MOST_AXES} are")
    stride, dilation = (sized(node, name, rank, 1) for name in ("strides", "dilations"))
    pads = nodes.integers(node, "pads", (0,) * (2 * rank)) or ()
    auto_pad = nodes.text(node, "auto_pad", "NOTSET")
    if auto_pad not in AUTO_PADS:
        raise ModelError(f"auto_pad is {auto_pad!r}", node=nodes.where(node))
    if len(pads) != 2 * rank or min(pads) < 0:
        raise nodes.unsupported(node, f"pads are {pads}, expected {2 * rank} numbers that are not negative")
    if min(*kernel, *stride, *dilation) < 1:
        raise ModelError("a kernel size, stride or dilation is below 1", node=nodes.where(node))
    return Volume(kernel, stride, dilation, pads, auto_pad, bool(nodes.integer(node, "ceil_mode", 0)))


def sized(node: ir.Node, name: str, rank: int, default: int) -> tuple[int, ...]:
    """An attribute with one number for each spatial axis."""
    found = nodes.integers(node, name, (default,) * rank) or ()
    if len(found) != rank:
        raise ModelError(f"{name} are {found}, expected {rank} numbers", node=nodes.where(node))
    return found
