"""An independent check of regions: a run of every turn in which each byte says what was last written to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microlith.compile.context import call_context
from microlith.kernels import kernel
from microlith.program.types import Call, OpCall, Program, Region, RowMap, View, calls

_SCRATCH = -2
_STRIDE = 1 << 40


def check_rows(program: Program) -> None:
    """Fail where a call of a region would not find a row that it reads, or where a region spoils what is needed later.

    Raises:
        AssertionError: the planner is wrong.
    """
    (entry,) = program.entries
    position = 0
    for step in entry.body:
        if isinstance(step, Region):
            _Run(program, step, position).check()
        position += len(list(calls((step,))))


class _Run:
    """Memory while a region runs; a byte holds the number of its buffer and the byte of the tensor that it is."""

    def __init__(self, program: Program, region: Region, position: int) -> None:
        self.program, self.region = program, region
        self.ops = [step.op for step in region.body if isinstance(step, Call)]
        assert len(self.ops) == len(region.body), "a region holds calls only"
        self.first, self.last = position, position + len(self.ops) - 1
        self.maps = [_rows_needed(program, op) for op in self.ops]
        self.numbers = {name: index + 1 for index, name in enumerate(program.buffers)}
        self.memory = {space: np.zeros(used, np.int64) for space, used in program.spaces.items()}

    def check(self) -> None:
        """Run the turns."""
        before = [
            name
            for name, buffer in self.program.buffers.items()
            if buffer.lifetime.first < self.first <= buffer.lifetime.last or self._is_read_only(name)
        ]
        for name in before:
            self._place(name)[:] = self._tags(name, 0, self.program.buffers[name].bytes)
        height = self.program.view(self.ops[-1].writes[0]).shape[self.region.axis]
        made = [0] * len(self.ops)
        while made[-1] < height:
            ends = self._ends(made, min(made[-1] + self.region.rows, height))
            for index, op in enumerate(self.ops):
                if ends[index] > made[index]:
                    self._call(op, self.maps[index], made[index], ends[index])
                    made[index] = ends[index]
        for name, buffer in self.program.buffers.items():
            if buffer.lifetime.last > self.last and (name in before or self._is_written(name)):
                found = self._place(name)
                assert (found == self._tags(name, 0, buffer.bytes)).all(), f"{name} is spoiled by a region"

    def _ends(self, made: list[int], last: int) -> list[int]:
        """The rows that each call must have made so that the last one can make its own."""
        ends = [*made[:-1], last]
        for index in reversed(range(len(self.ops) - 1)):
            result = self.ops[index].writes[0]
            for later in range(index + 1, len(self.ops)):
                if result in self.ops[later].reads and ends[later] > 0:
                    rows = self.maps[later].rows(ends[later] - 1, ends[later], self._view(result).shape[1])
                    ends[index] = max(ends[index], rows[1])
        return ends

    def _call(self, op: OpCall, rows: RowMap, begin: int, end: int) -> None:
        read: list[tuple[str, range, str]] = []
        for name in op.reads:
            view = self._view(name)
            for row in range(*rows.rows(begin, end, view.shape[1])):
                cells, tags = self._row(view, row)
                assert (cells == tags).all(), f"{op.kernel} does not find row {row} of {name}"
                read.append((self.program.buffers[view.buffer].space, self._bytes(view, row), name))
        if op.scratch is not None:
            self._place(self._view(op.scratch).buffer)[:] = _SCRATCH
        written = self._view(op.writes[0])
        space = self.program.buffers[written.buffer].space
        for row in range(begin, end):
            at = self._bytes(written, row)
            meets = [name for where, other, name in read if where == space and _meet(at, other)]
            for name in dict.fromkeys(meets):
                self._check_over(op, rows, name)
            cells, tags = self._row(written, row)
            cells[:] = tags

    def _check_over(self, op: OpCall, rows: RowMap, name: str) -> None:
        """A call may write over what it reads in the same turn only row by row, where its kernel says so."""
        context = call_context(self.program, op)
        lead = kernel(op.kernel).overlap(context)[op.reads.index(name)]
        distance = self._start(self._view(name)) - self._start(self._view(op.writes[0]))
        fits = lead is not None and lead.permits(distance) and rows == RowMap(1, 0, 0)
        assert fits, f"{op.kernel} writes over rows of {name} that it reads"

    def _view(self, name: str) -> View:
        return self.program.view(name)

    def _start(self, view: View) -> int:
        return self.program.offsets[view.buffer] + view.offset

    def _bytes(self, view: View, row: int) -> range:
        size = view.bytes // view.shape[1]
        held = row if view.ring_rows is None else row % view.ring_rows
        start = self._start(view) + held * size
        return range(start, start + size)

    def _row(self, view: View, row: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of a row, and what they must say."""
        at = self._bytes(view, row)
        memory = self.memory[self.program.buffers[view.buffer].space]
        return memory[at.start : at.stop], self._tags(view.buffer, view.offset + row * len(at), len(at))

    def _place(self, name: str) -> NDArray[np.int64]:
        start, buffer = self.program.offsets[name], self.program.buffers[name]
        return self.memory[buffer.space][start : start + buffer.bytes]

    def _tags(self, name: str, first: int, count: int) -> NDArray[np.int64]:
        return self.numbers[name] * _STRIDE + np.arange(first, first + count, dtype=np.int64)

    def _is_written(self, name: str) -> bool:
        return any(self._view(written).buffer == name for op in self.ops for written in op.writes)

    def _is_read_only(self, name: str) -> bool:
        read = any(self._view(reads).buffer == name for op in self.ops for reads in op.reads)
        return read and not self._is_written(name)


def _meet(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _rows_needed(program: Program, op: OpCall) -> RowMap:
    found = kernel(op.kernel).input_rows(call_context(program, op))
    assert found is not None, f"{op.kernel} cannot run on a range of rows"
    return found
