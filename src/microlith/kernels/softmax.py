"""Portable ``softmax``."""

from __future__ import annotations

from microlith.kernels.arguments import (
    bounds,
    float_text,
    literal,
    read,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Lead, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel, requant_refusal
from microlith.program.attrs import Softmax


def softmax_attrs(ctx: CallContext) -> Softmax:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Softmax)
    return ctx.call.attrs


class _Softmax(BaseKernel):
    """What softmax of all types shares."""

    def macs(self, ctx: CallContext) -> int:
        """Values visited, three times each."""
        return 3 * ctx.reads[0].size

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why the views do not have the size that the attributes state; empty where they do."""
        attrs = softmax_attrs(ctx)
        got, expected = (ctx.reads[0].size, ctx.writes[0].size), attrs.outer * attrs.count * attrs.inner
        return "" if got == (expected, expected) else f"{got[0]} values to {got[1]}, expected {expected}"

    def sizes(self, ctx: CallContext) -> tuple[Argument, ...]:
        """outer, count, inner; inner is a literal where it is 1."""
        attrs = softmax_attrs(ctx)
        inner = literal("inner", 1) if attrs.inner == 1 else runtime("inner", attrs.inner)
        return runtime("outer", attrs.outer), runtime("count", attrs.count), inner


def table_refusal(ctx: CallContext, dtype: str) -> str:
    """Why the call has no table of 256 exponentials of that type; empty where it has."""
    table = ctx.consts.get("table")
    if table is None or table.size != 256:
        return "the call needs a table of 256 exponentials"
    return "" if table.dtype == dtype else f"the exponentials are {table.dtype}, the kernel takes {dtype}"


def softmax_lead(ctx: CallContext) -> Lead:
    """All of a lane is read before its first result is written, each of the others before its own.

    Lanes that lie between each other must lie over themselves.
    """
    return Lead(0, 1 if softmax_attrs(ctx).inner == 1 else ctx.writes[0].bytes)


class S8Softmax(_Softmax):
    """``s8_softmax__portable``."""

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Lane by lane."""
        return (softmax_lead(ctx),)

    def refusal(self, ctx: CallContext) -> str:
        """Table, length of the axis and requantization."""
        refusal = table_refusal(ctx, "int32")
        if refusal:
            return refusal
        if softmax_attrs(ctx).count > 65535:
            return f"an axis of {softmax_attrs(ctx).count:,} values; the sum of at most 65,535 fits in 32 bits"
        return self.shape_refusal(ctx) or requant_refusal(ctx, 1)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_softmax.h``."""
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            Pointer("table", "const int32_t *", "const", "table"),
            *requant_arguments(ctx),
            *self.sizes(ctx),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Shares in units of 2^-14."""
        return 1 << 14


class S8SoftmaxFloat(_Softmax):
    """``s8_softmax_float__portable``: a model of ``fixed`` requantization."""

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Lane by lane."""
        return (softmax_lead(ctx),)

    def refusal(self, ctx: CallContext) -> str:
        """Table and shapes; there is nothing to requantize."""
        if ctx.call.requant is not None:
            return "the kernel has no requantization"
        return table_refusal(ctx, "float32") or self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_softmax_float.h``."""
        qparams = ctx.writes[0].qparams
        assert qparams is not None, "an integer view has quantization parameters"
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            Pointer("table", "const float *", "const", "table"),
            *self.sizes(ctx),
            Runtime("y_scale", "float", float_text(float(qparams.scale))),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )


class F32Softmax(_Softmax):
    """``f32_softmax__portable``, ``f32_log_softmax__portable`` and ``f32_hardmax__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes; a clamp of probabilities has no use."""
        clamp = ctx.call.epilogue
        if clamp.low is not None or clamp.high is not None:
            return "the kernel does not clamp its results"
        return self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_softmax.h`` and ``f32_softmax_family.h``."""
        return written("y", "float"), read("x", "float"), *self.sizes(ctx)


SOFTMAX = (
    S8Softmax("s8_softmax__portable", "softmax", "s8_softmax.h", instructions_per_mac=12, instructions_per_output=5),
    S8SoftmaxFloat(
        "s8_softmax_float__portable",
        "softmax",
        "s8_softmax_float.h",
        instructions_per_mac=10,
        instructions_per_output=5,
    ),
    F32Softmax(
        "f32_softmax__portable",
        "softmax",
        "f32_softmax.h",
        "f32",
        "f32",
        instructions_per_mac=20,
        instructions_per_output=5,
    ),
)
