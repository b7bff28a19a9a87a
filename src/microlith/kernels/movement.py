"""Portable data movement: ``copy`` and ``fill``, by the width of an element."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from microlith.kernels.arguments import literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext, Packed, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel, is_contiguous, plain
from microlith.program.attrs import Copy, Fill
from microlith.program.types import ITEM_BYTES, DType

AXES = 6
CTYPES = {1: "uint8_t", 2: "ml_x16", 4: "ml_x32", 8: "ml_x64"}
Axis = tuple[int, int, int]


def merged_axes(attrs: Copy) -> tuple[Axis, ...]:
    """Axes as (size, read stride, write stride) without those of size 1; neighbours that are one run are merged."""
    merged: list[Axis] = []
    for axis in zip(attrs.shape, attrs.read_strides, attrs.write_strides, strict=True):
        size, read_stride, write_stride = axis
        if size == 1:
            continue
        if merged and merged[-1][1] == size * read_stride and merged[-1][2] == size * write_stride:
            merged[-1] = (merged[-1][0] * size, read_stride, write_stride)
        else:
            merged.append(axis)
    return tuple(merged) or ((1, 1, 1),)


class _Movement(BaseKernel):
    """Kernels that look at the width of an element and not at its type."""

    @property
    def item_bytes(self) -> int:
        """Width of an element."""
        return ITEM_BYTES[self.reads]

    def view_refusal(self, ctx: CallContext) -> str:
        """Width of the elements; views may have gaps, the strides are attributes."""
        for values in ctx.consts.values():
            if values.dtype.itemsize != self.item_bytes:
                return f"the data is {values.dtype}, the kernel moves elements of {self.item_bytes} bytes"
        for view in (*ctx.reads, *ctx.writes):
            if ITEM_BYTES[view.dtype] != self.item_bytes:
                return f"{view.id} is {view.dtype}, the kernel moves elements of {self.item_bytes} bytes"
            if view.ring_rows is not None:
                return f"{view.id} is a ring of rows, the kernel takes whole tensors"
        return ""


class CopyElements(_Movement):
    """``x8_copy__portable`` to ``x64_copy__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Number of axes."""
        axes = len(merged_axes(copy_attrs(ctx)))
        return f"{axes} axes that do not merge, the kernel has {AXES}" if axes > AXES else ""

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """The data as the bits that are copied."""
        return {role: bits(values) for role, values in ctx.consts.items()}

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_copy.h``; axes that are not needed are literals, so that their loops vanish."""
        attrs, ctype = copy_attrs(ctx), CTYPES[self.item_bytes]
        constant = "data" in ctx.call.consts
        source = Pointer("x", f"const {ctype} *", "const", "data") if constant else read("x", ctype)
        axes = merged_axes(attrs)
        unused = AXES - len(axes)
        padded = ((1, 0, 0),) * unused + axes

        def column(name: str, index: int) -> tuple[Argument, ...]:
            values = tuple(axis[index] for axis in padded)
            unit = AXES - 1 if index and axes[-1][1] == axes[-1][2] == 1 else AXES
            return tuple(
                literal(f"{name}{i}", value) if i < unused or i == unit else runtime(f"{name}{i}", value)
                for i, value in enumerate(values)
            )

        return (
            written("y", ctype),
            source,
            *column("n", 0),
            runtime("x_offset", attrs.read_offset),
            *column("xs", 1),
            runtime("y_offset", attrs.write_offset),
            *column("ys", 2),
        )


class FillElements(_Movement):
    """``x8_fill__portable`` to ``x64_fill__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Gaps."""
        return "" if is_contiguous(ctx.writes[0]) else f"{ctx.writes[0].id} has gaps between its elements"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_copy.h``."""
        assert isinstance(ctx.call.attrs, Fill)
        size, view = self.item_bytes, ctx.writes[0]
        ctype = CTYPES[size]
        return (
            written("y", ctype),
            runtime("count", view.size),
            Runtime("value", ctype, f"{bit_pattern(ctx.call.attrs.value, view.dtype)}{'ull' if size == 8 else 'u'}"),
        )


def copy_attrs(ctx: CallContext) -> Copy:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Copy)
    return ctx.call.attrs


def bits(values: np.ndarray) -> Packed:
    """Values of any type as unsigned integers of the same width, for kernels that look at no more."""
    return plain(np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}"), "bits")


def bit_pattern(value: float | int, dtype: str) -> int:
    """The bits of a value of that type, as an unsigned integer."""
    if dtype == "f32":
        return int(np.float32(value).view(np.uint32))
    bits = 8 * ITEM_BYTES[dtype]
    return int(value) & ((1 << bits) - 1)


_WIDTHS: tuple[DType, ...] = ("s8", "s16", "f32", "s64")


def _name(op: str, dtype: DType) -> str:
    return f"x{8 * ITEM_BYTES[dtype]}_{op}__portable"


MOVEMENT = (
    *(CopyElements(_name("copy", t), "copy", "x_copy.h", t, t, instructions_per_output=4) for t in _WIDTHS),
    *(FillElements(_name("fill", t), "fill", "x_copy.h", t, t, instructions_per_output=2) for t in _WIDTHS),
)
