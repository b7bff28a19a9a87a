"""Window attributes of Conv and the pools, as written in a node, and the geometry that they give on an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Shape
from microlith.quant.windows import Geometry

AutoPad = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]
_AUTO_PADS: dict[str, AutoPad] = {
    "NOTSET": "NOTSET",
    "SAME_UPPER": "SAME_UPPER",
    "SAME_LOWER": "SAME_LOWER",
    "VALID": "VALID",
}


@dataclass(frozen=True)
class Spatial:
    """A window over one or two spatial axes; one axis stands as the columns of a single row.

    Attributes:
        rank: number of spatial axes in the graph, 1 or 2.
        kernel: rows, columns.
        stride: rows, columns.
        dilation: rows, columns.
        pad: top, left, bottom, right; of no meaning unless ``auto_pad`` is NOTSET.
        auto_pad: as in ONNX.
        ceil_mode: whether output sizes are rounded up.
    """

    rank: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]
    auto_pad: AutoPad = "NOTSET"
    ceil_mode: bool = False

    def geometry(self, shape: Shape) -> Geometry:
        """The windows on an input of this shape (N, C, L or N, C, H, W)."""
        if len(shape) != self.rank + 2:
            raise ModelError(f"an input of shape {shape} where a window over {self.rank} spatial axes is to slide")
        size = (1, shape[2]) if self.rank == 1 else (shape[2], shape[3])
        sides = [self._side(axis, size[axis]) for axis in (0, 1)]
        if min(side[2] for side in sides) < 1:
            raise ModelError(f"a window of {self.kernel} does not fit into an input of shape {shape}")
        pad = (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
        nodes.check_padding(pad[:2], pad[2:], size)
        return Geometry(self.kernel, self.stride, self.dilation, pad, size, (sides[0][2], sides[1][2]))

    def output_shape(self, shape: Shape, channels: int) -> Shape:
        """Shape of the result on an input of this shape."""
        rows, columns = self.geometry(shape).output
        return (shape[0], channels, columns) if self.rank == 1 else (shape[0], channels, rows, columns)

    def _side(self, axis: int, size: int) -> tuple[int, int, int]:
        """Padding before and after, and the output size, of one axis."""
        stride = self.stride[axis]
        extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            output = -(-size // stride)
            total = max(0, (output - 1) * stride + extent - size)
            less, more = total // 2, total - total // 2
            return (less, more, output) if self.auto_pad == "SAME_UPPER" else (more, less, output)
        before, after = (0, 0) if self.auto_pad == "VALID" else (self.pad[axis], self.pad[axis + 2])
        free = size + before + after - extent
        output = free // stride + 1
        if self.ceil_mode and free % stride:
            # A window that would begin in the padding after the input holds no element and is left out.
            output += output * stride < size + before
        return before, after, output


def parse_spatial(node: ir.Node, kernel: tuple[int, ...]) -> Spatial:
    """The window attributes of a node with this kernel shape."""
    rank = len(kernel)
    if rank not in (1, 2):
        raise nodes.unsupported(node, f"windows over {rank} spatial axes are not supported; 1 and 2 are")
    stride = _sized(node, "strides", rank, 1)
    dilation = _sized(node, "dilations", rank, 1)
    pads = nodes.integers(node, "pads", (0,) * (2 * rank)) or ()
    auto_pad = _AUTO_PADS.get(nodes.text(node, "auto_pad", "NOTSET"))
    if auto_pad is None:
        raise ModelError(f"auto_pad is {nodes.text(node, 'auto_pad', '')!r}", node=nodes.where(node))
    if len(pads) != 2 * rank or min(pads) < 0:
        raise nodes.unsupported(node, f"pads are {pads}, expected {2 * rank} numbers that are not negative")
    if min(*kernel, *stride, *dilation) < 1:
        raise ModelError("a kernel size, stride or dilation is below 1", node=nodes.where(node))
    if auto_pad == "NOTSET" and any(
        pad > (kernel[axis % rank] - 1) * dilation[axis % rank] for axis, pad in enumerate(pads)
    ):
        raise nodes.unsupported(node, f"pads {pads} are larger than the window, so that some windows hold no element")
    ceil_mode = bool(nodes.integer(node, "ceil_mode", 0))
    if rank == 1:
        row_pad = (0, pads[0], 0, pads[1])
        return Spatial(1, (1, kernel[0]), (1, stride[0]), (1, dilation[0]), row_pad, auto_pad, ceil_mode)
    return Spatial(2, _pair(kernel), _pair(stride), _pair(dilation), _four(pads), auto_pad, ceil_mode)


def as_rows(x: NDArray[np.generic]) -> NDArray[np.generic]:
    """(N, C, L) as (N, C, 1, L); (N, C, H, W) as it is."""
    return x[:, :, None] if x.ndim == 3 else x


def _sized(node: ir.Node, name: str, rank: int, default: int) -> tuple[int, ...]:
    found = nodes.integers(node, name, (default,) * rank) or ()
    if len(found) != rank:
        raise ModelError(f"{name} are {found}, expected {rank} numbers", node=nodes.where(node))
    return found


def _pair(items: tuple[int, ...]) -> tuple[int, int]:
    return items[0], items[1]


def _four(items: tuple[int, ...]) -> tuple[int, int, int, int]:
    return items[0], items[1], items[2], items[3]
