"""Portable pooling and reductions: ``max_pool2d``, ``average_pool2d``, ``reduce_mean``."""

from __future__ import annotations

from microlith.kernels.arguments import (
    bounds,
    bounds_f32,
    literal,
    read,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Lead, Literal, RowRange
from microlith.kernels.descriptor import DIFFERENCE, BaseKernel, accumulator_refusal, requant_refusal
from microlith.kernels.overlaps import channelwise_lead, grouped_lead, is_whole, runs_of_rows
from microlith.kernels.windowed import window_geometry, window_refusal, window_rows, window_sizes
from microlith.program.attrs import Pool2d, ReduceMean, Window
from microlith.program.types import RowMap

_DIVISION: tuple[Argument, ...] = (
    literal("kind", 2),
    Literal("scale", "const float *", "0"),
    Literal("multiplier", "const int32_t *", "0"),
    Literal("shift", "const int8_t *", "0"),
)


def pool_attrs(ctx: CallContext) -> Pool2d:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Pool2d)
    return ctx.call.attrs


def mean_attrs(ctx: CallContext) -> ReduceMean:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, ReduceMean)
    return ctx.call.attrs


class _Pool2d(BaseKernel):
    """What pooling of all types shares."""

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(pool_attrs(ctx).window)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Over what is read no more, channel after channel."""
        return (self.lead(ctx, pool_attrs(ctx).window) if is_whole(ctx) else None,)

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """The lead for whole tensors: channel after channel of a pixel."""
        return channelwise_lead(ctx, window)

    def macs(self, ctx: CallContext) -> int:
        """Values visited, padding included."""
        kernel = pool_attrs(ctx).window.kernel
        return ctx.writes[0].size * kernel[0] * kernel[1]

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why the views do not go together; empty where they do."""
        channels = (ctx.reads[0].shape[-1], ctx.writes[0].shape[-1])
        return window_refusal(ctx) or (
            "" if channels[0] == channels[1] else f"{channels[0]} channels become {channels[1]}"
        )


class S8MaxPool2d(_Pool2d):
    """``s8_max_pool2d__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes and quantization parameters."""
        x, y = ctx.reads[0].qparams, ctx.writes[0].qparams
        same = x is not None and y is not None and x.same(y)
        return self.shape_refusal(ctx) or ("" if same else "input and output have different quantization parameters")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_pool2d.h``."""
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            RowRange(),
            *window_sizes(ctx),
            *window_geometry(ctx, pool_attrs(ctx).window),
            *bounds(ctx),
        )


class S8AveragePool2d(_Pool2d):
    """``s8_average_pool2d__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes and requantization, which has one factor for each number of values."""
        kernel = pool_attrs(ctx).window.kernel
        count = kernel[0] * kernel[1]
        if ctx.call.requant is None:
            x, y = ctx.reads[0].qparams, ctx.writes[0].qparams
            same = x is not None and y is not None and x.same(y)
            return self.shape_refusal(ctx) or ("" if same else "a division needs equal parameters of input and output")
        refusal = self.shape_refusal(ctx) or requant_refusal(ctx, count)
        return refusal or accumulator_refusal(ctx, count * DIFFERENCE)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_pool2d.h``."""
        attrs = pool_attrs(ctx)
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            *(_DIVISION if ctx.call.requant is None else requant_arguments(ctx)),
            RowRange(),
            *window_sizes(ctx),
            *window_geometry(ctx, attrs.window),
            literal("count_include_pad", int(attrs.count_include_pad)),
            runtime("x_zero", zero_point(ctx.reads[0])),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Differences of at most 255."""
        kernel = pool_attrs(ctx).window.kernel
        return kernel[0] * kernel[1] * DIFFERENCE


class _ReduceMean(BaseKernel):
    """What means of all types share."""

    def macs(self, ctx: CallContext) -> int:
        """Values visited."""
        return ctx.reads[0].size

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why the views do not have the sizes that the attributes state; empty where they do."""
        attrs = mean_attrs(ctx)
        got, lanes = (ctx.reads[0].size, ctx.writes[0].size), attrs.outer * attrs.inner
        expected = (lanes * attrs.count, lanes)
        return "" if got == expected else f"{got[0]} values to {got[1]}, expected {expected[0]} to {expected[1]}"

    def sizes(self, ctx: CallContext) -> tuple[Argument, ...]:
        """outer, count, inner."""
        attrs = mean_attrs(ctx)
        return runtime("outer", attrs.outer), runtime("count", attrs.count), runtime("inner", attrs.inner)


