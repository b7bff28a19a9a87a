"""Float convolution by large windows as products of spectra: chosen for speed where its cost wins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from microlith.device.profile import Device
from microlith.kernels.arguments import bounds_f32, literal, runtime
from microlith.kernels.base import Argument, CallContext, Cost, Packed, Pointer
from microlith.kernels.convolution import conv_attrs, f32_weighted_pointers
from microlith.kernels.descriptor import BaseKernel, plain
from microlith.kernels.fast import ceil_div
from microlith.kernels.weighted import f32_weighted_refusal
from microlith.kernels.windowed import window_refusal

SIZES = (16, 32, 64, 128)
# Costs against a product of the direct kernel, on the host: of a complex product, of a complex value in one stage of a
# transform, and of a value that is loaded, turned over or stored.
_PRODUCT, _STAGE, _VALUE = 12.0, 2.0, 62.0
_TINY = 1e-30


class F32Fft(BaseKernel):
    """``f32_conv2d__fft`` and ``f32_depthwise_conv2d__fft``."""

    rounds_more = True

    def refusal(self, ctx: CallContext) -> str:
        """A window that neither strides nor dilates and fits into a tile more than once; channels and groups."""
        if refusal := window_refusal(ctx) or f32_weighted_refusal(ctx, ctx.writes[0].shape[-1]):
            return refusal
        attrs, channels, filters = conv_attrs(ctx), ctx.reads[0].shape[3], ctx.writes[0].shape[3]
        window = attrs.window
        if (window.stride, window.dilation) != ((1, 1), (1, 1)):
            return f"stride {window.stride} and dilation {window.dilation}, the kernel takes none"
        if not 4 <= max(window.kernel) <= SIZES[-1] // 2:
            return f"a window of {window.kernel}, the kernel takes 4 to {SIZES[-1] // 2} taps"
        groups = self.groups(ctx)
        if channels % groups or filters % groups:
            return f"{channels} to {filters} channels do not divide into {groups} groups"
        expected, shape = (filters, *window.kernel, channels // groups), ctx.consts["weights"].shape
        return "" if shape == expected else f"weights of shape {shape}, expected {expected}"

    def groups(self, ctx: CallContext) -> int:
        """Groups of channels; a depthwise call has one a channel."""
        return ctx.reads[0].shape[3] if self.op == "depthwise_conv2d" else conv_attrs(ctx).groups

    def size(self, ctx: CallContext) -> int:
        """Rows and columns of a tile: those of the least cost."""
        least = 2 * max(conv_attrs(ctx).window.kernel) - 1
        return min((size for size in SIZES if size >= least), key=lambda size: self.work(ctx, size))

    def work(self, ctx: CallContext, size: int) -> float:
        """Cost with tiles of that size, against a product of the direct kernel."""
        _, height, width, filters = ctx.writes[0].shape
        kernel, depth = conv_attrs(ctx).window.kernel, int(ctx.consts["weights"].shape[3])
        tiles = ceil_div(height, size - kernel[0] + 1) * ceil_div(width, size - kernel[1] + 1)
        transforms = depth * self.groups(ctx) + filters
        places = ceil_div(tiles, 2) * size * size
        stages = 2 * (size.bit_length() - 1)
        return float(places * (transforms * (_STAGE * stages + _VALUE) + _PRODUCT * filters * depth))

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv2d_fft.h``."""
        x, y, window = ctx.reads[0], ctx.writes[0], conv_attrs(ctx).window
        sizes = (("height", x.shape[1]), ("width", x.shape[2]), ("channels", x.shape[3]))
        results = (("out_height", y.shape[1]), ("out_width", y.shape[2]), ("out_channels", y.shape[3]))
        return (
            *f32_weighted_pointers(ctx),
            Pointer("scratch", "float *", "scratch"),
            *(runtime(name, size) for name, size in (*sizes, *results)),
            runtime("groups", self.groups(ctx)),
            *(runtime(f"kernel_{axis}", taps) for axis, taps in zip("hw", window.kernel, strict=True)),
            runtime("pad_top", window.pad[0]),
            runtime("pad_left", window.pad[1]),
            literal("size", self.size(ctx)),
            *bounds_f32(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Conjugate spectra divided by the places of a tile, in the order of the transforms, and their twiddles."""
        size = self.size(ctx)
        windows = np.moveaxis(ctx.consts["weights"].astype(np.float64), 3, 1)
        spectra = np.conj(np.fft.fft2(windows, (size, size))) / size**2
        order = reversed_bits(size)
        spectra = spectra[..., order, :][..., order].swapaxes(2, 3)
        planes = np.stack([spectra.real, spectra.imag], axis=2)
        angles = 2 * np.pi * np.arange(size // 2) / size
        values = np.concatenate([planes.reshape(-1), np.cos(angles), np.sin(angles)]).astype(np.float32)
        return {"weights": plain(values, f"spectra {size}", ()), "bias": plain(ctx.consts["bias"])}

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Tiles of the channels of a group and of one filter, two planes each."""
        return 4 * 2 * self.size(ctx) ** 2 * (int(ctx.consts["weights"].shape[3]) + 1)

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """By the work of the tile's size."""
        work, each = self.work(ctx, self.size(ctx)), self.instructions_per_mac
        const_bytes = sum(packed.bytes for packed in self.pack(ctx).values())
        return Cost(work * each, work * 2, work * (each + 2), const_bytes)

    def rounding(self, ctx: CallContext) -> str:
        """The greatest error on a tile drawn from the standard normal distribution, with the weights of the call."""
        here, size = self.measured_error(ctx), self.size(ctx)
        return f"greatest error {here:.1e} of the greatest output, on a tile of {size}x{size} normal inputs"

    def measured_error(self, ctx: CallContext) -> float:
        """Greatest error of single precision against double precision, relative to the greatest output."""
        size, weights = self.size(ctx), np.moveaxis(ctx.consts["weights"], 3, 1)
        x = np.random.default_rng(0).standard_normal((weights.shape[1], size, size), np.float32)

        def outputs(real: type[np.floating], complex_type: type[np.complexfloating]) -> NDArray[np.floating]:
            spectrum = np.fft.fft2(x.astype(real)).astype(complex_type)
            windows = np.conj(np.fft.fft2(weights.astype(np.float64), (size, size))).astype(complex_type)
            whole = np.fft.ifft2(np.einsum("cij,ocij->oij", spectrum, windows)).real
            kernel = conv_attrs(ctx).window.kernel
            return whole[:, : size - kernel[0] + 1, : size - kernel[1] + 1]

        exact = outputs(np.float64, np.complex128)
        error = np.abs(outputs(np.float32, np.complex64) - exact).max()
        return float(error) / max(float(np.abs(exact).max()), _TINY)


def reversed_bits(size: int) -> NDArray[np.intp]:
    """Where a transform leaves each frequency: indices below a power of two with their bits reversed."""
    order = np.zeros(1, np.intp)
    while len(order) < size:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


FLOAT_FFT = tuple(
    F32Fft(f"f32_{op}__fft", op, "f32_conv2d_fft.h", "f32", "f32", instructions_per_mac=3.4)
    for op in ("conv2d", "depthwise_conv2d")
)
