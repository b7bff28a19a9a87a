"""Portable kernels that read or write where tables or indices say; most look at the width of an element only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microlith.kernels.arguments import const, float_text, literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext, Literal, Packed, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel, is_contiguous, plain
from microlith.kernels.movement import CTYPES, bit_pattern, bits
from microlith.program.attrs_indexing import (
    ArgSelect,
    CumulativeSum,
    Gather,
    GatherElements,
    GridSample,
    NonMaxSuppression,
    OneHot,
    Remap,
    Resample,
    ReverseSequence,
    Scatter,
    ScatterElements,
    Trilu,
)
from microlith.program.types import ITEM_BYTES, DType

AXES = 8
SCALARS = {
    f"{sign}{bits}": f"{kind}{bits}_t" for sign, kind in (("s", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)
}
SCALARS["f32"] = "float"
_WIDE: dict[str, int] = {"int32": 0, "int64": 1, "s32": 0, "s64": 1}
_KINDS: dict[str, int] = _WIDE | {"float32": 2, "f32": 2}


@dataclass(frozen=True)
class _Indexing(BaseKernel):
    """Kernels whose data operands may be constants.

    Attributes:
        roles: operands in order; one that is a constant is the const of that role and not among the reads.
        whole: whether the type of the elements matters, and not only their width.
    """

    roles: tuple[str, ...] = ("data",)
    whole: bool = False

    @property
    def ctype(self) -> str:
        """Element type in C."""
        return SCALARS[self.writes] if self.whole else CTYPES[ITEM_BYTES[self.writes]]

    def element(self, ctx: CallContext, role: str) -> str:
        """Element type of an operand: of a view, or NumPy's name for a constant."""
        return str(ctx.consts[role].dtype) if role in ctx.consts else ctx.reads[self._place(ctx, role)].dtype

    def operand(self, ctx: CallContext, role: str, name: str, ctype: str) -> Pointer:
        """The address of an operand, constant or not."""
        if role in ctx.consts:
            return Pointer(name, f"const {ctype} *", "const", role)
        return read(name, ctype, self._place(ctx, role))

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Tables and indices as they are, elements as the type of the parameter."""
        moved = () if self.whole else tuple(role for role in self.roles if role not in ("indices", "lengths"))
        return {role: bits(values) if role in moved else plain(values) for role, values in ctx.consts.items()}

    def _place(self, ctx: CallContext, role: str) -> int:
        return [item for item in self.roles if item not in ctx.consts].index(role)

    def wide(self, ctx: CallContext, role: str = "indices") -> Argument:
        """Whether indices have 64 bits."""
        return literal("wide", _WIDE[self.element(ctx, role)])

    def value(self, ctx: CallContext, name: str, value: float | int) -> Runtime:
        """A value of the type of the result, as its bits."""
        suffix = "ull" if ITEM_BYTES[self.writes] == 8 else "u"
        return Runtime(name, self.ctype, f"{bit_pattern(value, ctx.writes[0].dtype)}{suffix}")

    def view_refusal(self, ctx: CallContext) -> str:
        """Types or widths of the elements, gaps, rings."""
        for view in (*ctx.reads, *ctx.writes):
            if view.ring_rows is not None:
                return f"{view.id} is a ring of rows, the kernel takes whole tensors"
            if not is_contiguous(view):
                return f"{view.id} has gaps between its elements"
        result = ctx.writes[0]
        if (result.dtype != self.writes) if self.whole else (ITEM_BYTES[result.dtype] != ITEM_BYTES[self.writes]):
            return f"{result.id} is {result.dtype}, the kernel makes {self.writes}"
        for role in self.roles:
            element = self.element(ctx, role)
            if role in ("indices", "lengths"):
                if element not in (_KINDS if self.op == "one_hot" else _WIDE):
                    return f"the {role} are {element}, the kernel takes integers of 32 or 64 bits"
            elif self._differs(ctx, role):
                return f"the {role} are {element}, the kernel takes {self.reads}"
        return ""

    def _differs(self, ctx: CallContext, role: str) -> bool:
        if role in ctx.consts:
            return ctx.consts[role].dtype.itemsize != ITEM_BYTES[self.reads]
        dtype = ctx.reads[self._place(ctx, role)].dtype
        return dtype != self.reads if self.whole else ITEM_BYTES[dtype] != ITEM_BYTES[self.reads]


class RemapElements(_Indexing):
    """``x8_remap__portable`` to ``x64_remap__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_remap.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Remap)
        return (
            written("y", self.ctype),
            self.operand(ctx, "data", "x", self.ctype),
            const(ctx, "table", "int32_t"),
            *(runtime(f"n{axis}", size) for axis, size in enumerate(attrs.sizes)),
            runtime("run", attrs.run),
            self.value(ctx, "value", attrs.value),
        )


