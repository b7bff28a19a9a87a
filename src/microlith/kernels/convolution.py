"""Portable convolutions: ``conv2d`` and ``depthwise_conv2d``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from microlith.device.profile import Device
from microlith.kernels.arguments import (
    bounds,
    bounds_f32,
    const,
    literal,
    per_channel,
    read,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Literal, Packed, Pointer, RowRange
from microlith.kernels.descriptor import BaseKernel, plain
from microlith.kernels.overlaps import channelwise_lead, grouped_lead, is_whole, runs_of_rows
from microlith.kernels.weighted import (
    F32_LANES,
    F32_ROWS,
    accumulator_bound,
    f32_weighted_refusal,
    interleaved,
    pack_weighted,
    weighted_refusal,
)
from microlith.kernels.windowed import padded, window_geometry, window_refusal, window_rows, window_sizes
from microlith.program.attrs import Conv2d, Window
from microlith.program.types import RowMap

# What a product of a pixel that is computed alone costs, against one of pixels that are computed together.
_ALONE_HOST = 3.0
# Cycles that a tap of a group takes beside its products, counted on an emulated Cortex-M4.
_GROUP_TAP = 50.0
_ALONE_CORE = 1.8


def conv_attrs(ctx: CallContext) -> Conv2d:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Conv2d)
    return ctx.call.attrs


class _Convolution(BaseKernel):
    """What the convolutions of all types share."""

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Over what is read no more."""
        return (self.lead(ctx, conv_attrs(ctx).window) if is_whole(ctx) else None,)

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """The lead for whole tensors, by the order of reads and writes."""
        raise NotImplementedError

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates, padding included."""
        return ctx.writes[0].size * int(np.prod(ctx.consts["weights"].shape[1:], dtype=np.int64))

    def channels_refusal(self, ctx: CallContext) -> str:
        """Why channels, groups and weights do not go together; empty where they do."""
        groups, weights = conv_attrs(ctx).groups, ctx.consts["weights"]
        x_channels, y_channels = ctx.reads[0].shape[3], ctx.writes[0].shape[3]
        if x_channels % groups or y_channels % groups:
            return f"{x_channels} to {y_channels} channels do not divide into {groups} groups"
        expected = (y_channels, *conv_attrs(ctx).window.kernel, x_channels // groups)
        return "" if weights.shape == expected else f"weights of shape {weights.shape}, expected {expected}"


class S8Conv2d(_Convolution):
    """``s8_conv2d__portable``."""

    def reads_in_place(self, ctx: CallContext) -> bool:
        """Whether every window is one value of the input."""
        window = conv_attrs(ctx).window
        return window.kernel == (1, 1) and not padded(ctx, window)

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """Two columns at a time, gathered first where they are not read in place and there is one group."""
        gathers = conv_attrs(ctx).groups == 1 and not self.reads_in_place(ctx)
        _, rows, width, _ = ctx.writes[0].shape
        return grouped_lead(ctx, window, runs_of_rows(2, rows, width), gathers=gathers)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Two windows of one group."""
        return 0 if self.reads_in_place(ctx) else 2 * ctx.consts["weights"][0].size

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, weights and requantization."""
        channels = ctx.writes[0].shape[-1]
        return window_refusal(ctx) or weighted_refusal(ctx, channels) or self.channels_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_conv2d.h``."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        zero = zero_point(x)
        absent = Literal("scratch", "int8_t *", "0")
        scratch = absent if self.reads_in_place(ctx) else Pointer("scratch", "int8_t *", "scratch")
        return (
            *s8_weighted_pointers(ctx),
            scratch,
            *requant_arguments(ctx),
            per_channel(ctx),
            RowRange(),
            *window_sizes(ctx),
            runtime("out_channels", y.shape[3]),
            literal("groups", 1) if attrs.groups == 1 else runtime("groups", attrs.groups),
            *window_geometry(ctx, attrs.window),
            runtime("x_zero", zero) if padded(ctx, attrs.window) else literal("x_zero", 0),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def rough_cost(self, ctx: CallContext) -> Cost:
        """With several groups, each tap of each is copied by itself."""
        rough, groups = super().rough_cost(ctx), conv_attrs(ctx).groups
        taps = conv_attrs(ctx).window.kernel[0] * conv_attrs(ctx).window.kernel[1]
        copied = 0 if groups == 1 else _GROUP_TAP * groups * taps * ctx.writes[0].size / ctx.writes[0].shape[3]
        return replace(rough, instructions=rough.instructions + 0.8 * copied, cycles=rough.cycles + copied)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights O,KH,KW,I; the bias folded."""
        return pack_weighted(ctx, plain(ctx.consts["weights"], "OHWI"))

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of any partial sum."""
        return accumulator_bound(ctx)


class S8DepthwiseConv2d(_Convolution):
    """``s8_depthwise_conv2d__portable``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """Channel after channel of a pixel; with several filters a channel, a pixel as a whole."""
        return depthwise_lead(ctx, window)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, weights and requantization."""
        return window_refusal(ctx) or weighted_refusal(ctx, ctx.writes[0].shape[-1]) or depthwise_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d.h``."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        return (
            *s8_weighted_pointers(ctx),
            *requant_arguments(ctx),
            per_channel(ctx),
            RowRange(),
            *window_sizes(ctx),
            literal("filters", y.shape[3] // x.shape[3]),
            *window_geometry(ctx, attrs.window),
            runtime("x_zero", zero_point(x)) if padded(ctx, attrs.window) else literal("x_zero", 0),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights KH,KW,O, so that neighbouring channels are neighbours; the bias folded."""
        return pack_weighted(ctx, depthwise_weights(ctx))

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of any partial sum."""
        return accumulator_bound(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four accumulators."""
        return 16


