"""Choice of a kernel for every call, and the packed consts that the chosen kernels read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from microlith.compile.context import call_context
from microlith.core.errors import UnsupportedError
from microlith.device.profile import Device
from microlith.kernels import candidates
from microlith.kernels.base import Cost, Kernel, Packed
from microlith.program.types import ConstRef, OpCall, Program, Storage


@dataclass(frozen=True)
class Selection:
    """A call with its kernel and the reason for the choice."""

    call: OpCall
    kernel: Kernel
    why: str


Opt = Literal["size", "balanced", "speed"]

# Stored constants of a balanced choice: the least that any kernel needs for the call times this, and a few bytes more.
_BALANCED_BYTES = 1.25
_BALANCED_SLACK = 256


def select(program: Program, call: OpCall, device: Device, opt: Opt = "balanced") -> Selection:
    """The fitting kernel of least a-priori cycles, where ``opt`` lets it have its constants.

    Args:
        program: holds the call's views and consts.
        call: to be served.
        device: that it runs on.
        opt: ``size`` takes the kernel of the fewest stored constants, ``balanced`` the fastest of those with up to a
            quarter more, ``speed`` the fastest.

    Raises:
        UnsupportedError: none fits; the message lists why.
    """
    context = call_context(program, call)
    considered = candidates(context, device)
    fitting = [found for found, fit in considered if fit]
    if not fitting:
        reasons = "; ".join(f"{found.name}: {fit.reason}" for found, fit in considered)
        raise UnsupportedError(
            f"no kernel can run {call.op} on {device.name}: {reasons or 'none is written'}",
            node=", ".join(call.source_nodes),
        )
    costs = {found.name: found.cost(context, device) for found in fitting}
    least = min(cost.const_bytes for cost in costs.values())
    most = {"size": least, "balanced": least * _BALANCED_BYTES + _BALANCED_SLACK, "speed": float("inf")}[opt]
    allowed = [found for found in fitting if costs[found.name].const_bytes <= most]
    best = min(allowed, key=lambda found: costs[found.name].cycles)
    others = [f"{found.name} {_cycles(costs[found.name])}" for found in fitting if found is not best]
    refused = [f"{found.name}: {fit.reason}" for found, fit in considered if not fit]
    why = f"estimated {_cycles(costs[best.name], ' cycles')}" if others else "the only one that fits"
    why += f" against {', '.join(others)}" if others else ""
    why += f"; refused {'; '.join(refused)}" if refused else ""
    return Selection(replace(call, kernel=best.name, schedule=best.schedules(context)[0]), best, why)


def _cycles(cost: Cost, unit: str = "") -> str:
    error = "" if cost.error_percent is None else f" (error up to {cost.error_percent:.1f}%)"
    return f"{cost.cycles:,.0f}{unit}{error}"


class Packer:
    """Storage of consts; a const that two kernels want in different orders is stored once for each."""

    def __init__(self) -> None:
        self.storage: dict[str, Storage] = {}
        self.copies: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._end = 0

    def pack(self, program: Program, selection: Selection) -> OpCall:
        """Store the consts of a call and return the call with references to what was stored."""
        context = call_context(program, selection.call)
        packed = selection.kernel.pack(context)
        references = {
            role: replace(reference, id=self._store(reference, packed[role]))
            for role, reference in selection.call.consts.items()
            if role in packed
        }
        return replace(selection.call, consts=references)

    def _store(self, reference: ConstRef, packed: Packed) -> str:
        key = (reference.id, packed.packing)
        if key not in self._names:
            name = reference.id if reference.id not in self.storage else f"{reference.id}_{len(self.storage)}"
            self._names[key] = name
            self.copies[name] = reference.id
            offset = -(-self._end // packed.align) * packed.align
            self._end = offset + packed.bytes
            self.storage[name] = Storage(
                name, packed.packing, "raw", "weights", "in_place", packed.values, packed.align, offset
            )
        return self._names[key]


def with_storage(program: Program, packer: Packer) -> Program:
    """The program with its storage, and with a const for every stored copy."""
    named = {name: replace(program.consts[original], id=name) for name, original in packer.copies.items()}
    return replace(program, consts=named, storage=packer.storage)
