"""Portable ``attention``."""

from __future__ import annotations

import numpy as np

from microlith.kernels.arguments import float_text, literal, runtime, written
from microlith.kernels.base import Argument, CallContext, Literal, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel
from microlith.kernels.operands import operand, operand_shape, operands_refusal
from microlith.kernels.weighted import F32_LANES
from microlith.program.neural_attrs import Attention

ROLES = ("q", "k", "v", "mask")
_AXES = ("batch", "head", "row", "step")
_ROWS = 4
"""Rows computed together, at most; see ``f32_block.h``."""


def attention_attrs(ctx: CallContext) -> Attention:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Attention)
    return ctx.call.attrs


class F32Attention(BaseKernel):
    """``f32_attention__portable``: the products of a few rows are in memory at a time."""

    takes_strides = True

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates of both products, of a causal one about half."""
        attrs = attention_attrs(ctx)
        seen = sum(min(row + 1, attrs.keys) for row in range(attrs.rows)) if attrs.causal else attrs.rows * attrs.keys
        return attrs.batch * attrs.heads * seen * (attrs.depth + attrs.columns)

    def refusal(self, ctx: CallContext) -> str:
        """Sizes of operands and result."""
        attrs = attention_attrs(ctx)
        refusal = operands_refusal(ctx, attrs.operands, "float32")
        if refusal:
            return refusal
        if attrs.operands[:3] != ROLES[:3] or attrs.heads % attrs.kv_heads or attrs.y_strides[3] != 1:
            return f"operands {', '.join(attrs.operands)}, heads {attrs.heads} and {attrs.kv_heads}"
        for role in ROLES[:3]:
            size = int(np.prod(operand_shape(ctx, role, attrs.operands) or (), dtype=np.int64))
            wanted = int(np.prod(attrs.extents(role), dtype=np.int64))
            if size != wanted:
                return f"{role} has {size} values, expected {wanted}"
        wanted = attrs.batch * attrs.heads * attrs.rows * attrs.columns
        return "" if ctx.writes[0].size == wanted else f"a result of {ctx.writes[0].size} values, expected {wanted}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_attention.h``; inner strides of 1 are literals, so that neighbours are read together."""
        attrs = attention_attrs(ctx)
        masked = "mask" in attrs.operands
        strides: list[Argument] = [
            runtime(f"y_{axis}", stride) for axis, stride in zip(_AXES[:3], attrs.y_strides, strict=False)
        ]
        for role in ROLES:
            for axis, stride in zip(_AXES, attrs.strides(role), strict=True):
                fixed = (axis == "step" and stride == 1) or (role == "mask" and not masked)
                strides.append(literal(f"{role}_{axis}", stride) if fixed else runtime(f"{role}_{axis}", stride))
        return (
            written("y", "float"),
            *(operand(ctx, role, attrs.operands, "float") for role in ROLES),
            Pointer("scores", "float *", "scratch"),
            runtime("batch", attrs.batch),
            runtime("heads", attrs.heads),
            runtime("group", attrs.heads // attrs.kv_heads),
            runtime("rows", attrs.rows),
            runtime("keys", attrs.keys),
            runtime("depth", attrs.depth),
            runtime("columns", attrs.columns),
            *strides,
            literal("causal", int(attrs.causal)),
            Runtime("scale", "float", float_text(attrs.scale)),
            Runtime("cap", "float", float_text(attrs.cap)) if attrs.cap else Literal("cap", "float", "0.0f"),
        )

    def scratch_bytes(self, ctx: CallContext) -> int:
        """The products of the rows that are computed together."""
        return 4 * _ROWS * attention_attrs(ctx).keys

    def stack_bytes(self, ctx: CallContext) -> int:
        """A block of sums."""
        return 4 * _ROWS * F32_LANES


ATTENTION = (
    F32Attention("f32_attention__portable", "attention", "f32_attention.h", "f32", "f32", instructions_per_mac=4.0),
)
