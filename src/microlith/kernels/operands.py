"""Operands that are constants in one call and computed in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microlith.kernels.arguments import read
from microlith.kernels.base import CallContext, Literal, Pointer


def operand(ctx: CallContext, role: str, roles: Sequence[str], ctype: str) -> Pointer | Literal:
    """The address of an operand: a const of that role, else the view that is read in its place; null where absent.

    Args:
        ctx: the call.
        role: name of the operand, and of the parameter.
        roles: all operands of the call in order; those that are no consts are read in this order.
        ctype: element type in C.
    """
    if role in ctx.call.consts:
        return Pointer(role, f"const {ctype} *", "const", role)
    if role not in roles:
        return Literal(role, f"const {ctype} *", "0")
    computed = [item for item in roles if item not in ctx.call.consts]
    return read(role, ctype, computed.index(role))


def operand_shape(ctx: CallContext, role: str, roles: Sequence[str]) -> tuple[int, ...] | None:
    """The shape of an operand in Program order; None where it is absent."""
    if role in ctx.consts:
        return ctx.consts[role].shape
    if role not in roles:
        return None
    computed = [item for item in roles if item not in ctx.call.consts]
    return ctx.reads[computed.index(role)].shape


def operands_refusal(ctx: CallContext, roles: Sequence[str], dtype: str) -> str:
    """Why operands and reads do not go together; empty where they do."""
    computed = [item for item in roles if item not in ctx.call.consts]
    if len(computed) != len(ctx.reads):
        return f"operands {', '.join(roles)} of which {len(ctx.reads)} are read and {len(ctx.call.consts)} constant"
    wrong = [role for role in roles if role in ctx.consts and ctx.consts[role].dtype != np.dtype(dtype)]
    return f"{wrong[0]} is {ctx.consts[wrong[0]].dtype}, the kernel takes {dtype}" if wrong else ""
