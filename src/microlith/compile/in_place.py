"""States that the call which computes them writes where they are kept.

Lowering ends with a copy of each next value into its state. Where the value fills a buffer of its own that one call
writes, and every other call that reads the state can run before that call, the copy is not needed: the buffer is the
state itself. A call that reads the state and writes its next value must be of a kernel that may do so in place.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

from microlith.compile.candidates import Known, choices
from microlith.compile.context import call_context
from microlith.compile.order import dependencies
from microlith.device.profile import Device
from microlith.program.attrs import Copy
from microlith.program.types import Call, OpCall, Program, View, calls, contiguous


def write_states_in_place(program: Program, device: Device) -> Program:
    """The program without the copies that are not needed; its calls may stand in another order."""
    for slot in program.states:
        if slot.update is not None:
            program = _without_copy(program, slot.update, device)
    return program


def _without_copy(program: Program, update: str, device: Device) -> Program:
    (entry,) = program.entries
    given = list(calls(entry.body))
    last = next(index for index, call in enumerate(given) if call.writes == (update,))
    source, target = program.view(given[last].reads[0]), program.view(update)
    if not _same_bytes(given[last], source, target) or not _is_apart(program, source):
        return program
    writers = [index for index, call in enumerate(given) if source.buffer in _buffers(program, call.writes)]
    if len(writers) != 1:
        return program
    readers = {index for index, call in enumerate(given) if target.buffer in _buffers(program, call.reads)}
    if writers[0] in readers and not _may_update(program, given[writers[0]], target.buffer, device):
        return program
    before = dependencies(given, program.views)
    before[writers[0]] |= readers - {writers[0]}
    order = _sorted(before)
    if order is None:
        return program
    views = {
        name: replace(view, buffer=target.buffer) if view.buffer == source.buffer else view
        for name, view in program.views.items()
    }
    buffers = {name: buffer for name, buffer in program.buffers.items() if name != source.buffer}
    body = tuple(Call(given[index]) for index in order if index != last)
    states = tuple(
        replace(slot, update=given[writers[0]].writes[0]) if slot.update == update else slot for slot in program.states
    )
    return replace(program, entries=(replace(entry, body=body),), views=views, buffers=buffers, states=states)


def _buffers(program: Program, names: Sequence[str]) -> set[str]:
    return {program.view(name).buffer for name in names}


def _same_bytes(copy: OpCall, source: View, target: View) -> bool:
    """Whether the copy moves a whole buffer as it is."""
    attrs = copy.attrs
    assert isinstance(attrs, Copy), "lowering ends with copies"
    wanted = contiguous(attrs.shape)
    strides = (attrs.read_strides, attrs.write_strides)
    plain = all(
        extent == 1 or stride == expected
        for found in strides
        for extent, stride, expected in zip(attrs.shape, found, wanted, strict=True)
    )
    return plain and source.offset == 0 and source.bytes == target.bytes and source.dtype == target.dtype


def _is_apart(program: Program, source: View) -> bool:
    """Whether the value has a buffer of its size that is neither an input, nor an output, nor kept already."""
    (entry,) = program.entries
    taken = _buffers(program, (*entry.inputs, *entry.outputs, *(slot.view for slot in program.states)))
    return source.buffer not in taken and program.buffers[source.buffer].bytes == source.bytes


def _may_update(program: Program, call: OpCall, state: str, device: Device) -> bool:
    """Whether a call may write its result where it reads the state, by whatever kernel that fits it."""
    written = program.view(call.writes[0])
    for candidate in choices(program, call, device, Known()).candidates:
        leads = candidate.kernel.overlap(call_context(program, candidate.call))
        for name, lead in zip(call.reads, leads, strict=True):
            view = program.view(name)
            fits = view.offset == 0 and view.bytes == written.bytes
            if view.buffer == state and not (fits and lead is not None and lead.permits(0)):
                return False
    return True


def _sorted(before: Sequence[set[int]]) -> list[int] | None:
    """The calls in an order that respects what must stay before what, as near to the given one as can be."""
    order: list[int] = []
    waits = [len(earlier) for earlier in before]
    after: list[list[int]] = [[] for _ in before]
    for index, earlier in enumerate(before):
        for other in earlier:
            after[other].append(index)
    ready = [index for index, count in enumerate(waits) if not count]
    while ready:
        chosen = heapq.heappop(ready)
        order.append(chosen)
        for index in after[chosen]:
            waits[index] -= 1
            if not waits[index]:
                heapq.heappush(ready, index)
    return order if len(order) == len(before) else None
