"""An independent check of a plan: two owners of a byte in one step, and calls that would read another run's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from microlith.compile.arena import Overlap
from microlith.program.types import STATE_SPACE, Program, calls


def check_plan(program: Program, overlaps: Sequence[Overlap]) -> None:
    """Fail where two buffers that are needed in the same step share a byte without permission.

    Raises:
        AssertionError: the planner is wrong.
    """
    for space, used in program.spaces.items():
        members = [buffer for buffer in program.buffers.values() if buffer.space == space]
        for buffer in members:
            start = program.offsets[buffer.id]
            assert start % buffer.align == 0, f"{buffer.id} at {start} is not aligned to {buffer.align}"
            assert start >= 0 and start + buffer.bytes <= used, f"{buffer.id} lies outside its space"
        last = max((buffer.lifetime.last for buffer in members), default=-1)
        for step in range(min((b.lifetime.first for b in members), default=0), last + 1):
            _paint(
                program, [b.id for b in members if b.lifetime.first <= step <= b.lifetime.last], used, step, overlaps
            )


def _paint(program: Program, live: Sequence[str], used: int, step: int, overlaps: Sequence[Overlap]) -> None:
    owner = np.full(used, -1, np.int64)
    for index, name in enumerate(live):
        start = program.offsets[name]
        cells = owner[start : start + program.buffers[name].bytes]
        for other in np.unique(cells[cells >= 0]):
            first, second = live[int(other)], name
            permitted = _permitted(program, first, second, step, overlaps)
            permitted = permitted or _permitted(program, second, first, step, overlaps)
            assert permitted, f"{first} and {second} share bytes in step {step}"
        cells[:] = index


def _permitted(program: Program, output: str, input: str, step: int, overlaps: Sequence[Overlap]) -> bool:
    return any(
        pair.output == output
        and pair.input == input
        and program.buffers[output].lifetime.first <= step <= program.buffers[input].lifetime.last
        and program.buffers[input].lifetime.last - program.buffers[output].lifetime.first + 1 == pair.steps
        and program.offsets[output] + pair.min_delta <= program.offsets[input]
        and (program.offsets[input] - program.offsets[output]) % pair.multiple == 0
        for pair in overlaps
    )


Key = tuple[tuple[str, ...], int]
"""A call: the views that it writes, and how many calls before it write the same."""


def check_states(lowered: Program, planned: Program) -> None:
    """Fail where a call of the plan would not read what it reads as lowered, or where a state would become another.

    Raises:
        AssertionError: the planner is wrong.
    """
    wanted, was = _traced(lowered)
    found, becomes = _traced(planned)
    for key, sources in found.items():
        assert sources == wanted[key], f"{key} reads {sources} as planned, and {wanted[key]} as lowered"
    for before, after in zip(lowered.states, planned.states, strict=True):
        buffer = planned.buffers[planned.view(after.view).buffer]
        throughout = all(
            buffer.lifetime.first <= other.lifetime.first and other.lifetime.last <= buffer.lifetime.last
            for other in planned.buffers.values()
        )
        assert buffer.space == STATE_SPACE and throughout, f"{buffer.id} is not kept from run to run"
        # As lowered, a state becomes what the copy into it reads.
        copies = frozenset() if before.update is None else frozenset({((before.update,), 0)})
        expected = wanted[((before.update,), 0)][0] if before.update is not None else was[before.view]
        left = becomes[after.view]
        assert left == expected or (left == copies and found[((str(before.update),), 0)][0] == expected), (
            f"the state {after.view} becomes {left} as planned, and {expected} as lowered"
        )


def _traced(program: Program) -> tuple[dict[Key, list[frozenset[object]]], dict[str, frozenset[object]]]:
    """For each call, which calls wrote what it reads; and for each state, by its view, who wrote what is left in it."""
    (entry,) = program.entries
    ops = list(calls(entry.body))
    writers = Counter(program.view(name).buffer for op in ops for name in op.writes)
    content: dict[str, frozenset[object]] = {
        program.view(name).buffer: frozenset({name})
        for name in (*entry.inputs, *(slot.view for slot in program.states))
    }
    traced: dict[Key, list[frozenset[object]]] = {}
    seen = Counter[tuple[str, ...]]()
    for op in ops:
        key = (op.writes, seen[op.writes])
        seen[op.writes] += 1
        traced[key] = [content.get(program.view(name).buffer, frozenset()) for name in op.reads]
        for name in op.writes:
            buffer = program.view(name).buffer
            # A buffer that several calls write is put together from parts.
            held = frozenset[object]() if writers[buffer] == 1 else content.get(buffer, frozenset())
            content[buffer] = held | {key}
    return traced, {slot.view: content[program.view(slot.view).buffer] for slot in program.states}
