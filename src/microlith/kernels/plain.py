"""Portable elementwise kernels of numbers that stand for themselves: ``binary``, ``compare``, ``where``, ``cast``,
``unary`` and ``test``. A bool is computed as the byte that it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from microlith.kernels.arguments import literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext, Lead, Literal, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel, is_contiguous
from microlith.kernels.elementwise import F32Unary
from microlith.program.attrs import Broadcast, Test, Unary
from microlith.program.types import ITEM_BYTES, NUMPY, DType, View, contiguous

AXES = 6
ROLES = ("a", "b", "c")

# In the order of the enumerations in x_binary.h, x_unary.h and x_cast.h.
BINARY = (
    *("add", "sub", "mul", "div", "mod", "fmod", "pow", "min", "max", "and", "or", "xor", "shift_left"),
    *("shift_right", "prelu"),
)
NOT_FLOAT = frozenset(("mod", "and", "or", "xor", "shift_left", "shift_right"))
COMPARE = ("equal", "greater", "greater_or_equal", "less", "less_or_equal")
INTEGER_UNARY = ("abs", "negate", "sign", "complement", "not", "clamp")
TESTS = ("nan", "infinity", "positive_infinity", "negative_infinity")
MATH: Mapping[str, int] = {
    **dict.fromkeys(("abs", "negate", "sign", "ceil", "floor", "round", "sqrt", "reciprocal", "exp", "log", "erf"), 0),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), 0),
    "softplus": 0,
    "softsign": 0,
    "elu": 2,
    "celu": 1,
    "gelu": 0,
    "gelu_tanh": 0,
    "mish": 0,
    "swish": 1,
    "thresholded_relu": 1,
    "shrink": 2,
}
"""Functions of ``f32_math.h`` in the order of its enumeration, with their number of parameters."""
TYPES: tuple[DType, ...] = ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "bool")
INTEGERS = TYPES[:8]
WIDTHS = {1: "uint8_t", 2: "ml_x16", 4: "ml_x32", 8: "ml_x64"}

Axis = tuple[int, ...]


def as_computed(dtype: DType) -> DType:
    """The type in whose functions elements of a type are computed."""
    return "u8" if dtype == "bool" else dtype


def ctype_of(dtype: DType) -> str:
    """The C type of an element."""
    return "float" if dtype == "f32" else f"{NUMPY[as_computed(dtype)]}_t"


def broadcast_attrs(ctx: CallContext) -> Broadcast:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Broadcast)
    return ctx.call.attrs


def merged(attrs: Broadcast) -> tuple[Axis, ...]:
    """Axes as (size, stride of each operand) without those of size 1; neighbours that are one run are merged."""
    found: list[Axis] = []
    for axis in zip(attrs.shape, *attrs.strides, strict=True):
        size, *strides = axis
        if size == 1:
            continue
        if found and all(outer == size * inner for outer, inner in zip(found[-1][1:], strides, strict=True)):
            found[-1] = (found[-1][0] * size, *strides)
        else:
            found.append(axis)
    return tuple(found) or ((1, *(1 for _ in attrs.strides)),)


class _Plain(BaseKernel):
    """What the kernels of this file share: whole tensors without gaps, types that the descriptor names."""

    def types_refusal(self, ctx: CallContext) -> str:
        """Why the types of the views do not serve; empty where they do."""
        raise NotImplementedError

    def view_refusal(self, ctx: CallContext) -> str:
        """Types, gaps and rings."""
        for view in (*ctx.reads, *ctx.writes):
            if view.ring_rows is not None:
                return f"{view.id} is a ring of rows, the kernel takes whole tensors"
            if not is_contiguous(view):
                return f"{view.id} has gaps between its elements"
        return self.types_refusal(ctx)


def _type_refusal(view: View, dtype: DType) -> str:
    return "" if as_computed(view.dtype) == dtype else f"{view.id} is {view.dtype}, the kernel takes {dtype}"


class _Strided(_Plain):
    """Operands with strides of their own."""

    operands = 2

    def operand_ctypes(self) -> tuple[str, ...]:
        """The C type of each operand."""
        return (ctype_of(self.reads),) * self.operands

    def functions(self) -> tuple[str, ...]:
        """Names of the functions, by their number in C; empty where there is one."""
        return ()

    def types_refusal(self, ctx: CallContext) -> str:
        """One type of all that is read, one of what is written."""
        wrong = (_type_refusal(view, self.reads) for view in ctx.reads)
        return next((reason for reason in wrong if reason), "") or _type_refusal(ctx.writes[0], self.writes)

    def refusal(self, ctx: CallContext) -> str:
        """Operands, axes, function."""
        attrs = broadcast_attrs(ctx)
        constants = [role for role in ROLES if role in ctx.call.consts]
        if len(ctx.reads) + len(constants) != self.operands or len(attrs.strides) != self.operands:
            return f"{len(ctx.reads)} operands read and constants {constants}, expected {self.operands} operands"
        if len(merged(attrs)) > AXES:
            return f"{len(merged(attrs))} axes that do not merge, the kernel has {AXES}"
        if self.functions() and attrs.function not in self.functions():
            return f"it has no function {attrs.function}"
        return "" if ctx.writes[0].size == _size(attrs) else f"{ctx.writes[0].id} has not {_size(attrs)} elements"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_binary.h`` and ``x_where.h``; axes that are not needed are literals, so that their loops vanish."""
        attrs = broadcast_attrs(ctx)
        axes = merged(attrs)
        unused = AXES - len(axes)
        padded = ((1, *(0 for _ in attrs.strides)),) * unused + axes

        def column(name: str, index: int) -> tuple[Argument, ...]:
            return tuple(
                literal(f"{name}{axis}", values[index])
                if axis < unused or (index and axis == AXES - 1)
                else runtime(f"{name}{axis}", values[index])
                for axis, values in enumerate(padded)
            )

        strides = (column(f"{role}s", index + 1) for index, role in enumerate(ROLES[: self.operands]))
        function = (literal("function", self.functions().index(attrs.function)),) if self.functions() else ()
        return (
            written("y", self.result_ctype()),
            *self._pointers(ctx),
            *column("n", 0),
            *(argument for columns in strides for argument in columns),
            *function,
        )

    def result_ctype(self) -> str:
        """The C type of the result."""
        return ctype_of(self.writes)

    def _pointers(self, ctx: CallContext) -> tuple[Pointer, ...]:
        pointers, index = [], 0
        for role, ctype in zip(ROLES, self.operand_ctypes(), strict=False):
            if role in ctx.call.consts:
                pointers.append(Pointer(role, f"const {ctype} *", "const", role))
            else:
                pointers.append(read(role, ctype, index))
                index += 1
        return tuple(pointers)

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The output may lie at or before an operand of elements no narrower that lie just as its own."""
        attrs, y = broadcast_attrs(ctx), ctx.writes[0]
        dense = contiguous(attrs.shape)
        computed = [s for role, s in zip(ROLES, attrs.strides, strict=False) if role not in ctx.call.consts]
        return tuple(
            Lead(0) if ITEM_BYTES[view.dtype] >= ITEM_BYTES[y.dtype] and _same(attrs.shape, strides, dense) else None
            for view, strides in zip(ctx.reads, computed, strict=True)
        )


def _size(attrs: Broadcast) -> int:
    size = 1
    for extent in attrs.shape:
        size *= extent
    return size


def _same(shape: tuple[int, ...], strides: tuple[int, ...], dense: tuple[int, ...]) -> bool:
    return all(size == 1 or a == b for size, a, b in zip(shape, strides, dense, strict=True))


class PlainBinary(_Strided):
    """``s64_binary__portable`` and kin."""

    def functions(self) -> tuple[str, ...]:
        """As in ``x_binary.h``."""
        return BINARY

    def refusal(self, ctx: CallContext) -> str:
        """Floats have no bits to combine and one kind of remainder."""
        attrs = broadcast_attrs(ctx)
        missing = self.reads == "f32" and attrs.function in NOT_FLOAT
        return f"floats have no {attrs.function}" if missing else super().refusal(ctx)


class PlainCompare(_Strided):
    """``s64_compare__portable`` and kin."""

    def functions(self) -> tuple[str, ...]:
        """As in ``x_binary.h``."""
        return COMPARE


class PlainWhere(_Strided):
    """``x8_where__portable`` to ``x64_where__portable``."""

    operands = 3

    def operand_ctypes(self) -> tuple[str, ...]:
        """The condition, then elements by their width."""
        return ("uint8_t", self.result_ctype(), self.result_ctype())

    def result_ctype(self) -> str:
        """By the width of an element."""
        return WIDTHS[ITEM_BYTES[self.writes]]

    def types_refusal(self, ctx: CallContext) -> str:
        """Widths."""
        wanted = ITEM_BYTES[self.writes]
        y = ctx.writes[0]
        if ITEM_BYTES[y.dtype] != wanted:
            return f"{y.id} is {y.dtype}, the kernel moves elements of {wanted} bytes"
        choices = ctx.reads if "a" in ctx.call.consts else ctx.reads[1:]
        wrong = next((view for view in choices if view.dtype != y.dtype), None)
        return "" if wrong is None else f"{wrong.id} is {wrong.dtype}, the result is {y.dtype}"


class PlainCast(_Plain):
    """``x_cast__portable``."""

    def types_refusal(self, ctx: CallContext) -> str:
        """Every type is taken."""
        return ""

    def refusal(self, ctx: CallContext) -> str:
        """Sizes."""
        x, y = ctx.reads[0], ctx.writes[0]
        return "" if x.size == y.size else f"{x.size} values to {y.size}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_cast.h``."""
        x, y = ctx.reads[0], ctx.writes[0]
        return (
            Pointer("y", "void *", "write", "0"),
            Pointer("x", "const void *", "read", "0"),
            runtime("count", y.size),
            literal("to", TYPES.index(y.dtype)),
            literal("from", TYPES.index(x.dtype)),
        )

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """A wider output must not reach the inputs that are still to be read."""
        x, y = ctx.reads[0], ctx.writes[0]
        wider = max(0, ITEM_BYTES[y.dtype] - ITEM_BYTES[x.dtype])
        return (Lead(wider * max(0, x.size - 1)),)


