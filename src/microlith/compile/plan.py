"""Planning: kernels, order, lifetimes, scratch and offsets for a lowered Program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microlith.compile.arena import Overlap, needed_bytes, plan_arena
from microlith.compile.builder import ALIGN, SPACE
from microlith.compile.candidates import Candidate, Choices, Known, choices
from microlith.compile.check_plan import check_plan, check_states
from microlith.compile.check_rows import check_rows
from microlith.compile.choose import Goal, Trade, choose, trades
from microlith.compile.context import call_context
from microlith.compile.in_place import write_states_in_place
from microlith.compile.memory import CYCLES_FOR_MEMORY, Stretch, Ways, need, over_inputs
from microlith.compile.order import Ordered, order_calls
from microlith.compile.select import Packer, selection, with_storage
from microlith.compile.stream import AXIS
from microlith.core.errors import UnsupportedError
from microlith.core.units import format_bytes
from microlith.device.profile import Device
from microlith.kernels import kernel
from microlith.kernels.descriptor import INT32_MAX
from microlith.program.types import Buffer, Call, Lifetime, OpCall, Program, Region, View, calls, contiguous


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
        ordered: the order of the calls, with its peak of live bytes and what no order can go below; None where the
            calls stand as they were given.
        stretches: how the calls run, in order.
    """

    program: Program
    overlaps: tuple[Overlap, ...]
    bounds: Mapping[str, int]
    why: tuple[str, ...]
    chosen: tuple[Candidate, ...]
    trades: tuple[Trade, ...]
    ordered: Ordered | None = None
    stretches: tuple[Stretch, ...] = ()

    def peak_layer(self) -> tuple[str, int]:
        """The nodes during which the most bytes are alive, overlaps taken as complete, and how many those are."""
        if not self.stretches:
            return "", sum(self.program.spaces.values())
        worst = max(self.stretches, key=lambda way: way.live_bytes)
        ordered = tuple(calls(self.program.entries[0].body))
        nodes = dict.fromkeys(node for call in ordered[worst.begin : worst.end] for node in call.source_nodes)
        return ", ".join(nodes), worst.live_bytes

    def in_place(self) -> int:
        """Results that lie over an input."""
        offsets, buffers = self.program.offsets, self.program.buffers
        scratch = {call.scratch for call in calls(self.program.entries[0].body)}
        apart = {self.program.view(name).buffer for name in scratch if name is not None}
        found = {
            pair.output
            for pair in self.overlaps
            if pair.output not in apart
            and buffers[pair.input].lifetime.last - buffers[pair.output].lifetime.first + 1 == pair.steps
            and offsets[pair.output] < offsets[pair.input] + buffers[pair.input].bytes
            and offsets[pair.input] < offsets[pair.output] + buffers[pair.output].bytes
        }
        return len(found)


def plan(program: Program, device: Device, goal: Goal = Goal()) -> Planned:  # noqa: B008 - frozen
    """Plan a Program of one entry whose body holds calls only.

    Without a limit on RAM, a balanced plan does whatever costs at most 2% of the cycles for less memory; one for speed
    or size, and one for this machine, does what costs none. Within a limit, the cheapest way is taken; where none is
    found, the one that needs the least.

    Args:
        program: lowered.
        device: what for.
        goal: what kernels are chosen by, and the limit of the arena.

    Raises:
        UnsupportedError: no kernel can run a call.
    """
    lowered = program
    program, layers = layer_choices(program, device, goal.known)
    chosen = choose(layers, replace(goal, ram_bytes=None), lambda made: _peak(program, made))
    best = _planned(program, device, layers, chosen, goal)
    if goal.ram_bytes is not None and _arena_bytes(best.program) > goal.ram_bytes:
        # Other kernels need less scratch.
        frugal = _planned(program, device, layers, choose(layers, goal, lambda made: _peak(program, made)), goal)
        best = min((best, frugal), key=lambda item: _arena_bytes(item.program))
    check_plan(best.program, best.overlaps)
    check_rows(best.program)
    check_states(lowered, best.program)
    return best


def _arena_bytes(program: Program) -> int:
    return program.spaces.get(SPACE, 0)


