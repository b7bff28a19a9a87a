"""Portable elementwise kernels: ``add``, ``sub``, ``mul`` and ``lut``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from microlith.kernels.arguments import (
    bounds,
    bounds_f32,
    const,
    float_text,
    has_rows,
    literal,
    read,
    requant_arguments,
    ring,
    row_elements,
    row_range,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Lead, Literal, Pointer, Runtime
from microlith.kernels.descriptor import DIFFERENCE, BaseKernel, accumulator_refusal, requant_refusal
from microlith.ops import ALL
from microlith.ops.base import Pointwise
from microlith.program.attrs import Binary, Lut, Unary
from microlith.program.types import RowMap, View, contiguous
from microlith.quant.factors import SUM_HEADROOM_BITS
from microlith.quant.requantize import FixedRequant

OPERANDS = ("a", "b")
Strides = tuple[int, int, int, int]
NOT_FLAT = "an operand broadcasts, or a view is a ring of rows"

FUNCTIONS: Mapping[str, int] = {
    "clamp": 2,
    "leaky_relu": 1,
    "sigmoid": 0,
    "tanh": 0,
    "hard_sigmoid": 2,
    "hard_swish": 0,
}
"""In the order of the enumeration in ``f32_unary.h``, with the number of parameters of each."""
NAMES = ("first", "second")


def binary_attrs(ctx: CallContext) -> Binary:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Binary)
    return ctx.call.attrs


def operand_views(ctx: CallContext) -> tuple[View | None, View | None]:
    """The views of a and b; None for the operand that is a constant."""
    reads = iter(ctx.reads)
    a, b = (None if role in ctx.call.consts else next(reads, None) for role in OPERANDS)
    return a, b


def operand_strides(attrs: Binary) -> tuple[Strides, Strides]:
    """Strides of a and b."""
    return attrs.a_strides, attrs.b_strides


def same_strides(attrs: Binary, strides: Strides) -> bool:
    """Whether an operand lies just as the result does, so that element i is element i."""
    dense = contiguous(attrs.shape)
    return all(size == 1 or a == b for size, a, b in zip(attrs.shape, strides, dense, strict=True))


class _Binary(BaseKernel):
    """What elementwise kernels of two operands of all types share."""

    ctype = "int8_t"
    takes_strides = True

    def operand_pointers(self, ctx: CallContext) -> tuple[Pointer, ...]:
        """Addresses of a and b."""
        pointers, index = [], 0
        for role, view in zip(OPERANDS, operand_views(ctx), strict=True):
            if view is None:
                pointers.append(Pointer(role, f"const {self.ctype} *", "const", role))
            else:
                pointers.append(read(role, self.ctype, index))
                index += 1
        return tuple(pointers)

    def operands_refusal(self, ctx: CallContext) -> str:
        """Why operands and result do not go together; empty where they do."""
        views, constants = operand_views(ctx), [role for role in OPERANDS if role in ctx.call.consts]
        if len(ctx.reads) + len(constants) != 2:
            return f"{len(ctx.reads)} operands read and constants {constants}, expected two operands"
        size = contiguous(binary_attrs(ctx).shape)[0] * binary_attrs(ctx).shape[0]
        if ctx.writes[0].size != size:
            return f"{ctx.writes[0].id} has {ctx.writes[0].size} elements, the attributes state {size}"
        rings = any(view is not None and view.ring_rows is not None for view in (*views, *ctx.writes))
        return "rings of rows need rows" if rings and self.input_rows(ctx) is None else ""

    def is_flat(self, ctx: CallContext) -> bool:
        """Whether both operands lie just as the result does and nothing is a ring."""
        rings = any(view.ring_rows is not None for view in (*ctx.reads, *ctx.writes))
        return not rings and all(same_strides(binary_attrs(ctx), s) for s in operand_strides(binary_attrs(ctx)))

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """The same rows, where every operand has rows that the result has."""
        attrs = binary_attrs(ctx)
        pairs = zip(operand_views(ctx), operand_strides(attrs), strict=True)
        whole = any(view is not None and strides[1] == 0 and attrs.shape[1] > 1 for view, strides in pairs)
        rows_are_axis_1 = has_rows(ctx.writes[0]) and attrs.shape[:2] == ctx.writes[0].shape[:2]
        return RowMap(1, 0, 0) if rows_are_axis_1 and not whole else None

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """0 for an operand that lies just as the result does."""
        attrs = binary_attrs(ctx)
        pairs = zip(operand_views(ctx), operand_strides(attrs), strict=True)
        return tuple(Lead(0) if same_strides(attrs, strides) else None for view, strides in pairs if view is not None)

    def rows(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Rows of the result: the range of an image, or all along axis 1."""
        if self.input_rows(ctx) is not None:
            return row_range(ctx.writes[0])
        return runtime("row_begin", 0), runtime("row_end", binary_attrs(ctx).shape[1])

    def extent(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Rows and sizes of a flat call, or rows, rings, sizes and strides of any."""
        attrs, views = binary_attrs(ctx), operand_views(ctx)
        if self.is_flat(ctx):
            return *self.rows(ctx), runtime("row_elements", ctx.writes[0].size // attrs.shape[1])
        rings = (
            literal(f"{role}_ring", 0) if v is None else ring(f"{role}_ring", v)
            for role, v in zip(OPERANDS, views, strict=True)
        )
        strides = zip(OPERANDS, operand_strides(attrs), strict=True)
        return (
            *self.rows(ctx),
            *rings,
            ring("y_ring", ctx.writes[0]),
            *(runtime(f"n{axis}", size) for axis, size in enumerate(attrs.shape)),
            *(runtime(f"{role}s{axis}", stride) for role, four in strides for axis, stride in enumerate(four)),
        )


class S8Binary(_Binary):
    """``s8_add__portable``, ``s8_sub__portable`` and ``s8_mul__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Operands and requantization."""
        sums = 3 if isinstance(ctx.call.requant, FixedRequant) else 2
        length = 1 if self.op == "mul" else sums
        refusal = self.operands_refusal(ctx) or requant_refusal(ctx, length)
        bound = DIFFERENCE**2 if self.op == "mul" else DIFFERENCE << SUM_HEADROOM_BITS
        return refusal or accumulator_refusal(ctx, bound)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_binary.h``."""
        attrs, views = binary_attrs(ctx), operand_views(ctx)
        zeros = (attrs.a_zero, attrs.b_zero)
        zeros_of = (zero if view is None else zero_point(view) for view, zero in zip(views, zeros, strict=True))
        return (
            written("y", "int8_t"),
            *self.operand_pointers(ctx),
            *requant_arguments(ctx),
            *self.extent(ctx),
            *(runtime(f"{role}_zero", zero) for role, zero in zip(OPERANDS, zeros_of, strict=True)),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )


class S8BinaryFlat(S8Binary):
    """``s8_add__flat`` and kin: operands and result of one shape, none a ring."""

    def refusal(self, ctx: CallContext) -> str:
        """Broadcasting and rings need the general kernel."""
        return super().refusal(ctx) or ("" if self.is_flat(ctx) else NOT_FLAT)


class S8BinaryStrided(S8Binary):
    """``s8_add__portable`` and kin, for the calls that are not flat."""

    def is_flat(self, ctx: CallContext) -> bool:
        """Never taken as one run."""
        return False


class S8Lut(BaseKernel):
    """``s8_lut__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Size of the table."""
        assert isinstance(ctx.call.attrs, Lut)
        x, y, tables = ctx.reads[0], ctx.writes[0], ctx.call.attrs.tables
        if "table" not in ctx.consts or ctx.consts["table"].size != tables * 256:
            return f"the call needs {tables} tables of 256 entries"
        if tables != 1 and tables != x.shape[-1]:
            return f"{tables} tables for {x.shape[-1]} channels"
        rings = (x.ring_rows is not None or y.ring_rows is not None) and not has_rows(y)
        return "rings of rows need images" if rings or x.size != y.size else ""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_lut.h``."""
        assert isinstance(ctx.call.attrs, Lut)
        x, y, tables = ctx.reads[0], ctx.writes[0], ctx.call.attrs.tables
        return (
            written("y", "int8_t"),
            read("x", "int8_t"),
            Pointer("table", "const int8_t *", "const", "table"),
            *row_range(y),
            ring("x_ring", x),
            ring("y_ring", y),
            runtime("row_elements", row_elements(y)),
            literal("tables", 1) if tables == 1 else runtime("tables", tables),
        )

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """The same rows."""
        return RowMap(1, 0, 0) if has_rows(ctx.writes[0]) else None

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The output may lie at or before the input."""
        return (Lead(0),)


class F32Binary(_Binary):
    """``f32_add__portable``, ``f32_sub__portable`` and ``f32_mul__portable``, for the calls that are not flat."""

    ctype = "float"

    def refusal(self, ctx: CallContext) -> str:
        """Operands."""
        return self.operands_refusal(ctx)

    def is_flat(self, ctx: CallContext) -> bool:
        """Never taken as one run."""
        return False

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_binary.h``."""
        return written("y", "float"), *self.operand_pointers(ctx), *self.extent(ctx), *bounds_f32(ctx)


class F32BinaryFlat(F32Binary):
    """``f32_add__flat`` and kin: operands and result of one shape, none a ring."""

    def is_flat(self, ctx: CallContext) -> bool:
        """Whether both operands lie just as the result does and nothing is a ring."""
        return _Binary.is_flat(self, ctx)

    def refusal(self, ctx: CallContext) -> str:
        """Broadcasting and rings need the general kernel."""
        return self.operands_refusal(ctx) or ("" if self.is_flat(ctx) else NOT_FLAT)


class _Rowwise(BaseKernel):
    """Float functions of one operand, element by element."""

    def refusal(self, ctx: CallContext) -> str:
        """Sizes and rings."""
        x, y = ctx.reads[0], ctx.writes[0]
        if x.size != y.size:
            return f"{x.size} values to {y.size}"
        rings = (x.ring_rows is not None or y.ring_rows is not None) and not has_rows(y)
        return "rings of rows need images" if rings else ""

    def extent(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Rows, rings and the size of a row."""
        x, y = ctx.reads[0], ctx.writes[0]
        return *row_range(y), ring("x_ring", x), ring("y_ring", y), runtime("row_elements", row_elements(y))

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """The same rows."""
        return RowMap(1, 0, 0) if has_rows(ctx.writes[0]) else None

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """The output may lie at or before the input."""
        return (Lead(0),)


class F32Unary(_Rowwise):
    """``f32_unary__portable``."""

    functions: ClassVar[Mapping[str, int]] = FUNCTIONS

    def refusal(self, ctx: CallContext) -> str:
        """The function and its parameters."""
        assert isinstance(ctx.call.attrs, Unary)
        function, parameters = ctx.call.attrs.function, ctx.call.attrs.parameters
        if function not in self.functions:
            return f"the function {function} is not one of {', '.join(self.functions)}"
        if len(parameters) != self.functions[function]:
            return f"{function} with {len(parameters)} parameters"
        return super().refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_unary.h`` and ``f32_math.h``."""
        assert isinstance(ctx.call.attrs, Unary)
        given = [
            Runtime(name, "float", float_text(value))
            for name, value in zip(NAMES, ctx.call.attrs.parameters, strict=False)
        ]
        absent = [Literal(name, "float", "0") for name in NAMES[len(given) :]]
        return written("y", "float"), read("x", "float"), *self.extent(ctx), *self.function(ctx), *given, *absent

    def function(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Its number in the enumeration."""
        assert isinstance(ctx.call.attrs, Unary)
        return (literal("function", list(self.functions).index(ctx.call.attrs.function)),)


class F32Brought(F32Unary):
    """The one function that an op brings in a header of its own, by ``ML_POINTWISE`` of ``ml_float.h``."""

    def refusal(self, ctx: CallContext) -> str:
        """The function."""
        assert isinstance(ctx.call.attrs, Unary)
        if brought_name(ctx.call.attrs.function) != self.name:
            return f"it has no function {ctx.call.attrs.function}"
        return _Rowwise.refusal(self, ctx)

    def function(self, ctx: CallContext) -> tuple[Argument, ...]:
        """None: there is one."""
        return ()


def brought_name(function: str) -> str:
    """Name of the kernel of a function that an op brings."""
    return f"f32_{function}__portable"


class F32Affine(_Rowwise):
    """``f32_affine__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Factors and offsets for each channel."""
        channels = ctx.reads[0].shape[-1]
        for role in ("scale", "offset"):
            if role not in ctx.consts or ctx.consts[role].shape != (channels,):
                return f"the call needs a {role} for each of {channels} channels"
        return super().refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_unary.h``."""
        return (
            written("y", "float"),
            read("x", "float"),
            const(ctx, "scale", "float"),
            const(ctx, "offset", "float"),
            *self.extent(ctx),
            runtime("channels", ctx.reads[0].shape[-1]),
            *bounds_f32(ctx),
        )


def _binary_f32(op: str) -> tuple[F32Binary, ...]:
    strided = F32Binary(
        f"f32_{op}__portable", op, "f32_binary.h", "f32", "f32", streams=True, instructions_per_output=12
    )
    flat = F32BinaryFlat(f"f32_{op}__flat", op, "f32_binary.h", "f32", "f32", streams=True, instructions_per_output=7)
    return strided, flat


def _binary(op: str, instructions: float) -> tuple[S8Binary, ...]:
    strided = S8BinaryStrided(
        f"s8_{op}__portable", op, "s8_binary.h", streams=True, instructions_per_output=instructions + 9
    )
    flat = S8BinaryFlat(f"s8_{op}__flat", op, "s8_binary.h", streams=True, instructions_per_output=instructions)
    return strided, flat


_OWN = (op.lowering for op in ALL if isinstance(op.lowering, Pointwise) and op.lowering.header)
BROUGHT = tuple(
    F32Brought(brought_name(f.function), "unary", f.header, "f32", "f32", streams=True, instructions_per_output=120)
    for f in _OWN
)
"""Kernels of functions that come with their ops."""

ELEMENTWISE = (
    *BROUGHT,
    *_binary("add", 25),
    *_binary("sub", 25),
    *_binary("mul", 21),
    S8Lut("s8_lut__portable", "lut", "s8_lut.h", streams=True, instructions_per_output=7),
    *_binary_f32("add"),
    *_binary_f32("sub"),
    *_binary_f32("mul"),
    F32Unary("f32_unary__portable", "unary", "f32_unary.h", "f32", "f32", streams=True, instructions_per_output=50),
    F32Affine("f32_affine__portable", "affine", "f32_unary.h", "f32", "f32", streams=True, instructions_per_output=7),
)