class TriluElements(_Indexing):
    """``x8_trilu__portable`` to ``x64_trilu__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_remap.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Trilu)
        return (
            written("y", self.ctype),
            self.operand(ctx, "data", "x", self.ctype),
            *(runtime(name, getattr(attrs, name)) for name in ("matrices", "rows", "columns", "k")),
            literal("upper", int(attrs.upper)),
            self.value(ctx, "value", attrs.value),
        )


class GatherSlices(_Indexing):
    """``x8_gather__portable`` to ``x64_gather__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_gather.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Gather)
        return (
            written("y", self.ctype),
            self.operand(ctx, "data", "x", self.ctype),
            self.operand(ctx, "indices", "indices", "void"),
            const(ctx, "places", "int32_t"),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "count", "inner", "data_step", "index_step")),
            literal("depth", attrs.depth),
            self.wide(ctx),
        )


class GatherSingleElements(_Indexing):
    """``x8_gather_elements__portable`` to ``x64_gather_elements__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Number of axes."""
        return _too_many_axes(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """The place of the element."""
        return 4 * AXES

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_gather.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, GatherElements)
        return (
            written("y", self.ctype),
            self.operand(ctx, "data", "x", self.ctype),
            self.operand(ctx, "indices", "indices", "void"),
            const(ctx, "axes", "int32_t"),
            *(runtime(name, getattr(attrs, name)) for name in ("count", "size", "stride", "rank")),
            self.wide(ctx),
        )


class ScatterSlices(_Indexing):
    """``x8_scatter__portable``, ``f32_scatter_add__portable`` and their like; y holds its first values already."""

    def refusal(self, ctx: CallContext) -> str:
        """The way in which values are combined."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Scatter)
        return _other_reduction(self.name, attrs.reduction)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_scatter.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Scatter)
        return (
            written("y", self.ctype),
            self.operand(ctx, "indices", "indices", "void"),
            self.operand(ctx, "updates", "updates", self.ctype),
            const(ctx, "places", "int32_t"),
            *(runtime(name, getattr(attrs, name)) for name in ("count", "inner")),
            literal("depth", attrs.depth),
            self.wide(ctx),
        )


class ScatterSingleElements(_Indexing):
    """``x8_scatter_elements__portable``, ``f32_scatter_elements_add__portable`` and their like."""

    def refusal(self, ctx: CallContext) -> str:
        """The way in which values are combined; number of axes."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ScatterElements)
        return _other_reduction(self.name, attrs.reduction) or _too_many_axes(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """The place of the element."""
        return 4 * AXES

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_scatter.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ScatterElements)
        return (
            written("y", self.ctype),
            self.operand(ctx, "indices", "indices", "void"),
            self.operand(ctx, "updates", "updates", self.ctype),
            const(ctx, "axes", "int32_t"),
            *(runtime(name, getattr(attrs, name)) for name in ("count", "size", "stride", "rank")),
            self.wide(ctx),
        )


