"""A call with what its ids name."""

from __future__ import annotations

from microlith.kernels.base import CallContext
from microlith.program.types import OpCall, Program


def call_context(program: Program, call: OpCall) -> CallContext:
    """What kernel descriptors look at."""
    consts = {}
    for role, reference in call.consts.items():
        values = program.consts[reference.id].values
        consts[role] = values if reference.slice is None else values[reference.slice[0] : reference.slice[1]]
    return CallContext(
        call,
        tuple(program.view(name) for name in call.reads),
        tuple(program.view(name) for name in call.writes),
        consts,
    )
