"""int8 layers on Armv6-M (Cortex-M0+), in Thumb instructions; every layout is stated in the header of its kernel."""

from __future__ import annotations

from microlith.kernels.arguments import literal
from microlith.kernels.base import Argument, CallContext
from microlith.kernels.dsp import is_full_range
from microlith.kernels.fast import FastKernel
from microlith.kernels.quads import QuadConv2d, QuadDepthwiseConv2d, QuadFullyConnected
from microlith.kernels.weighted import accumulator_bound
from microlith.quant.requantize import FixedRequant

THUMB1_FIXED = 4
"""``ML_THUMB1_FIXED``."""
_MOST_BITS = 18
_ACCUMULATOR = 2**26


def merges_roundings(ctx: CallContext) -> bool:
    """Whether the call's requantization is one that ``ML_THUMB1_FIXED`` serves."""
    how = ctx.call.requant
    if not isinstance(how, FixedRequant) or accumulator_bound(ctx) >= _ACCUMULATOR:
        return False
    return bool((how.shift <= 0).all() and (how.shift >= -_MOST_BITS).all())


class _Thumb1(FastKernel):
    """What the kernels share."""

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, and whether the clamp is that of the type."""
        arguments = super().pointers(ctx)
        if merges_roundings(ctx):
            kind = literal("kind", THUMB1_FIXED)
            arguments = tuple(kind if argument.name == "kind" else argument for argument in arguments)
        return *arguments, literal("full_range", int(is_full_range(ctx)))


class Thumb1Conv2d(_Thumb1, QuadConv2d):
    """``s8_conv2d__thumb1_1x4``."""


class Thumb1DepthwiseConv2d(_Thumb1, QuadDepthwiseConv2d):
    """``s8_depthwise_conv2d__thumb1_1x4``."""


class Thumb1FullyConnected(_Thumb1, QuadFullyConnected):
    """``s8_fully_connected__thumb1_1x4``."""


THUMB1 = (
    Thumb1Conv2d(
        "s8_conv2d__thumb1_1x4",
        "conv2d",
        "s8_conv2d_thumb1.h",
        isa="thumb1",
        streams=True,
        instructions_per_mac=2.85,
        instructions_per_output=45,
        cycles_per_mac=3.6,
        cycles_per_output=60,
    ),
    Thumb1DepthwiseConv2d(
        "s8_depthwise_conv2d__thumb1_1x4",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_thumb1.h",
        isa="thumb1",
        streams=True,
        instructions_per_mac=4.3,
        instructions_per_output=48,
        cycles_per_mac=6.3,
        cycles_per_output=64,
    ),
    Thumb1FullyConnected(
        "s8_fully_connected__thumb1_1x4",
        "fully_connected",
        "s8_fully_connected_thumb1.h",
        isa="thumb1",
        instructions_per_mac=3.65,
        instructions_per_output=65,
        cycles_per_mac=5.0,
        cycles_per_output=85,
    ),
)
