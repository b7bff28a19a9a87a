"""Portable ``reduce``: sums, extremes and products over one axis."""

from __future__ import annotations

from microlith.kernels.arguments import bounds_f32, literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext
from microlith.kernels.descriptor import BaseKernel
from microlith.program.neural_attrs import Reduce
from microlith.program.types import DType

INTEGER_FUNCTIONS = ("sum", "max", "min", "prod", "l1", "sum_square")
FUNCTIONS = (*INTEGER_FUNCTIONS, "l2", "log_sum", "log_sum_exp")
"""In the order of the enumeration in ``ml_reduce.h``."""

_INTEGERS: tuple[tuple[DType, str], ...] = (
    ("bool", "uint8_t"),
    ("s8", "int8_t"),
    ("u8", "uint8_t"),
    ("s32", "int32_t"),
    ("u32", "uint32_t"),
    ("s64", "int64_t"),
    ("u64", "uint64_t"),
)


def reduce_attrs(ctx: CallContext) -> Reduce:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Reduce)
    return ctx.call.attrs


class _Reduce(BaseKernel):
    """What reductions of all types share."""

    functions: tuple[str, ...] = FUNCTIONS

    def macs(self, ctx: CallContext) -> int:
        """Values visited."""
        return ctx.reads[0].size

    def refusal(self, ctx: CallContext) -> str:
        """Function and shapes."""
        attrs = reduce_attrs(ctx)
        if attrs.function not in self.functions:
            return f"function {attrs.function} is not one of {', '.join(self.functions)}"
        got, lanes = (ctx.reads[0].size, ctx.writes[0].size), attrs.outer * attrs.inner
        expected = (lanes * attrs.count, lanes)
        return "" if got == expected else f"{got[0]} values to {got[1]}, expected {expected[0]} to {expected[1]}"

    def sizes(self, ctx: CallContext) -> tuple[Argument, ...]:
        """function, outer, count, inner; inner is a literal where it is 1."""
        attrs = reduce_attrs(ctx)
        inner = literal("inner", 1) if attrs.inner == 1 else runtime("inner", attrs.inner)
        function = literal("function", FUNCTIONS.index(attrs.function))
        return function, runtime("outer", attrs.outer), runtime("count", attrs.count), inner


class F32Reduce(_Reduce):
    """``f32_reduce__portable``."""

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_reduce.h``."""
        return written("y", "float"), read("x", "float"), *self.sizes(ctx), *bounds_f32(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight lanes."""
        return 32


class IntReduce(_Reduce):
    """``bool_reduce__portable`` and ``s8_reduce__portable`` to ``u64_reduce__portable``."""

    functions: tuple[str, ...] = INTEGER_FUNCTIONS

    def refusal(self, ctx: CallContext) -> str:
        """Function and shapes; parameters, where there are any, must be the same on both sides."""
        x, y = ctx.reads[0].qparams, ctx.writes[0].qparams
        if self.reads == "bool" and reduce_attrs(ctx).function not in ("max", "min"):
            return "of booleans only the greatest and the least are computed"
        same = x is y or (x is not None and y is not None and x.same(y))
        return super().refusal(ctx) or ("" if same else "input and output have different quantization parameters")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``int_reduce.h``."""
        ctype = dict(_INTEGERS)[self.reads]
        return written("y", ctype), read("x", ctype), *self.sizes(ctx)


REDUCTIONS = (
    F32Reduce("f32_reduce__portable", "reduce", "f32_reduce.h", "f32", "f32"),
    *(IntReduce(f"{dtype}_reduce__portable", "reduce", "int_reduce.h", dtype, dtype) for dtype, _ in _INTEGERS),
)
