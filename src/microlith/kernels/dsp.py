"""int8 layers on the DSP extension of Cortex-M4, M7 and M33; every layout is stated in the header of its kernel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.arguments import literal, runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Literal, Packed, RowRange
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.descriptor import plain
from microlith.kernels.dsp_fixed import DSP_FIXED, ShortFixed, short_fixed
from microlith.kernels.fast import (
    FastConv2d,
    FastDepthwiseConv2d,
    FastFullyConnected,
    FastKernel,
    ceil_div,
    round_up,
)
from microlith.kernels.overlaps import grouped_lead, is_whole, pixel_bytes, runs
from microlith.kernels.remembered import by_constants
from microlith.kernels.weighted import pack_weighted, result_range
from microlith.kernels.windowed import window_sizes
from microlith.program.attrs import Window

QUAD = 4
CONV_CHANNELS, CONV_PIXELS = 2, 4
DEPTHWISE_LANES = 4
FULLY_CONNECTED_LANES = 4
_LINES_BYTES = 2048
# Sums of a joined channel that 256 times of them fit in 32 bits.
_JOINED_BOUND = 2**23


def interleave_quads(rows: NDArray[np.generic], lanes: int) -> NDArray[np.generic]:
    """Rows (O, K), padded with zeros to whole quads and ``lanes`` rows, as (O / lanes, K / 4, lanes, 4)."""
    outputs, depth = rows.shape
    padded = np.zeros((round_up(outputs, lanes), round_up(depth, QUAD)), rows.dtype)
    padded[:outputs, :depth] = rows
    return padded.reshape(-1, lanes, padded.shape[1] // QUAD, QUAD).transpose(0, 2, 1, 3)


def interleave_pairs(rows: NDArray[np.generic], lanes: int) -> NDArray[np.int8]:
    """Rows (O, K), padded with zeros, as (O / lanes, K / 4, 4 * lanes), so that a word widens to pairs of two rows.

    Each two rows v, w give the words v0 w0 v2 w2 and v1 w1 v3 w3 of each quad; the first words of all come first.
    """
    quads = interleave_quads(rows, lanes)
    halves = quads[..., [0, 2, 1, 3]].reshape(*quads.shape[:2], lanes // 2, 2, 2, 2)
    return halves.transpose(0, 1, 4, 2, 5, 3).reshape(*quads.shape[:2], 4 * lanes).astype(np.int8)


def packed_blocks(blocks: NDArray[np.generic], packing: str) -> Packed:
    """Blocks of output channels, counted by the first axis, one after another."""
    size = int(np.prod(blocks.shape[1:], dtype=np.int64))
    return Packed(np.ascontiguousarray(blocks).reshape(-1), packing, align=4, tiles=size, sliceable_axes=(0,))


def rings_at_run_time(arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """The same with rings that no buffer has as arguments, so that streamed rows and others share an instance."""
    rings = ("x_ring", "y_ring")
    return tuple(
        runtime(item.name, 0) if isinstance(item, Literal) and item.name in rings else item for item in arguments
    )


def is_full_range(ctx: CallContext) -> bool:
    """Whether the clamp is that of the type."""
    low, high = ctx.call.epilogue.low, ctx.call.epilogue.high
    return low in (None, -128) and high in (None, 127)


@by_constants
def _short(ctx: CallContext) -> ShortFixed | None:
    return short_fixed(ctx.call.requant, *result_range(ctx))


class _Dsp(FastKernel):
    """What the three share."""

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, and whether the clamp is that of the type, which one instruction does."""
        arguments = super().pointers(ctx)
        if _short(ctx):
            kind = literal("kind", DSP_FIXED)
            arguments = tuple(kind if argument.name == "kind" else argument for argument in arguments)
        return *arguments, literal("full_range", int(is_full_range(ctx)))

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights in the kernel's own order, the bias folded, and what ``ML_DSP_FIXED`` reads where it serves."""
        packed, short = pack_weighted(ctx, self.pack_weights(ctx)), _short(ctx)
        if short is None:
            return packed
        bias = packed["bias"]
        if short.bias.any():
            changed = (bias.values.astype(np.int64) + short.bias).astype(np.int32)
            bias = plain(changed, f"{bias.packing}, constant channels of {ctx.call.consts['shift'].id}")
        return {**packed, **short.packed(), "bias": bias}

    def pack_weights(self, ctx: CallContext) -> Packed:
        """The weights in the order in which the kernel reads them."""
        raise NotImplementedError


def _blocks(ctx: CallContext) -> NDArray[np.int8]:
    """Whole quads of every run, then what is left of the runs; pairs of two channels interleaved."""
    weights = ctx.consts["weights"]
    run = run_bytes(conv_attrs(ctx).window, weights.shape[3])
    runs = weights.reshape(weights.shape[0], -1, run)
    whole = run - run % QUAD
    depth = [part.reshape(weights.shape[0], -1) for part in (runs[:, :, :whole], runs[:, :, whole:])]
    return interleave_pairs(np.concatenate(depth, axis=1), CONV_CHANNELS)


