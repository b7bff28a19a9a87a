"""int8 layers on AVX2; every layout is stated in the header of its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from microlith.kernels.arguments import runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Packed, RowRange
from microlith.kernels.convolution import conv_attrs
from microlith.kernels.fast import FastConv2d, FastDepthwiseConv2d, FastFullyConnected, FastKernel, round_up
from microlith.kernels.weighted import pack_weighted
from microlith.kernels.windowed import window_sizes

LANES = 8
VECTOR_BYTES = 16
CONV_PIXELS = 4
FULLY_CONNECTED_LANES = 4
ADDRESS_BYTES = 8
# Channels in the order in which two interleaved vectors of 16 bits give them.
INTERLEAVED = (*range(4), *range(8, 12), *range(4, 8), *range(12, 16))


def padded_to(rows: NDArray[np.generic], *multiples: int) -> NDArray[np.generic]:
    """The array with zeros appended along each axis up to a multiple of ``multiples``."""
    size = zip(rows.shape, multiples, strict=True)
    return np.pad(rows, [(0, round_up(length, multiple) - length) for length, multiple in size])


def flat(values: NDArray[np.generic], packing: str) -> Packed:
    """Values one after another; the first axis counts blocks of channels."""
    block = int(np.prod(values.shape[1:], dtype=np.int64))
    return Packed(np.ascontiguousarray(values).reshape(-1), packing, align=16, tiles=block, sliceable_axes=(0,))


class _Avx2(FastKernel):
    """What the three share."""

    def packed(self, ctx: CallContext, weights: Packed, lanes: int) -> Mapping[str, Packed]:
        """All consts, the bias padded to whole vectors, which are loaded past the last channel."""
        consts = dict(pack_weighted(ctx, weights))
        bias = consts["bias"]
        return consts | {
            "bias": replace(bias, values=padded_to(bias.values, lanes), packing=f"{bias.packing}, {lanes}")
        }


class Avx2Conv2d(_Avx2, FastConv2d):
    """``s8_conv2d__avx2_4x16``."""

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Blocks of 8 channels, two products of each channel together."""
        weights = ctx.consts["weights"]
        rows = padded_to(weights.reshape(weights.shape[0], -1), LANES, 2)
        blocks = rows.reshape(-1, LANES, rows.shape[1] // 2, 2).transpose(0, 2, 1, 3)
        return self.packed(ctx, flat(blocks, "O8, pairs of HWI"), LANES)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Four columns of 16 bits with room for a whole vector at the end, and a row of padding."""
        column = (self.depth(ctx) + 2 * VECTOR_BYTES - 1) // VECTOR_BYTES * VECTOR_BYTES
        return CONV_PIXELS * column * 2 + conv_attrs(ctx).window.kernel[1] * ctx.reads[0].shape[3]

    def stack_bytes(self, ctx: CallContext) -> int:
        """Accumulators, and addresses of four pixels."""
        return 512

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of 8 channels by 4 pixels by pairs."""
        _, height, width, channels = ctx.writes[0].shape
        outputs = round_up(height * width, CONV_PIXELS) * round_up(channels, LANES)
        return outputs * round_up(self.depth(ctx), 2), outputs


class Avx2DepthwiseConv2d(_Avx2, FastDepthwiseConv2d):
    """``s8_depthwise_conv2d__avx2_16``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_depthwise_conv2d_avx2.h``."""
        window = conv_attrs(ctx).window
        geometry = zip(("kernel", "stride", "dilation"), (window.kernel, window.stride, window.dilation), strict=True)
        return (
            *self.pointers(ctx),
            RowRange(),
            *window_sizes(ctx),
            *(runtime(f"{name}_{axis}", pair[i]) for name, pair in geometry for i, axis in enumerate("hw")),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *self.output_arguments(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Blocks of 16 channels, two taps of each channel together, channels in the order of :data:`INTERLEAVED`."""
        weights = ctx.consts["weights"]
        rows = padded_to(weights.reshape(weights.shape[0], -1), VECTOR_BYTES, 2)
        blocks = rows.reshape(-1, VECTOR_BYTES, rows.shape[1] // 2, 2)[:, INTERLEAVED].transpose(0, 2, 1, 3)
        return self.packed(ctx, flat(blocks, "O16 interleaved, pairs of HW"), VECTOR_BYTES)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Addresses of all taps and one pixel of padding."""
        taps = conv_attrs(ctx).window.kernel
        return round_up(taps[0] * taps[1], 2) * ADDRESS_BYTES + ctx.reads[0].shape[3]

    def stack_bytes(self, ctx: CallContext) -> int:
        """Two vectors of accumulators."""
        return 128


class Avx2FullyConnected(_Avx2, FastFullyConnected):
    """``s8_fully_connected__avx2_1x4``."""

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """O,K padded to whole vectors and to 4 outputs."""
        rows = padded_to(ctx.consts["weights"], FULLY_CONNECTED_LANES, VECTOR_BYTES)
        blocks = rows.reshape(-1, FULLY_CONNECTED_LANES, rows.shape[1])
        return pack_weighted(ctx, flat(blocks, "O4, K16"))

    def scratch_bytes(self, ctx: CallContext) -> int:
        """One row of x, 16 bits an element."""
        return round_up(self.depth(ctx), VECTOR_BYTES) * 2

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four vectors of accumulators."""
        return 160

    def work(self, ctx: CallContext) -> tuple[int, int]:
        """Blocks of four outputs by whole vectors."""
        rows = ctx.reads[0].size // self.depth(ctx)
        outputs = rows * round_up(self.out_channels(ctx), FULLY_CONNECTED_LANES)
        return outputs * round_up(self.depth(ctx), VECTOR_BYTES), outputs


AVX2 = (
    Avx2Conv2d(
        "s8_conv2d__avx2_4x16",
        "conv2d",
        "s8_conv2d_avx2.h",
        isa="avx2",
        streams=True,
        instructions_per_mac=0.2,
        instructions_per_output=4,
        cycles_per_mac=0.08,
        cycles_per_output=2,
    ),
    Avx2DepthwiseConv2d(
        "s8_depthwise_conv2d__avx2_16",
        "depthwise_conv2d",
        "s8_depthwise_conv2d_avx2.h",
        isa="avx2",
        streams=True,
        instructions_per_mac=0.5,
        instructions_per_output=6,
        cycles_per_mac=0.2,
        cycles_per_output=3,
    ),
    Avx2FullyConnected(
        "s8_fully_connected__avx2_1x4",
        "fully_connected",
        "s8_fully_connected_avx2.h",
        isa="avx2",
        instructions_per_mac=0.3,
        instructions_per_output=12,
        cycles_per_mac=0.1,
        cycles_per_output=5,
    ),
)
