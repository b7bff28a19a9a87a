"""Float convolution as a product of matrices: windows are laid out, a few pixels at a time (im2col in blocks)."""

from __future__ import annotations

from microlith.device.profile import Device
from microlith.kernels.base import Argument, CallContext, Cost, Lead, Pointer
from microlith.kernels.convolution import F32Conv2d, conv_attrs, f32_weighted_pointers
from microlith.kernels.fast import round_up
from microlith.kernels.overlaps import grouped_lead, runs
from microlith.kernels.weighted import F32_LANES, F32_ROWS
from microlith.program.attrs import Window

# What a value that is laid out and a run of neighbouring ones cost, as instructions of a scalar product: where several
# products are one instruction, laying out is dear beside them.
_HOST = (20.0, 200.0)
_CORE = (4.0, 20.0)


class F32Gemm(F32Conv2d):
    """``f32_conv2d__gemm``."""

    def lead(self, ctx: CallContext, window: Window) -> Lead:
        """So many pixels at a time as the compiler has registers for; gathered first where there is one group."""
        _, rows, width, _ = ctx.writes[0].shape
        gathers = conv_attrs(ctx).groups == 1
        found = [grouped_lead(ctx, window, runs(pixels, rows * width), gathers=gathers) for pixels in F32_ROWS]
        return Lead(max(lead.least for lead in found))

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv2d_gemm.h``."""
        direct = super().arguments(ctx)
        pointers = len(f32_weighted_pointers(ctx))
        return *direct[:pointers], Pointer("scratch", "float *", "scratch"), *direct[pointers:]

    def scratch_bytes(self, ctx: CallContext) -> int:
        """The windows of one group of so many pixels."""
        return max(F32_ROWS) * int(ctx.consts["weights"][0].nbytes)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Rows of eight sums, a place, addresses."""
        return max(F32_ROWS) * (4 * F32_LANES + 8) + 64

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Products of whole blocks, and windows that are laid out once for all filters."""
        attrs, outputs = conv_attrs(ctx), ctx.writes[0].shape[3]
        _, rows, width, _ = ctx.writes[0].shape
        size = ctx.consts["weights"][0].size
        together, (value, run) = (F32_ROWS[1], _HOST) if device.is_host else (F32_ROWS[0], _CORE)
        pixels, filters = round_up(rows * width, together), round_up(outputs // attrs.groups, F32_LANES)
        taps = 1 if attrs.groups == 1 and attrs.window.dilation[1] == 1 else attrs.window.kernel[1]
        laid_out = value * size + run * attrs.window.kernel[0] * taps
        instructions = pixels * attrs.groups * (size * filters * self.instructions_per_mac + laid_out)
        instructions += pixels * outputs * self.instructions_per_output
        loads = pixels * attrs.groups * size * 2.0 * filters
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(instructions, loads, instructions + loads, const_bytes)


FLOAT_GEMM = (
    F32Gemm(
        "f32_conv2d__gemm",
        "conv2d",
        "f32_conv2d_gemm.h",
        "f32",
        "f32",
        streams=True,
        instructions_per_mac=3.4,
        instructions_per_output=15,
    ),
)
