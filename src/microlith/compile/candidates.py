"""What could run a call: every fitting kernel in every schedule, with its cycles and what it needs of flash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from microlith.compile.context import call_context
from microlith.core.errors import UnsupportedError
from microlith.device.profile import Device
from microlith.kernels import candidates, header_text, headers_needed
from microlith.kernels.base import CallContext, Kernel, Literal, Runtime
from microlith.kernels.code_bytes import estimated_code_bytes
from microlith.program.types import OpCall, Program

Part = tuple[object, ...]


@dataclass(frozen=True)
class Known:
    """What was measured, so that it need not be estimated.

    Attributes:
        cycles: of one run, by :func:`content_key`.
        code_bytes: of an instance in a linked program, by its key.
    """

    cycles: Mapping[str, float] = field(default_factory=dict)
    code_bytes: Mapping[Part, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to run a call.

    Attributes:
        call: with kernel and schedule.
        kernel: its descriptor.
        cycles: of one run.
        measured: whether the cycles were emulated; estimated otherwise.
        error_percent: greatest error of the estimate, where a table that knows it was used.
        const_bytes: stored constants of the call, by whomever else they are used.
        parts: bytes of flash by what takes them: instances of code and packed constants. A part that several
            candidates name is stored once.
        scratch_bytes: of the arena while it runs.
    """

    call: OpCall
    kernel: Kernel
    cycles: float
    measured: bool
    error_percent: float | None
    const_bytes: int
    parts: Mapping[Part, int]
    scratch_bytes: int

    @property
    def name(self) -> str:
        """Kernel, and schedule where the kernel has several."""
        schedule = self.call.schedule
        return self.kernel.name + ("" if schedule == "default" else f" {schedule}")

    @property
    def instance(self) -> Part:
        """The part that is its code."""
        return next(part for part in self.parts if part[0] == "code")


@dataclass(frozen=True, eq=False)
class Choices:
    """A call with everything that could run it, in the order of the kernels; at least one.

    Attributes:
        call: without a kernel.
        candidates: that fit.
        refused: name of each kernel for the device's instructions that does not, with the reason.
    """

    call: OpCall
    candidates: tuple[Candidate, ...]
    refused: Mapping[str, str]


def choices(program: Program, call: OpCall, device: Device, known: Known) -> Choices:
    """Everything that could run a call.

    Raises:
        UnsupportedError: nothing can; the message lists why.
    """
    context = call_context(program, call)
    considered = candidates(context, device)
    refused = {found.name: fit.reason for found, fit in considered if not fit and found.isa in device.isas}
    fitting = [found for found, fit in considered if fit]
    if not fitting:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise UnsupportedError(
            f"no kernel can run {call.op} on {device.name}: {reasons or 'none is written'}",
            node=", ".join(call.source_nodes),
        )
    made = [candidate for found in fitting for candidate in _candidates(context, found, device, known)]
    return Choices(call, tuple(made), refused)


def _candidates(context: CallContext, found: Kernel, device: Device, known: Known) -> list[Candidate]:
    packed = found.pack(context)
    references = context.call.consts
    consts: dict[Part, int] = {("const", references[role], item.packing): item.bytes for role, item in packed.items()}
    made = []
    for schedule in found.schedules(context):
        call = replace(context.call, kernel=found.name, schedule=schedule)
        here = replace(context, call=call)
        instance = ("code", *found.instance_key(here))
        size = known.code_bytes.get(instance, estimated_code_bytes(found, device))
        cost = found.cost(here, device)
        emulated = known.cycles.get(content_key(here, found, device)) if known.cycles else None
        made.append(
            Candidate(
                call,
                found,
                cycles=cost.cycles if emulated is None else emulated,
                measured=emulated is not None,
                error_percent=cost.error_percent if emulated is None else None,
                const_bytes=sum(consts.values()),
                parts={**consts, instance: size},
                scratch_bytes=found.scratch_bytes(here),
            )
        )
    return made


def content_key(context: CallContext, found: Kernel, device: Device) -> str:
    """A hash over what the cycles of a call depend on: its code and its arguments but addresses.

    Values of constants are not among it: the inner loops of no kernel branch on them.
    """
    values = [
        (argument.name, argument.value)
        for argument in found.arguments(context)
        if isinstance(argument, Literal | Runtime)
    ]
    shapes = [(view.dtype, view.shape, view.strides) for view in (*context.reads, *context.writes)]
    words = (found.instance_key(context), values, shapes, context.call.schedule, device.core, device.fpu, device.isas)
    digest = hashlib.sha256(repr(words).encode())
    for name in headers_needed(found):
        digest.update(header_text(name).encode())
    return digest.hexdigest()
