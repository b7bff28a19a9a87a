"""An independent check of a memory plan: paint every byte at every step and look for two owners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microlith.compile.arena import Overlap
from microlith.program.types import Program


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
        and program.buffers[output].lifetime.first == step == program.buffers[input].lifetime.last
        and program.offsets[output] + pair.min_delta <= program.offsets[input]
        for pair in overlaps
    )