class S8ReduceMean(_ReduceMean):
    """``s8_reduce_mean__portable``."""

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """A mean is written where its first value was, or before."""
        return (Lead(0),)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, size of the accumulator and requantization."""
        refusal = self.shape_refusal(ctx) or requant_refusal(ctx, 1)
        return refusal or accumulator_refusal(ctx, mean_attrs(ctx).count * DIFFERENCE)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_reduce_mean.h``."""
        image = mean_attrs(ctx).image
        x_zero, y_zero = zero_point(ctx.reads[0]), zero_point(ctx.writes[0])
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            *requant_arguments(ctx),
            *self.sizes(ctx),
            literal("channels", 1 if image is None else image.channels),
            literal("up", 0 if image is None else image.up),
            runtime("x_zero", x_zero if image is None else 0),
            runtime("y_zero", y_zero if image is None else y_zero + image.offset),
            *bounds(ctx),
        )

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Differences of at most 255."""
        return mean_attrs(ctx).count * DIFFERENCE


class F32MaxPool2d(_Pool2d):
    """``f32_max_pool2d__portable``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """The channels of a pixel are gathered in the output."""
        _, rows, width, _ = ctx.writes[0].shape
        return grouped_lead(ctx, window, runs_of_rows(1, rows, width), gathers=False)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes."""
        return self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_pool2d.h``."""
        window = window_geometry(ctx, pool_attrs(ctx).window)
        return written("y", "float"), read("x", "float"), RowRange(), *window_sizes(ctx), *window, *bounds_f32(ctx)


class F32AveragePool2d(_Pool2d):
    """``f32_average_pool2d__portable``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """The channels of a pixel are gathered in the output."""
        _, rows, width, _ = ctx.writes[0].shape
        return grouped_lead(ctx, window, runs_of_rows(1, rows, width), gathers=False)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes."""
        return self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_pool2d.h``."""
        attrs = pool_attrs(ctx)
        return (
            written("y", "float"),
            read("x", "float"),
            RowRange(),
            *window_sizes(ctx),
            *window_geometry(ctx, attrs.window),
            literal("count_include_pad", int(attrs.count_include_pad)),
            *bounds_f32(ctx),
        )


class F32ReduceMean(_ReduceMean):
    """``f32_reduce_mean__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes."""
        return self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_reduce_mean.h``."""
        return written("y", "float"), read("x", "float"), *self.sizes(ctx), *bounds_f32(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight sums."""
        return 32


POOLING = (
    S8MaxPool2d("s8_max_pool2d__portable", "max_pool2d", "s8_pool2d.h", streams=True, instructions_per_mac=7),
    S8AveragePool2d(
        "s8_average_pool2d__portable", "average_pool2d", "s8_pool2d.h", streams=True, instructions_per_mac=6
    ),
    S8ReduceMean("s8_reduce_mean__portable", "reduce_mean", "s8_reduce_mean.h"),
    F32MaxPool2d("f32_max_pool2d__portable", "max_pool2d", "f32_pool2d.h", "f32", "f32", streams=True),
    F32AveragePool2d("f32_average_pool2d__portable", "average_pool2d", "f32_pool2d.h", "f32", "f32", streams=True),
    F32ReduceMean("f32_reduce_mean__portable", "reduce_mean", "f32_reduce_mean.h", "f32", "f32"),
)
