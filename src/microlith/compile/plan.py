"""Planning: kernels, order, lifetimes, scratch and offsets for a lowered Program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microlith.compile.arena import Overlap, plan_arena
from microlith.compile.builder import ALIGN, SPACE
from microlith.compile.candidates import Candidate, Choices, Known, choices
from microlith.compile.check_plan import check_plan, check_states
from microlith.compile.choose import Goal, Trade, choose, flash_bytes, trades
from microlith.compile.context import call_context
from microlith.compile.in_place import write_states_in_place
from microlith.compile.order import order_calls
from microlith.compile.select import Packer, selection, with_storage
from microlith.core.errors import UnsupportedError
from microlith.core.units import format_bytes
from microlith.device.profile import Device
from microlith.kernels import kernel
from microlith.kernels.base import Lead
from microlith.kernels.descriptor import INT32_MAX
from microlith.program.types import Buffer, Call, Lifetime, OpCall, Program, View, calls, contiguous


@dataclass(frozen=True)
class Planned:
    """A Program that can be emitted.

    Attributes:
        program: with kernels, storage, offsets and spaces.
        overlaps: permitted ones, used or not.
        bounds: least bytes that any placement in this order could reach, by space.
        why: by position of the call, the reason for its kernel.
        chosen: by position of the call, what runs it, with what that was reckoned to cost.
        trades: cycles for flash, paid and on offer.
    """

    program: Program
    overlaps: tuple[Overlap, ...]
    bounds: Mapping[str, int]
    why: tuple[str, ...]
    chosen: tuple[Candidate, ...]
    trades: tuple[Trade, ...]

    @property
    def parts_bytes(self) -> int:
        """Flash of the kernels' code and constants, as it was reckoned."""
        return flash_bytes(self.chosen)

    def peak_layer(self) -> tuple[str, int]:
        """The nodes of the call during which the most bytes are alive, and how many those are."""
        ordered = tuple(calls(self.program.entries[0].body))
        buffers = self.program.buffers.values()
        alive = [
            sum(buffer.bytes for buffer in buffers if buffer.lifetime.first <= step <= buffer.lifetime.last)
            for step in range(len(ordered))
        ]
        worst = alive.index(max(alive))
        return ", ".join(ordered[worst].source_nodes), alive[worst]


def plan(program: Program, device: Device, goal: Goal = Goal()) -> Planned:  # noqa: B008 - frozen
    """Plan a Program of one entry whose body holds calls only.

    Args:
        program: lowered.
        device: what for.
        goal: what kernels are chosen by.

    Raises:
        UnsupportedError: no kernel can run a call.
    """
    lowered = program
    program, layers = ordered_choices(program, device, goal.known)
    (entry,) = program.entries
    chosen = choose(layers, goal, lambda made: _peak(program, made))
    selections = [selection(layer, item) for layer, item in zip(layers, chosen, strict=True)]
    packer = Packer()
    packed = [packer.pack(program, item) for item in selections]
    program = with_storage(program, packer)
    program, packed = with_scratch(program, packed)
    program = replace(program, entries=(replace(entry, body=tuple(Call(call) for call in packed)),))
    program = replace(program, buffers=with_lifetimes(program, packed, entry.inputs, entry.outputs))
    overlaps = permitted_overlaps(program, packed)
    arena = plan_arena(program.buffers.values(), overlaps=overlaps)
    _check_sizes(arena.spaces)
    program = replace(program, offsets=arena.offsets, spaces=arena.spaces)
    check_plan(program, overlaps)
    check_states(lowered, program)
    why = tuple(item.why for item in selections)
    return Planned(program, overlaps, arena.bounds, why, chosen, trades(layers, chosen))


def _peak(program: Program, chosen: Sequence[Candidate]) -> tuple[int, int]:
    """Most bytes alive with these candidates, nothing in place, and the position of the call in which they are."""
    (entry,) = program.entries
    lifetimes = with_lifetimes(program, [item.call for item in chosen], entry.inputs, entry.outputs)
    alive = [
        sum(buffer.bytes for buffer in lifetimes.values() if buffer.lifetime.first <= step <= buffer.lifetime.last)
        + item.scratch_bytes
        for step, item in enumerate(chosen)
    ]
    return max(alive), alive.index(max(alive))