class PlainUnary(_Plain):
    """``s64_unary__portable`` and kin."""

    def types_refusal(self, ctx: CallContext) -> str:
        """One type of all."""
        return _type_refusal(ctx.reads[0], self.reads) or _type_refusal(ctx.writes[0], self.writes)

    def refusal(self, ctx: CallContext) -> str:
        """Function and sizes."""
        assert isinstance(ctx.call.attrs, Unary)
        if ctx.call.attrs.function not in INTEGER_UNARY:
            return f"integers have no function {ctx.call.attrs.function}"
        return "" if ctx.reads[0].size == ctx.writes[0].size else "operand and result differ in size"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_unary.h``."""
        assert isinstance(ctx.call.attrs, Unary)
        ctype, given = ctype_of(self.reads), ctx.call.attrs.parameters
        bounds = [Runtime(name, ctype, _integer(int(item))) for name, item in zip(("low", "high"), given, strict=False)]
        absent = [Literal(name, ctype, "0") for name in ("low", "high")[len(given) :]]
        return (
            written("y", ctype),
            read("x", ctype),
            runtime("count", ctx.writes[0].size),
            literal("function", INTEGER_UNARY.index(ctx.call.attrs.function)),
            *bounds,
            *absent,
        )

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The output may lie at or before the input."""
        return (Lead(0),)


