"""int8 convolutions of several groups on the DSP extension: ``s8_conv2d_dsp_groups.h``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from microlith.device.profile import Device
from microlith.kernels.arguments import runtime
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Literal, Packed
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.descriptor import BaseKernel
from microlith.kernels.dsp import DSP
from microlith.kernels.fast import round_up
from microlith.kernels.windowed import window_refusal, window_rows
from microlith.program.attrs import Conv2d
from microlith.program.types import RowMap, View, contiguous
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant

# Cycles a byte that is moved, and a row of a group.
_BYTE_CYCLES, _STRETCH_CYCLES, _ROW_CYCLES = 1.0, 14.0, 200.0
# Pixels of a turn, and the share of a turn's cost that a pixel which is not there takes.
_PIXELS, _WASTED = 4, 0.4
_ONE = DSP[0]


def _thin(view: View, groups: int) -> View:
    shape = (*view.shape[:-1], view.shape[-1] // groups)
    return replace(view, shape=shape, strides=contiguous(shape))


def _factors(how: Requant | None, part: slice) -> Requant | None:
    if isinstance(how, FloatRequant) and how.scale.size > 1:
        return FloatRequant(how.scale[part])
    if isinstance(how, FixedRequant) and how.multiplier.size > 1:
        return FixedRequant(how.multiplier[part], how.shift[part])
    return how


def _group(ctx: CallContext, group: int) -> CallContext:
    """The convolution of one group, as a call of its own."""
    attrs = conv_attrs(ctx)
    filters = ctx.writes[0].shape[-1] // attrs.groups
    part = slice(group * filters, (group + 1) * filters)
    consts = {role: values if values.size == 1 else values[part] for role, values in ctx.consts.items()}
    call = replace(ctx.call, attrs=Conv2d(attrs.window), requant=_factors(ctx.call.requant, part))
    return CallContext(call, (_thin(ctx.reads[0], attrs.groups),), (_thin(ctx.writes[0], attrs.groups),), consts)


def _groups(ctx: CallContext) -> list[CallContext]:
    return [_group(ctx, group) for group in range(conv_attrs(ctx).groups)]


def _literals(ctx: CallContext) -> tuple[tuple[str, str], ...]:
    return tuple((item.name, item.value) for item in _ONE.arguments(ctx) if isinstance(item, Literal))


class DspGroups(BaseKernel):
    """``s8_conv2d__dsp_groups``."""

    def refusal(self, ctx: CallContext) -> str:
        """Several groups, each as the kernel of one group takes it, in one instance."""
        if refusal := window_refusal(ctx):
            return refusal
        groups, x, y = conv_attrs(ctx).groups, ctx.reads[0].shape[3], ctx.writes[0].shape[3]
        if groups == 1:
            return "the convolution has one group, the kernel takes more"
        if x % groups or y % groups or y == groups:
            return f"{x} to {y} channels in {groups} groups, the kernel takes two or more filters of each"
        found = _groups(ctx)
        refused = next((fit for fit in map(_ONE.refusal, found) if fit), "")
        if refused or len(set(map(_literals, found))) == 1:
            return refused
        return "its groups take more than one instance of the convolution"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the convolution of a group, with the channels of all."""
        attrs, thin = conv_attrs(ctx), _group(ctx, 0)
        wide = {"channels": ctx.reads[0].shape[3], "out_channels": ctx.writes[0].shape[3]}
        found: list[Argument] = []
        for item in _ONE.arguments(thin):
            name = getattr(item, "name", "")
            found.append(runtime(name, wide[name]) if name in wide else item)
            if name == "out_channels":
                found += [runtime("groups", attrs.groups), runtime("scratch_bytes", self._own_bytes(thin))]
        return tuple(found)

    def _own_bytes(self, thin: CallContext) -> int:
        return round_up(_ONE.scratch_bytes(thin), 4)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Constants of each group, one after another."""
        packed = [_ONE.pack(group) for group in _groups(ctx)]
        return {
            role: item
            if ctx.consts[role].size == 1
            else replace(
                item,
                values=np.concatenate([group[role].values for group in packed]),
                packing=f"{len(packed)} groups, {item.packing}",
                sliceable_axes=(),
            )
            for role, item in packed[0].items()
        }

    def scratch_bytes(self, ctx: CallContext) -> int:
        """That of one group, its image and a row of its results."""
        thin = _group(ctx, 0)
        x, y = thin.reads[0], thin.writes[0]
        return self._own_bytes(thin) + (x.ring_rows or x.shape[1]) * x.shape[2] * x.shape[3] + y.shape[2] * y.shape[3]

    def stack_bytes(self, ctx: CallContext) -> int:
        """That of one group, and sizes."""
        return _ONE.stack_bytes(_group(ctx, 0)) + 48

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows under the windows of the output rows."""
        return window_rows(conv_attrs(ctx).window)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Every group reads all pixels."""
        return (None,)

    def accum_bound(self, ctx: CallContext) -> int | None:
        """The greatest of all groups."""
        return max(bound for group in _groups(ctx) if (bound := _ONE.accum_bound(group)) is not None)

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Those of the groups, whose rows end in whole turns, what is moved, and rows."""
        groups, thin = conv_attrs(ctx).groups, _group(ctx, 0)
        one, x, y = _ONE.cost(thin, device), ctx.reads[0], ctx.writes[0]
        filled = 1 + _WASTED * (round_up(y.shape[2], _PIXELS) / y.shape[2] - 1)
        pixels = x.shape[1] * x.shape[2] + y.shape[1] * y.shape[2]
        moved = _BYTE_CYCLES * (x.size + y.size) + groups * (pixels * _STRETCH_CYCLES + y.shape[1] * _ROW_CYCLES)
        cycles, instructions = groups * one.cycles * filled + moved, groups * one.instructions * filled + 0.8 * moved
        return Cost(
            instructions, max(0.0, cycles - instructions), cycles, sum(item.bytes for item in self.pack(ctx).values())
        )


DSP_GROUPS = (DspGroups("s8_conv2d__dsp_groups", "conv2d", "s8_conv2d_dsp_groups.h", isa="dsp", streams=True),)
