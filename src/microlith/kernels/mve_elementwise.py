"""int8 sums and differences on the vector extension of the Cortex-M55."""

from __future__ import annotations

import numpy as np

from microlith.device.profile import Device
from microlith.kernels.arguments import bounds, const, literal, ring, runtime, written, zero_point
from microlith.kernels.base import Argument, CallContext, Cost
from microlith.kernels.elementwise import (
    NOT_FLAT,
    OPERANDS,
    S8Binary,
    binary_attrs,
    operand_strides,
    operand_views,
    same_strides,
)
from microlith.quant.requantize import FixedRequant


class MveSum(S8Binary):
    """``s8_add__mve_1x4`` and ``s8_sub__mve_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Operands and result of one shape, and a ``fixed`` requantization without shifts to the left."""
        if refusal := super().refusal(ctx):
            return refusal
        attrs, how = binary_attrs(ctx), ctx.call.requant
        if not all(same_strides(attrs, item) for item in operand_strides(attrs)):
            return NOT_FLAT
        if not isinstance(how, FixedRequant) or (how.shift > 0).any():
            return "the requantization is no fixed one that only shifts right"
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_binary_mve.h``."""
        views, attrs, y = operand_views(ctx), binary_attrs(ctx), ctx.writes[0]
        zeros = (attrs.a_zero, attrs.b_zero)
        return (
            written("y", "int8_t"),
            *self.operand_pointers(ctx),
            const(ctx, "multiplier", "int32_t"),
            const(ctx, "shift", "int8_t"),
            *self.rows(ctx),
            *(
                literal(f"{role}_ring", 0) if view is None else ring(f"{role}_ring", view)
                for role, view in zip(OPERANDS, views, strict=True)
            ),
            ring("y_ring", y),
            runtime("row_elements", y.size // attrs.shape[1]),
            *(
                runtime(f"{role}_zero", zero if view is None else zero_point(view))
                for role, view, zero in zip(OPERANDS, views, zeros, strict=True)
            ),
            runtime("y_zero", zero_point(y)),
            *bounds(ctx),
        )

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Linear in the elements."""
        elements = float(np.prod(binary_attrs(ctx).shape))
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(7 * elements, elements, 8 * elements, const_bytes)


MVE_ELEMENTWISE = tuple(
    MveSum(f"s8_{op}__mve_1x4", op, "s8_binary_mve.h", isa="mve", streams=True) for op in ("add", "sub")
)
