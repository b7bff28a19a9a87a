"""int8 layers on the DSP extension of Cortex-M4, M7 and M33; every layout is stated in the header of its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.device.profile import Device, Isa
from microlith.kernels.arguments import (
    bounds,
    const,
    literal,
    per_channel,
    read,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Cost, Packed, Pointer, RowRange
from microlith.kernels.convolution import conv_attrs, depthwise_refusal
from microlith.kernels.descriptor import BaseKernel
from microlith.kernels.weighted import accumulator_bound, pack_weighted, weighted_refusal
from microlith.kernels.windowed import window_refusal, window_rows, window_sizes
from microlith.program.attrs import Window
from microlith.program.types import RowMap

QUAD = 4
CONV_CHANNELS, CONV_PIXELS = 2, 3
DEPTHWISE_LANES = 4
FULLY_CONNECTED_LANES = 4


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient of positive integers, rounded up."""
    return -(-numerator // denominator)


def interleave_quads(rows: NDArray[np.generic], lanes: int) -> NDArray[np.generic]:
    """Rows (O, K), padded with zeros to whole quads and ``lanes`` rows, as (O / lanes, K / 4, lanes, 4)."""
    outputs, depth = rows.shape
    quads = ceil_div(depth, QUAD)
    padded = np.zeros((ceil_div(outputs, lanes) * lanes, quads * QUAD), rows.dtype)
    padded[:outputs, :depth] = rows
    return padded.reshape(-1, lanes, quads, QUAD).transpose(0, 2, 1, 3)


def packed_quads(rows: NDArray[np.generic], lanes: int, packing: str) -> Packed:
    """:func:`interleave_quads` as a const."""
    values = interleave_quads(rows, lanes)
    block = int(np.prod(values.shape[1:], dtype=np.int64))
    return Packed(np.ascontiguousarray(values).reshape(-1), packing, align=4, tiles=block, sliceable_axes=(0,))


@dataclass(frozen=True)
class DspKernel(BaseKernel):
    """What the three share: pointers, refusals, bias, and a cost of the form a * outputs + b * macs.

    Attributes:
        cycles_per_mac: by the cycle table, counted in compiled Cortex-M4 code, rounded.
        cycles_per_output: likewise.
    """

    isa: Isa = "dsp"
    cycles_per_mac: float = 1.2
    cycles_per_output: float = 20.0

    def weights_refusal(self, ctx: CallContext) -> str:
        """Weights, bias and requantization."""
        weights = ctx.consts.get("weights")
        if weights is not None and weights.dtype != np.int8:
            return f"weights are {weights.dtype}, the kernel takes int8"
        if np.any(ctx.consts.get("weight_zero", 0)):
            return "weights have zero points other than 0"
        return weighted_refusal(ctx, ctx.writes[0].shape[-1])

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Addresses and requantization, up to and including full_range."""
        low, high = ctx.call.epilogue.low, ctx.call.epilogue.high
        full_range = low in (None, -128) and high in (None, 127)
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            const(ctx, "weights", "int8_t"),
            const(ctx, "bias", "int32_t"),
            Pointer("scratch", "void *", "scratch"),
            *requant_arguments(ctx),
            per_channel(ctx),
            literal("full_range", int(full_range)),
        )

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of any partial sum."""
        return accumulator_bound(ctx)

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Multiply-accumulates done, those of padding to whole blocks included, and outputs."""
        raise NotImplementedError

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Linear in the work; loads are what cycles exceed instructions by."""
        macs, outputs = self.work(ctx)
        instructions = self.instructions_per_mac * macs + self.instructions_per_output * outputs
        cycles = self.cycles_per_mac * macs + self.cycles_per_output * outputs
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(instructions, cycles - instructions, cycles, const_bytes)


class DspConv2d(DspKernel):
    """``s8_conv2d__dsp_2x3``."""

    def refusal(self, ctx: CallContext) -> str:
        """One group, any window."""
        return window_refusal(ctx) or self.weights_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """Groups and the shape of the weights."""
        attrs = conv_attrs(ctx)
        if attrs.groups != 1:
            return f"the convolution has {attrs.groups} groups, the kernel takes 1"
        expected = (ctx.writes[0].shape[3], *attrs.window.kernel, ctx.reads[0].shape[3])
        shape = ctx.consts["weights"].shape
        return "" if shape == expected else f"weights of shape {shape}, expected {expected}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_conv2d_dsp.h``."""
        window, x, y = conv_attrs(ctx).window, ctx.reads[0], ctx.writes[0]
        geometry = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            runtime("out_channels", y.shape[3]),
            *(runtime(f"{name}_{axis}", pair[i]) for name, pair in geometry for i, axis in enumerate("hw")),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(x)),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Whole quads of every run, then what is left of the runs; two channels interleaved."""
        weights = ctx.consts["weights"]
        run = run_bytes(conv_attrs(ctx).window, weights.shape[3])
        runs = weights.reshape(weights.shape[0], -1, run)
        whole = run - run % QUAD
        depth = [part.reshape(weights.shape[0], -1) for part in (runs[:, :, :whole], runs[:, :, whole:])]
        packing = f"O2, quads of runs of {run}"
        return pack_weighted(ctx, packed_quads(np.concatenate(depth, axis=1), CONV_CHANNELS, packing))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Three columns of 16 bits, two runs, and what is left of all runs."""
        window, channels = conv_attrs(ctx).window, ctx.reads[0].shape[3]
        run = run_bytes(window, channels)
        depth = window.kernel[0] * window.kernel[1] * channels
        left = ceil_div(depth // run * (run % QUAD), QUAD) * QUAD
        return ceil_div(depth, QUAD) * QUAD * 2 * CONV_PIXELS + 2 * run + left

    def stack_bytes(self, ctx: CallContext) -> int:
        """Accumulators, addresses of three pixels, and sizes."""
        return 128

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of 2 channels by 3 pixels by whole quads."""
        _, height, width, channels = ctx.writes[0].shape
        depth = int(np.prod(ctx.consts["weights"].shape[1:], dtype=np.int64))
        outputs = (
            ceil_div(height * width, CONV_PIXELS) * CONV_PIXELS * ceil_div(channels, CONV_CHANNELS) * CONV_CHANNELS
        )
        return outputs * ceil_div(depth, QUAD) * QUAD, outputs


def run_bytes(window: Window, channels: int) -> int:
    """Bytes of the input under one row of the window that lie together."""
    return (window.kernel[1] if window.dilation[1] == 1 else 1) * channels


class DspDepthwiseConv2d(DspKernel):
    """``s8_depthwise_conv2d__dsp_3x3``."""

    def refusal(self, ctx: CallContext) -> str:
        """A 3x3 window without dilation, one filter a channel, at least four channels."""
        return window_refusal(ctx) or self.weights_refusal(ctx) or depthwise_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """Channels and the window."""
        window, channels = conv_attrs(ctx).window, ctx.reads[0].shape[3]
        if ctx.writes[0].shape[3] != channels:
            return f"{ctx.writes[0].shape[3]} filters for {channels} channels, the kernel takes one a channel"
        if channels < DEPTHWISE_LANES:
            return f"{channels} channels, the kernel takes {DEPTHWISE_LANES} or more"
        if window.kernel != (3, 3) or window.dilation != (1, 1):
            return f"a window of {window.kernel} with dilation {window.dilation}, the kernel takes (3, 3) without"
        if window.stride[1] not in (1, 2):
            return f"a column stride of {window.stride[1]}, the kernel takes 1 or 2"
        if window.pad[0] > 2:
            return f"{window.pad[0]} rows of padding above, the kernel takes at most 2"
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d_dsp.h``."""
        window = conv_attrs(ctx).window
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            runtime("stride_h", window.stride[0]),
            runtime("stride_w", window.stride[1]),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """For each channel and row of the window w0, w1, w1, w2."""
        rows = ctx.consts["weights"][..., 0]
        values = np.ascontiguousarray(rows[:, :, [0, 1, 1, 2]]).reshape(-1)
        return pack_weighted(ctx, Packed(values, "OH0112", align=4, tiles=12, sliceable_axes=(0,)))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Three lines of four channels, 16 bits an element, in pairs of columns."""
        width = ctx.writes[0].shape[2]
        pairs = (ceil_div(width, 2) if conv_attrs(ctx).window.stride[1] == 1 else width) + 1
        return pairs * 3 * DEPTHWISE_LANES * 4

    def stack_bytes(self, ctx: CallContext) -> int:
        """Sizes and widened weights."""
        return 96

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Nine products an output."""
        outputs = ctx.writes[0].size
        return 9 * outputs, outputs


class DspFullyConnected(DspKernel):
    """``s8_fully_connected__dsp_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Rows of x times rows of the weights."""
        return self.weights_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """The shape of the weights."""
        shape, depth = ctx.consts["weights"].shape, ctx.reads[0].shape[-1]
        return "" if len(shape) == 2 and shape[1] == depth else f"weights of shape {shape} for rows of {depth}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_fully_connected_dsp.h``."""
        x, y = ctx.reads[0], ctx.writes[0]
        depth = x.shape[-1]
        return (
            *self.pointers(ctx),
            runtime("rows", x.size // depth),
            runtime("depth", depth),
            runtime("out_channels", y.shape[-1]),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Four outputs interleaved by quads."""
        return pack_weighted(ctx, packed_quads(ctx.consts["weights"], FULLY_CONNECTED_LANES, "O4, quads"))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """One row of x, 16 bits an element."""
        return ceil_div(ctx.reads[0].shape[-1], QUAD) * QUAD * 2

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four accumulators."""
        return 16

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of four outputs by whole quads."""
        y = ctx.writes[0]
        outputs = y.size // y.shape[-1] * ceil_div(y.shape[-1], FULLY_CONNECTED_LANES) * FULLY_CONNECTED_LANES
        return outputs * ceil_div(ctx.reads[0].shape[-1], QUAD) * QUAD, outputs


DSP = (
    DspConv2d(
        "s8_conv2d__dsp_2x3",
        "conv2d",
        "s8_conv2d_dsp.h",
        streams=True,
        instructions_per_mac=1.08,
        instructions_per_output=35,
        cycles_per_mac=1.25,
        cycles_per_output=45,
    ),
    DspDepthwiseConv2d(
        "s8_depthwise_conv2d__dsp_3x3",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_dsp.h",
        streams=True,
        instructions_per_mac=2.0,
        instructions_per_output=20,
        cycles_per_mac=2.5,
        cycles_per_output=28,
    ),
    DspFullyConnected(
        "s8_fully_connected__dsp_1x4",
        "fully_connected",
        "s8_fully_connected_dsp.h",
        instructions_per_mac=1.6,
        instructions_per_output=15,
        cycles_per_mac=2.0,
        cycles_per_output=20,
    ),
)
