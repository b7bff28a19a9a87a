"""Row-streamed regions: calls that are computed a few output rows at a time, with rings of rows between them.

Each turn of a region makes the next rows of its last call, and of every earlier call the rows that those need and that
are not there yet. What lies between the calls is kept as long as a later turn needs it, so nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from microlith.compile.arena import Overlap
from microlith.compile.context import call_context
from microlith.device.profile import Device
from microlith.kernels import candidates, kernel
from microlith.kernels.base import CallContext, Lead
from microlith.program.attrs import Conv2d, Pool2d
from microlith.program.types import OpCall, Program, RowMap, View

AXIS = 1
CALLS = 12
"""Most calls of a region that are looked at."""
TURN_CYCLES = 60.0
"""What a turn costs for each call, beside its rows: the call itself and what it sets up."""

Turn = tuple[tuple[int, int], ...]
"""Output rows [begin, end) of every call."""


def is_image(program: Program, view: View) -> bool:
    """Whether the view is one N,H,W,C image that fills its buffer."""
    whole = view.offset == 0 and view.bytes == program.buffers[view.buffer].bytes
    return whole and len(view.shape) == 4 and view.shape[0] == 1 and view.ring_rows is None


def can_stream(program: Program, call: OpCall, device: Device) -> RowMap | None:
    """The rows that the call needs, where it can run on rows of rings; None where it cannot."""
    context = call_context(program, call)
    chosen = kernel(call.kernel)
    views = (*context.reads, *context.writes)
    if len(context.writes) != 1 or not context.reads or not all(is_image(program, view) for view in views):
        return None
    ringed = replace(
        context,
        reads=tuple(replace(view, ring_rows=view.shape[AXIS]) for view in context.reads),
        writes=tuple(replace(view, ring_rows=view.shape[AXIS]) for view in context.writes),
    )
    return chosen.input_rows(context) if chosen.fits(ringed, device) else None


@dataclass(frozen=True, eq=False)
class Chain:
    """Consecutive calls that can be a region.

    Attributes:
        program: with kernels chosen.
        calls: in order.
        maps: the rows that each needs of all that it reads.
        inner: ids of the views that only these calls use, each by the position of its writer.
        costs: cycles of rows that were asked for before, by result, kernel, schedule and number.
        schedules: schedules by the rows that they take at once, by result and kernel.
    """

    program: Program
    calls: tuple[OpCall, ...]
    maps: tuple[RowMap, ...]
    inner: Mapping[str, int]
    costs: dict[tuple[str, str, str, int], float] = field(default_factory=dict)
    schedules: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """Output rows of every call."""
        return tuple(self.program.view(call.writes[0]).shape[AXIS] for call in self.calls)

    def turns(self, rows: int) -> list[Turn]:
        """The output rows of every call in every turn of so many rows of the last call."""
        last = len(self.calls) - 1
        done, found = [0] * len(self.calls), list[Turn]()
        readers = self._readers
        while done[last] < self.heights[last]:
            ends = [0] * last + [min(done[last] + rows, self.heights[last])]
            for index in range(last - 1, -1, -1):
                for later in readers[index]:
                    needed = (ends[later] - 1) * self.maps[later].stride + self.maps[later].last + 1
                    ends[index] = max(ends[index], min(needed, self.heights[index]))
            ends = [max(end, begin) for end, begin in zip(ends, done, strict=True)]
            found.append(tuple(zip(done, ends, strict=True)))
            done = ends
        return found

    @cached_property
    def _readers(self) -> list[list[int]]:
        return [
            [later for later, other in enumerate(self.calls) if call.writes[0] in other.reads] for call in self.calls
        ]

    def rings(self, turns: Sequence[Turn]) -> dict[str, int]:
        """For every inner view, the least rows that its buffer must hold."""
        held = dict.fromkeys(self.inner, 1)
        for turn in turns:
            for name, writer in self.inner.items():
                for reader in self._readers[writer]:
                    begin, end = turn[reader]
                    if begin < end:
                        first, _ = self.maps[reader].rows(begin, end, self.heights[writer])
                        held[name] = max(held[name], turn[writer][1] - first)
        return {name: min(rows, self.heights[self.inner[name]]) for name, rows in held.items()}

    def lead(self, name: str, turns: Sequence[Turn]) -> Lead | None:
        """Where the region's result may lie over an image that it reads and that nobody needs later."""
        output, view = self.program.view(self.calls[-1].writes[0]), self.program.view(name)
        if any(
            self.program.view(other).buffer == view.buffer and other != name
            for call in self.calls
            for other in call.reads
        ):
            return None
        own = Lead(-view.bytes)
        if name in self.calls[-1].reads:
            # The last call reads the rows that it writes over: it must be one that may, whatever the rows.
            found = kernel(self.calls[-1].kernel).overlap(call_context(self.program, self.calls[-1]))
            lead = found[self.calls[-1].reads.index(name)]
            if lead is None or self.maps[-1] != RowMap(1, 0, 0):
                return None
            own = lead
        needed, least = view.bytes, own.least
        for turn in reversed(turns):
            if needed < view.bytes:
                least = max(least, turn[-1][1] * _row_bytes(output) - needed)
            for call, rows, (begin, end) in zip(self.calls, self.maps, turn, strict=True):
                if name in call.reads and begin < end:
                    first, _ = rows.rows(begin, end, view.shape[AXIS])
                    needed = min(needed, first * _row_bytes(view))
        return Lead(least, own.multiple)

    def scheduled(self, turns: Sequence[Turn]) -> Chain:
        """The chain with the schedule of least scratch of every kernel that takes all rows of a turn at once."""
        calls = []
        for index, call in enumerate(self.calls):
            rows = max(turn[index][1] - turn[index][0] for turn in turns)
            key = (call.writes[0], call.kernel)
            if key not in self.schedules:
                self.schedules[key] = kernel(call.kernel).schedules(call_context(self.program, call))
            names = self.schedules[key]
            blocks = {int(name.removeprefix("rows_")): name for name in names if "rows_" in name}
            fitting = [size for size in blocks if size >= rows]
            name = blocks[min(fitting)] if fitting else names[0]
            calls.append(replace(call, schedule=name))
        return replace(self, calls=tuple(calls))

    def cycles(self, turns: Sequence[Turn], device: Device, whole: Sequence[float]) -> float:
        """What the turns cost, by the kernels' own costs of as many rows.

        Args:
            turns: of the region.
            device: what for.
            whole: cycles of each call by itself; where they were measured, its rows are taken to cost as much more or
                less than estimated as the whole.
        """
        total = 0.0
        for index, call in enumerate(self.calls):
            counts = [end - begin for begin, end in (turn[index] for turn in turns) if end > begin]
            scale = whole[index] / self._cycles_of(call, self.heights[index], device)
            rows_cycles = sum(counts.count(rows) * self._cycles_of(call, rows, device) * scale for rows in set(counts))
            # Rows at the top and bottom are reckoned as those between, so the sum can come out below the whole.
            total += max(rows_cycles, whole[index]) + TURN_CYCLES * len(counts)
        return total

    def _cycles_of(self, call: OpCall, rows: int, device: Device) -> float:
        key = (call.writes[0], call.kernel, call.schedule, rows)
        if key not in self.costs:
            self.costs[key] = cycles_of_rows(self.program, call, rows, device)
        return self.costs[key]


