"""int8 layers in groups of four, on cores that multiply one pair of numbers at a time.

Every layout is stated in the headers of the kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from microlith.kernels.arguments import runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Lead, Literal, Packed, RowRange
from microlith.kernels.convolution import conv_attrs, depthwise_weights
from microlith.kernels.descriptor import plain
from microlith.kernels.fast import FastConv2d, FastDepthwiseConv2d, FastFullyConnected, round_up
from microlith.kernels.overlaps import grouped_lead, is_whole, pixel_bytes, runs
from microlith.kernels.weighted import pack_weighted
from microlith.kernels.windowed import window_sizes

_QUAD = 4
_PIXELS = 4
_LANES = 4
_ADDRESS_BYTES = 4


class QuadConv2d(FastConv2d):
    """A convolution of four pixels at a time, gathered as words of two; weights in quads."""

    def shape_refusal(self, ctx: CallContext) -> str:
        """Groups, and sums of two products that are no int16."""
        if refusal := super().shape_refusal(ctx):
            return refusal
        if (self._rows(ctx).reshape(-1, 2) == -128).all(axis=1).any():
            return "two neighbouring weights are -128, the kernel adds their products in 16 bits"
        return ""

    def _rows(self, ctx: CallContext) -> np.ndarray:
        weights = ctx.consts["weights"].reshape(self.out_channels(ctx), -1)
        return np.pad(weights, ((0, 0), (0, -weights.shape[1] % _QUAD)))

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights O,KH,KW,I, each channel padded to whole quads; the bias folded."""
        rows = self._rows(ctx)
        packed = Packed(rows.reshape(-1), "OHWI, quads", align=4, tiles=rows.shape[1], sliceable_axes=(0,))
        return pack_weighted(ctx, packed)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """A column of four pixels, 16 bits a value, and one tap of padding."""
        return round_up(self.depth(ctx), _QUAD) * 2 * _PIXELS + ctx.reads[0].shape[3]

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Four pixels are gathered, then written."""
        if not is_whole(ctx):
            return (None,)
        _, rows, width, _ = ctx.writes[0].shape
        return (grouped_lead(ctx, conv_attrs(ctx).window, runs(_PIXELS, rows * width), gathers=True),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Accumulators, four pixels, and sizes."""
        return 160

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of one channel by 4 pixels by whole quads."""
        _, height, width, channels = ctx.writes[0].shape
        outputs = round_up(height * width, _PIXELS) * channels
        return outputs * round_up(self.depth(ctx), _QUAD), outputs


class QuadDepthwiseConv2d(FastDepthwiseConv2d):
    """A depthwise convolution of four pixels at a time, by a list of the addresses of their taps."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Pointers, rows, sizes, the window, zero points and bounds."""
        window = conv_attrs(ctx).window
        geometry = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            *(runtime(f"{name}_{axis}", pair[i]) for name, pair in geometry for i, axis in enumerate("hw")),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights KH,KW,C; the bias folded."""
        return pack_weighted(ctx, depthwise_weights(ctx))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Addresses of the taps of four pixels, and one tap of padding."""
        taps = conv_attrs(ctx).window.kernel
        return taps[0] * taps[1] * _PIXELS * _ADDRESS_BYTES + ctx.reads[0].shape[3]

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Whole pixels apart, so that each channel lies over itself; of four pixels it is read, then written."""
        if not is_whole(ctx):
            return (None,)
        _, rows, width, _ = ctx.writes[0].shape
        lead = grouped_lead(ctx, conv_attrs(ctx).window, runs(_PIXELS, rows * width), gathers=True)
        return (replace(lead, multiple=pixel_bytes(ctx.reads[0])),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Accumulators, four pixels, and sizes."""
        return 160


class QuadFullyConnected(FastFullyConnected):
    """A fully connected layer of four outputs at a time."""

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, without scratch."""
        absent = Literal("scratch", "void *", "0")
        return tuple(absent if argument.name == "scratch" else argument for argument in super().pointers(ctx))

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights O,K; the bias folded."""
        return pack_weighted(ctx, plain(ctx.consts["weights"], "OK"))

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four accumulators and addresses."""
        return 64

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of four outputs."""
        outputs = ctx.reads[0].size // self.depth(ctx) * round_up(self.out_channels(ctx), _LANES)
        return outputs * self.depth(ctx), outputs
