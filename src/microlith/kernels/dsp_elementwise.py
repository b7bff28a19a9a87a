"""int8 sums and differences on the DSP extension of Cortex-M4, M7 and M33."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from microlith.device.profile import Device
from microlith.kernels.arguments import bounds, const, literal, ring, runtime, written, zero_point
from microlith.kernels.base import Argument, CallContext, Cost, Packed
from microlith.kernels.dsp import is_full_range
from microlith.kernels.dsp_fixed import ShortFixed, short_fixed
from microlith.kernels.elementwise import (
    NOT_FLAT,
    OPERANDS,
    S8Binary,
    binary_attrs,
    operand_strides,
    operand_views,
    same_strides,
)
from microlith.quant.factors import SUM_HEADROOM_BITS
from microlith.quant.requantize import FixedRequant

_HALF = 2**30
# Each rescaled operand is at most half of its 255 * 2**20.
_SUM_BOUNDS = np.full(3, 255 << SUM_HEADROOM_BITS, np.int64)


class DspSum(S8Binary):
    """``s8_add__dsp_1x4`` and ``s8_sub__dsp_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Operands and result of one shape, and a ``fixed`` requantization without shifts to the left."""
        if refusal := super().refusal(ctx):
            return refusal
        strides = operand_strides(binary_attrs(ctx))
        if not all(same_strides(binary_attrs(ctx), item) for item in strides):
            return NOT_FLAT
        if self._short(ctx) is None:
            return "the requantization is no fixed one that only shifts right, by up to 22 bits"
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_binary_dsp.h``."""
        views, y = operand_views(ctx), ctx.writes[0]
        attrs = binary_attrs(ctx)
        zeros = [
            zero if view is None else zero_point(view)
            for view, zero in zip(views, (attrs.a_zero, attrs.b_zero), strict=True)
        ]
        rings = [
            literal(f"{role}_ring", 0) if view is None else ring(f"{role}_ring", view)
            for role, view in zip(OPERANDS, views, strict=True)
        ]
        rows = self.rows(ctx)
        return (
            written("y", "int8_t"),
            *self.operand_pointers(ctx),
            const(ctx, "multiplier", "int32_t"),
            const(ctx, "shift", "int8_t"),
            literal("full_range", int(is_full_range(ctx))),
            *(literal(f"{role}_greater", int(self._greater(ctx, i))) for i, role in enumerate(OPERANDS)),
            *rows,
            *rings,
            ring("y_ring", y),
            runtime("row_elements", y.size // attrs.shape[1]),
            *(runtime(f"{role}_zero", zero) for role, zero in zip(OPERANDS, zeros, strict=True)),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def _greater(self, ctx: CallContext, operand: int) -> bool:
        """Whether an operand is rescaled by exactly one half."""
        how = ctx.call.requant
        assert isinstance(how, FixedRequant), "refused otherwise"
        return int(how.multiplier[operand]) == _HALF and int(how.shift[operand]) == 0

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Multipliers and shifts as ``ML_DSP_FIXED`` has them."""
        short = self._short(ctx)
        assert short is not None, "refused otherwise"
        return {**super().pack(ctx), **short.packed()}

    def _short(self, ctx: CallContext) -> ShortFixed | None:
        found = short_fixed(ctx.call.requant, -_SUM_BOUNDS, _SUM_BOUNDS)
        return None if found is None or found.bias.any() else found

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Linear in the elements, each operand of the smaller scale with four instructions more."""
        smaller = sum(not self._greater(ctx, operand) for operand in (0, 1))
        elements = float(np.prod(binary_attrs(ctx).shape))
        instructions = (13 + 4 * smaller) * elements
        return Cost(instructions, elements, instructions + elements, sum(p.bytes for p in self.pack(ctx).values()))


DSP_ELEMENTWISE = tuple(
    DspSum(f"s8_{op}__dsp_1x4", op, "s8_binary_dsp.h", isa="dsp", streams=True) for op in ("add", "sub")
)
