"""int8 depthwise convolutions of any window on the DSP extension of Cortex-M4, M7 and M33."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microlith.kernels.arguments import literal, runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Packed, RowRange
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.dsp import DEPTHWISE_LANES, DspDepthwiseConv2d, rings_at_run_time
from microlith.kernels.fast import FastDepthwiseConv2d, ceil_div, round_up
from microlith.kernels.overlaps import is_whole, pixel_bytes
from microlith.kernels.windowed import window_sizes
from microlith.program.attrs import Window

# Outputs of a turn at a stride of 2 along the lines; pairs of outputs that a line has at least at a stride of 1.
ALONE, LEAST_PAIRS = 4, 2


@dataclass(frozen=True)
class Lines:
    """A window seen along the lines into which the input is turned, and across them.

    Attributes:
        along: axis of the lines: 0 where they run along columns, 1 where they run along rows.
        window: that slides.
    """

    along: int
    window: Window

    @property
    def across(self) -> int:
        """The other axis."""
        return 1 - self.along

    @property
    def words(self) -> int:
        """Words that hold the taps of one row of the window, for outputs at even places."""
        taps = self.window.kernel[self.along]
        return taps // 2 + 1 if self.window.stride[self.along] == 1 else ceil_div(taps, 2)

    @property
    def weight_words(self) -> int:
        """Words that hold the taps of one channel."""
        both = 2 if self.window.stride[self.along] == 1 else 1
        return both * self.words * self.window.kernel[self.across]

    @property
    def reach(self) -> int:
        """Lines under one line of outputs, those between them included."""
        return (self.window.kernel[self.across] - 1) * self.window.dilation[self.across] + 1

    def pairs(self, outputs: int) -> int:
        """Words of a line for so many outputs."""
        count = ceil_div(outputs, self.window.dilation[self.along])
        if self.window.stride[self.along] == 1:
            return max(LEAST_PAIRS, ceil_div(count, 2)) + self.words - 1
        return round_up(count, ALONE) + self.words - 1

    def block_lines(self, block: int) -> int:
        """Lines for a block of lines of outputs."""
        return (block - 1) * self.window.stride[self.across] + self.reach


def lines_of(ctx: CallContext) -> Lines:
    """Lines along columns for a window of one column, else along rows."""
    window = conv_attrs(ctx).window
    return Lines(0 if window.kernel[1] == 1 and window.kernel[0] > 1 else 1, window)


class DspDepthwiseLines(DspDepthwiseConv2d):
    """``s8_depthwise_conv2d__dsp_lines``."""

    def shape_refusal(self, ctx: CallContext) -> str:
        """At least four channels, a stride of 1 or 2 along the lines, and no window that has a kernel of its own."""
        window, channels = conv_attrs(ctx).window, ctx.reads[0].shape[3]
        if channels < DEPTHWISE_LANES:
            return f"{channels} channels, the kernel takes {DEPTHWISE_LANES} or more"
        if not super().shape_refusal(ctx):
            return "the window is 3x3, which s8_depthwise_conv2d__dsp_3x3 takes"
        along = lines_of(ctx).along
        stride, dilation = window.stride[along], window.dilation[along]
        if stride not in (1, 2):
            return f"a stride of {stride} along {('columns', 'rows')[along]}, the kernel takes 1 or 2"
        if stride > 1 and dilation > 1:
            return f"a stride of {stride} and a dilation of {dilation}, the kernel takes one of them"
        return FastDepthwiseConv2d.shape_refusal(self, ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d_dsp_lines.h``."""
        lines = lines_of(ctx)
        window, along, across = lines.window, lines.along, lines.across
        return (
            *self.pointers(ctx),
            RowRange(),
            *rings_at_run_time(window_sizes(ctx)),
            literal("upright", across),
            runtime("block", self.block_rows(ctx)),
            runtime("taps_across", window.kernel[across]),
            literal("taps_along", window.kernel[along]),
            runtime("stride_across", window.stride[across]),
            literal("stride_along", window.stride[along]),
            runtime("dilation_across", window.dilation[across]),
            runtime("dilation_along", window.dilation[along])
            if window.dilation[along] > 1
            else literal("dilation_along", 1),
            runtime("pad_across", window.pad[across]),
            runtime("pad_along", window.pad[along]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def block_total(self, ctx: CallContext) -> int:
        """Lines of outputs: rows, or columns where lines run along those."""
        return ctx.writes[0].shape[1 + lines_of(ctx).across]

    def pack_weights(self, ctx: CallContext) -> Packed:
        """The taps of each channel, by lines."""
        taps = ctx.consts["weights"][..., 0]
        upright = lines_of(ctx).along == 0
        values = np.ascontiguousarray(taps.transpose(0, 2, 1) if upright else taps).reshape(-1)
        tiles = taps.shape[1] * taps.shape[2]
        return Packed(values, "OWH" if upright else "OHW", align=4, tiles=tiles, sliceable_axes=(0,))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """The taps of a channel and the lines of a block."""
        return 4 * lines_of(ctx).weight_words + self._lines_bytes(ctx, self.block_rows(ctx))

    def _lines_bytes(self, ctx: CallContext, block_rows: int) -> int:
        lines = lines_of(ctx)
        outputs = ctx.writes[0].shape[1 + lines.along]
        return lines.pairs(outputs) * lines.block_lines(block_rows) * DEPTHWISE_LANES * 4

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """As with 3x3 windows, but for lines and blocks of columns that are read after others were written."""
        lines, x, y = lines_of(ctx), ctx.reads[0], ctx.writes[0]
        block, window = self.block_rows(ctx), lines.window
        if not is_whole(ctx) or x.shape[3] % DEPTHWISE_LANES or window.dilation[lines.along] > 1:
            return (None,)
        if lines.along == 0:
            return (Lead(-x.bytes, pixel_bytes(x)) if block >= self.block_total(ctx) else None,)
        least, kept = -x.bytes, max(0, lines.reach - window.stride[0])
        for end in range(block, y.shape[1], block):
            row = max(0, end * window.stride[0] - window.pad[0] + kept)
            if row < x.shape[1]:
                least = max(least, (end * y.shape[2] - row * x.shape[2]) * pixel_bytes(x))
        return (Lead(least, pixel_bytes(x)),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Sizes, one channel, sums."""
        return 160

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Words of taps by outputs, outputs, taps of channels, and elements of x turned."""
        lines, outputs = lines_of(ctx), ctx.writes[0].size
        window, both = lines.window, lines.window.stride[lines.along] == 1
        words = lines.words * window.kernel[lines.across]
        instructions = (1.5 if both else 1.75) * words * outputs + 12 * outputs
        cycles = (1.7 if both else 2.0) * words * outputs + 16 * outputs
        blocks = ceil_div(self.block_total(ctx), self.block_rows(ctx)) * window.dilation[lines.along]
        once = 8 * words * blocks * ctx.reads[0].shape[3] + 3 * ctx.reads[0].size
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(instructions + once, cycles - instructions, cycles + once, const_bytes)


DSP_DEPTHWISE = (
    DspDepthwiseLines(
        "s8_depthwise_conv2d__dsp_lines",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_dsp_lines.h",
        isa="dsp",
        streams=True,
    ),
)
