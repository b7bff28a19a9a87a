"""Arguments of kernels that slide a window over rows and columns."""

from __future__ import annotations

from microlith.kernels.arguments import literal, ring, runtime
from microlith.kernels.base import Argument, CallContext
from microlith.program.attrs import Window
from microlith.program.types import RowMap


def is_padded(window: Window, in_size: tuple[int, int], out_size: tuple[int, int]) -> bool:
    """Whether any window leaves the input."""
    first = window.pad[:2]
    for axis in (0, 1):
        reach = (window.kernel[axis] - 1) * window.dilation[axis]
        last = (out_size[axis] - 1) * window.stride[axis] - first[axis] + reach
        if first[axis] > 0 or last >= in_size[axis]:
            return True
    return False


def padded(ctx: CallContext, window: Window) -> bool:
    """:func:`is_padded` of the call's views."""
    x, y = ctx.reads[0].shape, ctx.writes[0].shape
    return is_padded(window, (x[1], x[2]), (y[1], y[2]))


def window_refusal(ctx: CallContext) -> str:
    """Why the views are not images of one batch element; empty where they are."""
    for view in (*ctx.reads, *ctx.writes):
        if len(view.shape) != 4 or view.shape[0] != 1:
            return f"{view.id} has shape {view.shape}, the kernel takes (1, height, width, channels)"
    return ""


def window_sizes(ctx: CallContext) -> tuple[Argument, ...]:
    """Rings and sizes: x_ring, y_ring, height, width, channels, out_width."""
    x, y = ctx.reads[0], ctx.writes[0]
    sizes = (("height", x.shape[1]), ("width", x.shape[2]), ("channels", x.shape[3]), ("out_width", y.shape[2]))
    return ring("x_ring", x), ring("y_ring", y), *(runtime(name, size) for name, size in sizes)


def window_geometry(ctx: CallContext, window: Window) -> tuple[Argument, ...]:
    """kernel, stride and dilation (literals), padded (a literal), pad_top, pad_left."""
    leaves = padded(ctx, window)
    shape = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
    return (
        *(literal(f"{name}_{axis}", pair[i]) for name, pair in shape for i, axis in enumerate("hw")),
        literal("padded", int(leaves)),
        runtime("pad_top", window.pad[0]) if leaves else literal("pad_top", 0),
        runtime("pad_left", window.pad[1]) if leaves else literal("pad_left", 0),
    )


def window_rows(window: Window) -> RowMap:
    """Input rows that output rows need."""
    first = -window.pad[0]
    return RowMap(window.stride[0], first, first + (window.kernel[0] - 1) * window.dilation[0])
