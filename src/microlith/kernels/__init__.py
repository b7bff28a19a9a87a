"""C99 kernels and the descriptors that say what each can do and costs."""

from __future__ import annotations

from microlith.device.profile import Device
from microlith.kernels.attention import ATTENTION
from microlith.kernels.avx2 import AVX2
from microlith.kernels.base import CallContext, Fit, Kernel
from microlith.kernels.conversion import CONVERSIONS
from microlith.kernels.convolution import CONVOLUTIONS
from microlith.kernels.dsp import DSP
from microlith.kernels.dsp_depthwise import DSP_DEPTHWISE
from microlith.kernels.dsp_elementwise import DSP_ELEMENTWISE
from microlith.kernels.dsp_groups import DSP_GROUPS
from microlith.kernels.dsp_pooling import DSP_POOLING
from microlith.kernels.dsp_winograd import DSP_WINOGRAD
from microlith.kernels.elementwise import ELEMENTWISE
from microlith.kernels.float_fft import FLOAT_FFT
from microlith.kernels.float_gemm import FLOAT_GEMM
from microlith.kernels.float_winograd import FLOAT_WINOGRAD
from microlith.kernels.headers import header_text, headers_needed
from microlith.kernels.indexing import INDEXING
from microlith.kernels.integer_sums import INTEGER_SUMS
from microlith.kernels.movement import MOVEMENT
from microlith.kernels.mve import MVE
from microlith.kernels.mve_elementwise import MVE_ELEMENTWISE
from microlith.kernels.normalization import NORMALIZATIONS
from microlith.kernels.plain import PLAIN
from microlith.kernels.pooling import POOLING
from microlith.kernels.products import PRODUCTS
from microlith.kernels.recurrent import RECURRENT
from microlith.kernels.reductions import REDUCTIONS
from microlith.kernels.scalar import SCALAR
from microlith.kernels.softmax import SOFTMAX
from microlith.kernels.thumb1 import THUMB1
from microlith.kernels.transposed import DSP_TRANSPOSED, TRANSPOSED
from microlith.kernels.volumes import VOLUMES

PORTABLE: tuple[Kernel, ...] = (
    *CONVOLUTIONS,
    *FLOAT_GEMM,
    *FLOAT_WINOGRAD,
    *FLOAT_FFT,
    *PRODUCTS,
    *ELEMENTWISE,
    *PLAIN,
    *POOLING,
    *REDUCTIONS,
    *VOLUMES,
    *TRANSPOSED,
    *INTEGER_SUMS,
    *SOFTMAX,
    *NORMALIZATIONS,
    *RECURRENT,
    *ATTENTION,
    *MOVEMENT,
    *INDEXING,
    *CONVERSIONS,
)

# Kernels for some cores only; each has a portable twin above.
FAST: tuple[Kernel, ...] = (
    *DSP,
    *DSP_DEPTHWISE,
    *DSP_ELEMENTWISE,
    *DSP_GROUPS,
    *DSP_POOLING,
    *DSP_TRANSPOSED,
    *DSP_WINOGRAD,
    *THUMB1,
    *SCALAR,
    *MVE,
    *MVE_ELEMENTWISE,
    *AVX2,
)

ALL: tuple[Kernel, ...] = (*PORTABLE, *FAST)
_BY_NAME = {item.name: item for item in ALL}
_BY_OP = {op: tuple(item for item in ALL if item.op == op) for op in {item.op for item in ALL}}


def candidates(ctx: CallContext, device: Device) -> tuple[tuple[Kernel, Fit], ...]:
    """Every kernel for the op of the call, with whether it fits and why not."""
    return tuple((kernel, kernel.fits(ctx, device)) for kernel in _BY_OP.get(ctx.call.op, ()))


def kernel(name: str) -> Kernel:
    """The descriptor of that name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]


__all__ = ["ALL", "FAST", "PORTABLE", "candidates", "header_text", "headers_needed", "kernel"]
