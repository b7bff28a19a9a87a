"""What int8 layers with weights have in common on every instruction set beyond C99."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microlith.kernels.arguments import (
    bounds,
    const,
    per_channel,
    read,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Cost, Pointer, RowRange
from microlith.kernels.convolution import conv_attrs, depthwise_refusal
from microlith.kernels.descriptor import BaseKernel
from microlith.kernels.weighted import accumulator_bound, weighted_refusal
from microlith.kernels.windowed import window_refusal, window_rows, window_sizes
from microlith.program.types import RowMap


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient of positive integers, rounded up."""
    return -(-numerator // denominator)


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is not below ``value``."""
    return ceil_div(value, multiple) * multiple


@dataclass(frozen=True)
class FastKernel(BaseKernel):
    """int8 weights without zero points, the zero point of x folded into the bias, and a cost linear in the work.

    Attributes:
        cycles_per_mac: by the cycle table of the core where there is one; rounded, like those of the base class.
        cycles_per_output: likewise.
    """

    cycles_per_mac: float = 1.0
    cycles_per_output: float = 20.0

    def out_channels(self, ctx: CallContext) -> int:
        """Output channels of the call."""
        return ctx.writes[0].shape[-1]

    def weights_refusal(self, ctx: CallContext) -> str:
        """Why weights, bias or requantization do not serve; empty where they do."""
        weights = ctx.consts.get("weights")
        if weights is not None and weights.dtype != np.int8:
            return f"weights are {weights.dtype}, the kernel takes int8"
        if np.any(ctx.consts.get("weight_zero", 0)):
            return "weights have zero points other than 0"
        return weighted_refusal(ctx, self.out_channels(ctx))

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Addresses and requantization, up to and including per_channel."""
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            const(ctx, "weights", "int8_t"),
            const(ctx, "bias", "int32_t"),
            Pointer("scratch", "void *", "scratch"),
            *requant_arguments(ctx),
            per_channel(ctx),
        )

    def output_arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """y_zero, low, high."""
        return runtime("y_zero", zero_point(ctx.writes[0])), *bounds(ctx)

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of any partial sum."""
        return accumulator_bound(ctx)

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Multiply-accumulates and outputs computed, those of padding to whole blocks included."""
        raise NotImplementedError

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Linear in the work; loads are what cycles exceed instructions by."""
        macs, outputs = self.work(ctx)
        instructions = self.instructions_per_mac * macs + self.instructions_per_output * outputs
        cycles = self.cycles_per_mac * macs + self.cycles_per_output * outputs
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(instructions, max(0.0, cycles - instructions), cycles, const_bytes)


class FastConv2d(FastKernel):
    """One group, any window."""

    def refusal(self, ctx: CallContext) -> str:
        """Views, weights, groups."""
        return window_refusal(ctx) or self.weights_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why groups or the shape of the weights do not serve; empty where they do."""
        attrs = conv_attrs(ctx)
        if attrs.groups != 1:
            return f"the convolution has {attrs.groups} groups, the kernel takes 1"
        expected = (ctx.writes[0].shape[3], *attrs.window.kernel, ctx.reads[0].shape[3])
        shape = ctx.consts["weights"].shape
        return "" if shape == expected else f"weights of shape {shape}, expected {expected}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Pointers, rows, sizes, the window, zero points and bounds."""
        window = conv_attrs(ctx).window
        geometry = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            runtime("out_channels", self.out_channels(ctx)),
            *(runtime(f"{name}_{axis}", pair[i]) for name, pair in geometry for i, axis in enumerate("hw")),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def depth(self, ctx: CallContext) -> int:
        """Products of one output."""
        return int(np.prod(ctx.consts["weights"].shape[1:], dtype=np.int64))


class FastDepthwiseConv2d(FastKernel):
    """One filter a channel."""

    def refusal(self, ctx: CallContext) -> str:
        """Views, weights, channels, and the window."""
        return window_refusal(ctx) or self.weights_refusal(ctx) or depthwise_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why channels or the window do not serve; empty where they do."""
        filters, channels = self.out_channels(ctx), ctx.reads[0].shape[3]
        return (
            "" if filters == channels else f"{filters} filters for {channels} channels, the kernel takes one a channel"
        )

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Products and outputs."""
        outputs, taps = ctx.writes[0].size, conv_attrs(ctx).window.kernel
        return taps[0] * taps[1] * outputs, outputs


class FastFullyConnected(FastKernel):
    """Rows of x by weights O,K."""

    def out_channels(self, ctx: CallContext) -> int:
        """Outputs of one row; the views may have any shape."""
        return int(ctx.consts["weights"].shape[0])

    def refusal(self, ctx: CallContext) -> str:
        """Weights and sizes."""
        if "weights" not in ctx.consts:
            return "the call has no weights"
        return self.weights_refusal(ctx) or self.shape_refusal(ctx)

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why views and weights do not go together; empty where they do."""
        shape, x, y = ctx.consts["weights"].shape, ctx.reads[0].size, ctx.writes[0].size
        if len(shape) != 2 or x % shape[1] or y != x // shape[1] * shape[0]:
            return f"{x} values to {y} by weights of shape {shape}"
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Pointers, sizes, zero point and bounds."""
        return (
            *self.pointers(ctx),
            runtime("rows", ctx.reads[0].size // self.depth(ctx)),
            runtime("depth", self.depth(ctx)),
            runtime("out_channels", self.out_channels(ctx)),
            *self.output_arguments(ctx),
        )

    def depth(self, ctx: CallContext) -> int:
        """Products of one output."""
        return int(ctx.consts["weights"].shape[1])
