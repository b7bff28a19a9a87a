"""Convolution on the DSP extension with weights stored as 16 bits: flash for speed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from microlith.kernels.arguments import const
from microlith.kernels.base import Argument, CallContext, Packed
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.descriptor import plain
from microlith.kernels.dsp import CONV_CHANNELS, DspConv2d, conv_blocks, packed_blocks, run_bytes


class DspConv2dS16(DspConv2d):
    """``s8_conv2d__dsp_2x4_s16``: nothing is widened, and what a short requantization doubles comes doubled."""

    stores_more = True

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class with weights of 16 bits, none of which are joined."""
        return tuple(
            const(ctx, "weights", "int16_t") if argument.name == "weights" else argument
            for argument in super().pointers(ctx)
            if argument.name != "joined"
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Those of the base class, the bias doubled where weights are."""
        packed = super().pack(ctx)
        if self._factor(ctx) == 1:
            return packed
        bias = packed["bias"]
        return {**packed, "bias": plain(2 * bias.values.astype(np.int32), f"{bias.packing}, doubled")}

    def pack_weights(self, ctx: CallContext) -> Packed:
        """In the order of the base class, each pair of taps a word of the one channel, then a word of the other."""
        blocks = conv_blocks(ctx)
        pairs = blocks.reshape(*blocks.shape[:2], 2, 2, CONV_CHANNELS).swapaxes(3, 4)
        run, factor = run_bytes(conv_attrs(ctx).window, ctx.reads[0].shape[3]), self._factor(ctx)
        return packed_blocks(factor * pairs.astype(np.int16), f"O2, pairs of runs of {run}, 16 bits, {factor} times")

    def _factor(self, ctx: CallContext) -> int:
        return 1 if self.short(ctx) is None else 2


DSP_CONV_S16 = (
    DspConv2dS16(
        "s8_conv2d__dsp_2x4_s16",
        "conv2d",
        "s8_conv2d_dsp.h",
        isa="dsp",
        streams=True,
        instructions_per_mac=0.96,
        instructions_per_output=14,
        cycles_per_mac=1.1,
        cycles_per_output=18,
    ),
)