def _row_bytes(view: View) -> int:
    return view.bytes // view.shape[AXIS]


def streaming(program: Program, call: OpCall, device: Device) -> tuple[OpCall, RowMap | None]:
    """The call with a kernel that can stream, and the rows that it needs; None where no kernel can.

    Another kernel than the chosen one comes in question only where it reads the same constants.
    """
    rows = can_stream(program, call, device)
    if rows is not None or "weights" in call.consts:
        return call, rows
    context = call_context(program, call)
    packing = {role: item.packing for role, item in kernel(call.kernel).pack(context).items()}
    found: list[tuple[float, OpCall, RowMap]] = []
    for other, fit in candidates(context, device):
        if fit and {role: item.packing for role, item in other.pack(context).items()} == packing:
            changed = replace(call, kernel=other.name, schedule=other.schedules(context)[0])
            if (rows := can_stream(program, changed, device)) is not None:
                found.append((other.cost(context, device).cycles, changed, rows))
    if not found:
        return call, None
    _, changed, rows = min(found, key=lambda item: item[0])
    return changed, rows


@dataclass(frozen=True, eq=False)
class Streams:
    """What can be a region of a program whose calls stand in their order.

    Attributes:
        program: with kernels chosen.
        calls: all of them, in order.
        device: what for.
    """

    program: Program
    calls: tuple[OpCall, ...]
    device: Device

    @cached_property
    def _streaming(self) -> tuple[tuple[OpCall, RowMap | None], ...]:
        return tuple(streaming(self.program, call, self.device) for call in self.calls)

    @cached_property
    def rows(self) -> tuple[RowMap | None, ...]:
        """The rows that every call needs, where it can stream."""
        return tuple(rows for _, rows in self._streaming)

    def chains(self, begin: int) -> list[Chain]:
        """Every chain of at least two calls that starts at ``begin``."""
        found = []
        for end in range(begin + 2, min(begin + CALLS, len(self.calls)) + 1):
            maps = [item for item in self.rows[begin:end] if item is not None]
            if len(maps) != end - begin:
                break
            members = tuple(call for call, _ in self._streaming[begin:end])
            inner = {call.writes[0]: index for index, call in enumerate(members[:-1])}
            if all(self._is_inner(name, begin, end) for name in inner):
                found.append(Chain(self.program, members, tuple(maps), inner, self._costs, self._schedules))
        return found

    @cached_property
    def _costs(self) -> dict[tuple[str, str, str, int], float]:
        return {}

    @cached_property
    def _schedules(self) -> dict[tuple[str, str], tuple[str, ...]]:
        return {}

    @cached_property
    def _users(self) -> dict[str, set[int]]:
        users: dict[str, set[int]] = {}
        for index, call in enumerate(self.calls):
            for name in (*call.reads, *call.writes):
                users.setdefault(self.program.view(name).buffer, set()).add(index)
        return users

    @cached_property
    def _kept(self) -> set[str]:
        (entry,) = self.program.entries
        names = (*entry.inputs, *entry.outputs, *(slot.view for slot in self.program.states))
        return {self.program.view(name).buffer for name in names}

    def _is_inner(self, name: str, begin: int, end: int) -> bool:
        """Whether a view is written by one call, and read later and as it is by calls of the chain only."""
        if name not in self._spans:
            self._spans[name] = self._span(name)
        span = self._spans[name]
        return span is not None and begin <= span[0] and span[1] < end

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int] | None]:
        return {}

    def _span(self, name: str) -> tuple[int, int] | None:
        """The first and the last call that use a view that one call writes and others read later and as it is."""
        buffer = self.program.view(name).buffer
        using = self._users[buffer]
        touched = [
            other
            for index in using
            for other in (*self.calls[index].reads, *self.calls[index].writes)
            if self.program.view(other).buffer == buffer
        ]
        writers = [index for index in using if name in self.calls[index].writes]
        alone = buffer not in self._kept and all(other == name for other in touched) and len(using) > 1
        return (min(using), max(using)) if alone and writers == [min(using)] else None