class ReverseSteps(_Indexing):
    """``x8_reverse_sequence__portable`` to ``x64_reverse_sequence__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_gather.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ReverseSequence)
        return (
            written("y", self.ctype),
            self.operand(ctx, "data", "x", self.ctype),
            self.operand(ctx, "lengths", "lengths", "void"),
            *(runtime(n, getattr(attrs, n)) for n in ("batch", "steps", "inner", "batch_stride", "step_stride")),
            self.wide(ctx, "lengths"),
        )


class OneHotElements(_Indexing):
    """``x8_one_hot__portable`` to ``x64_one_hot__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_gather.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, OneHot)
        return (
            written("y", self.ctype),
            self.operand(ctx, "indices", "indices", "void"),
            self.operand(ctx, "values", "values", self.ctype),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "depth", "inner")),
            literal("kind", _KINDS[self.element(ctx, "indices")]),
        )


class ArgSelectElements(BaseKernel):
    """``f32_arg_select__portable`` and its like for integers."""

    def macs(self, ctx: CallContext) -> int:
        """Elements looked at."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ArgSelect)
        return attrs.outer * attrs.count * attrs.inner * attrs.k

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``arg_select.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, ArgSelect)
        return (
            written("y", "int64_t"),
            read("x", SCALARS[self.reads]),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "count", "inner", "k")),
            literal("largest", int(attrs.largest)),
            literal("last", int(attrs.last)),
        )


class ChosenBoxes(BaseKernel):
    """``f32_non_max_suppression__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Boxes looked at, twice for each that is chosen."""
        attrs = _boxes(ctx)
        return 2 * attrs.images * attrs.classes * attrs.limit * attrs.count

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Whether each box is left."""
        return _boxes(ctx).count

    def stack_bytes(self, ctx: CallContext) -> int:
        """The corners of two boxes."""
        return 32

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_non_max_suppression.h``."""
        attrs = _boxes(ctx)
        bound = attrs.threshold
        return (
            written("y", "int64_t"),
            read("boxes", "float", 0),
            read("scores", "float", 1),
            Pointer("left", "uint8_t *", "scratch"),
            *(runtime(name, getattr(attrs, name)) for name in ("images", "classes", "count", "limit")),
            Runtime("overlap", "float", float_text(attrs.overlap)),
            literal("thresholded", int(bound is not None)),
            Literal("threshold", "float", "0") if bound is None else Runtime("threshold", "float", float_text(bound)),
            literal("center", int(attrs.center)),
        )


def _boxes(ctx: CallContext) -> NonMaxSuppression:
    attrs = ctx.call.attrs
    assert isinstance(attrs, NonMaxSuppression)
    return attrs


class CumulativeSums(BaseKernel):
    """``f32_cumulative_sum__portable`` and its like for integers."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``arg_select.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, CumulativeSum)
        ctype = SCALARS[self.reads]
        return (
            written("y", ctype),
            read("x", ctype),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "count", "inner")),
            literal("exclusive", int(attrs.exclusive)),
            literal("reverse", int(attrs.reverse)),
        )


