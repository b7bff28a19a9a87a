"""Portable conversions at the edges of an integer network: ``flip_sign``, ``quantize``, ``dequantize``."""

from __future__ import annotations

import numpy as np

from microlith.kernels.arguments import (
    bounds,
    const,
    float_text,
    has_rows,
    read,
    ring,
    row_elements,
    row_range,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Lead, Runtime
from microlith.kernels.descriptor import BaseKernel, is_contiguous
from microlith.kernels.indexing import SCALARS
from microlith.program.attrs import ConvertChannels
from microlith.program.types import ITEM_BYTES, DType, RowMap, View


def scale_of(view: View) -> Runtime:
    """The scale of an integer view, as a float argument."""
    assert view.qparams is not None, f"{view.id} has no quantization parameters"
    return Runtime("scale", "float", float_text(float(np.float32(view.qparams.scale))))


class FlipSign(BaseKernel):
    """``x8_flip_sign__portable``."""

    def view_refusal(self, ctx: CallContext) -> str:
        """One byte an element, one uint8 and one int8."""
        views = (ctx.reads[0], ctx.writes[0])
        for view in views:
            if not is_contiguous(view):
                return f"{view.id} has gaps between its elements"
            if view.ring_rows is not None and not has_rows(view):
                return f"{view.id} is a ring of rows without rows"
        types = sorted(view.dtype for view in views)
        return "" if types == ["s8", "u8"] else f"converts between u8 and s8, the views are {types}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_convert.h``."""
        x, y = ctx.reads[0], ctx.writes[0]
        return (
            written("y", "uint8_t"),
            read("x", "uint8_t"),
            *row_range(y),
            ring("x_ring", x),
            ring("y_ring", y),
            runtime("row_elements", row_elements(y)),
        )

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """The same rows."""
        return RowMap(1, 0, 0) if has_rows(ctx.writes[0]) else None

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The output may lie at or before the input."""
        return (Lead(0),)


class Quantize(BaseKernel):
    """``f32_quantize_s8__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_convert.h``."""
        y = ctx.writes[0]
        return (
            written("y", "int8_t"),
            read("x", "float"),
            runtime("count", y.size),
            scale_of(y),
            runtime("zero", zero_point(y)),
            *bounds(ctx),
        )

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Output i is one byte at i, written after input i, four bytes at 4i, was read."""
        return (Lead(0),)


class Dequantize(BaseKernel):
    """``s8_dequantize_f32__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_convert.h``."""
        x = ctx.reads[0]
        return (
            written("y", "float"),
            read("x", "int8_t"),
            runtime("count", x.size),
            scale_of(x),
            runtime("zero", zero_point(x)),
        )

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Output i ends at 4i + 4 and must not reach input i + 1: for the last but one, 3 bytes an element less."""
        return (Lead((ITEM_BYTES["f32"] - 1) * max(0, ctx.reads[0].size - 1)),)


class ConvertByChannel(BaseKernel):
    """``f32_quantize_channels_s8__portable``, ``s8_dequantize_channels_f32__portable`` and their like."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_convert.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ConvertChannels)
        return (
            written("y", SCALARS[self.writes]),
            read("x", SCALARS[self.reads]),
            const(ctx, "scale", "float"),
            const(ctx, "zero", "int32_t"),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "channels", "inner")),
            *(bounds(ctx) if self.op == "quantize_channels" else ()),
        )


def _by_channel(op: str, reads: DType, writes: DType) -> ConvertByChannel:
    name = f"{reads}_{op}_channels_{writes}__portable"
    return ConvertByChannel(name, f"{op}_channels", "s8_convert.h", reads, writes)


_BY_CHANNEL: tuple[DType, ...] = ("s8", "u8", "s16", "u16")

CONVERSIONS = (
    *(_by_channel("quantize", "f32", dtype) for dtype in _BY_CHANNEL),
    *(_by_channel("dequantize", dtype, "f32") for dtype in (*_BY_CHANNEL, "s32")),
    FlipSign(
        "x8_flip_sign__portable", "flip_sign", "s8_convert.h", "u8", "s8", streams=True, instructions_per_output=4
    ),
    Quantize("f32_quantize_s8__portable", "quantize", "s8_convert.h", "f32", "s8"),
    Dequantize("s8_dequantize_f32__portable", "dequantize", "s8_convert.h", "s8", "f32", instructions_per_output=6),
)
