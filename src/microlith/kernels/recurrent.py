"""Portable ``recurrent``."""

from __future__ import annotations

from microlith.kernels.arguments import literal, runtime, written
from microlith.kernels.base import Argument, CallContext, Literal, Pointer
from microlith.kernels.descriptor import BaseKernel, is_contiguous
from microlith.kernels.normalization import real
from microlith.kernels.operands import operand
from microlith.kernels.weighted import F32_LANES
from microlith.program.neural_attrs import Recurrent

KINDS = ("lstm", "gru", "rnn")
"""In the order of the enumeration in ``f32_recurrent.h``."""

ROLES = ("x", "w", "r", "b", "lengths", "initial_h", "initial_c", "peepholes")
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_NAMED = {"lstm": 3, "gru": 2, "rnn": 1}


def recurrent_attrs(ctx: CallContext) -> Recurrent:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, Recurrent)
    return ctx.call.attrs


class F32Recurrent(BaseKernel):
    """``f32_recurrent__portable``."""

    def macs(self, ctx: CallContext) -> int:
        """Products with the weights of inputs and states."""
        attrs = recurrent_attrs(ctx)
        return ctx.writes[0].size * _GATES[attrs.kind] * (attrs.depth + attrs.hidden)

    def view_refusal(self, ctx: CallContext) -> str:
        """Types: floats, but lengths are int32."""
        attrs = recurrent_attrs(ctx)
        computed = [role for role in attrs.operands if role not in ctx.call.consts]
        if len(computed) != len(ctx.reads):
            return f"{len(ctx.reads)} operands are read, expected {', '.join(computed)}"
        for role, view in (*zip(computed, ctx.reads, strict=True), *(("", view) for view in ctx.writes)):
            wanted = "s32" if role == "lengths" else "f32"
            if view.dtype != wanted:
                return f"{view.id} is {view.dtype}, the kernel takes {wanted}"
            if view.ring_rows is not None or not is_contiguous(view):
                return f"{view.id} is a ring of rows or has gaps between its elements"
        return ""

    def refusal(self, ctx: CallContext) -> str:
        """Sizes of operands and results."""
        attrs = recurrent_attrs(ctx)
        if attrs.kind not in KINDS or not {"x", "w", "r"} <= set(attrs.operands):
            return f"a layer {attrs.kind} of {', '.join(attrs.operands)}"
        gates, lanes = _GATES[attrs.kind] * attrs.hidden, attrs.directions * attrs.batch * attrs.hidden
        sizes = {
            "x": attrs.steps * attrs.batch * attrs.depth,
            "w": attrs.directions * gates * attrs.depth,
            "r": attrs.directions * gates * attrs.hidden,
            "b": attrs.directions * 2 * gates,
            "lengths": attrs.batch,
            "initial_h": lanes,
            "initial_c": lanes,
            "peepholes": attrs.directions * 3 * attrs.hidden,
            "functions": attrs.directions * _NAMED[attrs.kind],
            "parameters": attrs.directions * 2 * _NAMED[attrs.kind],
        }
        computed = [role for role in attrs.operands if role not in ctx.call.consts]
        found = {role: view.size for role, view in zip(computed, ctx.reads, strict=True)}
        found |= {role: values.size for role, values in ctx.consts.items()}
        for role, size in found.items():
            if size != sizes.get(role):
                return f"{role} has {size} values, expected {sizes.get(role)}"
        results = [attrs.steps * lanes, lanes, lanes][: 3 if attrs.kind == "lstm" else 2]
        got = [view.size for view in ctx.writes]
        return "" if got == results else f"results of {got} values, expected {results}"

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_recurrent.h``."""
        attrs = recurrent_attrs(ctx)
        cells = Pointer("y_c", "float *", "write", "2") if len(ctx.writes) > 2 else Literal("y_c", "float *", "0")
        return (
            written("y", "float"),
            Pointer("y_h", "float *", "write", "1"),
            cells,
            *(operand(ctx, role, attrs.operands, "int32_t" if role == "lengths" else "float") for role in ROLES),
            Pointer("functions", "const int32_t *", "const", "functions"),
            Pointer("parameters", "const float *", "const", "parameters"),
            Pointer("scratch", "float *", "scratch"),
            literal("kind", KINDS.index(attrs.kind)),
            runtime("steps", attrs.steps),
            runtime("batch", attrs.batch),
            runtime("depth", attrs.depth),
            runtime("hidden", attrs.hidden),
            runtime("directions", attrs.directions),
            runtime("reverse", int(attrs.reverse)),
            *(runtime(f"x_{name}", value) for name, value in zip(("step", "batch"), attrs.x_strides, strict=True)),
            *(
                runtime(f"y_{name}", value)
                for name, value in zip(("step", "direction", "batch"), attrs.y_strides, strict=True)
            ),
            *(
                runtime(f"state_{name}", value)
                for name, value in zip(("direction", "batch"), attrs.state_strides, strict=True)
            ),
            literal("coupled", int(attrs.coupled)),
            literal("linear_before_reset", int(attrs.linear_before_reset)),
            real("clip", attrs.clip),
        )

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Four vectors of a state."""
        return 16 * recurrent_attrs(ctx).hidden

    def stack_bytes(self, ctx: CallContext) -> int:
        """Eight sums and the cell."""
        return 4 * F32_LANES + 64


RECURRENT = (
    F32Recurrent("f32_recurrent__portable", "recurrent", "f32_recurrent.h", "f32", "f32", instructions_per_mac=4.0),
)