class ResampleRows(BaseKernel):
    """``f32_resample__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Products."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Resample)
        return attrs.outer * attrs.size * attrs.inner * attrs.taps

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_resample.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, Resample)
        return (
            written("y", "float"),
            read("x", "float"),
            const(ctx, "places", "int32_t"),
            const(ctx, "weights", "float"),
            const(ctx, "base", "float"),
            *(runtime(name, getattr(attrs, name)) for name in ("outer", "count", "size", "inner")),
            literal("taps", attrs.taps),
        )


class GridSamples(BaseKernel):
    """``f32_grid_sample__portable``."""

    def stack_bytes(self, ctx: CallContext) -> int:
        """Weights and fractions along both axes."""
        return 40

    def macs(self, ctx: CallContext) -> int:
        """Products."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, GridSample)
        return ctx.writes[0].size * attrs.taps**2

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_resample.h``."""
        attrs = ctx.call.attrs
        assert isinstance(attrs, GridSample)
        batch, height, width, channels = ctx.reads[0].shape
        return (
            written("y", "float"),
            read("x", "float", 0),
            read("grid", "float", 1),
            runtime("batch", batch),
            runtime("height", height),
            runtime("width", width),
            runtime("channels", channels),
            runtime("count", int(np.prod(ctx.writes[0].shape[1:3]))),
            literal("taps", attrs.taps),
            literal("padding", attrs.padding),
            literal("align", int(attrs.align_corners)),
        )


def _too_many_axes(ctx: CallContext) -> str:
    rank = ctx.consts["axes"].size // 2
    return f"{rank} axes, the kernel has {AXES}" if rank > AXES else ""


def _other_reduction(name: str, reduction: str) -> str:
    own = name.split("__")[0].rsplit("_", 1)[1]
    own = own if own in ("add", "mul", "min", "max") else "none"
    return "" if own == reduction else f"it combines values by {own}, the call by {reduction}"


_WIDTHS: Sequence[tuple[str, DType]] = (("x8", "u8"), ("x16", "u16"), ("x32", "u32"), ("x64", "u64"))
_REDUCING: Sequence[DType] = ("f32", "s32", "s64")
_ORDERED: Sequence[DType] = ("f32", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
_MOVED = 8.0


def _scatters(prefix: str, dtype: DType, suffix: str, *, whole: bool) -> tuple[BaseKernel, ...]:
    roles = ("indices", "updates")
    names = (f"{prefix}_scatter{suffix}__portable", f"{prefix}_scatter_elements{suffix}__portable")
    header = "x_scatter.h"
    return (
        ScatterSlices(names[0], "scatter", header, dtype, dtype, roles=roles, whole=whole),
        ScatterSingleElements(names[1], "scatter_elements", header, dtype, dtype, roles=roles, whole=whole),
    )


def _of_width(prefix: str, dtype: DType) -> tuple[BaseKernel, ...]:
    both = ("data", "indices")
    return (
        RemapElements(f"{prefix}_remap__portable", "remap", "x_remap.h", dtype, dtype, instructions_per_output=_MOVED),
        TriluElements(f"{prefix}_trilu__portable", "trilu", "x_remap.h", dtype, dtype, instructions_per_output=_MOVED),
        GatherSlices(f"{prefix}_gather__portable", "gather", "x_gather.h", dtype, dtype, roles=both),
        GatherSingleElements(
            f"{prefix}_gather_elements__portable", "gather_elements", "x_gather.h", dtype, dtype, roles=both
        ),
        ReverseSteps(
            f"{prefix}_reverse_sequence__portable",
            "reverse_sequence",
            "x_gather.h",
            dtype,
            dtype,
            roles=("data", "lengths"),
        ),
        OneHotElements(
            f"{prefix}_one_hot__portable", "one_hot", "x_gather.h", dtype, dtype, roles=("indices", "values")
        ),
        *_scatters(prefix, dtype, "", whole=False),
    )


INDEXING: tuple[BaseKernel, ...] = (
    *(kernel for prefix, dtype in _WIDTHS for kernel in _of_width(prefix, dtype)),
    *(
        kernel
        for dtype in _REDUCING
        for how in ("add", "mul", "min", "max")
        for kernel in _scatters(dtype, dtype, f"_{how}", whole=True)
    ),
    *(ArgSelectElements(f"{t}_arg_select__portable", "arg_select", "arg_select.h", t, "s64") for t in _ORDERED),
    *(
        CumulativeSums(f"{t}_cumulative_sum__portable", "cumulative_sum", "arg_select.h", t, t)
        for t in ("f32", "s32", "s64")
    ),
    ChosenBoxes("f32_non_max_suppression__portable", "non_max_suppression", "f32_non_max_suppression.h", "f32", "s64"),
    ResampleRows("f32_resample__portable", "resample", "f32_resample.h", "f32", "f32"),
    GridSamples("f32_grid_sample__portable", "grid_sample", "f32_resample.h", "f32", "f32"),
)
