"""Float convolution by the minimal algorithms F(2x2, 3x3) and F(4x4, 3x3): fewer products, more rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microlith.device.profile import Device
from microlith.kernels.arguments import bounds_f32, literal, runtime
from microlith.kernels.base import Argument, CallContext, Cost, Packed, Pointer
from microlith.kernels.convolution import conv_attrs, f32_weighted_pointers
from microlith.kernels.descriptor import BaseKernel, plain
from microlith.kernels.fast import ceil_div, round_up
from microlith.kernels.weighted import F32_LANES, f32_weighted_refusal, interleaved
from microlith.kernels.windowed import window_refusal
from microlith.program.types import RowMap

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transforms:
    """y = A' [(G g G') * (B' d B)] A of Lavin and Gray, 2016; the points are 0, 1, -1 (2, -2) and infinity."""

    inputs: Matrix
    weights: Matrix
    outputs: Matrix

    @property
    def size(self) -> int:
        """Products of one line of a tile."""
        return len(self.inputs)


F2 = Transforms(
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], float) / 2,
    np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
)
F4 = Transforms(
    np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        float,
    ),
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], float) / 24,
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float),
)

# Tiles on which the rounding of a layer is measured, and filters at most.
_MEASURED_TILES = 16
_MEASURED_FILTERS = 64
_TINY = 1e-30


