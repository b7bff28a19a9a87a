"""int8 layers on cores with many registers that multiply one pair of numbers at a time; written in C99."""

from __future__ import annotations

from microlith.kernels.arguments import literal
from microlith.kernels.base import Argument, CallContext
from microlith.kernels.fast import FastKernel
from microlith.kernels.quads import QuadConv2d, QuadDepthwiseConv2d, QuadFullyConnected
from microlith.quant.requantize import FixedRequant

SCALAR_FIXED = 5
"""``ML_SCALAR_FIXED``."""
_LEAST_BITS, _MOST_BITS = 2, 18


def merges_roundings(ctx: CallContext) -> bool:
    """Whether the call's requantization is one that ``ML_SCALAR_FIXED`` serves."""
    how = ctx.call.requant
    if not isinstance(how, FixedRequant):
        return False
    return bool((how.shift <= -_LEAST_BITS).all() and (how.shift >= -_MOST_BITS).all())


class _Scalar(FastKernel):
    """What the kernels share."""

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, with the kind of requantization that one rounding makes."""
        arguments = super().pointers(ctx)
        if not merges_roundings(ctx):
            return arguments
        kind = literal("kind", SCALAR_FIXED)
        return tuple(kind if argument.name == "kind" else argument for argument in arguments)


class ScalarConv2d(_Scalar, QuadConv2d):
    """``s8_conv2d__scalar_2x4``."""


class ScalarDepthwiseConv2d(_Scalar, QuadDepthwiseConv2d):
    """``s8_depthwise_conv2d__scalar_2x4``."""


class ScalarFullyConnected(_Scalar, QuadFullyConnected):
    """``s8_fully_connected__scalar_1x4``."""


SCALAR = (
    ScalarConv2d(
        "s8_conv2d__scalar_2x4",
        "conv2d",
        "s8_conv2d_scalar.h",
        isa="scalar",
        streams=True,
        instructions_per_mac=2.45,
        instructions_per_output=35,
        cycles_per_mac=2.95,
        cycles_per_output=42,
    ),
    ScalarDepthwiseConv2d(
        "s8_depthwise_conv2d__scalar_2x4",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_scalar.h",
        isa="scalar",
        streams=True,
        instructions_per_mac=4.7,
        instructions_per_output=30,
        cycles_per_mac=6.5,
        cycles_per_output=36,
    ),
    ScalarFullyConnected(
        "s8_fully_connected__scalar_1x4",
        "fully_connected",
        "s8_fully_connected_scalar.h",
        isa="scalar",
        instructions_per_mac=3.7,
        instructions_per_output=35,
        cycles_per_mac=4.95,
        cycles_per_output=42,
    ),
)
