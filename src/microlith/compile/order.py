"""Operator order: a schedule of the calls with a low peak of live bytes.

Dependencies run through buffers. Views of one buffer are written by several calls where a Concat or Pad assembles its
result; those calls keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from microlith.program.types import STATE_SPACE, Buffer, OpCall, View


def order_calls(
    calls: Sequence[OpCall], views: Mapping[str, View], buffers: Mapping[str, Buffer], outputs: Sequence[str]
) -> tuple[OpCall, ...]:
    """The given order, or a greedy one that frees the most and allocates the least first, whichever peaks lower."""
    given = list(range(len(calls)))
    problem = _Schedule(calls, views, buffers, outputs)
    greedy = problem.greedy()
    best = greedy if problem.peak(greedy) < problem.peak(given) else given
    return tuple(calls[index] for index in best)


_IN_PLACE = frozenset(("add", "flip_sign", "lut", "mul", "sub", "unary"))
"""Ops that may write over an operand of the size of the result."""


def live_bytes(
    calls: Sequence[OpCall], views: Mapping[str, View], buffers: Mapping[str, Buffer], outputs: Sequence[str]
) -> tuple[int, ...]:
    """Bytes that are alive in each step of the given order, results in place of operands where an op can do that."""
    schedule = _Schedule(calls, views, buffers, outputs)
    return tuple(
        live - (schedule.handed_over(index) if call.op in _IN_PLACE else 0)
        for index, (call, live) in enumerate(zip(calls, schedule.live(range(len(calls))), strict=True))
    )


def dependencies(calls: Sequence[OpCall], views: Mapping[str, View]) -> list[set[int]]:
    """For each call, the earlier ones that must stay before it."""
    before: list[set[int]] = []
    touched: dict[str, list[int]] = {}
    writers: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        reads, writes = ({views[name].buffer for name in names} for names in (call.reads, call.writes))
        earlier: set[int] = set()
        for name in reads:
            earlier.update(writers.get(name, []))
        for name in writes:
            earlier.update(touched.get(name, []))
        for name in reads | writes:
            touched.setdefault(name, []).append(index)
        for name in writes:
            writers.setdefault(name, []).append(index)
        before.append(earlier)
    return before


class _Schedule:
    def __init__(
        self,
        calls: Sequence[OpCall],
        views: Mapping[str, View],
        buffers: Mapping[str, Buffer],
        outputs: Sequence[str],
    ) -> None:
        # What is kept from run to run takes its bytes in any order.
        self.bytes = {name: 0 if item.space == STATE_SPACE else item.bytes for name, item in buffers.items()}
        self.reads = [{views[name].buffer for name in call.reads} for call in calls]
        self.writes = [{views[name].buffer for name in call.writes} for call in calls]
        self.kept = {views[name].buffer for name in outputs}
        self.users: dict[str, set[int]] = {}
        self.before = dependencies(calls, views)
        for index in range(len(calls)):
            for name in self.reads[index] | self.writes[index]:
                self.users.setdefault(name, set()).add(index)

    def peak(self, order: Sequence[int]) -> int:
        """Most live bytes in any step."""
        return max(self.live(order), default=0)

    def live(self, order: Sequence[int]) -> list[int]:
        """Live bytes in each step."""
        remaining = {name: set(users) for name, users in self.users.items()}
        live: set[str] = set()
        found = []
        for index in order:
            live |= self.writes[index] | self.reads[index]
            found.append(sum(self.bytes[name] for name in live))
            live -= self._freed(index, remaining)
        return found

    def handed_over(self, index: int) -> int:
        """Bytes of a result that may stand over an operand which is needed for the last time in this step."""
        made = [name for name in self.writes[index] if min(self.users[name]) == index]
        last = [name for name in self.reads[index] - self.kept if max(self.users[name]) == index]
        return max((self.bytes[a] for a in made for b in last if self.bytes[a] == self.bytes[b]), default=0)

    def greedy(self) -> list[int]:
        """Of the calls that are ready, always the one that leaves the fewest live bytes; ties by position."""
        remaining = {name: set(users) for name, users in self.users.items()}
        todo, done, order = set(range(len(self.before))), set[int](), list[int]()
        live: set[str] = set()
        while todo:
            ready = [index for index in sorted(todo) if self.before[index] <= done]
            chosen = min(ready, key=lambda index: (self._growth(index, live, remaining), index))
            live |= self.writes[chosen] | self.reads[chosen]
            live -= self._freed(chosen, remaining)
            todo.remove(chosen)
            done.add(chosen)
            order.append(chosen)
        return order

    def _growth(self, index: int, live: set[str], remaining: Mapping[str, set[int]]) -> int:
        new = sum(self.bytes[name] for name in self.writes[index] - live)
        freed = sum(
            self.bytes[name] for name in self.reads[index] if remaining[name] == {index} and name not in self.kept
        )
        return new - freed

    def _freed(self, index: int, remaining: Mapping[str, set[int]]) -> set[str]:
        freed = set()
        for name in self.reads[index] | self.writes[index]:
            remaining[name].discard(index)
            if not remaining[name] and name not in self.kept:
                freed.add(name)
        return freed
