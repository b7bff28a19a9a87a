"""Planning: kernels, order, lifetimes, scratch and offsets for a lowered Program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microlith.compile.arena import Overlap, plan_arena
from microlith.compile.builder import ALIGN, SPACE
from microlith.compile.check_plan import check_plan, check_states
from microlith.compile.check_rows import check_rows
from microlith.compile.context import call_context
from microlith.compile.in_place import write_states_in_place
from microlith.compile.memory import Stretch, Ways, need, over_inputs
from microlith.compile.order import Ordered, order_calls
from microlith.compile.select import Packer, select, with_storage
from microlith.compile.stream import AXIS
from microlith.device.profile import Device
from microlith.kernels import kernel
from microlith.program.types import Buffer, Call, Lifetime, OpCall, Program, Region, View, calls, contiguous


@dataclass(frozen=True)
class Planned:
    """A Program that can be emitted.

    Attributes:
        program: with kernels, storage, offsets and spaces.
        overlaps: permitted ones, used or not.
        bounds: least bytes that any placement in this order could reach, by space.
        why: by position of the call, the reason for its kernel.
        ordered: the order of the calls, with its peak of live bytes and what no order can go below.
        stretches: how the calls run, in order.
    """

    program: Program
    overlaps: tuple[Overlap, ...]
    bounds: Mapping[str, int]
    why: tuple[str, ...]
    ordered: Ordered
    stretches: tuple[Stretch, ...]

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


def plan(program: Program, device: Device, *, limit_bytes: int | None = None) -> Planned:
    """Plan a Program of one entry whose body holds calls only.

    Args:
        program: lowered.
        device: what for.
        limit_bytes: of the arena; the least that was found is planned where none meets it. Without a limit, whatever
            costs at most 2% of the cycles is done for less memory.
    """
    lowered = program
    program = write_states_in_place(program, device)
    (entry,) = program.entries
    given = tuple(calls(entry.body))
    chosen = [select(program, call, device) for call in given]
    needs = [need(program, selection.call) for selection in chosen]
    ordered = order_calls(given, program.views, program.buffers, entry.outputs, inputs=entry.inputs, needs=needs)
    selections = [chosen[index] for index in ordered.order]
    ordered_calls = [selection.call for selection in selections]
    program = replace(program, entries=(replace(entry, body=tuple(Call(call) for call in ordered_calls)),))
    program = replace(program, buffers=with_lifetimes(program, ordered_calls, entry.inputs, entry.outputs))
    ways = Ways(program, ordered_calls, device)
    packer = Packer()
    packed = [packer.pack(program, selection) for selection in selections]
    best = _best_layout(with_storage(program, packer), packed, ways, limit_bytes)
    check_plan(best.program, best.overlaps)
    check_rows(best.program)
    check_states(lowered, best.program)
    return Planned(
        best.program,
        best.overlaps,
        best.bounds,
        tuple(selection.why for selection in selections),
        ordered,
        tuple(best.stretches),
    )


@dataclass(frozen=True)
class _Layout:
    program: Program
    overlaps: tuple[Overlap, ...]
    bounds: Mapping[str, int]
    stretches: Sequence[Stretch]


def _best_layout(program: Program, packed: Sequence[OpCall], ways: Ways, limit_bytes: int | None) -> _Layout:
    """The program laid out within the limit by the cheapest stretches that can be placed there, or as can be."""
    if not packed:
        return _laid_out(program, packed, [])
    if limit_bytes is None:
        return _laid_out(program, packed, ways.balanced())
    lowest, live = ways.lowest(), limit_bytes
    best = None
    while best is None or (best.program.spaces.get(SPACE, 0) > limit_bytes and live >= lowest):
        found = _laid_out(program, packed, ways.cheapest(max(live, lowest)))
        # Where placing leaves a gap, the stretches must need as much less.
        live -= max(ALIGN, found.program.spaces.get(SPACE, 0) - limit_bytes)
        if best is None or found.program.spaces.get(SPACE, 0) < best.program.spaces.get(SPACE, 0):
            best = found
    return best


def _laid_out(program: Program, packed: Sequence[OpCall], stretches: Sequence[Stretch]) -> _Layout:
    """Schedules, rings, regions, scratch, lifetimes and offsets."""
    (entry,) = program.entries
    scheduled = [
        replace(call, schedule=schedule)
        for way in stretches
        for call, schedule in zip(packed[way.begin : way.end], way.schedules, strict=True)
    ]
    program = _with_rings(program, stretches)
    program, scheduled = _with_scratch(program, scheduled)
    body: list[Call | Region] = []
    for way in stretches:
        members = tuple(Call(call) for call in scheduled[way.begin : way.end])
        body += members if way.rows == 0 else [Region(AXIS, way.rows, members)]
    program = replace(program, entries=(replace(entry, body=tuple(body)),))
    program = replace(program, buffers=with_lifetimes(program, scheduled, entry.inputs, entry.outputs, stretches))
    alone = [scheduled[way.begin] for way in stretches if way.rows == 0]
    regions = [pair for way in stretches if way.rows for pair in way.overlaps]
    overlaps = (*permitted_overlaps(program, alone), *regions)
    arena = plan_arena(program.buffers.values(), overlaps=overlaps)
    program = replace(program, offsets=arena.offsets, spaces=arena.spaces)
    return _Layout(program, overlaps, arena.bounds, stretches)


def _with_rings(program: Program, stretches: Sequence[Stretch]) -> Program:
    """The program with rings between the calls of regions."""
    buffers, views = dict(program.buffers), dict(program.views)
    for way in stretches:
        for name, rows in way.rings.items():
            view = program.view(name)
            if rows < view.shape[AXIS]:
                views[name] = replace(view, ring_rows=rows)
                size = view.bytes // view.shape[AXIS] * rows
                buffers[view.buffer] = replace(buffers[view.buffer], bytes=size)
    return replace(program, buffers=buffers, views=views)


def _with_scratch(program: Program, packed: Sequence[OpCall]) -> tuple[Program, list[OpCall]]:
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
    program: Program,
    ordered: Sequence[OpCall],
    inputs: Sequence[str],
    outputs: Sequence[str],
    stretches: Sequence[Stretch] = (),
) -> dict[str, Buffer]:
    """Buffers with the steps in which they are needed: inputs from before the first, outputs until after the last,
    states throughout, and what a region touches, scratch apart, as long as it runs."""
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
    for way in stretches:
        if way.rows:
            names = (name for call in ordered[way.begin : way.end] for name in (*call.reads, *call.writes))
            for buffer in {program.view(name).buffer for name in names}:
                touched[buffer] += [way.begin, way.end - 1]
    return {
        name: replace(program.buffers[name], lifetime=Lifetime(min(steps), max(steps)))
        for name, steps in touched.items()
    }


def permitted_overlaps(program: Program, alone: Sequence[OpCall]) -> tuple[Overlap, ...]:
    """What the kernels of calls by themselves allow, for results, scratch and operands that fill their buffers."""
    found = []
    for call in alone:
        chosen, context = kernel(call.kernel), call_context(program, call)
        found += over_inputs(program, call, call.writes[0], chosen.overlap(context))
        if call.scratch is not None:
            found += over_inputs(program, call, call.scratch, chosen.scratch_overlap(context))
    return tuple(found)
