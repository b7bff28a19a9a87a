"""Exact integer Winograd convolution on the DSP extension of Cortex-M4, M7 and M33."""

from __future__ import annotations

import numpy as np

from microlith.kernels.arguments import const, runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Packed, RowRange
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.dsp import DspConv2d
from microlith.kernels.fast import ceil_div
from microlith.kernels.overlaps import is_whole, tiled_lead
from microlith.kernels.weighted import result_range
from microlith.kernels.windowed import window_sizes

TILES = 4
POSITIONS = 16
# Twice the matrix of the paper, so that transformed weights are integers.
TRANSFORM = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int64)
# Positions, counted by rows, in the order of visits, and which weights are negated: see the header.
ORDER = (5, 10, 6, 9, 8, 4, 12, 14, 13, 15, 11, 7, 3, 2, 1, 0)
NEGATED = (4, 13)
# Four times the accumulator is formed modulo 2**32.
_ACCUMULATOR_BOUND = 2**29


class DspWinograd(DspConv2d):
    """``s8_conv2d__dsp_winograd_2x2``."""

    def shape_refusal(self, ctx: CallContext) -> str:
        """A 3x3 window that neither strides nor dilates, quads of channels, and room in the accumulator."""
        window, channels = conv_attrs(ctx).window, ctx.reads[0].shape[3]
        if (window.kernel, window.stride, window.dilation) != ((3, 3), (1, 1), (1, 1)):
            return (
                f"a window of {window.kernel} with stride {window.stride} and dilation {window.dilation}, "
                "the kernel takes (3, 3) without"
            )
        if channels % 4:
            return f"{channels} channels, the kernel takes a multiple of 4"
        if refusal := super().shape_refusal(ctx):
            return refusal
        most = max(int(np.abs(end).max()) for end in result_range(ctx))
        return "" if most < _ACCUMULATOR_BOUND else f"the accumulator can reach {most:,}, four times of it 32 bits"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_conv2d_dsp_winograd.h``."""
        window = conv_attrs(ctx).window
        pointers = tuple(
            const(ctx, "weights", "int16_t") if argument.name == "weights" else argument
            for argument in self.pointers(ctx)
            if argument.name not in ("even_channels", "joined")
        )
        return (
            *pointers,
            RowRange(),
            *window_sizes(ctx),
            runtime("out_channels", self.out_channels(ctx)),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def pack_weights(self, ctx: CallContext) -> Packed:
        """G g G' of twice the G of the paper, 16 bits; see the header for the order."""
        weights = ctx.consts["weights"].astype(np.int64)
        outputs, channels = weights.shape[0], weights.shape[3]
        weights = np.concatenate([weights, np.zeros((outputs % 2, *weights.shape[1:]), np.int64)])
        transformed = np.einsum("ai,bj,oijc->oabc", TRANSFORM, TRANSFORM, weights)
        positions = transformed.reshape(-1, POSITIONS, channels)
        positions[:, NEGATED] *= -1
        quads = positions[:, ORDER].reshape(-1, POSITIONS, channels // 4, 4)[..., [0, 2, 1, 3]]
        pairs = quads.reshape(-1, 2, POSITIONS, channels // 2, 2).transpose(0, 2, 3, 1, 4)
        values = np.ascontiguousarray(pairs.astype(np.int16)).reshape(-1)
        return Packed(values, "Winograd 2x2", align=4, tiles=POSITIONS * channels * 2, sliceable_axes=(0,))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Values of four tiles, and the sums of two outputs."""
        return POSITIONS * TILES * 2 * ctx.reads[0].shape[3] + POSITIONS * TILES * 2 * 4

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Four tiles are read, then written."""
        return (tiled_lead(ctx, conv_attrs(ctx).window, 2, TILES) if is_whole(ctx) else None,)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Pixels of a tile and their transform, places, results."""
        return 320

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Turns of four tiles: what makes their values, and for each two outputs products, sums and results."""
        _, height, width, outputs = ctx.writes[0].shape
        channels = ctx.reads[0].shape[3]
        turns = ceil_div(ceil_div(height, 2) * ceil_div(width, 2), TILES)
        positions = POSITIONS * ceil_div(outputs, 2)
        instructions = turns * (TILES * (60 * channels + 80) + positions * (7 * channels + 55))
        cycles = turns * (TILES * (70 * channels + 100) + positions * (8 * channels + 75))
        return Cost(instructions, cycles - instructions, cycles, sum(p.bytes for p in self.pack(ctx).values()))


DSP_WINOGRAD = (
    DspWinograd("s8_conv2d__dsp_winograd_2x2", "conv2d", "s8_conv2d_dsp_winograd.h", isa="dsp", streams=True),
)
