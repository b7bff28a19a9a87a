"""What most descriptors share: checks that hold for every kernel, plain packing, sharing of instances, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from microlith.device.profile import Device, Isa
from microlith.kernels.arguments import requant_sizes
from microlith.kernels.base import Argument, CallContext, Cost, Fit, Lead, Literal, Packed, RowRange
from microlith.kernels.cost_table import fitted_cost
from microlith.program.types import DType, RowMap, View, contiguous
from microlith.quant.requantize import FixedRequant

INT32_MAX = 2**31 - 1
# Instructions more that a portable requantization takes where products have 32 bits.
_NARROW_REQUANTIZATION = 50
# Greatest magnitude of an int8 value less its zero point.
DIFFERENCE = 255


@dataclass(frozen=True)
class BaseKernel:
    """A descriptor that needs only :meth:`arguments`; the rest has defaults.

    Attributes:
        name: of the C function.
        op: op of the Program that it serves.
        header: file in ``kernels/c``.
        reads: element type of every view read.
        writes: element type of the view written.
        isa: what it needs beside C99.
        streams: whether it takes a range of rows and rings of rows.
        instructions_per_mac: constant of the cost formula, counted in compiled Cortex-M4 code, rounded.
        instructions_per_output: likewise.
    """

    name: str
    op: str
    header: str
    reads: DType = "s8"
    writes: DType = "s8"
    isa: Isa = "portable"
    streams: bool = False
    instructions_per_mac: float = 4.0
    instructions_per_output: float = 20.0
    takes_strides: ClassVar[bool] = False
    """Whether views may have gaps, their strides being among the attributes."""
    rounds_more: ClassVar[bool] = False
    """Whether results round more than those of the direct sum; such a kernel is a choice for speed."""
    stores_more: ClassVar[bool] = False
    """Whether weights are stored in more bytes than they have; such a kernel is a choice for speed."""

    def fits(self, ctx: CallContext, device: Device) -> Fit:
        """Whether this kernel can serve the call on that device."""
        if ctx.call.op != self.op:
            return Fit(f"it serves {self.op}, the call is {ctx.call.op}")
        if self.isa not in device.isas:
            return Fit(f"{device.name} has no {self.isa} instructions")
        return Fit(self.view_refusal(ctx) or self.refusal(ctx))

    def view_refusal(self, ctx: CallContext) -> str:
        """Why the types or the memory layout of the views do not serve; empty where they do."""
        for views, dtype in ((ctx.reads, self.reads), (ctx.writes, self.writes)):
            for view in views:
                if view.dtype != dtype:
                    return f"{view.id} is {view.dtype}, the kernel takes {dtype}"
                if view.ring_rows is not None and not self.streams:
                    return f"{view.id} is a ring of rows, the kernel takes whole tensors"
                if not (self.takes_strides or is_contiguous(view)):
                    return f"{view.id} has gaps between its elements"
        return ""

    def refusal(self, ctx: CallContext) -> str:
        """Why the call cannot be served, views apart; empty where it can."""
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Arguments in the order of the C function's parameters."""
        raise NotImplementedError

    def schedules(self, ctx: CallContext) -> tuple[str, ...]:
        """Names of the ways in which the kernel can run the call."""
        return ("default",)

    def instance_key(self, ctx: CallContext) -> tuple[object, ...]:
        """Name, literal values and types of the other arguments."""
        key: list[object] = [self.name]
        for argument in self.arguments(ctx):
            if isinstance(argument, Literal):
                key.append((argument.name, argument.value))
            else:
                key.extend(["int32_t", "int32_t"] if isinstance(argument, RowRange) else [argument.ctype])
        return tuple(key)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Every const in Program order."""
        return {role: plain(values) for role, values in ctx.consts.items()}

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Bytes of scratch in the arena."""
        return 0

    def stack_bytes(self, ctx: CallContext) -> int:
        """Bytes of local arrays."""
        return 0

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows that output rows need."""
        return None

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """No read view may overlap the output."""
        return tuple(None for _ in ctx.reads)

    def scratch_overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """No read view may overlap the scratch."""
        return tuple(None for _ in ctx.reads)

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of the accumulator."""
        return None

    def rounding(self, ctx: CallContext) -> str:
        """Nothing is lost against the direct sum."""
        return ""

    def macs(self, ctx: CallContext) -> int:
        """Inner steps of the call, for the cost."""
        return 0

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """By the table of the core; else inner steps and outputs, each times a constant, a load a cycle more."""
        fitted = fitted_cost(self, ctx, device)
        if fitted is not None:
            return fitted
        rough = self.rough_cost(ctx)
        if device.core == "cortex-m0plus" and self.isa == "portable" and ctx.call.requant is not None:
            more = _NARROW_REQUANTIZATION * sum(view.size for view in ctx.writes)
            rough = replace(rough, instructions=rough.instructions + more, cycles=rough.cycles + more)
        return rough

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Inner steps and outputs, each times a constant; a load is taken as one cycle more than an instruction."""
        outputs = sum(view.size for view in ctx.writes)
        instructions = self.macs(ctx) * self.instructions_per_mac + outputs * self.instructions_per_output
        loads = 2.0 * self.macs(ctx) + outputs
        const_bytes = sum(int(values.nbytes) for values in ctx.consts.values())
        return Cost(instructions, loads, instructions + loads, const_bytes)


def plain(values: np.ndarray, packing: str = "plain", sliceable_axes: tuple[int, ...] = (0,)) -> Packed:
    """Values one after another, aligned to their own size."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return Packed(flat, packing, align=flat.itemsize, sliceable_axes=sliceable_axes)


def is_contiguous(view: View) -> bool:
    """Whether the elements lie one after another in physical order."""
    expected = contiguous(view.shape)
    return all(size == 1 or a == b for size, a, b in zip(view.shape, view.strides, expected, strict=True))


def accumulator_refusal(ctx: CallContext, bound: int) -> str:
    """Why an accumulator of that magnitude, shifted left where the requantization does so, does not fit in 32 bits."""
    how = ctx.call.requant
    left = max(0, int(how.shift.max(initial=0))) if isinstance(how, FixedRequant) else 0
    if bound << left <= INT32_MAX:
        return ""
    shifted = f" and is shifted left by {left} bits" if left else ""
    return f"the accumulator can reach {bound:,}{shifted}, which does not fit in 32 bits"


def requant_refusal(ctx: CallContext, *lengths: int) -> str:
    """Why the requantization is not one with arrays of one of these lengths; empty where it is."""
    sizes = requant_sizes(ctx)
    if not sizes:
        return "an integer call needs a requantization"
    wrong = next((size for size in sizes if size not in lengths), None)
    expected = " or ".join(str(length) for length in dict.fromkeys(lengths))
    return "" if wrong is None else f"requantization arrays of length {wrong}, the kernel takes {expected}"