class F32Conv2d(_Convolution):
    """``f32_conv2d__portable``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """A row as a whole: up to four columns are computed together, eight filters at a time."""
        _, rows, width, _ = ctx.writes[0].shape
        return grouped_lead(ctx, window, runs_of_rows(width, rows, width), gathers=False)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes and weights."""
        channels = ctx.writes[0].shape[-1]
        return window_refusal(ctx) or f32_weighted_refusal(ctx, channels) or self.channels_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv2d.h``."""
        attrs = conv_attrs(ctx)
        return (
            *f32_weighted_pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            runtime("out_channels", ctx.writes[0].shape[3]),
            literal("groups", 1) if attrs.groups == 1 else runtime("groups", attrs.groups),
            *window_geometry(ctx, attrs.window),
            *bounds_f32(ctx),
        )

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Products; those of pixels that are computed alone cost more: their sums wait for each other."""
        window, width = conv_attrs(ctx).window, ctx.writes[0].shape[2]
        rows, alone = (F32_ROWS[1], _ALONE_HOST) if device.is_host else (F32_ROWS[0], _ALONE_CORE)
        blocks, column, reach = 0, 0, (window.kernel[1] - 1) * window.dilation[1]
        while column + rows <= width:
            first = column * window.stride[1] - window.pad[1]
            inside = first >= 0 and first + (rows - 1) * window.stride[1] + reach < ctx.reads[0].shape[2]
            blocks += inside
            column += rows if inside else 1
        share = blocks * rows / width
        rough = self.rough_cost(ctx)
        factor = share + (1 - share) * alone
        return Cost(rough.instructions * factor, rough.loads * factor, rough.cycles * factor, rough.const_bytes)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Eight neighbouring filters of a group interleaved."""
        weights, groups = ctx.consts["weights"], conv_attrs(ctx).groups
        rows = weights.reshape(groups, weights.shape[0] // groups, -1)
        return {"weights": interleaved(rows, "GO8HWI"), "bias": plain(ctx.consts["bias"])}

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four rows of eight sums."""
        return 4 * 4 * F32_LANES


class F32DepthwiseConv2d(_Convolution):
    """``f32_depthwise_conv2d__portable``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """Channel after channel of a pixel; with several filters a channel, a pixel as a whole."""
        return depthwise_lead(ctx, window)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes and weights."""
        return window_refusal(ctx) or f32_weighted_refusal(ctx, ctx.writes[0].shape[-1]) or depthwise_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_depthwise_conv2d.h``."""
        return (
            *f32_weighted_pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            literal("filters", ctx.writes[0].shape[3] // ctx.reads[0].shape[3]),
            *window_geometry(ctx, conv_attrs(ctx).window),
            *bounds_f32(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights KH,KW,O, so that neighbouring channels are neighbours."""
        return {"weights": depthwise_weights(ctx), "bias": plain(ctx.consts["bias"])}

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight sums."""
        return 4 * F32_LANES


def f32_weighted_pointers(ctx: CallContext) -> tuple[Argument, ...]:
    """Addresses of a float layer with weights."""
    return written("y", "float"), read("x", "float"), const(ctx, "weights", "float"), const(ctx, "bias", "float")


def s8_weighted_pointers(ctx: CallContext) -> tuple[Argument, ...]:
    """Addresses of an int8 layer with weights."""
    return (
        written("y", "int8_t"),
        read("x", "int8_t"),
        const(ctx, "weights", "int8_t"),
        const(ctx, "bias", "int32_t"),
        const(ctx, "weight_zero", "int32_t"),
    )


def depthwise_refusal(ctx: CallContext) -> str:
    """Why weights and channels are not those of a depthwise convolution; empty where they are."""
    x_channels, y_channels = ctx.reads[0].shape[3], ctx.writes[0].shape[3]
    if y_channels % x_channels:
        return f"{y_channels} output channels are no multiple of {x_channels}"
    expected = (y_channels, *conv_attrs(ctx).window.kernel, 1)
    shape = ctx.consts["weights"].shape
    return "" if shape == expected else f"weights of shape {shape}, expected {expected}"


def depthwise_lead(ctx: CallContext, window: Window) -> Lead:
    """The lead of the portable depthwise kernels."""
    if ctx.reads[0].shape[-1] == ctx.writes[0].shape[-1]:
        return channelwise_lead(ctx, window)
    _, rows, width, _ = ctx.writes[0].shape
    return grouped_lead(ctx, window, runs_of_rows(1, rows, width), gathers=False)


def depthwise_weights(ctx: CallContext) -> Packed:
    """Weights KH,KW,O."""
    return plain(np.moveaxis(ctx.consts["weights"][..., 0], 0, -1), "HWO", sliceable_axes=())


CONVOLUTIONS = (
    S8Conv2d(
        "s8_conv2d__portable",
        "conv2d",
        "s8_conv2d.h",
        streams=True,
        instructions_per_mac=4.2,
        instructions_per_output=30,
    ),
    S8DepthwiseConv2d(
        "s8_depthwise_conv2d__portable",
        "depthwise_conv2d",
        "s8_depthwise_conv2d.h",
        streams=True,
        instructions_per_mac=10.0,
        instructions_per_output=25,
    ),
    F32Conv2d(
        "f32_conv2d__portable",
        "conv2d",
        "f32_conv2d.h",
        "f32",
        "f32",
        streams=True,
        instructions_per_mac=3.4,
        instructions_per_output=15,
    ),
    F32DepthwiseConv2d(
        "f32_depthwise_conv2d__portable",
        "depthwise_conv2d",
        "f32_depthwise_conv2d.h",
        "f32",
        "f32",
        streams=True,
        instructions_per_mac=8.0,
        instructions_per_output=10,
    ),
)
