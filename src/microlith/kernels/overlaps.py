"""Where the result of a kernel that slides a window may lie over its input, from the order of its reads and writes.

A call computes groups of output pixels one after another. What a group writes must not lie on what is still to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.base import CallContext, Lead
from microlith.program.attrs import Window
from microlith.program.types import ITEM_BYTES, View

_NEVER = np.iinfo(np.int64).max


def pixel_bytes(view: View) -> int:
    """Bytes of all channels at one place."""
    return view.shape[-1] * ITEM_BYTES[view.dtype]


def is_whole(ctx: CallContext) -> bool:
    """Whether no view is a ring of rows."""
    return all(view.ring_rows is None for view in (*ctx.reads, *ctx.writes))


def first_reads(ctx: CallContext, window: Window) -> NDArray[np.int64]:
    """For each output pixel, the first byte of the input under its window; a great number where all is padding."""
    x, y = ctx.reads[0], ctx.writes[0]
    firsts, inside = [], []
    for axis in (0, 1):
        origin = np.arange(y.shape[1 + axis]) * window.stride[axis] - window.pad[axis]
        step, size = window.dilation[axis], x.shape[1 + axis]
        first = origin + np.maximum(0, -(origin // step)) * step
        firsts.append(first)
        inside.append((first < size) & (first <= origin + (window.kernel[axis] - 1) * step))
    places = (firsts[0][:, None] * x.shape[2] + firsts[1][None, :]) * pixel_bytes(x)
    return np.where(inside[0][:, None] & inside[1][None, :], places, _NEVER).reshape(-1)


def from_now_on(first: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first byte that is read for this pixel or a later one; one more item, for the end."""
    return np.append(np.minimum.accumulate(first[::-1])[::-1], _NEVER)


def grouped_lead(ctx: CallContext, window: Window, ends: Sequence[int], *, gathers: bool) -> Lead:
    """The lead of a kernel that writes groups of output pixels, each ending before one of ``ends``.

    Args:
        ctx: the call.
        window: that slides.
        ends: rising; the last is the number of output pixels.
        gathers: whether the windows of a group are read before any pixel of it is written.
    """
    remaining = from_now_on(first_reads(ctx, window))
    after = np.asarray(ends, np.int64)
    still = remaining[after if gathers else np.concatenate([[0], after[:-1]])]
    return _least(ctx, (after * pixel_bytes(ctx.writes[0]))[still < _NEVER] - still[still < _NEVER])


def tiled_lead(ctx: CallContext, window: Window, tile: int, tiles: int) -> Lead:
    """The lead of a kernel that reads so many square tiles of the output's windows, then writes them, row by row."""
    _, rows, width, _ = ctx.writes[0].shape
    counts = (-(-rows // tile), -(-width // tile))
    first = np.full((counts[0] * tile, counts[1] * tile), _NEVER)
    first[:rows, :width] = first_reads(ctx, window).reshape(rows, width)
    remaining = from_now_on(first.reshape(counts[0], tile, counts[1], tile).min(axis=(1, 3)).reshape(-1))
    last_row, last_column = (
        np.minimum((np.arange(count) + 1) * tile, size) - 1 for count, size in zip(counts, (rows, width), strict=True)
    )
    end = ((last_row[:, None] * width + last_column[None, :] + 1) * pixel_bytes(ctx.writes[0])).reshape(-1)
    leads = [
        int(end[begin : begin + tiles].max() - remaining[begin + tiles])
        for begin in range(0, end.size - tiles, tiles)
        if remaining[begin + tiles] < _NEVER
    ]
    return _least(ctx, np.asarray(leads, np.int64))


def channelwise_lead(ctx: CallContext, window: Window) -> Lead:
    """The lead of a kernel that computes channel after channel, each from its own, of pixel after pixel."""
    first, size = first_reads(ctx, window), pixel_bytes(ctx.writes[0])
    pixels = np.arange(first.size, dtype=np.int64)
    later = from_now_on(first)[1:]
    own = (pixels * size - first)[first < _NEVER] if ctx.writes[0].shape[-1] > 1 else pixels[:0]
    return _least(ctx, np.concatenate([own, ((pixels + 1) * size - later)[later < _NEVER]]))


def _least(ctx: CallContext, leads: NDArray[np.int64]) -> Lead:
    """The greatest of what is asked for; anywhere where nothing is."""
    return Lead(int(leads.max(initial=-ctx.reads[0].bytes)))


def runs(pixels: int, total: int) -> list[int]:
    """Ends of groups of so many pixels, the last one perhaps of fewer."""
    return [*range(pixels, total, pixels), total]


def runs_of_rows(pixels: int, rows: int, width: int) -> list[int]:
    """Ends of groups of so many pixels of one row."""
    return [row * width + end for row in range(rows) for end in runs(pixels, width)]