def _integer(value: int) -> str:
    """A constant of 64 bits; the least one has no literal of its own in C."""
    if value == -(2**63):
        return "INT64_MIN"
    if abs(value) < 2**31:
        return str(value)
    return f"UINT64_C({value})" if value >= 2**63 else f"INT64_C({value})"


class FloatTest(_Plain):
    """``f32_test__portable``."""

    def types_refusal(self, ctx: CallContext) -> str:
        """Floats to booleans."""
        return _type_refusal(ctx.reads[0], "f32") or _type_refusal(ctx.writes[0], "u8")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``x_unary.h``."""
        assert isinstance(ctx.call.attrs, Test)
        return (
            written("y", "uint8_t"),
            read("x", "float"),
            runtime("count", ctx.writes[0].size),
            literal("function", TESTS.index(ctx.call.attrs.function)),
        )

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """Output i is one byte at i, written after input i, four bytes at 4i, was read."""
        return (Lead(0),)


class FloatMath(F32Unary):
    """``f32_math__portable``: the functions that ``f32_unary__portable`` has not."""

    functions: ClassVar[Mapping[str, int]] = MATH


PLAIN = (
    *(PlainBinary(f"{t}_binary__portable", "binary", "x_binary.h", t, t) for t in TYPES[:9]),
    *(PlainCompare(f"{t}_compare__portable", "compare", "x_binary.h", t, "u8") for t in TYPES[:9]),
    *(
        PlainWhere(f"x{8 * ITEM_BYTES[t]}_where__portable", "where", "x_where.h", t, t)
        for t in ("s8", "s16", "s32", "s64")
    ),
    PlainCast("x_cast__portable", "cast", "x_cast.h"),
    *(PlainUnary(f"{t}_unary__portable", "unary", "x_unary.h", t, t) for t in INTEGERS),
    FloatTest("f32_test__portable", "test", "x_unary.h", "f32", "u8"),
    FloatMath("f32_math__portable", "unary", "f32_math.h", "f32", "f32", streams=True, instructions_per_output=120),
)
