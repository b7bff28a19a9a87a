"""int8 layers on the vector extension of the Cortex-M55 (MVE); every layout is stated in the header of its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.arguments import literal, runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Lead, Packed, RowRange
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.fast import FastConv2d, FastDepthwiseConv2d, FastFullyConnected, FastKernel, round_up
from microlith.kernels.overlaps import grouped_lead, is_whole, runs
from microlith.kernels.weighted import pack_weighted
from microlith.kernels.windowed import padded, window_sizes

LANES = 4
VECTOR_BYTES = 16


def blocks_of_rows(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """Rows (O, K), padded with zeros to whole fours, as (O / 4, 4 * K): whole vectors in turn, then the rest."""
    outputs, depth = rows.shape
    filled = np.zeros((round_up(outputs, LANES), depth), rows.dtype)
    filled[:outputs] = rows
    blocks = filled.reshape(-1, LANES, depth)
    whole = depth - depth % VECTOR_BYTES
    vectors = blocks[:, :, :whole].reshape(len(blocks), LANES, -1, VECTOR_BYTES).swapaxes(1, 2)
    return np.concatenate([vectors.reshape(len(blocks), -1), blocks[:, :, whole:].reshape(len(blocks), -1)], axis=1)


def filled_up(packed: Packed) -> Packed:
    """One value a channel, padded with zeros to whole fours."""
    values = packed.values
    padding = np.zeros(-values.size % LANES, values.dtype)
    return replace(packed, values=np.concatenate([values, padding]), packing=f"{packed.packing}, O4")


class _Mve(FastKernel):
    """What the three share."""

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights in the kernel's own order, the bias folded, everything of one value a channel in whole fours."""
        packed = pack_weighted(ctx, self.pack_weights(ctx))
        return {
            role: value if role == "weights" or value.values.size == 1 != self.out_channels(ctx) else filled_up(value)
            for role, value in packed.items()
        }

    def pack_weights(self, ctx: CallContext) -> Packed:
        """Blocks of four output channels."""
        weights = ctx.consts["weights"]
        blocks = blocks_of_rows(weights.reshape(weights.shape[0], -1))
        return Packed(blocks.reshape(-1), "O4, K16", align=4, tiles=blocks.shape[1], sliceable_axes=(0,))


class MveConv2d(_Mve, FastConv2d):
    """``s8_conv2d__mve_1x4``."""

    def pointers(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the base class, and whether windows are read where they lie."""
        return *super().pointers(ctx), literal("pointwise", int(self.is_pointwise(ctx)))

    def is_pointwise(self, ctx: CallContext) -> bool:
        """Whether each window is one tap inside the input."""
        window = conv_attrs(ctx).window
        return window.kernel == (1, 1) and not padded(ctx, window)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """One window."""
        return 0 if self.is_pointwise(ctx) else self.depth(ctx)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """A pixel is gathered, then written; or read for each four channels that are written."""
        if not is_whole(ctx):
            return (None,)
        _, rows, width, _ = ctx.writes[0].shape
        gathers = not self.is_pointwise(ctx)
        return (grouped_lead(ctx, conv_attrs(ctx).window, runs(1, rows * width), gathers=gathers),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Sizes and places."""
        return 128

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of 4 channels by whole vectors."""
        _, height, width, channels = ctx.writes[0].shape
        outputs = height * width * round_up(channels, LANES)
        return outputs * round_up(self.depth(ctx), VECTOR_BYTES), outputs


class MveDepthwiseConv2d(_Mve, FastDepthwiseConv2d):
    """``s8_depthwise_conv2d__mve_1x4``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d_mve.h``."""
        window = conv_attrs(ctx).window
        geometry = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            *(
                (literal if name == "kernel" else runtime)(f"{name}_{axis}", pair[i])
                for name, pair in geometry
                for i, axis in enumerate("hw")
            ),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def pack_weights(self, ctx: CallContext) -> Packed:
        """Four channels of each tap."""
        weights = ctx.consts["weights"].reshape(self.out_channels(ctx), -1)
        filled = np.zeros((round_up(len(weights), LANES), weights.shape[1]), weights.dtype)
        filled[: len(weights)] = weights
        blocks = filled.reshape(-1, LANES, weights.shape[1]).swapaxes(1, 2)
        return Packed(blocks.reshape(-1), "O4, HW", align=4, tiles=blocks[0].size, sliceable_axes=(0,))

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """A pixel is written while its window is read."""
        if not is_whole(ctx):
            return (None,)
        _, rows, width, _ = ctx.writes[0].shape
        return (grouped_lead(ctx, conv_attrs(ctx).window, runs(1, rows * width), gathers=False),)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Sizes and places."""
        return 128


class MveFullyConnected(_Mve, FastFullyConnected):
    """``s8_fully_connected__mve_1x4``."""

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of four outputs by whole vectors."""
        rows = ctx.reads[0].size // self.depth(ctx)
        outputs = rows * round_up(self.out_channels(ctx), LANES)
        return outputs * round_up(self.depth(ctx), VECTOR_BYTES), outputs


# Instructions only: the core has no table of cycles. A load is taken as a cycle more, as everywhere.
MVE = (
    MveConv2d(
        "s8_conv2d__mve_1x4",
        "conv2d",
        "s8_conv2d_mve.h",
        isa="mve",
        streams=True,
        instructions_per_mac=0.16,
        instructions_per_output=8,
        cycles_per_mac=0.24,
        cycles_per_output=10,
    ),
    MveDepthwiseConv2d(
        "s8_depthwise_conv2d__mve_1x4",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_mve.h",
        isa="mve",
        streams=True,
        instructions_per_mac=1.2,
        instructions_per_output=5,
        cycles_per_mac=1.7,
        cycles_per_output=6,
    ),
    MveFullyConnected(
        "s8_fully_connected__mve_1x4",
        "fully_connected",
        "s8_fully_connected_mve.h",
        isa="mve",
        instructions_per_mac=0.16,
        instructions_per_output=8,
        cycles_per_mac=0.24,
        cycles_per_output=10,
    ),
)
