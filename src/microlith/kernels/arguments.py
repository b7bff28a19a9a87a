"""Arguments that many kernels have in common."""

from __future__ import annotations

import numpy as np

from microlith.kernels.base import Argument, CallContext, Literal, Pointer, RowRange, Runtime
from microlith.program.types import View
from microlith.quant.requantize import FixedRequant, FloatRequant

INT = "int32_t"


def runtime(name: str, value: int) -> Runtime:
    """An ``int32_t`` passed at each call."""
    return Runtime(name, INT, str(value))


def literal(name: str, value: int) -> Literal:
    """An ``int32_t`` written into the instance."""
    return Literal(name, INT, str(value))


def read(name: str, ctype: str, index: int = 0) -> Pointer:
    """The address of a view that is read."""
    return Pointer(name, f"const {ctype} *", "read", str(index))


def written(name: str, ctype: str) -> Pointer:
    """The address of the view that is written."""
    return Pointer(name, f"{ctype} *", "write", "0")


def const(ctx: CallContext, role: str, ctype: str, name: str = "") -> Pointer | Literal:
    """The address of a constant, or null where the call has none of that role."""
    if role not in ctx.call.consts:
        return Literal(name or role, f"const {ctype} *", "0")
    return Pointer(name or role, f"const {ctype} *", "const", role)


def float_text(value: float) -> str:
    """A C99 float constant of exactly that float32 value; infinities need ``ml_float.h``."""
    single = float(np.float32(value))
    if np.isinf(single):
        return "ML_INFINITY" if single > 0 else "-ML_INFINITY"
    return f"{single.hex()}f"


def zero_point(view: View) -> int:
    """The zero point of an integer view."""
    assert view.qparams is not None, f"{view.id} has no quantization parameters"
    return int(view.qparams.zero_point)


def requant_sizes(ctx: CallContext) -> tuple[int, ...]:
    """Lengths of the requantization arrays."""
    how = ctx.call.requant
    if isinstance(how, FloatRequant):
        return (how.scale.size,)
    return (how.multiplier.size, how.shift.size) if isinstance(how, FixedRequant) else ()


def requant_arguments(ctx: CallContext) -> tuple[Argument, ...]:
    """The kind of requantization and its arrays; those of the other kind are null."""
    fixed = isinstance(ctx.call.requant, FixedRequant)
    return (
        literal("kind", int(fixed)),
        Literal("scale", "const float *", "0") if fixed else const(ctx, "scale", "float"),
        const(ctx, "multiplier", "int32_t") if fixed else Literal("multiplier", "const int32_t *", "0"),
        const(ctx, "shift", "int8_t") if fixed else Literal("shift", "const int8_t *", "0"),
    )


def per_channel(ctx: CallContext) -> Literal:
    """Whether the requantization arrays have one element for each channel."""
    return literal("per_channel", int(requant_sizes(ctx)[0] > 1))


def bounds(ctx: CallContext) -> tuple[Argument, ...]:
    """Least and greatest integer stored."""
    low, high = ctx.call.epilogue.low, ctx.call.epilogue.high
    return runtime("low", -128 if low is None else int(low)), runtime("high", 127 if high is None else int(high))


def bounds_f32(ctx: CallContext) -> tuple[Argument, ...]:
    """Whether a float call clamps its results, and to what."""
    low, high = ctx.call.epilogue.low, ctx.call.epilogue.high
    return (
        literal("clamped", int(low is not None) + 2 * int(high is not None)),
        Literal("low", "float", "0") if low is None else Runtime("low", "float", float_text(low)),
        Literal("high", "float", "0") if high is None else Runtime("high", "float", float_text(high)),
    )


def has_rows(view: View) -> bool:
    """Whether the view is one image N,H,W,C, the rows of which can be computed a few at a time."""
    return len(view.shape) == 4 and view.shape[0] == 1


def row_range(view: View) -> tuple[Argument, ...]:
    """Output rows of an elementwise call: those of an image, or one row that is the whole tensor."""
    return (RowRange(),) if has_rows(view) else (runtime("row_begin", 0), runtime("row_end", 1))


def row_elements(view: View) -> int:
    """Elements of one row in the sense of :func:`row_range`."""
    return view.size // view.shape[1] if has_rows(view) else view.size


def ring(name: str, view: View) -> Argument:
    """Rows that the buffer of the view holds where it is a ring, else a literal 0."""
    return literal(name, 0) if view.ring_rows is None else runtime(name, view.ring_rows)
