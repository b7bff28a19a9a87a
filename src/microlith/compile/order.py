"""Operator order: a schedule of the calls with the lowest peak of live bytes, proven where the search ends.

Dependencies run through buffers. Views of one buffer are written by several calls where a Concat or Pad assembles its
result; those calls keep their order.

The search goes over sets of calls that are done, and takes the set first that was reached with the lowest peak (a
shortest path whose length is its greatest step). What it takes is thus a lower bound on every order that is left, so
that a search that is cut short still tells how far from the least its best order can be.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from microlith.compile.arena import Overlap
from microlith.program.types import STATE_SPACE, Buffer, OpCall, View

WORK = 60_000
"""Steps from a set of done calls to the next that the search looks at before it gives up: an order is proven where no
more of them come in question, such as 6,000 sets with ten calls that can run next."""


@dataclass(frozen=True)
class Need:
    """What a call needs beside its operands and results.

    Attributes:
        scratch_bytes: while it runs.
        overlaps: where its result may lie over its inputs.
        scratch_shared: bytes of the scratch that may lie in an input that dies, by its buffer.
    """

    scratch_bytes: int = 0
    overlaps: tuple[Overlap, ...] = ()
    scratch_shared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ordered:
    """An order of calls.

    Attributes:
        order: positions in the given order.
        peak_bytes: most live bytes at any call, permitted overlaps taken as complete.
        bound_bytes: what no order can go below; equal to the peak where the order is proven to be best.
    """

    order: tuple[int, ...]
    peak_bytes: int
    bound_bytes: int


def order_calls(
    calls: Sequence[OpCall],
    views: Mapping[str, View],
    buffers: Mapping[str, Buffer],
    outputs: Collection[str],
    *,
    inputs: Collection[str] = (),
    needs: Sequence[Need] = (),
) -> Ordered:
    """The order of the lowest peak: the given one where none is better.

    Args:
        calls: in an order that computes.
        views: by id.
        buffers: by id.
        outputs: ids of views that are needed at the end.
        inputs: ids of views that are there before the first call.
        needs: of each call; nothing where not given.
    """
    problem = _Schedule(calls, views, buffers, outputs, inputs, needs or [Need()] * len(calls))
    given = list(range(len(calls)))
    best = min((given, problem.greedy()), key=problem.peak)
    peak = problem.peak(best)
    found, bound = problem.search(peak)
    if found is not None:
        best, peak = found, problem.peak(found)
    return Ordered(tuple(best), peak, min(peak, bound))


_IN_PLACE = frozenset(("add", "flip_sign", "lut", "mul", "sub", "unary"))
"""Ops that may write over an operand of the size of the result."""


def live_bytes(
    calls: Sequence[OpCall], views: Mapping[str, View], buffers: Mapping[str, Buffer], outputs: Sequence[str]
) -> tuple[int, ...]:
    """Bytes that are alive in each step of the given order, results in place of operands where an op can do that."""
    needs = [Need(overlaps=_over_equals(call, views, buffers)) for call in calls]
    return tuple(_Schedule(calls, views, buffers, outputs, (), needs).live(range(len(calls))))


def _over_equals(call: OpCall, views: Mapping[str, View], buffers: Mapping[str, Buffer]) -> tuple[Overlap, ...]:
    """Permissions for the results of a call that may stand over an operand of their size."""
    if call.op not in _IN_PLACE:
        return ()
    made, read = ({views[name].buffer for name in names} for names in (call.writes, call.reads))
    return tuple(Overlap(out, into, 0) for out in made for into in read if buffers[out].bytes == buffers[into].bytes)


def dependencies(calls: Sequence[OpCall], views: Mapping[str, View]) -> list[set[int]]:
    """For each call, earlier ones that must stay before it; those that must stay before these are left out."""
    before: list[set[int]] = []
    written: dict[str, int] = {}
    since: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        reads, writes = ({views[name].buffer for name in names} for names in (call.reads, call.writes))
        earlier = {written[name] for name in reads | writes if name in written}
        for name in writes:
            earlier.update(since.pop(name, ()))
            written[name] = index
        for name in reads - writes:
            since.setdefault(name, []).append(index)
        before.append(earlier)
    return before


def _mask(indices: Collection[int]) -> int:
    found = bytearray(max(indices, default=0) // 8 + 1)
    for index in indices:
        found[index >> 3] |= 1 << (index & 7)
    return int.from_bytes(found, "little")


def _bits(mask: int) -> list[int]:
    """The positions of the bits that are set."""
    if mask.bit_count() < 16:
        found = []
        while mask:
            low = mask & -mask
            found.append(low.bit_length() - 1)
            mask ^= low
        return found
    return [index for index, digit in enumerate(reversed(f"{mask:b}")) if digit == "1"]


_Steps = dict[int, tuple[int, int]]
"""For each call that can run next, bytes needed while it runs and bytes live after it, beyond those live before."""


class _Schedule:
    """Calls by position, sets of them as the bits of an integer."""

    def __init__(
        self,
        calls: Sequence[OpCall],
        views: Mapping[str, View],
        buffers: Mapping[str, Buffer],
        outputs: Collection[str],
        inputs: Collection[str],
        needs: Sequence[Need],
    ) -> None:
        # What is kept from run to run takes its bytes in any order.
        self.bytes = {name: 0 if item.space == STATE_SPACE else item.bytes for name, item in buffers.items()}
        self.touched = [sorted({views[name].buffer for name in (*call.reads, *call.writes)}) for call in calls]
        self.kept = {views[name].buffer for name in outputs}
        self.given = {views[name].buffer for name in inputs}
        self.needs = needs
        before = dependencies(calls, views)
        self.before = [_mask(earlier) for earlier in before]
        self.after: list[list[int]] = [[] for _ in calls]
        for index, earlier in enumerate(before):
            for other in earlier:
                self.after[other].append(index)
        self.users: dict[str, int] = dict.fromkeys(self.given, 0)
        for index, names in enumerate(self.touched):
            for name in names:
                self.users[name] = self.users.get(name, 0) | 1 << index

    def start(self) -> int:
        """Live bytes before the first call."""
        return sum(self.bytes[name] for name in self.given)

    def step(self, done: int, live: int, index: int) -> tuple[int, int]:
        """Bytes needed while a call runs, and bytes live after it."""
        after = done | 1 << index
        new = {name for name in self.touched[index] if not self.users[name] & done and name not in self.given}
        freed = {name for name in self.touched[index] if not self.users[name] & ~after and name not in self.kept}
        need = self.needs[index]
        during = live + sum(self.bytes[name] for name in new)
        shared: dict[str, int] = {}
        for pair in need.overlaps:
            if pair.output in new and pair.input in freed and self.bytes[pair.output] and self.bytes[pair.input]:
                common = pair.common(self.bytes[pair.output], self.bytes[pair.input])
                shared[pair.output] = min(shared.get(pair.output, 0) + common, self.bytes[pair.output])
        common = sum(shared.values()) + sum(size for name, size in need.scratch_shared.items() if name in freed)
        most = sum(self.bytes[name] for name in freed - new)
        return during - min(common, most) + need.scratch_bytes, during - sum(self.bytes[name] for name in freed)

    def peak(self, order: Sequence[int]) -> int:
        """Most live bytes in any step."""
        return max([self.start(), *self.live(order)])

    def live(self, order: Sequence[int]) -> list[int]:
        """Live bytes in each step."""
        done, live = 0, self.start()
        found = []
        for index in order:
            during, live = self.step(done, live, index)
            found.append(during)
            done |= 1 << index
        return found

    def greedy(self) -> list[int]:
        """Of the calls that are ready, always the one that leaves the fewest live bytes; ties by position.

        What a call adds to the live bytes changes only where another one touches its buffers for the first time, or
        leaves it as the last that does.
        """
        waits = [before.bit_count() for before in self.before]
        queue = [(self.step(0, 0, index)[1], index) for index, count in enumerate(waits) if not count]
        heapq.heapify(queue)
        ready = {index: added for added, index in queue}
        order: list[int] = []
        done = 0
        while queue:
            added, chosen = heapq.heappop(queue)
            if ready.get(chosen) != added:
                continue
            del ready[chosen]
            order.append(chosen)
            changed = [index for index in _bits(self.changed(done, chosen)) if index in ready]
            done |= 1 << chosen
            for index in self.after[chosen]:
                waits[index] -= 1
                if not waits[index]:
                    changed.append(index)
            for index in changed:
                ready[index] = self.step(done, 0, index)[1]
                heapq.heappush(queue, (ready[index], index))
        return order

    def changed(self, done: int, index: int) -> int:
        """The calls of which :meth:`step` says another thing, relative to the live bytes, once a call is done."""
        found = 0
        for name in self.touched[index]:
            left = self.users[name] & ~(done | 1 << index)
            if not self.users[name] & done or not left & (left - 1):
                found |= left
        return found

    def search(self, limit: int) -> tuple[list[int] | None, int]:
        """The best order with a peak below ``limit``, and a lower bound on the peak of every order.

        Without an order, the bound is ``limit`` where none is better, or what the search had proven when it gave up.
        """
        everything = (1 << len(self.before)) - 1
        came: dict[int, tuple[int, int]] = {}
        start = self.start()
        best = {0: start}
        ready: dict[int, _Steps] = {}
        queue = [(start, 0, 0, start)]
        looked = 0
        while queue:
            peak, negative_count, done, live = heapq.heappop(queue)
            if peak > best[done]:
                continue
            if done == everything:
                return self._path(came, everything), peak
            ready[done] = steps = self._next_steps(done, came, ready)
            looked += len(steps)
            if looked > WORK:
                return None, peak
            for index, (during, left) in steps.items():
                after, worst = done | 1 << index, max(peak, live + during)
                if worst < limit and worst < best.get(after, limit):
                    best[after], came[after] = worst, (done, index)
                    heapq.heappush(queue, (worst, negative_count - 1, after, live + left))
        return None, limit

    def _next_steps(self, done: int, came: Mapping[int, tuple[int, int]], ready: Mapping[int, _Steps]) -> _Steps:
        """What :meth:`step` says of the calls that can run next, with what was said before the last one ran."""
        if not done:
            return {index: self.step(0, 0, index) for index, before in enumerate(self.before) if not before}
        earlier, last = came[done]
        changed = self.changed(earlier, last)
        steps = {
            index: self.step(done, 0, index) if changed >> index & 1 else step
            for index, step in ready[earlier].items()
            if index != last
        }
        more = [index for index in self.after[last] if not self.before[index] & ~done]
        return steps | {index: self.step(done, 0, index) for index in more}

    def _path(self, came: Mapping[int, tuple[int, int]], done: int) -> list[int]:
        order: list[int] = []
        while done:
            done, index = came[done]
            order.append(index)
        return order[::-1]
