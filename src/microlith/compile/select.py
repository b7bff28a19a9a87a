"""Choice of a kernel for every call, and the packed consts that the chosen kernels read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from microlith.compile.candidates import Candidate, Choices
from microlith.compile.context import call_context
from microlith.kernels.base import Kernel, Packed
from microlith.program.types import ConstRef, OpCall, Program, Storage


@dataclass(frozen=True)
class Selection:
    """A call with its kernel and the reason for the choice."""

    call: OpCall
    kernel: Kernel
    why: str


def selection(layer: Choices, chosen: Candidate) -> Selection:
    """A choice with its reason: cycles against the best of every other kernel, and who was refused."""
    best: dict[str, Candidate] = {}
    for item in sorted(layer.candidates, key=lambda item: item.cycles):
        best.setdefault(item.kernel.name, item)
    others = [f"{item.name} {_cycles(item)}" for name, item in best.items() if name != chosen.kernel.name]
    how = "measured" if chosen.measured else "estimated"
    why = f"{how} {_cycles(chosen, ' cycles')}" if len(layer.candidates) > 1 else "the only one that fits"
    why += f" against {', '.join(others)}" if others else ""
    # What is written for other types was never meant for this call.
    types = chosen.kernel.name.partition("_")[0]
    refused = [f"{name}: {reason}" for name, reason in layer.refused.items() if name.partition("_")[0] == types]
    why += f"; refused {'; '.join(refused)}" if refused else ""
    return Selection(chosen.call, chosen.kernel, why)


def _cycles(item: Candidate, unit: str = "") -> str:
    error = "" if item.error_percent is None else f" (error up to {item.error_percent:.1f}%)"
    return f"{item.cycles:,.0f}{unit}{error}"


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
