"""Portable kernels of layers that quantize while they run: ``dynamic_quantize`` and ``conv_integer``."""

from __future__ import annotations

import numpy as np

from microlith.kernels.arguments import const, literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext, Pointer
from microlith.kernels.descriptor import DIFFERENCE, INT32_MAX, BaseKernel, is_contiguous
from microlith.kernels.operands import operand
from microlith.kernels.volumes import conv_attrs, sizes_in, spatial, triple, volume_refusal, window

_FLIP = 128


class ConvInteger(BaseKernel):
    """``x8_conv_integer__portable``."""

    def view_refusal(self, ctx: CallContext) -> str:
        """8-bit operands of one type, sums of 32 bits."""
        types = {view.dtype for view in ctx.reads}
        if types not in ({"u8"}, {"s8"}) or ctx.writes[0].dtype != "s32":
            return f"reads {sorted(types)} and writes {ctx.writes[0].dtype}, expected u8 or s8, and s32"
        gaps = next((view.id for view in (*ctx.reads, *ctx.writes) if not is_contiguous(view)), None)
        return "" if gaps is None else f"{gaps} has gaps between its elements"

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, constants, and sums that 32 bits do not hold."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        weights, zeros = ctx.consts["weights"], ctx.consts.get("weight_zero")
        expected = (y.shape[-1], *attrs.volume.kernel, x.shape[-1] // attrs.groups)
        if weights.dtype != np.int8 or (len(weights), *(1,) * (5 - weights.ndim), *weights.shape[1:]) != expected:
            return f"weights {weights.dtype} of shape {weights.shape}, expected int8 of {expected}"
        if zeros is not None and zeros.shape != expected[:1]:
            return f"zero points of shape {zeros.shape}, expected {expected[:1]}"
        bound = self.accum_bound(ctx)
        if bound > INT32_MAX:
            return f"the sums can reach {bound:,}, which does not fit in 32 bits"
        return volume_refusal(x, y)

    def accum_bound(self, ctx: CallContext) -> int:
        """Each activation at its greatest distance from any zero point."""
        weights = ctx.consts["weights"].astype(np.int64)
        zeros = ctx.consts.get("weight_zero")
        if zeros is not None:
            weights = weights - zeros.astype(np.int64).reshape(-1, *(1,) * (weights.ndim - 1))
        sums = np.abs(weights).reshape(len(weights), -1).sum(axis=1)
        return DIFFERENCE * int(sums.max(initial=0))

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates, taps in the padding included."""
        y = ctx.writes[0]
        return y.size // y.shape[-1] * int(ctx.consts["weights"].size)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x8_conv_integer.h``."""
        attrs, x, y = conv_attrs(ctx), ctx.reads[0], ctx.writes[0]
        return (
            written("y", "int32_t"),
            read("x", "uint8_t"),
            operand(ctx, "x_zero", attrs.operands, "uint8_t"),
            Pointer("weights", "const int8_t *", "const", "weights"),
            const(ctx, "weight_zero", "int32_t"),
            literal("flip", _FLIP if x.dtype == "s8" else 0),
            *sizes_in(x),
            *triple("out", spatial(y)),
            runtime("out_channels", y.shape[-1]),
            literal("groups", 1) if attrs.groups == 1 else runtime("groups", attrs.groups),
            *window(attrs.volume),
        )

    def stack_bytes(self, ctx: CallContext) -> int:
        """Three axes and a place."""
        return 72


class DynamicQuantize(BaseKernel):
    """``f32_dynamic_quantize_u8__portable``."""

    def view_refusal(self, ctx: CallContext) -> str:
        """A float tensor; integers, a scale and a zero point."""
        found = [view.dtype for view in (*ctx.reads, *ctx.writes)]
        if found != ["f32", "u8", "f32", "u8"]:
            return f"types {found}, expected f32 to u8, f32 and u8"
        same = is_contiguous(ctx.reads[0]) and is_contiguous(ctx.writes[0])
        return "" if same else "there are gaps between the elements"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x8_conv_integer.h``."""
        return (
            written("y", "uint8_t"),
            Pointer("scale", "float *", "write", "1"),
            Pointer("zero", "uint8_t *", "write", "2"),
            read("x", "float"),
            runtime("count", ctx.reads[0].size),
        )


INTEGER_SUMS = (
    ConvInteger(
        "x8_conv_integer__portable", "conv_integer", "x8_conv_integer.h", "u8", "s32", instructions_per_mac=6.0
    ),
    DynamicQuantize(
        "f32_dynamic_quantize_u8__portable", "dynamic_quantize", "x8_conv_integer.h", "f32", "u8",
        instructions_per_output=30.0,
    ),
)  # fmt: skip