def cycles_of_rows(program: Program, call: OpCall, rows: int, device: Device) -> float:
    """What a call costs for so many output rows that lie amid the others, by the kernel's own cost."""
    context = call_context(program, call)
    height = context.writes[0].shape[AXIS]
    chosen = kernel(call.kernel)
    if rows >= height:
        return chosen.cost(context, device).cycles
    attrs = call.attrs
    if not isinstance(attrs, Conv2d | Pool2d):
        return chosen.cost(context, device).cycles * rows / height
    window = attrs.window
    pad = (0, window.pad[1], 0, window.pad[3])
    reach = (window.kernel[0] - 1) * window.dilation[0]
    smaller: CallContext = replace(
        context,
        call=replace(call, attrs=replace(attrs, window=replace(window, pad=pad))),
        reads=(_cut(context.reads[0], (rows - 1) * window.stride[0] + reach + 1),),
        writes=(_cut(context.writes[0], rows),),
    )
    return chosen.cost(smaller, device).cycles


def _cut(view: View, rows: int) -> View:
    return replace(view, shape=(view.shape[0], rows, *view.shape[2:]))


def region_overlaps(chain: Chain, turns: Sequence[Turn], dying: Sequence[str]) -> list[Overlap]:
    """Permissions for the region's result to lie over the images that die in it."""
    output = chain.program.view(chain.calls[-1].writes[0])
    found = []
    for name in dying:
        lead = chain.lead(name, turns)
        if lead is not None:
            buffer = chain.program.view(name).buffer
            found.append(Overlap(output.buffer, buffer, lead.least, lead.multiple, len(chain.calls)))
    return found
