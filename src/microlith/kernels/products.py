"""Portable products of matrices: ``fully_connected`` and ``matmul``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from microlith.kernels.arguments import (
    bounds,
    bounds_f32,
    literal,
    per_channel,
    requant_arguments,
    runtime,
    written,
    zero_point,
)
from microlith.kernels.base import Argument, CallContext, Packed
from microlith.kernels.convolution import f32_weighted_pointers, s8_weighted_pointers
from microlith.kernels.descriptor import DIFFERENCE, BaseKernel, accumulator_refusal, plain, requant_refusal
from microlith.kernels.operands import operand, operand_shape, operands_refusal
from microlith.kernels.weighted import (
    F32_LANES,
    accumulator_bound,
    f32_weighted_refusal,
    interleaved,
    pack_weighted,
    weighted_refusal,
)
from microlith.program.attrs import MatMul
from microlith.program.types import NUMPY

OPERANDS = ("a", "b")


class _FullyConnected(BaseKernel):
    """What fully connected layers of all types share: rows of depth values each."""

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates."""
        return ctx.writes[0].size * int(ctx.consts["weights"].shape[1])

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why views and weights do not go together; empty where they do."""
        shape, x, y = ctx.consts["weights"].shape, ctx.reads[0].size, ctx.writes[0].size
        if len(shape) != 2 or x % shape[1] or y != x // shape[1] * shape[0]:
            return f"{x} values to {y} by weights of shape {shape}"
        return ""

    def sizes(self, ctx: CallContext) -> tuple[Argument, ...]:
        """rows, depth, out_channels."""
        out_channels, depth = ctx.consts["weights"].shape
        rows = ctx.reads[0].size // depth
        return runtime("rows", rows), runtime("depth", depth), runtime("out_channels", out_channels)


class S8FullyConnected(_FullyConnected):
    """``s8_fully_connected__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, weights and requantization."""
        if "weights" not in ctx.consts:
            return "the call has no weights"
        return weighted_refusal(ctx, ctx.consts["weights"].shape[0]) or self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_fully_connected.h``."""
        return (
            *s8_weighted_pointers(ctx),
            *requant_arguments(ctx),
            per_channel(ctx),
            *self.sizes(ctx),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Weights O,K; the bias folded."""
        return pack_weighted(ctx, plain(ctx.consts["weights"], "OK"))

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude of any partial sum."""
        return accumulator_bound(ctx)


class _MatMul(BaseKernel):
    """What products of two activations of all types share."""

    takes_strides = True

    def macs(self, ctx: CallContext) -> int:
        """Multiply-accumulates."""
        attrs = matmul_attrs(ctx)
        return attrs.batch * attrs.rows * attrs.depth * attrs.columns

    def shape_refusal(self, ctx: CallContext) -> str:
        """Why the operands do not have the sizes that the attributes state; empty where they do."""
        attrs = matmul_attrs(ctx)
        refusal = operands_refusal(ctx, OPERANDS, NUMPY[self.reads])
        if refusal:
            return refusal
        a_size = (1 if attrs.broadcast_a else attrs.batch) * attrs.rows * attrs.depth
        b_size = (1 if attrs.broadcast_b else attrs.batch) * attrs.depth * attrs.columns
        a, b = (int(np.prod(operand_shape(ctx, role, OPERANDS) or (), dtype=np.int64)) for role in OPERANDS)
        got = (a, b, ctx.writes[0].size)
        expected = (a_size, b_size, attrs.batch * attrs.rows * attrs.columns)
        return "" if got == expected else f"operands and result of {got} values, expected {expected}"

    def sizes(self, ctx: CallContext) -> tuple[Argument, ...]:
        """batch, rows, depth, columns, strides; inner ones of 1 are literals, so that neighbours are read together."""
        attrs = matmul_attrs(ctx)
        a, b, y = attrs.strides_of_a, attrs.strides_of_b, attrs.strides_of_y
        return (
            runtime("batch", attrs.batch),
            runtime("rows", attrs.rows),
            runtime("depth", attrs.depth),
            runtime("columns", attrs.columns),
            runtime("a_batch_stride", a[0]),
            runtime("a_row_stride", a[1]),
            _inner("a_stride", a[2]),
            runtime("b_batch_stride", b[0]),
            runtime("b_row_stride", b[1]),
            _inner("b_stride", b[2]),
            runtime("y_batch_stride", y[0]),
            runtime("y_row_stride", y[1]),
        )


def _inner(name: str, stride: int) -> Argument:
    return literal(name, 1) if stride == 1 else runtime(name, stride)


class S8MatMul(_MatMul):
    """``s8_matmul__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes, size of the accumulator and requantization."""
        bound = matmul_attrs(ctx).depth * DIFFERENCE**2
        return self.shape_refusal(ctx) or requant_refusal(ctx, 1) or accumulator_refusal(ctx, bound)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``s8_matmul.h``."""
        attrs = matmul_attrs(ctx)
        return (
            written("y", "int8_t"),
            *(operand(ctx, role, OPERANDS, "int8_t") for role in OPERANDS),
            *requant_arguments(ctx),
            *self.sizes(ctx),
            runtime("a_zero", attrs.a_zero if "a" in ctx.consts else zero_point(ctx.reads[0])),
            runtime("b_zero", attrs.b_zero if "b" in ctx.consts else zero_point(ctx.reads[-1])),
            runtime("y_zero", zero_point(ctx.writes[0])),
            *bounds(ctx),
        )

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four accumulators."""
        return 16

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Products of two differences of at most 255."""
        return matmul_attrs(ctx).depth * DIFFERENCE**2


class F32FullyConnected(_FullyConnected):
    """``f32_fully_connected__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes and weights."""
        if "weights" not in ctx.consts:
            return "the call has no weights"
        return f32_weighted_refusal(ctx, ctx.consts["weights"].shape[0]) or self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_products.h``."""
        return *f32_weighted_pointers(ctx), *self.sizes(ctx), *bounds_f32(ctx)

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Eight neighbouring outputs interleaved."""
        return {"weights": interleaved(ctx.consts["weights"][None], "O8K"), "bias": plain(ctx.consts["bias"])}

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four rows of eight sums."""
        return 4 * 4 * F32_LANES


class F32MatMul(_MatMul):
    """``f32_matmul__portable``."""

    def refusal(self, ctx: CallContext) -> str:
        """Shapes."""
        return self.shape_refusal(ctx)

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """See ``f32_products.h``."""
        operands = (operand(ctx, role, OPERANDS, "float") for role in OPERANDS)
        return written("y", "float"), *operands, *self.sizes(ctx), *bounds_f32(ctx)

    def stack_bytes(self, ctx: CallContext) -> int:
        """Four rows of eight sums."""
        return 4 * 4 * F32_LANES


def matmul_attrs(ctx: CallContext) -> MatMul:
    """The typed attributes of the call."""
    assert isinstance(ctx.call.attrs, MatMul)
    return ctx.call.attrs


PRODUCTS = (
    S8FullyConnected(
        "s8_fully_connected__portable",
        "fully_connected",
        "s8_fully_connected.h",
        instructions_per_mac=3.9,
        instructions_per_output=25,
    ),
    S8MatMul("s8_matmul__portable", "matmul", "s8_matmul.h", instructions_per_mac=5.5, instructions_per_output=25),
    F32FullyConnected(
        "f32_fully_connected__portable",
        "fully_connected",
        "f32_products.h",
        "f32",
        "f32",
        instructions_per_mac=3.3,
        instructions_per_output=10,
    ),
    F32MatMul("f32_matmul__portable", "matmul", "f32_products.h", "f32", "f32", instructions_per_mac=4.0),
)
