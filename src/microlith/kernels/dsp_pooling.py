"""int8 pooling and means on the DSP extension of Cortex-M4, M7 and M33."""

from __future__ import annotations

from collections.abc import Mapping

from microlith.kernels.arguments import literal
from microlith.kernels.base import Argument, CallContext, Cost, Packed
from microlith.kernels.dsp import is_full_range
from microlith.kernels.pooling import S8AveragePool2d, S8MaxPool2d, S8ReduceMean, mean_attrs, pool_attrs

LANES = 4
_MOST_ROWS, _MOST_TAPS = 16, 255


def _rows_refusal(ctx: CallContext) -> str:
    rows = pool_attrs(ctx).window.kernel[0]
    return "" if rows <= _MOST_ROWS else f"a window of {rows} rows, the kernel takes at most {_MOST_ROWS}"


def _lanes_refusal(channels: int) -> str:
    return "" if channels >= LANES else f"{channels} channels, the kernel takes {LANES} or more"


def _linear(ctx: CallContext, taps: int, each: float, packed: Mapping[str, Packed]) -> Cost:
    """Two cycles a word of four values and what a result takes."""
    outputs = ctx.writes[0].size
    instructions = outputs * (0.9 * taps + each)
    const_bytes = sum(item.bytes for item in packed.values())
    return Cost(instructions, 0.3 * taps * outputs, instructions + 0.3 * taps * outputs, const_bytes)


class DspMaxPool2d(S8MaxPool2d):
    """``s8_max_pool2d__dsp_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Rows of the window, channels."""
        return super().refusal(ctx) or _rows_refusal(ctx) or _lanes_refusal(ctx.reads[0].shape[3])

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_pool2d_dsp.h``."""
        y, x, *rest = super().arguments(ctx)
        return y, x, literal("full_range", int(is_full_range(ctx))), *rest

    def stack_bytes(self, ctx: CallContext) -> int:
        """Places of rows."""
        return 4 * _MOST_ROWS

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Linear in the values visited."""
        kernel = pool_attrs(ctx).window.kernel
        return _linear(ctx, kernel[0] * kernel[1], 4.0, self.pack(ctx))


class DspAveragePool2d(S8AveragePool2d):
    """``s8_average_pool2d__dsp_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Rows and taps of the window, channels."""
        kernel = pool_attrs(ctx).window.kernel
        taps = kernel[0] * kernel[1]
        refusal = super().refusal(ctx) or _rows_refusal(ctx) or _lanes_refusal(ctx.reads[0].shape[3])
        return refusal or ("" if taps <= _MOST_TAPS else f"{taps} taps, the kernel takes at most {_MOST_TAPS}")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_pool2d_dsp.h``."""
        y, x, kind, scale, multiplier, shift, *rest = super().arguments(ctx)
        return y, x, kind, scale, multiplier, shift, literal("full_range", int(is_full_range(ctx))), *rest

    def stack_bytes(self, ctx: CallContext) -> int:
        """Places of rows."""
        return 4 * _MOST_ROWS

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Linear in the values visited."""
        kernel = pool_attrs(ctx).window.kernel
        return _linear(ctx, kernel[0] * kernel[1], 14.0, self.pack(ctx))


class DspReduceMean(S8ReduceMean):
    """``s8_reduce_mean__dsp_1x4``."""

    def refusal(self, ctx: CallContext) -> str:
        """Neighbours on the axis behind that of the mean."""
        inner = mean_attrs(ctx).inner
        few = f"{inner} values beside each other, the kernel takes {LANES} or more"
        return super().refusal(ctx) or ("" if inner >= LANES else few)

    def rough_cost(self, ctx: CallContext) -> Cost:
        """Linear in the values visited."""
        return _linear(ctx, mean_attrs(ctx).count, 16.0, self.pack(ctx))

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four sums."""
        return 16


DSP_POOLING = (
    DspMaxPool2d("s8_max_pool2d__dsp_1x4", "max_pool2d", "s8_pool2d_dsp.h", isa="dsp", streams=True),
    DspAveragePool2d("s8_average_pool2d__dsp_1x4", "average_pool2d", "s8_pool2d_dsp.h", isa="dsp", streams=True),
    DspReduceMean("s8_reduce_mean__dsp_1x4", "reduce_mean", "s8_reduce_mean_dsp.h", isa="dsp"),
)