def ordered_choices(
    program: Program,
    device: Device,
    known: Known = Known(),  # noqa: B008 - frozen
) -> tuple[Program, list[Choices]]:
    """The program with states in place, and what could run each call, in the order of the plan.

    Raises:
        UnsupportedError: no kernel can run a call.
    """
    program = write_states_in_place(program, device)
    (entry,) = program.entries
    ordered = order_calls(tuple(calls(entry.body)), program.views, program.buffers, entry.outputs)
    return program, [choices(program, call, device, known) for call in ordered]


def _check_sizes(spaces: Mapping[str, int]) -> None:
    for space, used in spaces.items():
        if used > INT32_MAX:
            raise UnsupportedError(
                f"the {space} of the model would be {format_bytes(used)}, expected less than 2 GiB",
                hint="Compile the model for smaller inputs.",
            )


def with_scratch(program: Program, packed: Sequence[OpCall]) -> tuple[Program, list[OpCall]]:
    """The program and its calls with a buffer and a view for what each kernel needs while it runs."""
    buffers, views, done = dict(program.buffers), dict(program.views), []
    for index, call in enumerate(packed):
        needed = kernel(call.kernel).scratch_bytes(call_context(program, call))
        if needed:
            buffer = Buffer(f"scratch_{index}", needed, ALIGN, SPACE, Lifetime(index, index))
            shape = (needed,)
            view = View(f"scratch_view_{index}", buffer.id, 0, shape, contiguous(shape), (0,), "u8")
            buffers[buffer.id], views[view.id] = buffer, view
            call = replace(call, scratch=view.id)
        done.append(call)
    return replace(program, buffers=buffers, views=views), done


def with_lifetimes(
    program: Program, ordered: Sequence[OpCall], inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, Buffer]:
    """Buffers with the steps in which they are needed: inputs from before the first, outputs until after the last,
    states throughout."""
    touched: dict[str, list[int]] = {}
    for name in inputs:
        touched.setdefault(program.view(name).buffer, []).append(-1)
    for index, call in enumerate(ordered):
        scratch = () if call.scratch is None else (call.scratch,)
        for name in (*call.reads, *call.writes, *scratch):
            touched.setdefault(program.view(name).buffer, []).append(index)
    for name in outputs:
        touched.setdefault(program.view(name).buffer, []).append(len(ordered))
    for slot in program.states:
        touched.setdefault(program.view(slot.view).buffer, []).extend((-1, len(ordered)))
    return {
        name: replace(program.buffers[name], lifetime=Lifetime(min(steps), max(steps)))
        for name, steps in touched.items()
    }


def permitted_overlaps(program: Program, ordered: Sequence[OpCall]) -> tuple[Overlap, ...]:
    """What the chosen kernels allow, for results, scratch and operands that fill their buffers."""
    found = []
    for call in ordered:
        chosen, context = kernel(call.kernel), call_context(program, call)
        found += _over_inputs(program, call, call.writes[0], chosen.overlap(context))
        if call.scratch is not None:
            found += _over_inputs(program, call, call.scratch, chosen.scratch_overlap(context))
    return tuple(found)


def _over_inputs(program: Program, call: OpCall, written: str, leads: Sequence[Lead | None]) -> list[Overlap]:
    """Permissions for one view that the call writes; an operand that it reads twice must permit it twice."""
    over = program.view(written)
    permitted: dict[str, Overlap] = {}
    for name, lead in zip(call.reads, leads, strict=True):
        view = program.view(name)
        whole = view.offset == 0 and over.offset == 0 and view.buffer != over.buffer
        if lead is not None and whole and _reads(program, call, view.buffer) == 1:
            permitted[view.buffer] = Overlap(over.buffer, view.buffer, lead.least, lead.multiple)
    return list(permitted.values())


def _reads(program: Program, call: OpCall, buffer: str) -> int:
    """How many distinct views of the buffer the call reads."""
    return len({name for name in call.reads if program.view(name).buffer == buffer})
