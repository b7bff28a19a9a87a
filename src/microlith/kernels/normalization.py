"""Portable normalizations: ``normalize``, ``lrn``, ``log_softmax``, ``hardmax``."""

from __future__ import annotations

from microlith.kernels.arguments import float_text, literal, read, runtime, written
from microlith.kernels.base import Argument, CallContext, Literal, Pointer, Runtime
from microlith.kernels.descriptor import BaseKernel
from microlith.kernels.operands import operand, operands_refusal
from microlith.kernels.softmax import F32Softmax
from microlith.program.neural_attrs import Lrn, Normalize

SIZES = ("deviation", "root_mean_square", "l2", "l1")
"""In the order of the enumeration in ``f32_normalize.h``."""


def normalize_attrs(ctx: CallContext) -> Normalize:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Normalize)
    return ctx.call.attrs


def lrn_attrs(ctx: CallContext) -> Lrn:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Lrn)
    return ctx.call.attrs


def real(name: str, value: float) -> Runtime:
    """A ``float`` passed at each call."""
    return Runtime(name, "float", float_text(value))


def ones_literal(name: str, value: int) -> Argument:
    """An ``int32_t``, written into the instance where it is 1."""
    return literal(name, 1) if value == 1 else runtime(name, value)


class F32Normalize(BaseKernel):
    """``f32_normalize__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Values visited, three times each."""
        return 3 * ctx.writes[0].size

    def refusal(self, ctx: CallContext) -> str:
        """Kind of size and shapes."""
        attrs = normalize_attrs(ctx)
        if attrs.size not in SIZES or attrs.count % attrs.span:
            return f"size {attrs.size} of {attrs.count} elements in spans of {attrs.span}"
        lanes = attrs.outer * attrs.inner
        if ctx.writes[0].size != lanes * attrs.count or any(view.size != lanes for view in ctx.writes[1:]):
            return f"results of {[view.size for view in ctx.writes]} values for {lanes} lanes of {attrs.count}"
        wanted = (attrs.groups - 1) * attrs.per_group + attrs.count // attrs.span
        computed = [role for role in attrs.operands if role not in ctx.call.consts]
        given = {role: view.size for role, view in zip(computed, ctx.reads, strict=False)}
        given |= {role: values.size for role, values in ctx.consts.items()}
        wrong = [role for role in ("scale", "bias") if given.get(role, wanted) != wanted]
        if wrong:
            return f"a {wrong[0]} of {given[wrong[0]]} values, expected {wanted}"
        return operands_refusal(ctx, attrs.operands, "float32")

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_normalize.h``."""
        attrs = normalize_attrs(ctx)
        others = [
            Pointer(name, "float *", "write", str(index)) if len(ctx.writes) > index else Literal(name, "float *", "0")
            for index, name in ((1, "mean"), (2, "inverse"))
        ]
        return (
            written("y", "float"),
            *others,
            *(operand(ctx, role, attrs.operands, "float") for role in ("x", "scale", "bias")),
            literal("size", SIZES.index(attrs.size)),
            runtime("outer", attrs.outer),
            runtime("count", attrs.count),
            ones_literal("inner", attrs.inner),
            ones_literal("groups", attrs.groups),
            runtime("per_group", attrs.per_group),
            ones_literal("span", attrs.span),
            real("epsilon", attrs.epsilon),
            real("offset", attrs.offset),
        )

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight sums."""
        return 32


class F32Lrn(BaseKernel):
    """``f32_lrn__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Squares added up."""
        attrs = lrn_attrs(ctx)
        return ctx.writes[0].size * (attrs.before + attrs.after + 1)

    def refusal(self, ctx: CallContext) -> str:
        """Shapes."""
        return "" if ctx.reads[0].shape == ctx.writes[0].shape else "input and output differ in shape"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_normalize.h``."""
        attrs, channels = lrn_attrs(ctx), ctx.writes[0].shape[-1]
        return (
            written("y", "float"),
            read("x", "float"),
            runtime("places", ctx.writes[0].size // channels),
            runtime("channels", channels),
            runtime("before", attrs.before),
            runtime("after", attrs.after),
            real("share", attrs.share),
            real("beta", attrs.beta),
            real("bias", attrs.bias),
        )


NORMALIZATIONS = (
    F32Normalize("f32_normalize__portable", "normalize", "f32_normalize.h", "f32", "f32"),
    F32Lrn("f32_lrn__portable", "lrn", "f32_normalize.h", "f32", "f32", instructions_per_output=80),
    F32Softmax(
        "f32_log_softmax__portable", "log_softmax", "f32_softmax_family.h", "f32", "f32", instructions_per_mac=20
    ),
    F32Softmax("f32_hardmax__portable", "hardmax", "f32_softmax_family.h", "f32", "f32"),
)
