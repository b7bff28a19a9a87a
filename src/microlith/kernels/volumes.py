"""Portable kernels over up to three spatial axes: ``conv_nd``, ``conv_transpose2d``, ``pool_nd``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
from microlith.kernels.base import Argument, CallContext, Literal, Packed, Pointer
from microlith.kernels.descriptor import DIFFERENCE, BaseKernel, accumulator_refusal, plain, requant_refusal
from microlith.kernels.operands import operand, operand_shape, operands_refusal
from microlith.kernels.weighted import F32_LANES, centered_weights
from microlith.program.neural_attrs import ConvNd, PoolNd, Triple, Volume
from microlith.program.types import View

_AXES = "dhw"


def conv_attrs(ctx: CallContext) -> ConvNd:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, ConvNd)
    return ctx.call.attrs


def pool_attrs(ctx: CallContext) -> PoolNd:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, PoolNd)
    return ctx.call.attrs


def spatial(view: View) -> Triple:
    """Depth, height and width of a view N, spatial axes, C."""
    sizes = (1, 1, 1, *view.shape[1:-1])[-3:]
    return sizes[0], sizes[1], sizes[2]


def volume_refusal(x: View, y: View) -> str:
    """Why two views are not tensors with as many spatial axes as each other; empty where they are."""
    if len(x.shape) == len(y.shape) and 3 <= len(x.shape) <= 5 and x.shape[0] == y.shape[0]:
        return ""
    return f"views of shapes {x.shape} and {y.shape}, expected N, one to three spatial axes, C"


def triple(name: str, values: Triple, *, literals: bool = False) -> tuple[Argument, ...]:
    """Three arguments, one for each spatial axis."""
    make = literal if literals else runtime
    return tuple(make(f"{name}_{axis}", value) for axis, value in zip(_AXES, values, strict=True))


def sizes_in(view: View) -> tuple[Argument, ...]:
    """batch, in_d, in_h, in_w, channels."""
    return runtime("batch", view.shape[0]), *triple("in", spatial(view)), runtime("channels", view.shape[-1])


def window(volume: Volume) -> tuple[Argument, ...]:
    """kernel, stride and dilation (literals), padding before."""
    return (
        *triple("kernel", volume.kernel, literals=True),
        *triple("stride", volume.stride, literals=True),
        *triple("dilation", volume.dilation, literals=True),
        *triple("pad", volume.before),
    )


class F32ConvNd(BaseKernel):
    """``f32_conv_nd__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates, taps in the padding included."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        outer, inner = (x, y) if attrs.transposed else (y, x)
        return outer.size * int(np.prod(attrs.volume.kernel)) * (inner.shape[-1] // attrs.groups)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes of views and weights."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        channels, filters = x.shape[-1], y.shape[-1]
        rows, columns = (channels, filters // attrs.groups) if attrs.transposed else (channels // attrs.groups, filters)
        if channels % attrs.groups or filters % attrs.groups:
            return f"{channels} channels and {filters} filters do not divide into {attrs.groups} groups"
        weights = operand_shape(ctx, "weights", attrs.operands)
        if weights is None or weights[-2:] != (rows, columns) or (1, 1, 1, *weights[:-2])[-3:] != attrs.volume.kernel:
            return f"weights of shape {weights}, expected {(*attrs.volume.kernel, rows, columns)}"
        bias = operand_shape(ctx, "bias", attrs.operands)
        if bias is not None and bias != (filters,):
            return f"a bias of shape {bias} for {filters} filters"
        return volume_refusal(x, y) or operands_refusal(ctx, attrs.operands, "float32")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv_nd.h``."""
        attrs, y = conv_attrs(ctx), ctx.writes[0]
        return (
            written("y", "float"),
            *(operand(ctx, role, attrs.operands, "float") for role in ("x", "weights", "bias")),
            *sizes_in(ctx.reads[0]),
            *triple("out", spatial(y)),
            runtime("out_channels", y.shape[-1]),
            literal("groups", 1) if attrs.groups == 1 else runtime("groups", attrs.groups),
            *window(attrs.volume),
            literal("transposed", int(attrs.transposed)),
            *bounds_f32(ctx),
        )

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight sums, three axes and a place."""
        return 4 * F32_LANES + 72


class S8ConvTranspose2d(BaseKernel):
    """``s8_conv_transpose2d__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates."""
        return ctx.reads[0].size * int(ctx.consts["weights"].size) // ctx.reads[0].shape[-1]

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, weights and requantization."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        if {"weights", "bias"} - set(ctx.consts):
            return "the call has no weights or no bias"
        outputs = y.shape[-1]
        expected = (outputs, *attrs.volume.kernel[1:], x.shape[-1] // attrs.groups)
        if ctx.consts["weights"].shape != expected or attrs.volume.kernel[0] != 1:
            return f"weights of shape {ctx.consts['weights'].shape}, expected {expected}"
        refusal = volume_refusal(x, y) or requant_refusal(ctx, 1, outputs)
        return refusal or accumulator_refusal(ctx, self.accum_bound(ctx))

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_conv_transpose2d.h``."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]

        def plane(name: str, values: Triple, *, literals: bool = False) -> tuple[Argument, ...]:
            return triple(name, values, literals=literals)[1:]

        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            Pointer("weights", "const int8_t *", "const", "weights"),
            Pointer("bias", "const int32_t *", "const", "bias"),
            const(ctx, "weight_zero", "int32_t"),
            *requant_arguments(ctx),
            per_channel(ctx),
            runtime("batch", x.shape[0]),
            *plane("in", spatial(x)),
            runtime("channels", x.shape[-1]),
            *plane("out", spatial(y)),
            runtime("out_channels", y.shape[-1]),
            literal("groups", 1) if attrs.groups == 1 else runtime("groups", attrs.groups),
            *plane("kernel", attrs.volume.kernel, literals=True),
            *plane("stride", attrs.volume.stride, literals=True),
            *plane("dilation", attrs.volume.dilation, literals=True),
            *plane("pad", attrs.volume.before),
            runtime("x_zero", zero_point(x)),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Every const in Program order."""
        return {role: plain(values) for role, values in ctx.consts.items()}

    def accum_bound(self, ctx: CallContext) -> int:
        """Greatest magnitude of any partial sum, for differences of at most 255."""
        sums = np.abs(centered_weights(ctx)).sum(axis=1) * DIFFERENCE
        return int((np.abs(ctx.consts["bias"].astype(np.int64)) + sums).max())


POOLS = ("max", "average", "lp")
"""In the order of the enumeration in ``f32_pool_nd.h``."""


class F32PoolNd(BaseKernel):
    """``f32_pool_nd__portable``; a second result receives the indices of the greatest elements."""

    def macs(self, ctx: CallContext) -> int:
        """Values visited, padding included."""
        return ctx.writes[0].size * int(np.prod(pool_attrs(ctx).volume.kernel))

    def view_refusal(self, ctx: CallContext) -> str:
        """Types: floats, and int64 for the indices."""
        if [view.dtype for view in ctx.writes[1:]] not in ([], ["s64"]):
            return "the kernel writes floats and at most one tensor of int64"
        first = CallContext(ctx.call, ctx.reads, ctx.writes[:1], ctx.consts)
        return super().view_refusal(first)

    def refusal(self, ctx: CallContext) -> str:
        """Function and shapes."""
        attrs, x, y = pool_attrs(ctx), ctx.reads[0], ctx.writes[0]
        if attrs.function not in POOLS or attrs.p < 1:
            return f"function {attrs.function} with p = {attrs.p} is not one of {', '.join(POOLS)}"
        return volume_refusal(x, y) or ("" if x.shape[-1] == y.shape[-1] else "the number of channels changes")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_pool_nd.h``."""
        attrs, y = pool_attrs(ctx), ctx.writes[0]
        indices = Pointer("indices", "int64_t *", "write", "1")
        return (
            written("y", "float"),
            indices if len(ctx.writes) > 1 else Literal("indices", "int64_t *", "0"),
            read("x", "float"),
            literal("function", POOLS.index(attrs.function)),
            literal("p", attrs.p),
            *sizes_in(ctx.reads[0]),
            *triple("out", spatial(y)),
            *window(attrs.volume),
            *triple("after", attrs.volume.after),
            literal("count_include_pad", int(attrs.count_include_pad)),
            literal("column_major", int(attrs.column_major)),
            *bounds_f32(ctx),
        )

    def stack_bytes(self, ctx: CallContext) -> int:
        """Three axes and a place."""
        return 72


VOLUMES = (
    F32ConvNd("f32_conv_nd__portable", "conv_nd", "f32_conv_nd.h", "f32", "f32", instructions_per_mac=5.0),
    S8ConvTranspose2d(
        "s8_conv_transpose2d__portable", "conv_transpose2d", "s8_conv_transpose2d.h", instructions_per_mac=8.0
    ),
    F32PoolNd("f32_pool_nd__portable", "pool_nd", "f32_pool_nd.h", "f32", "f32", instructions_per_mac=8.0),
)