@dataclass(frozen=True)
class F32Winograd(BaseKernel):
    """``f32_conv2d__winograd_2x2`` and ``f32_conv2d__winograd_4x4``.

    Attributes:
        transforms: of the tile.
        value_cost: cost of a transformed input value against a product of the direct kernel.
        rest_cost: likewise, of channels beyond whole blocks of lanes, where blocks are one instruction.
        result_cost: of a transformed output value, likewise.
    """

    transforms: Transforms = F2
    value_cost: float = 3.0
    rest_cost: float = 18.0
    result_cost: float = 3.0
    rounds_more = True

    def refusal(self, ctx: CallContext) -> str:
        """A 3x3 window that neither strides nor dilates, one group."""
        if refusal := window_refusal(ctx) or f32_weighted_refusal(ctx, ctx.writes[0].shape[-1]):
            return refusal
        attrs, channels = conv_attrs(ctx), ctx.reads[0].shape[3]
        window = attrs.window
        if (window.kernel, window.stride, window.dilation) != ((3, 3), (1, 1), (1, 1)):
            return (
                f"a window of {window.kernel} with stride {window.stride} and dilation {window.dilation}, "
                "the kernel takes (3, 3) without"
            )
        if attrs.groups != 1:
            return f"the convolution has {attrs.groups} groups, the kernel takes 1"
        expected = (ctx.writes[0].shape[3], 3, 3, channels)
        shape = ctx.consts["weights"].shape
        return "" if shape == expected else f"weights of shape {shape}, expected {expected}"

    def tile_count(self, ctx: CallContext) -> int:
        """Tiles of the output."""
        _, height, width, _ = ctx.writes[0].shape
        return ceil_div(height, self.transforms.size - 2) * ceil_div(width, self.transforms.size - 2)

    def tiles(self, ctx: CallContext) -> int:
        """Tiles computed at a time: two blocks of rows where the output has as many."""
        return 8 if self.tile_count(ctx) > 4 else 4

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv2d_winograd.h``."""
        x, y, window = ctx.reads[0], ctx.writes[0], conv_attrs(ctx).window
        sizes = (("height", x.shape[1]), ("width", x.shape[2]), ("channels", x.shape[3]))
        results = (("out_height", y.shape[1]), ("out_width", y.shape[2]), ("out_channels", y.shape[3]))
        return (
            *f32_weighted_pointers(ctx),
            Pointer("scratch", "float *", "scratch"),
            *(runtime(name, size) for name, size in (*sizes, *results)),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            literal("tiles", self.tiles(ctx)),
            *bounds_f32(ctx),
        )

    def transformed(self, weights: NDArray[np.generic]) -> Matrix:
        """G g G' of weights O,3,3,I as O, size, size, I."""
        g = self.transforms.weights
        transformed: Matrix = np.einsum("ai,bj,oijc->oabc", g, g, weights.astype(np.float64), optimize=True)
        return transformed

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """G g G' rounded once, eight neighbouring filters interleaved."""
        transformed = self.transformed(ctx.consts["weights"]).astype(np.float32)
        rows = transformed.reshape(1, len(transformed), -1)
        step = self.transforms.size - 2
        return {"weights": interleaved(rows, f"Winograd {step}x{step}, O8"), "bias": plain(ctx.consts["bias"])}

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Values and products of the tiles, a tile of lines, and zeros."""
        channels, places = ctx.reads[0].shape[3], self.transforms.size**2
        return 4 * (places * self.tiles(ctx) * (channels + F32_LANES) + places * channels + channels)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight lanes of a tile of which the columns are done, a row of results, addresses."""
        size = self.transforms.size
        return 4 * F32_LANES * (size + 1) * (size - 2) + 8 * size

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Products, transformed values and transformed results, each against a product of the direct kernel."""
        channels, outputs = ctx.reads[0].shape[3], round_up(ctx.writes[0].shape[3], F32_LANES)
        values = self.transforms.size**2 * round_up(self.tile_count(ctx), self.tiles(ctx))
        rest = channels % F32_LANES
        rest_cost = self.rest_cost if device.is_host else self.value_cost
        transforms = self.value_cost * (channels - rest) + rest_cost * rest + self.result_cost * outputs
        work = values * (channels * outputs + transforms)
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(work * self.instructions_per_mac, work * 2, work * (self.instructions_per_mac + 2), const_bytes)

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Whole tensors: another start of the tiles would round otherwise."""
        return None

    def rounding(self, ctx: CallContext) -> str:
        """The greatest error on tiles drawn from the standard normal distribution, with the weights of the call."""
        here, direct = self.measured_errors(ctx)
        return (
            f"greatest error {here:.1e} of the greatest output against {direct:.1e} of the direct sum, "
            f"on {_MEASURED_TILES} tiles of normal inputs"
        )

    def measured_errors(self, ctx: CallContext) -> tuple[float, float]:
        """Greatest error, against float64 and relative to the greatest output: of this kernel and of the direct sum."""
        weights = ctx.consts["weights"][:_MEASURED_FILTERS]
        size, step = self.transforms.size, self.transforms.size - 2
        rng = np.random.default_rng(0)
        x = rng.standard_normal((_MEASURED_TILES, size, size, weights.shape[3]), np.float32)
        b, a = self.transforms.inputs.astype(np.float32), self.transforms.outputs.astype(np.float32)
        values = np.einsum("aj,tijc->tiac", b, np.einsum("ai,tijc->tajc", b, x))
        products = np.einsum("tabc,oabc->tabo", values, self.transformed(weights).astype(np.float32))
        found = np.einsum("bj,tajo->tabo", a, np.einsum("ai,tijo->tajo", a, products))
        direct, exact = (
            sum(
                np.einsum(
                    "tijc,oc->tijo", x[:, i : i + step, j : j + step].astype(dtype), weights[:, i, j].astype(dtype)
                )
                for i in range(3)
                for j in range(3)
            )
            for dtype in (np.float32, np.float64)
        )
        greatest = max(float(np.abs(exact).max()), _TINY)
        return float(np.abs(found - exact).max()) / greatest, float(np.abs(direct - exact).max()) / greatest


FLOAT_WINOGRAD = tuple(
    F32Winograd(
        f"f32_conv2d__winograd_{step}x{step}",
        "conv2d",
        "f32_conv2d_winograd.h",
        "f32",
        "f32",
        instructions_per_mac=3.4,
        transforms=transforms,
    )
    for step, transforms in ((2, F2), (4, F4))
)