def _planned(
    program: Program, device: Device, given: Sequence[Choices], candidates: Sequence[Candidate], goal: Goal
) -> Planned:
    (entry,) = program.entries
    needs = [need(program, item.call) for item in candidates]
    made = [item.call for item in candidates]
    ordered = order_calls(made, program.views, program.buffers, entry.outputs, inputs=entry.inputs, needs=needs)
    layers = [given[index] for index in ordered.order]
    chosen = [candidates[index] for index in ordered.order]
    made = [item.call for item in chosen]
    program = replace(program, entries=(replace(entry, body=tuple(Call(call) for call in made)),))
    program = replace(program, buffers=with_lifetimes(program, made, entry.inputs, entry.outputs))
    ways = Ways(program, made, device, [_cycles_by_schedule(*pair) for pair in zip(layers, chosen, strict=True)])
    selections = [selection(layer, item) for layer, item in zip(layers, chosen, strict=True)]
    packer = Packer()
    packed = [packer.pack(program, item) for item in selections]
    best = _best_layout(with_storage(program, packer), packed, ways, goal, device)
    _check_sizes(best.program.spaces)
    scheduled = [_as_planned(*item) for item in zip(layers, calls(best.program.entries[0].body), strict=True)]
    return Planned(
        best.program,
        best.overlaps,
        best.bounds,
        tuple(_why(program, *item) for item in zip(layers, scheduled, strict=True)),
        tuple(scheduled),
        trades(layers, scheduled),
        ordered,
        tuple(best.stretches),
    )


def _why(program: Program, layer: Choices, chosen: Candidate) -> str:
    return selection(layer, chosen, chosen.kernel.rounding(call_context(program, chosen.call))).why


def _cycles_by_schedule(layer: Choices, chosen: Candidate) -> dict[str, float]:
    return {item.call.schedule: item.cycles for item in layer.candidates if item.kernel is chosen.kernel}


def _as_planned(layer: Choices, call: OpCall) -> Candidate:
    """The candidate that the plan came to."""
    wanted = (call.kernel, call.schedule)
    return next(item for item in layer.candidates if (item.call.kernel, item.call.schedule) == wanted)


@dataclass(frozen=True)
class _Layout:
    program: Program
    overlaps: tuple[Overlap, ...]
    bounds: Mapping[str, int]
    stretches: Sequence[Stretch]


def _best_layout(program: Program, packed: Sequence[OpCall], ways: Ways, goal: Goal, device: Device) -> _Layout:
    """The program laid out within the limit by the cheapest stretches that can be placed there, or as can be."""
    if not packed:
        return _laid_out(program, packed, [])
    if goal.ram_bytes is None:
        spent = CYCLES_FOR_MEMORY if goal.opt == "balanced" and not device.is_host else 0.0
        return _laid_out(program, packed, ways.frugal(spent))
    limit_bytes = goal.ram_bytes
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
        replace(call, kernel=name, schedule=schedule)
        for way in stretches
        for call, (name, schedule) in zip(packed[way.begin : way.end], way.kernels, strict=True)
    ]
    program = _with_rings(program, stretches)
    program, scheduled = with_scratch(program, scheduled)
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


def _peak(program: Program, chosen: Sequence[Candidate]) -> tuple[int, int]:
    """Most bytes alive with these candidates, nothing in place, and the position of the call in which they are."""
    (entry,) = program.entries
    lifetimes = with_lifetimes(program, [item.call for item in chosen], entry.inputs, entry.outputs)
    needed = needed_bytes(lifetimes.values())
    alive = [needed.get(step, 0) + item.scratch_bytes for step, item in enumerate(chosen)]
    return max(alive), alive.index(max(alive))


def layer_choices(
    program: Program,
    device: Device,
    known: Known = Known(),  # noqa: B008 - frozen
) -> tuple[Program, list[Choices]]:
    """The program with states in place, and what could run each of its calls.

    Raises:
        UnsupportedError: no kernel can run a call.
    """
    program = write_states_in_place(program, device)
    (entry,) = program.entries
    return program, [choices(program, call, device, known) for call in calls(entry.body)]


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
