"""Transposed convolutions whose rows are rows of ordinary ones: ``ml_transposed.h``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from microlith.device.profile import Device
from microlith.kernels.arguments import bounds_f32, runtime, zero_point
from microlith.kernels.base import Argument, CallContext, Cost, Kernel, Literal, Packed, Pointer
from microlith.kernels.convolution import CONVOLUTIONS, f32_weighted_pointers
from microlith.kernels.dsp import DSP
from microlith.kernels.volumes import F32ConvNd, S8ConvTranspose2d, conv_attrs, spatial
from microlith.program.attrs import Conv2d, Window
from microlith.program.types import View, contiguous
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant

# Cycles that a row takes beside its convolution.
_ROW_CYCLES = 200
_SIZES = ("row_begin", "x_ring", "y_ring", "height", "width", "channels", "out_width", "out_channels", "groups")
_WINDOW = ("kernel", "stride", "dilation", "pad")


@dataclass(frozen=True)
class _Axis:
    """The places along one axis that lie ``stride`` apart, each a phase.

    Attributes:
        kernel: taps.
        stride: of the transposed convolution.
        pad: what is cut off in front.
    """

    kernel: int
    stride: int
    pad: int

    def taps(self, phase: int) -> range:
        """Taps that places of that phase meet, from the one of the least input element on."""
        first = (phase + self.pad) % self.stride
        return range(first, self.kernel, self.stride)[::-1]

    def first_element(self, phase: int) -> int:
        """The input element under the first of these taps at the first place."""
        return (phase + self.pad - self.taps(phase)[0]) // self.stride

    @property
    def first(self) -> int:
        """The least of these of all phases."""
        return min(map(self.first_element, range(self.stride)))

    @property
    def reach(self) -> int:
        """Elements from the first to the last that any of the first places meets."""
        lasts = (self.first_element(phase) + len(self.taps(phase)) for phase in range(self.stride))
        return max(lasts) - self.first


def _axes(ctx: CallContext) -> tuple[_Axis, _Axis]:
    volume = conv_attrs(ctx).volume
    rows, columns = (_Axis(volume.kernel[i], volume.stride[i], volume.before[i]) for i in (1, 2))
    return rows, columns


def _image(view: View, shape: tuple[int, ...]) -> View:
    return replace(view, shape=shape, strides=contiguous(shape), layout=tuple(range(4)))


def _repeated(how: Requant | None, times: int) -> Requant | None:
    """The same for so many times the channels; one factor stays one."""
    if isinstance(how, FloatRequant):
        return how if how.scale.size == 1 else FloatRequant(np.tile(how.scale, times))
    if isinstance(how, FixedRequant) and how.multiplier.size > 1:
        return FixedRequant(np.tile(how.multiplier, times), np.tile(how.shift, times))
    return how


def _filters(ctx: CallContext) -> NDArray[np.generic]:
    """Weights O,KH,KW,I; those of floats are the spatial axes, I,O."""
    weights = ctx.consts["weights"]
    if weights.dtype != np.float32:
        return weights
    rows, columns = conv_attrs(ctx).volume.kernel[1:]
    return weights.reshape(rows, columns, *weights.shape[-2:]).transpose(3, 0, 1, 2)


def _phase(ctx: CallContext, phase: int) -> CallContext:
    """The ordinary convolution of the output rows of one phase, as a call of its own."""
    rows, columns = _axes(ctx)
    x, y = ctx.reads[0], ctx.writes[0]
    _, height, width = spatial(x)
    _, out_height, out_width = spatial(y)
    weights, places = _filters(ctx), columns.stride
    taps = rows.taps(phase)
    zero = ctx.consts.get("weight_zero", np.zeros(weights.shape[0], np.int32))
    found = np.empty((places, weights.shape[0], len(taps), columns.reach, weights.shape[3]), weights.dtype)
    found[...] = zero.reshape(1, -1, 1, 1, 1)
    for place in range(places):
        start = columns.first_element(place) - columns.first
        chosen = weights[:, list(taps)][:, :, list(columns.taps(place))]
        found[place, :, :, start : start + chosen.shape[2]] = chosen
    window = Window((len(taps), columns.reach), (1, 1), (1, 1), (-rows.first_element(phase), -columns.first, 0, 0))
    shape = (1, -(-(out_height - phase) // rows.stride), out_width // places, places * y.shape[-1])
    factors = ("scale", "multiplier", "shift")
    per_channel = {
        role: values if role in factors and values.size == 1 else np.tile(values, places)
        for role, values in ctx.consts.items()
        if role != "weights"
    }
    call = replace(ctx.call, op="conv2d", attrs=Conv2d(window), requant=_repeated(ctx.call.requant, places), rows=None)
    return CallContext(
        call,
        (_image(x, (1, height, width, x.shape[-1])),),
        (_image(y, shape),),
        per_channel | {"weights": found.reshape(-1, *found.shape[2:])},
    )


def _phases(ctx: CallContext) -> list[CallContext]:
    return [_phase(ctx, phase) for phase in range(_axes(ctx)[0].stride)]


def _geometry_refusal(ctx: CallContext) -> str:
    """Why rows of the call are no rows of ordinary convolutions; empty where they are."""
    attrs = conv_attrs(ctx)
    if attrs.groups != 1 or attrs.volume.dilation != (1, 1, 1):
        return f"{attrs.groups} groups and a dilation of {attrs.volume.dilation[1:]}, the kernel takes neither"
    for axis in _axes(ctx):
        if axis.kernel < axis.stride or axis.first > 0:
            return f"{axis.kernel} taps with a stride of {axis.stride}, of which {axis.pad} are cut off in front"
    places, (_, _, width) = attrs.volume.stride[2], spatial(ctx.writes[0])
    return f"rows of {width}, the kernel takes multiples of the stride, {places}" if width % places else ""


def _row_sizes(ctx: CallContext) -> tuple[Argument, ...]:
    """batch to pad_left: sizes and window as ``ml_transposed.h`` has them."""
    (rows, columns), x, y = _axes(ctx), ctx.reads[0], ctx.writes[0]
    sizes = (
        ("batch", x.shape[0]),
        ("height", spatial(x)[1]),
        ("width", spatial(x)[2]),
        ("channels", x.shape[-1]),
        ("out_height", spatial(y)[1]),
        ("out_width", spatial(y)[2] // columns.stride),
        ("out_channels", y.shape[-1] * columns.stride),
        ("kernel_h", rows.kernel),
        ("kernel_w", columns.reach),
        ("stride_h", rows.stride),
        ("pad_h", rows.pad),
        ("pad_left", -columns.first),
    )
    return tuple(runtime(name, value) for name, value in sizes)


def _rows_cost(ctx: CallContext, rows_by: Kernel, device: Device, const_bytes: int) -> Cost:
    """The costs of the phases, and of their rows."""
    found = [rows_by.cost(phase, device) for phase in _phases(ctx)]
    times, rows = ctx.reads[0].shape[0], spatial(ctx.writes[0])[1] * _ROW_CYCLES
    return Cost(
        times * (sum(cost.instructions for cost in found) + 0.7 * rows),
        times * sum(cost.loads for cost in found),
        times * (sum(cost.cycles for cost in found) + rows),
        const_bytes,
    )


def _packed_rows(ctx: CallContext, rows_by: Kernel) -> Mapping[str, Packed]:
    """Weights and bias of each phase, one after another; factors as the first phase has them."""
    phases = [rows_by.pack(phase) for phase in _phases(ctx)]
    joined = {
        role: replace(
            phases[0][role],
            values=np.concatenate([phase[role].values for phase in phases]),
            packing=f"{conv_attrs(ctx).volume} as rows, {phases[0][role].packing}",
            sliceable_axes=(),
        )
        for role in ("weights", "bias")
    }
    times = _axes(ctx)[1].stride
    repeated = {role: replace(item, packing=f"{item.packing}, {times} times") for role, item in phases[0].items()}
    return repeated | joined


@dataclass(frozen=True)
class TransposedRows(S8ConvTranspose2d):
    """An int8 transposed convolution by rows of an ordinary one.

    Attributes:
        rows_by: the kernel of these.
    """

    rows_by: Kernel = field(default=CONVOLUTIONS[0])

    def refusal(self, ctx: CallContext) -> str:
        """One group, no dilation, phases that all have taps and share the instance of the convolution."""
        return super().refusal(ctx) or _geometry_refusal(ctx) or self._phases_refusal(_phases(ctx))

    def _phases_refusal(self, phases: list[CallContext]) -> str:
        for phase in phases:
            if refusal := self._row_refusal(phase):
                return refusal
        if len({_shared(self.rows_by, phase) for phase in phases}) > 1:
            return "its rows take more than one instance of the convolution"
        return ""

    def _row_refusal(self, phase: CallContext) -> str:
        """Why the kernel of rows, which is there for the same device, does not take a phase."""
        refusal: str = self.rows_by.refusal(phase)  # type: ignore[attr-defined]
        return refusal

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Those of the convolution, its sizes and window as ``ml_transposed.h`` has them."""
        given = self.rows_by.arguments(_widest(ctx))
        start = next(i for i, item in enumerate(given) if not isinstance(item, Literal | Pointer))
        ends = {item.name: item for item in given[start:]}
        # The portable convolution needs no scratch where every window is one element, which its rows do not promise.
        scratch = Pointer("scratch", "int8_t *", "scratch")
        return (
            *(scratch if item.name == "scratch" else item for item in given[:start]),
            *_row_sizes(ctx),
            runtime("x_zero", zero_point(ctx.reads[0])),
            *(ends[name] for name in ("y_zero", "low", "high")),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights and bias of each phase, one after another."""
        return _packed_rows(ctx, self.rows_by)

    def scratch_bytes(self, ctx: CallContext) -> int:
        """That of the phase with the most taps."""
        gathered = 2 * _widest(ctx).consts["weights"][0].size
        return max(int(gathered), *(self.rows_by.scratch_bytes(phase) for phase in _phases(ctx)))

    def stack_bytes(self, ctx: CallContext) -> int:
        """That of the convolution, and sizes."""
        return self.rows_by.stack_bytes(_widest(ctx)) + 32

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Those of the phases, and of their rows."""
        return _rows_cost(ctx, self.rows_by, device, sum(item.bytes for item in self.pack(ctx).values()))


class F32TransposedRows(F32ConvNd):
    """``f32_conv_nd__rows``: a float transposed convolution by rows of ``f32_conv2d__portable``."""

    rows_by: ClassVar[Kernel] = next(item for item in CONVOLUTIONS if item.name == "f32_conv2d__portable")

    def refusal(self, ctx: CallContext) -> str:
        """Two spatial axes, constants, and every place of a row with the same taps: zeros would spread infinities."""
        if refusal := super().refusal(ctx):
            return refusal
        attrs = conv_attrs(ctx)
        if not attrs.transposed or {"weights", "bias"} - set(ctx.consts):
            return "the kernel takes transposed convolutions by constant weights and biases"
        if attrs.volume.kernel[0] != 1 or spatial(ctx.reads[0])[0] != 1:
            return f"a kernel of {attrs.volume.kernel}, the kernel takes two spatial axes"
        if refusal := _geometry_refusal(ctx):
            return refusal
        columns = _axes(ctx)[1]
        if any(len(columns.taps(place)) != columns.reach for place in range(columns.stride)):
            return (
                f"{columns.kernel} taps along a row with a stride of {columns.stride}, which its places share in part"
            )
        return ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_conv_nd_rows.h``."""
        return *f32_weighted_pointers(ctx), *_row_sizes(ctx), *bounds_f32(ctx)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights and bias of each phase, one after another."""
        return _packed_rows(ctx, self.rows_by)

    def stack_bytes(self, ctx: CallContext) -> int:
        """That of the convolution, and sizes."""
        return self.rows_by.stack_bytes(_widest(ctx)) + 32

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """Those of the phases, and of their rows."""
        return _rows_cost(ctx, self.rows_by, device, sum(item.bytes for item in self.pack(ctx).values()))


def _widest(ctx: CallContext) -> CallContext:
    """The phase of the most rows of taps."""
    rows = _axes(ctx)[0]
    return _phase(ctx, max(range(rows.stride), key=lambda phase: len(rows.taps(phase))))


def _shared(kernel: Kernel, phase: CallContext) -> tuple[object, ...]:
    """What phases have in common where one instance and one set of factors serve them."""
    packed = kernel.pack(phase)
    values = tuple(item.values.tobytes() for role, item in packed.items() if role not in ("weights", "bias"))
    sizes = {f"{name}_{axis}" for name in _WINDOW for axis in ("h", "w", "top", "left")}
    sizes |= {"padded", "x_zero", "scratch", *_SIZES}
    literals = tuple(
        (item.name, item.value)
        for item in kernel.arguments(phase)
        if isinstance(item, Literal) and item.name not in sizes
    )
    return values, literals


TRANSPOSED: tuple[Kernel, ...] = (
    TransposedRows("s8_conv_transpose2d__rows", "conv_transpose2d", "s8_conv_transpose2d_rows.h"),
    F32TransposedRows("f32_conv_nd__rows", "conv_nd", "f32_conv_nd_rows.h", "f32", "f32"),
)
DSP_TRANSPOSED: tuple[Kernel, ...] = (
    TransposedRows(
        "s8_conv_transpose2d__dsp_2x4", "conv_transpose2d", "s8_conv_transpose2d_dsp.h", isa="dsp", rows_by=DSP[0]
    ),
)
