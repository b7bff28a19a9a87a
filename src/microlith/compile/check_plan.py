"""An independent check of a plan: two owners of a byte in one step, and calls that would read another run's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from microlith.compile.arena import Overlap
from microlith.program.types import STATE_SPACE, Buffer, Program, calls

Permitted = Mapping[tuple[str, str], Sequence[Overlap]]
"""Overlaps by output and input."""


def check_plan(program: Program, overlaps: Sequence[Overlap]) -> None:
    """Fail where two buffers that are needed in the same step share a byte without permission.

    Raises:
        AssertionError: the planner is wrong.
    """
    permitted: dict[tuple[str, str], list[Overlap]] = {}
    for pair in overlaps:
        permitted.setdefault((pair.output, pair.input), []).append(pair)
    for space, used in program.spaces.items():
        members = [buffer for buffer in program.buffers.values() if buffer.space == space]
        for buffer in members:
            start = program.offsets[buffer.id]
            assert start % buffer.align == 0, f"{buffer.id} at {start} is not aligned to {buffer.align}"
            assert start >= 0 and start + buffer.bytes <= used, f"{buffer.id} lies outside its space"
        ends = {step for buffer in members for step in (buffer.lifetime.first, buffer.lifetime.last)}
        coming = sorted(members, key=lambda buffer: buffer.lifetime.first, reverse=True)
        live: list[Buffer] = []
        for step in sorted(ends):  # between them, the same buffers are needed as in one of them, or fewer
            live = [item for item in live if step <= item.lifetime.last]
            while coming and coming[-1].lifetime.first <= step:
                live.append(coming.pop())
            live.sort(key=lambda buffer: program.offsets[buffer.id])
            _check_step(program, live, step, permitted)


def _check_step(program: Program, live: Sequence[Buffer], step: int, permitted: Permitted) -> None:
    """Fail where two of the buffers of a step, in the order of their offsets, share a byte without permission."""
    open_buffers: list[Buffer] = []
    for item in live:
        start = program.offsets[item.id]
        open_buffers = [other for other in open_buffers if program.offsets[other.id] + other.bytes > start]
        for other in open_buffers:
            assert _may_share(program, item, other, step, permitted) or _may_share(
                program, other, item, step, permitted
            ), f"{other.id} and {item.id} share bytes in step {step}"
        if item.bytes:
            open_buffers.append(item)


def _may_share(program: Program, output: Buffer, source: Buffer, step: int, permitted: Permitted) -> bool:
    above = program.offsets[source.id] - program.offsets[output.id]
    together = source.lifetime.last - output.lifetime.first + 1
    return output.lifetime.first <= step <= source.lifetime.last and any(
        pair.min_delta <= above and above % pair.multiple == 0 and together == pair.steps
        for pair in permitted.get((output.id, source.id), ())
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
