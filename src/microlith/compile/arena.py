"""Offsets for buffers: a greedy best-fit planner over several orders, with pins and permitted overlaps.

Source: Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference (2020), section 5 (greedy by size),
extended by overlaps. :mod:`microlith.compile.check_plan` checks the result and shares no code with this file.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microlith.program.types import Buffer


@dataclass(frozen=True)
class Overlap:
    """Permission for ``output`` to share bytes with ``input`` in the step that reads one and writes the other.

    It holds where ``offset(input) - offset(output)`` is at least ``min_delta`` and a multiple of ``multiple``, and both
    are needed together in just so many ``steps``: those of one call, or of a region.
    """

    output: str
    input: str
    min_delta: int
    multiple: int = 1
    steps: int = 1

    def permits(self, distance: int) -> bool:
        """Whether the output may start that many bytes before the input."""
        return distance >= self.min_delta and distance % self.multiple == 0

    def common(self, output_bytes: int, input_bytes: int) -> int:
        """Most bytes that two buffers of these sizes can share."""
        span = max(output_bytes, input_bytes + max(0, self.min_delta))
        return max(0, output_bytes + input_bytes - span)


@dataclass(frozen=True)
class Pin:
    """A buffer that must lie at a given offset of its space."""

    buffer: str
    offset: int


@dataclass(frozen=True)
class Plan:
    """Where buffers lie.

    Attributes:
        offsets: by buffer id, bytes within its space.
        spaces: bytes used, by space.
        bounds: by space, bytes that no placement of these buffers with these lifetimes can go below.
    """

    offsets: Mapping[str, int]
    spaces: Mapping[str, int]
    bounds: Mapping[str, int]


_RESTARTS = 200
# Pairs of buffers that all placements together look at, so that the plan of a large network takes seconds.
_WORK = 3_000_000
# Orders that are tried before those at random.
_ORDERS = 4
# Places beside each neighbour that a placement around the others tries against all of them.
_PLACES = 4
# What a placement takes beside the pairs that it looks at, as so many of them.
_BESIDE = 32


def plan_arena(
    buffers: Iterable[Buffer], *, overlaps: Sequence[Overlap] = (), pins: Sequence[Pin] = (), seed: int = 0
) -> Plan:
    """Place every buffer so that no two that are needed at once share bytes, unless an overlap permits it.

    Args:
        buffers: of any number of spaces; each space is planned by itself.
        overlaps: permitted overlaps, each used only where the input is not needed after the step.
        pins: fixed offsets.
        seed: of the random restarts that are made where the greedy orders stay above the bound.
    """
    by_space: dict[str, list[Buffer]] = {}
    for buffer in buffers:
        by_space.setdefault(buffer.space, []).append(buffer)
    offsets: dict[str, int] = {}
    spaces: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for space, items in by_space.items():
        problem = _Problem(items, overlaps, pins)
        best = problem.solve(np.random.default_rng(seed))
        offsets.update(best)
        spaces[space] = problem.used(best)
        bounds[space] = problem.bound()
    return Plan(offsets, spaces, bounds)


def needed_bytes(buffers: Iterable[Buffer]) -> dict[int, int]:
    """Bytes of the buffers that are needed in each step, from the first step in which one is to the last."""
    changes = Counter[int]()
    for buffer in buffers:
        changes[buffer.lifetime.first] += buffer.bytes
        changes[buffer.lifetime.last + 1] -= buffer.bytes
    steps = range(min(changes, default=0), max(changes, default=0))
    return dict(zip(steps, itertools.accumulate(changes[step] for step in steps), strict=True))


class _Problem:
    """The buffers of one space."""

    def __init__(self, items: Sequence[Buffer], overlaps: Sequence[Overlap], pins: Sequence[Pin]) -> None:
        self.items = {item.id: item for item in items}
        self.near = self._neighbours()
        self.pins = {pin.buffer: pin.offset for pin in pins if pin.buffer in self.items}
        self.leads = {
            (pair.output, pair.input): pair
            for pair in overlaps
            if pair.output in self.items and pair.input in self.items and self._hands_over(pair)
        }

    def _hands_over(self, pair: Overlap) -> bool:
        together = self.items[pair.input].lifetime.last - self.items[pair.output].lifetime.first + 1
        return together == pair.steps

    def solve(self, rng: np.random.Generator) -> dict[str, int]:
        """The best placement over the greedy orders, and over random ones where those leave a gap."""
        bound = self.bound()
        best: dict[str, int] | None = None
        counts = [len(names) + 1 for names in self.near.values()]
        upwards, around = (sum(_BESIDE + _PLACES * count**power for count in counts) for power in (1, 2))
        turned = not self.pins and around <= _WORK // _ORDERS
        restarts = min(_RESTARTS, _WORK // max(upwards + around * turned, 1))
        for order in self._orders(rng, restarts):
            for place in (self._place_upwards, *((self._place_around,) if turned else ())):
                placed = place(order)
                if best is None or self.used(placed) < self.used(best):
                    best = placed
                if self.used(best) <= bound:
                    return best
        assert best is not None
        return best

    def _neighbours(self) -> dict[str, list[str]]:
        """For each buffer, the others that are needed when it is."""
        near: dict[str, list[str]] = {name: [] for name in self.items}
        needed: list[Buffer] = []
        for item in sorted(self.items.values(), key=lambda item: item.lifetime.first):
            needed = [other for other in needed if other.lifetime.last >= item.lifetime.first]
            for other in needed:
                near[other.id].append(item.id)
            near[item.id] += [other.id for other in needed]
            needed.append(item)
        return {name: sorted(others) for name, others in near.items()}

    def used(self, placed: Mapping[str, int]) -> int:
        return max((placed[item.id] + item.bytes for item in self.items.values()), default=0)

    def bound(self) -> int:
        """Most bytes needed at once in any step, every permitted overlap taken as complete."""
        covered, over = Counter[str](), dict[str, list[Buffer]]()
        inputs: dict[int, set[str]] = {}
        for (out, into), pair in self.leads.items():
            covered[out] += pair.common(self.items[out].bytes, self.items[into].bytes)
            over.setdefault(into, []).append(self.items[out])
            for step in range(self.items[out].lifetime.first, self.items[into].lifetime.last + 1):
                inputs.setdefault(step, set()).add(into)
        shared = Counter[int]()
        for step, names in inputs.items():
            outputs = {
                out.id for into in names for out in over[into] if out.lifetime.first <= step <= out.lifetime.last
            }
            most = sum(min(covered[out], self.items[out].bytes) for out in outputs)
            shared[step] = min(most, sum(self.items[into].bytes for into in names))
        needed = (live - shared[step] for step, live in needed_bytes(self.items.values()).items())
        return max(*needed, self._apart(inputs), 0)

    def _apart(self, overlapping: Collection[int]) -> int:
        """Most bytes needed at once in steps without overlaps: what stands above another starts at an aligned place."""
        unit = math.gcd(*(item.align for item in self.items.values())) or 1
        most = 0
        for item in self.items.values():
            step = item.lifetime.first
            if step not in overlapping:
                near = (self.items[name] for name in self.near[item.id])
                sizes = [item.bytes, *(other.bytes for other in near if other.lifetime.first <= step)]
                highest = max(_aligned(size, unit) - size for size in sizes)
                most = max(most, sum(_aligned(size, unit) for size in sizes) - highest)
        return most

    def _orders(self, rng: np.random.Generator, restarts: int) -> Iterable[list[Buffer]]:
        items = list(self.items.values())
        area = {item.id: item.bytes * (item.lifetime.last - item.lifetime.first + 1) for item in items}
        yield sorted(items, key=lambda item: (-item.bytes, item.lifetime.first, item.id))
        yield sorted(items, key=lambda item: (-area[item.id], item.id))
        yield sorted(items, key=lambda item: (item.lifetime.first, -item.bytes, item.id))
        yield sorted(items, key=lambda item: (-item.lifetime.last, -item.bytes, item.id))
        by_size = sorted(items, key=lambda item: (-item.bytes, item.lifetime.first, item.id))
        for _ in range(restarts):
            noise = rng.uniform(0.5, 1.0, len(items))
            keys = {item.id: -item.bytes * factor for item, factor in zip(by_size, noise, strict=True)}
            yield sorted(by_size, key=lambda item: (keys[item.id], item.id))

    def _place_upwards(self, order: Sequence[Buffer]) -> dict[str, int]:
        """Each buffer at the lowest offset that is left."""
        return self._place(order, self._lowest)

    def _place_around(self, order: Sequence[Buffer]) -> dict[str, int]:
        """Each buffer where it widens what is used the least, above what is placed or below it.

        A result that runs ahead of its input needs room below it, which nothing leaves that is placed upwards.
        """
        span = [0, 0]

        def nearest(item: Buffer, near: Mapping[str, int]) -> int:
            found = self._nearest(item, near, (span[0], span[1]))
            span[:] = [min(span[0], found), max(span[1], found + item.bytes)]
            return found

        placed = self._place(order, nearest)
        align = max((item.align for item in order), default=1)
        lowest = -(_aligned(-min(placed.values(), default=0), align))
        return {name: offset - lowest for name, offset in placed.items()}

    def _place(self, order: Sequence[Buffer], choose: Callable[[Buffer, Mapping[str, int]], int]) -> dict[str, int]:
        placed = dict(self.pins)
        for item in order:
            if item.id not in placed:
                near = {name: placed[name] for name in self.near[item.id] if name in placed}
                placed[item.id] = choose(item, near)
        return placed

    def _nearest(self, item: Buffer, near: Mapping[str, int], span: tuple[int, int]) -> int:
        """An aligned offset beside or over one of those near that widens the span the least.

        Of these, one where the most is shared with those near, which leaves the most to others; then the lowest.
        """
        others = []
        candidates = {0}
        for other, offset in sorted(near.items()):
            size = self.items[other].bytes
            candidates |= {_aligned(offset + size, item.align), -_aligned(item.bytes - offset, item.align)}
            over, under = self.leads.get((item.id, other)), self.leads.get((other, item.id))
            for pair, sign in ((over, -1), (under, 1)):
                if pair is not None:
                    # As near as may be, start by start, and end by end.
                    ends = self.items[pair.output].bytes - self.items[pair.input].bytes
                    for least in {max(pair.min_delta, wanted) for wanted in (pair.min_delta, 0, ends)}:
                        first = _aligned(least, pair.multiple)
                        candidates |= _first_aligned(offset + sign * first, sign * pair.multiple, item.align)
            others.append((offset, offset + size, over, under))
        best: tuple[int, int, int] | None = None
        for at in candidates:
            end = at + item.bytes
            width = max(span[1], end) - min(span[0], at)
            if best is not None and width > best[0]:
                continue
            shared = _shared(at, end, others)
            if shared is not None and (best is None or (width, -shared, at) < best):
                best = (width, -shared, at)
        assert best is not None, "there is room above all others"
        return best[2]

    def _lowest(self, item: Buffer, near: Mapping[str, int]) -> int:
        """The lowest aligned offset at which ``item`` is in the way of none of those that are needed when it is."""
        others = sorted(near.items(), key=lambda pair: (pair[1], pair[0]))
        candidate, moved = 0, True
        while moved:
            moved = False
            for other, offset in others:
                if offset >= candidate + item.bytes:
                    break
                found = self._next(item, candidate, self.items[other], offset)
                moved = moved or found != candidate
                candidate = found
        return candidate

    def _next(self, item: Buffer, candidate: int, other: Buffer, offset: int) -> int:
        """The lowest aligned offset from ``candidate`` on at which ``item`` is not in the way of ``other``."""
        above = _aligned(offset + other.bytes, item.align)
        if candidate + item.bytes <= offset or candidate >= above:
            return candidate
        if (pair := self.leads.get((item.id, other.id))) is not None:
            first = offset - (offset - candidate) // pair.multiple * pair.multiple
            last = offset - pair.min_delta
        elif (pair := self.leads.get((other.id, item.id))) is not None:
            least = max(candidate, offset + pair.min_delta)
            first = offset - (offset - least) // pair.multiple * pair.multiple
            last = above
        else:
            return above
        permitted = range(first, min(last, above) + 1, pair.multiple)
        # Offsets repeat modulo the alignment after as many steps as it has bytes.
        return next((place for place in permitted[: item.align] if place % item.align == 0), above)


def _shared(at: int, end: int, others: Sequence[tuple[int, int, Overlap | None, Overlap | None]]) -> int | None:
    """Bytes of [at, end) that others have as well; None where one does not permit it.

    Args:
        at: first byte.
        end: byte after the last.
        others: first byte, byte after the last, and what permits this to lie over the other and the other over this.
    """
    shared = 0
    for first, last, over, under in others:
        if at < last and end > first:
            if not (
                (over is not None and over.permits(first - at)) or (under is not None and under.permits(at - first))
            ):
                return None
            shared += min(end, last) - max(at, first)
    return shared


def _first_aligned(first: int, step: int, align: int) -> set[int]:
    """The first aligned offset in steps; offsets repeat modulo the alignment after as many steps as it has bytes."""
    return set([at for at in range(first, first + align * step, step) if at % align == 0][:1])


def _aligned(offset: int, align: int) -> int:
    return -(-offset // align) * align
