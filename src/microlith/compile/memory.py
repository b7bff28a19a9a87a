"""How calls run: with which schedule, and which of them stream rows; the cheapest way within so much memory.

For a fixed order, what lies in memory around a stretch of calls does not depend on how other stretches run. So the
live bytes of every way to run a stretch are known by themselves, and the cheapest sequence of stretches whose live
bytes stay within a limit is a shortest path; the lowest limit that can be met is a path of least greatest step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from microlith.compile.arena import Overlap, needed_bytes
from microlith.compile.context import call_context
from microlith.compile.order import Need
from microlith.compile.stream import Chain, Streams, region_overlaps
from microlith.device.profile import Device
from microlith.kernels import kernel
from microlith.kernels.base import Lead
from microlith.program.types import STATE_SPACE, Buffer, OpCall, Program

TURN_ROWS = (1, 2, 4, 8, 16)
"""Output rows of a turn that are looked at."""
CYCLES_FOR_MEMORY = 0.02
"""Share of the cycles that is spent on less memory where none is asked for."""


@dataclass(frozen=True)
class Stretch:
    """Calls [begin, end) and one way to run them.

    Attributes:
        begin: position of the first call.
        end: position after the last.
        rows: output rows of each turn; 0 for one call by itself.
        kernels: of the calls, each with its schedule.
        live_bytes: needed while they run, permitted overlaps taken as complete.
        cycles: by the kernels' costs.
        rings: rows of the rings between the calls, by view.
        overlaps: where the result may lie over what dies.
    """

    begin: int
    end: int
    rows: int
    kernels: tuple[tuple[str, str], ...]
    live_bytes: int
    cycles: float
    rings: Mapping[str, int] = field(default_factory=dict)
    overlaps: tuple[Overlap, ...] = ()


def need(program: Program, call: OpCall) -> Need:
    """What a call needs beside its operands and results, by its kernel and schedule."""
    chosen, context = kernel(call.kernel), call_context(program, call)
    scratch = chosen.scratch_bytes(context)
    result = over_inputs(program, call, call.writes[0], chosen.overlap(context))
    shared: dict[str, int] = {}
    for view, lead in lone_reads(program, call, chosen.scratch_overlap(context)):
        if scratch:
            pair = Overlap("", view, lead.least, lead.multiple)
            shared[view] = pair.common(scratch, program.buffers[view].bytes)
    return Need(scratch, tuple(result), shared)


def over_inputs(program: Program, call: OpCall, written: str, leads: Sequence[Lead | None]) -> list[Overlap]:
    """Permissions for a view that the call writes and that fills its buffer."""
    over = program.view(written)
    if over.offset:
        return []
    return [
        Overlap(over.buffer, name, lead.least, lead.multiple)
        for name, lead in lone_reads(program, call, leads)
        if name != over.buffer
    ]


def lone_reads(program: Program, call: OpCall, leads: Sequence[Lead | None]) -> list[tuple[str, Lead]]:
    """Buffers of which the call reads one view, from the start, with where something may lie over it."""
    found = []
    for name, lead in dict(zip(call.reads, leads, strict=True)).items():
        view = program.view(name)
        others = {other for other in call.reads if program.view(other).buffer == view.buffer}
        if lead is not None and view.offset == 0 and others == {name}:
            found.append((view.buffer, lead))
    return found


def lowest_peak(by_begin: Sequence[Sequence[Stretch]]) -> int:
    """The least live bytes with which stretches lead from the first call to the last."""
    reach = [0, *([-1] * len(by_begin))]
    for begin, ways in enumerate(by_begin):
        for way in ways:
            peak = max(reach[begin], way.live_bytes)
            if reach[way.end] < 0 or peak < reach[way.end]:
                reach[way.end] = peak
    return reach[-1]


def cheapest_path(by_begin: Sequence[Sequence[Stretch]], limit_bytes: int) -> list[Stretch]:
    """The stretches of least cycles from the first call to the last within a limit that can be met."""
    best: list[tuple[float, Stretch | None]] = [(0.0, None), *([(float("inf"), None)] * len(by_begin))]
    for begin, ways in enumerate(by_begin):
        for way in ways:
            cycles = best[begin][0] + way.cycles
            if way.live_bytes <= limit_bytes and cycles < best[way.end][0]:
                best[way.end] = (cycles, way)
    found: list[Stretch] = []
    at = len(by_begin)
    while at:
        last = best[at][1]
        assert last is not None, "the limit can be met"
        found.append(last)
        at = last.begin
    return found[::-1]


class Ways:
    """Every way to run every stretch of the calls."""

    def __init__(
        self, program: Program, calls: Sequence[OpCall], device: Device, cycles: Sequence[Mapping[str, float]]
    ) -> None:
        """What there is for a program without scratch, whose lifetimes are those of these calls.

        Args:
            program: with kernels chosen.
            calls: in order.
            device: what for.
            cycles: of each call in each of its schedules.
        """
        self.program, self.calls, self.device, self.cycles = program, tuple(calls), device, cycles
        placed = [buffer for buffer in program.buffers.values() if buffer.space != STATE_SPACE]
        self.live = needed_bytes(placed)
        self.born: dict[int, list[Buffer]] = {}
        self.dying: dict[int, set[str]] = {}
        for buffer in placed:
            self.born.setdefault(buffer.lifetime.first, []).append(buffer)
            self.dying.setdefault(buffer.lifetime.last, set()).add(buffer.id)
        self._scratch: dict[tuple[int, str, str], int] = {}
        self.streams = Streams(program, self.calls, device)
        self.by_begin: list[list[Stretch]] = [self._alone(index) for index in range(len(calls))]
        self._add_regions()

    def lowest(self) -> int:
        """The least live bytes that some sequence of stretches needs."""
        return lowest_peak(self.by_begin)

    def cheapest(self, limit_bytes: int) -> list[Stretch]:
        """The stretches of least cycles that need no more; the limit must be one that can be met."""
        return cheapest_path(self.by_begin, limit_bytes)

    def frugal(self, spent: float) -> list[Stretch]:
        """The stretches of least live bytes that cost at most that share of cycles more than the cheapest ones."""
        lowest = self.lowest()
        limits = sorted({way.live_bytes for ways in self.by_begin for way in ways if way.live_bytes >= lowest})
        allowed = _cycles(self.cheapest(limits[-1])) * (1 + spent)
        low, high = 0, len(limits) - 1
        while low < high:
            middle = (low + high) // 2
            if _cycles(self.cheapest(limits[middle])) <= allowed:
                high = middle
            else:
                low = middle + 1
        return self.cheapest(limits[low])

    def _alone(self, index: int) -> list[Stretch]:
        """One call with each of its schedules that is cheaper or smaller than the others."""
        call = self.calls[index]
        found: list[Stretch] = []
        around = self.live.get(index, 0)
        for schedule, cycles in self.cycles[index].items():
            needed = need(self.program, replace(call, schedule=schedule))
            live = around + needed.scratch_bytes - self._shared(index, needed)
            found.append(Stretch(index, index + 1, 0, ((call.kernel, schedule),), live, cycles))
        return [way for way in found if not any(_better(other, way) for other in found)]

    def _shared(self, index: int, needed: Need) -> int:
        buffers = self.program.buffers
        dying = self.dying.get(index, set())
        shared: dict[str, int] = {}
        for pair in needed.overlaps:
            if pair.input in dying and buffers[pair.output].lifetime.first == index:
                common = pair.common(buffers[pair.output].bytes, buffers[pair.input].bytes)
                shared[pair.output] = min(shared.get(pair.output, 0) + common, buffers[pair.output].bytes)
        common = sum(shared.values()) + sum(size for name, size in needed.scratch_shared.items() if name in dying)
        over = {*needed.scratch_shared, *(pair.input for pair in needed.overlaps)} & dying
        return min(common, sum(buffers[name].bytes for name in over))

    def _add_regions(self) -> None:
        """Regions over calls that cannot all run by themselves within what the others need at least."""
        least = [min(way.live_bytes for way in ways) for ways in self.by_begin]
        floor = max((live for live, rows in zip(least, self.streams.rows, strict=True) if rows is None), default=0)
        for begin in range(len(self.calls)):
            for chain in self.streams.chains(begin):
                end = begin + len(chain.calls)
                alone = max(least[begin:end])
                if alone > floor:
                    self.by_begin[begin] += self._streamed(begin, chain, alone)

    def _streamed(self, begin: int, chain: Chain, alone: int) -> list[Stretch]:
        """The region with each number of rows that needs less than its calls by themselves."""
        buffers, end = self.program.buffers, begin + len(chain.calls)
        inner = {self.program.view(name).buffer for name in chain.inner}
        result = self.program.view(chain.calls[-1].writes[0])
        born = [buffer for step in range(begin + 1, end) for buffer in self.born.get(step, ())]
        outside = self.live.get(begin, 0) + sum(buffer.bytes for buffer in born)
        outside -= sum(buffers[name].bytes for name in inner)
        if outside - buffers[result.buffer].bytes >= alone:
            return []
        dying = sorted(
            {
                name
                for call in chain.calls
                for name in call.reads
                if name not in chain.inner and begin <= buffers[self.program.view(name).buffer].lifetime.last < end
            }
        )
        result_is_new = buffers[result.buffer].lifetime.first == end - 1
        found = []
        for rows in TURN_ROWS:
            if rows >= chain.heights[-1]:
                break
            turns = chain.turns(rows)
            rings = chain.rings(turns)
            overlaps = tuple(region_overlaps(chain, turns, dying)) if result_is_new else ()
            shared = sum(pair.common(buffers[pair.output].bytes, buffers[pair.input].bytes) for pair in overlaps)
            scheduled = chain.scheduled(turns)
            scratch = max(self._scratch_bytes(begin + at, call) for at, call in enumerate(scheduled.calls))
            held = sum(
                held * buffers[self.program.view(name).buffer].bytes // self.program.view(name).shape[1]
                for name, held in rings.items()
            )
            live = outside + held + scratch - min(shared, buffers[result.buffer].bytes)
            if live < alone:
                kernels = tuple((call.kernel, call.schedule) for call in scheduled.calls)
                whole = [self._whole(begin + at, call) for at, call in enumerate(scheduled.calls)]
                cycles = scheduled.cycles(turns, self.device, whole)
                found.append(Stretch(begin, end, rows, kernels, live, cycles, rings, overlaps))
        return found

    def _scratch_bytes(self, index: int, call: OpCall) -> int:
        """Scratch of a call with the kernel and schedule that it has here."""
        key = (index, call.kernel, call.schedule)
        if key not in self._scratch:
            self._scratch[key] = kernel(call.kernel).scratch_bytes(call_context(self.program, call))
        return self._scratch[key]

    def _whole(self, index: int, call: OpCall) -> float:
        """Cycles of a call by itself, perhaps by another kernel than the chosen one."""
        if call.kernel == self.calls[index].kernel:
            return self.cycles[index][call.schedule]
        return kernel(call.kernel).cost(call_context(self.program, call), self.device).cycles


def _cycles(stretches: Sequence[Stretch]) -> float:
    return sum(way.cycles for way in stretches)


def _better(one: Stretch, other: Stretch) -> bool:
    """Whether one way is no worse in both respects and better in one, or the same and before the other."""
    ours, theirs = (one.live_bytes, one.cycles), (other.live_bytes, other.cycles)
    return ours != theirs and ours[0] <= theirs[0] and ours[1] <= theirs[1]