@by_constants
def _joined(ctx: CallContext) -> NDArray[np.int8] | None:
    """Blocks of weights, each second one joined to the one before; None where a number or a sum has no room."""
    blocks = _blocks(ctx)
    both = 256 * blocks[..., 1::2].astype(np.int32) + blocks[..., ::2]
    short = _short(ctx)
    added = 0 if short is None else short.bias
    most = np.maximum(*(np.abs(end + added) for end in result_range(ctx)))
    if both.min() < -(2**15) or most[1::CONV_CHANNELS].max(initial=0) >= _JOINED_BOUND:
        return None
    blocks[..., 1::2] = both >> 8
    return blocks


class DspConv2d(_Dsp, FastConv2d):
    """``s8_conv2d__dsp_2x4``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class."""
        return rings_at_run_time(super().arguments(ctx))

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, whether the number of output channels is even, and whether weights are joined."""
        even = literal("even_channels", int(self.out_channels(ctx) % CONV_CHANNELS == 0))
        return *super().pointers(ctx), even, literal("joined", int(_joined(ctx) is not None))

    def pack_weights(self, ctx: CallContext) -> Packed:
        """Blocks of two channels; see the header for the order."""
        run, joined = run_bytes(conv_attrs(ctx).window, ctx.reads[0].shape[3]), _joined(ctx)
        if joined is not None:
            return packed_blocks(joined, f"O2, pairs of runs of {run}, joined")
        return packed_blocks(_blocks(ctx), f"O2, pairs of runs of {run}")

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Four columns of 16 bits, two runs, and what is left of all runs."""
        depth, run = self.depth(ctx), run_bytes(conv_attrs(ctx).window, ctx.reads[0].shape[3])
        left = depth // run * (run % QUAD)
        return round_up(depth, QUAD) * 2 * CONV_PIXELS + 2 * run + round_up(left, QUAD)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Four pixels are gathered, then written."""
        if not is_whole(ctx):
            return (None,)
        _, rows, width, _ = ctx.writes[0].shape
        return (grouped_lead(ctx, conv_attrs(ctx).window, runs(CONV_PIXELS, rows * width), gathers=True),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Accumulators, addresses of four pixels, and sizes."""
        return 128

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of 2 channels by 4 pixels by whole quads."""
        _, height, width, channels = ctx.writes[0].shape
        outputs = round_up(height * width, CONV_PIXELS) * round_up(channels, CONV_CHANNELS)
        return outputs * round_up(self.depth(ctx), QUAD), outputs


def run_bytes(window: Window, channels: int) -> int:
    """Bytes of the input under one row of the window that lie together."""
    return (window.kernel[1] if window.dilation[1] == 1 else 1) * channels


class DspDepthwiseConv2d(_Dsp, FastDepthwiseConv2d):
    """``s8_depthwise_conv2d__dsp_3x3``."""

    def shape_refusal(self, ctx: CallContext) -> str:
        """A 3x3 window without dilation, at least four channels."""
        window, channels = conv_attrs(ctx).window, ctx.reads[0].shape[3]
        if channels < DEPTHWISE_LANES:
            return f"{channels} channels, the kernel takes {DEPTHWISE_LANES} or more"
        if window.kernel != (3, 3) or window.dilation != (1, 1):
            return f"a window of {window.kernel} with dilation {window.dilation}, the kernel takes (3, 3) without"
        if window.stride[1] not in (1, 2):
            return f"a column stride of {window.stride[1]}, the kernel takes 1 or 2"
        if window.pad[0] > 2:
            return f"{window.pad[0]} rows of padding above, the kernel takes at most 2"
        return super().shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d_dsp.h``."""
        window = conv_attrs(ctx).window
        return (
            *self.pointers(ctx),
            RowRange(),
            *rings_at_run_time(window_sizes(ctx)),
            runtime("block_rows", self.block_rows(ctx)),
            runtime("stride_h", window.stride[0]),
            runtime("stride_w", window.stride[1]),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def schedules(self, ctx: CallContext) -> tuple[str, ...]:
        """Output rows of a block: first the most whose lines take 2 KB, then all, then ever fewer."""
        height = self.block_total(ctx)
        fitting = [rows for rows in range(1, height + 1) if self._lines_bytes(ctx, rows) <= _LINES_BYTES]
        halves = [height >> shift for shift in range(1, height.bit_length())]
        return tuple(f"rows_{rows}" for rows in dict.fromkeys((max(fitting, default=1), height, *halves)))

    def block_total(self, ctx: CallContext) -> int:
        """Output rows of all blocks."""
        return ctx.writes[0].shape[1]

    def block_rows(self, ctx: CallContext) -> int:
        """Output rows of a block in the call's schedule."""
        return int((ctx.call.schedule or self.schedules(ctx)[0]).removeprefix("rows_"))

    def pack_weights(self, ctx: CallContext) -> Packed:
        """The taps of each channel, by rows."""
        values = np.ascontiguousarray(ctx.consts["weights"][..., 0]).reshape(-1)
        return Packed(values, "OHW", align=4, tiles=9, sliceable_axes=(0,))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """The lines of a block."""
        return self._lines_bytes(ctx, self.block_rows(ctx))

    def _lines_bytes(self, ctx: CallContext, block_rows: int) -> int:
        """Lines of four channels, 16 bits an element, in pairs of columns."""
        width, stride = ctx.writes[0].shape[2], conv_attrs(ctx).window.stride
        pairs = (ceil_div(width, 2) if stride[1] == 1 else width) + 1
        return pairs * ((block_rows - 1) * stride[0] + 3) * DEPTHWISE_LANES * 4

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Whole pixels apart, so that each four channels lie over themselves; the rows of a block are turned first."""
        x, y, window = ctx.reads[0], ctx.writes[0], conv_attrs(ctx).window
        if not is_whole(ctx) or x.shape[3] % DEPTHWISE_LANES:
            return (None,)
        least = -x.bytes
        kept = max(0, 3 - window.stride[0])
        for end in range(self.block_rows(ctx), y.shape[1], self.block_rows(ctx)):
            row = max(0, end * window.stride[0] - window.pad[0] + kept)
            if row < x.shape[1]:
                least = max(least, (end * y.shape[2] - row * x.shape[2]) * pixel_bytes(x))
        return (Lead(least, pixel_bytes(x)),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Sizes and widened weights."""
        return 96

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Linear in outputs, in rows of one channel (weights are widened for each) and in elements of x turned."""
        _, rows, _, channels = ctx.writes[0].shape
        stride = conv_attrs(ctx).window.stride
        outputs = ctx.writes[0].size
        instructions = (18.5 if stride[1] == 1 else 22) * outputs
        cycles = (20 if stride[1] == 1 else 25) * outputs
        turned = outputs * min(stride[0], 3) * stride[1]
        instructions += 120 * rows * channels + 3 * turned
        cycles += 160 * rows * channels + 4 * turned
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(instructions, cycles - instructions, cycles, const_bytes)


class DspFullyConnected(_Dsp, FastFullyConnected):
    """``s8_fully_connected__dsp_1x4``."""

    def pack_weights(self, ctx: CallContext) -> Packed:
        """Pairs of four outputs interleaved; 128 is added to the first and third, which the kernel reads unsigned."""
        blocks = interleave_pairs(ctx.consts["weights"], FULLY_CONNECTED_LANES)
        blocks[..., ::2] ^= np.int8(-128)
        return packed_blocks(blocks, "O4, pairs, first and third unsigned")

    def scratch_bytes(self, ctx: CallContext) -> int:
        """One row of x, 16 bits an element."""
        return round_up(self.depth(ctx), QUAD) * 2

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """A row is widened before its results are written."""
        rows = ctx.reads[0].size // self.depth(ctx)
        wider = self.out_channels(ctx) - self.depth(ctx)
        leads = [row * wider for row in range(1, rows)]
        return (Lead(max(leads, default=-ctx.reads[0].bytes)),)

    def scratch_overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The last row lies in the last half of what it becomes."""
        alone = ctx.reads[0].size == self.depth(ctx)
        return (Lead(round_up(self.depth(ctx), QUAD) - QUAD) if alone else None,)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four accumulators."""
        return 16

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of four outputs by whole quads."""
        rows = ctx.reads[0].size // self.depth(ctx)
        outputs = rows * round_up(self.out_channels(ctx), FULLY_CONNECTED_LANES)
        return outputs * round_up(self.depth(ctx), QUAD), outputs


DSP = (
    DspConv2d(
        "s8_conv2d__dsp_2x4",
        "conv2d",
        "s8_conv2d_dsp.h",
        isa="dsp",
        streams=True,
        instructions_per_mac=1.03,
        instructions_per_output=18,
        cycles_per_mac=1.2,
        cycles_per_output=23,
    ),
    DspDepthwiseConv2d(
        "s8_depthwise_conv2d__dsp_3x3",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_dsp.h",
        isa="dsp",
        streams=True,
    ),
    DspFullyConnected(
        "s8_fully_connected__dsp_1x4",
        "fully_connected",
        "s8_fully_connected_dsp.h",
        isa="dsp",
        instructions_per_mac=1.4,
        instructions_per_output=15,
        cycles_per_mac=1.6,
        cycles_per_output=20,
    ),
)
