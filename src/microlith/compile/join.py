"""Copies that need not be made, because their neighbours can read or write where the bytes are.

* A copy of a whole tensor to one place of another (a part of a Concat) goes away: its producer writes there.
* A strided copy goes away where all that read it take strides: products of matrices, attention, sums and products of
  tensors, and copies themselves. A product of matrices also writes by strides.

A copy stays where more bytes would be alive at once than around it, where a part does not begin at a multiple of the
arena's alignment, and where kernels that take whole tensors only stand on both sides, such as convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from microlith.compile.builder import ALIGN
from microlith.compile.order import live_bytes
from microlith.program.attrs import Binary, Copy, MatMul
from microlith.program.neural_attrs import Attention
from microlith.program.types import ITEM_BYTES, Buffer, Call, OpCall, Program, View, calls, contiguous

Strides = tuple[int, ...]


@dataclass(frozen=True)
class _State:
    calls: tuple[OpCall, ...]
    views: Mapping[str, View]
    buffers: Mapping[str, Buffer]
    outputs: frozenset[str]

    def live(self) -> tuple[int, ...]:
        """Bytes that are alive in each step."""
        return live_bytes(self.calls, self.views, self.buffers, sorted(self.outputs))

    def writers(self, buffer: str) -> list[OpCall]:
        """The calls that write a buffer."""
        return [item for item in self.calls if self.is_among(buffer, item.writes)]

    def readers(self, buffer: str) -> list[OpCall]:
        """The calls that read a buffer."""
        return [item for item in self.calls if self.is_among(buffer, item.reads)]

    def is_among(self, buffer: str, names: Sequence[str]) -> bool:
        """Whether one of these views is of the buffer."""
        return any(self.views[name].buffer == buffer for name in names)


def join_copies(program: Program) -> Program:
    """The Program without the copies that need not be made."""
    (entry,) = program.entries
    kept = {slot.view for slot in program.states}
    named = (*entry.inputs, *entry.outputs, *kept, *(slot.update for slot in program.states if slot.update))
    pinned = {program.view(name).buffer for name in named}
    states = {program.view(name).buffer for name in kept}
    state = _State(tuple(calls(entry.body)), program.views, program.buffers, frozenset(entry.outputs))
    before = None
    while before is not state:
        before, position = state, 0
        while position < len(state.calls):
            found = _without_copy(state, position, pinned, states)
            position, state = (position + 1, state) if found is None else (position, found)
    body = tuple(Call(call) for call in state.calls)
    return replace(program, entries=(replace(entry, body=body),), views=state.views, buffers=state.buffers)


def _without_copy(state: _State, position: int, pinned: set[str], states: set[str]) -> _State | None:
    """The first way to do without the call at a position; None for a call that is needed.

    What is kept from run to run is read before it is overwritten, so copies from and to it keep their place.
    """
    call = state.calls[position]
    touched = {state.views[name].buffer for name in (*call.reads, *call.writes)}
    if not isinstance(call.attrs, Copy) or len(state.calls) == 1 or touched & states:
        return None
    for found in (
        _into_readers(state, position, pinned),
        _into_writer(state, position, pinned),
        _into_place(state, position, pinned),
    ):
        if found is not None and not _costs_memory(state, found, position):
            return found
    return None


def _costs_memory(state: _State, found: _State, position: int) -> bool:
    """Whether without the copy more bytes are alive at once than were around it.

    What another part of the network needs does not excuse it: there, more may be done in place than is known here.
    """
    before, after = state.live(), found.live()
    kept = [index for index in range(len(before)) if index != position]
    changed = [index for index, live in zip(kept, after, strict=True) if live > before[index]]
    around = range(min((position, *changed)), max((position, *changed)) + 1)
    most = max(before[index] for index in around)
    return any(live > most for index, live in zip(kept, after, strict=True) if index in around)


# ---- a copy that all its readers can do without


def _into_readers(state: _State, position: int, pinned: set[str]) -> _State | None:
    call = state.calls[position]
    source, target = _ends(state, call)
    if source is None or target is None or target.buffer in pinned or not _fills(state, call, target):
        return None
    readers = state.readers(target.buffer)
    changes_later = any(state.is_among(source.buffer, item.writes) for item in state.calls[position + 1 :])
    if not readers or changes_later or state.writers(target.buffer) != [call]:
        return None
    views, replaced = dict(state.views), {}
    for reader in readers:
        made = _reading(reader, call, source, target, views)
        if made is None:
            return None
        replaced[id(reader)] = made
    kept = tuple(replaced.get(id(item), item) for item in state.calls if item is not call)
    return _without(state, kept, views, target.buffer)


def _reading(reader: OpCall, call: OpCall, source: View, target: View, views: dict[str, View]) -> OpCall | None:
    """The reader, reading the source of the copy by strides; None where it cannot."""
    roles = _roles(reader)
    for index, name in enumerate(reader.reads):
        view = views[name]
        if view.buffer != target.buffer:
            continue
        item = ITEM_BYTES[view.dtype]
        if view.offset % item or view.dtype != source.dtype:
            return None
        shape, strides, start = _access(reader, roles[index] if index < len(roles) else "")
        found = _composed(shape, strides, view.offset // item + start, call)
        if found is None:
            return None
        made = _rest(source, found[1], view)
        if not isinstance(reader.attrs, Copy):
            own = _composed(view.shape, contiguous(view.shape), view.offset // item, call)
            if own is None:
                return None
            made = replace(made, shape=view.shape, strides=own[0], layout=view.layout)
        if isinstance(reader.attrs, Binary) and made.offset % ALIGN and found[0] == contiguous(shape):
            return None
        reads = (*reader.reads[:index], _added(views, made), *reader.reads[index + 1 :])
        reader = replace(reader, reads=reads, attrs=_with_strides(reader.attrs, roles[index], found[0]))
    return reader


def _roles(reader: OpCall) -> tuple[str, ...]:
    """The operands of a call that takes strides, in the order in which it reads them."""
    if isinstance(reader.attrs, Copy):
        return ("data",)
    roles = reader.attrs.operands if isinstance(reader.attrs, Attention) else ("a", "b")
    return tuple(role for role in roles if role not in reader.consts)


def _access(reader: OpCall, role: str) -> tuple[Strides, Strides, int]:
    """Extents, strides and first element with which a call reads an operand; no extents where it takes no strides."""
    attrs = reader.attrs
    if isinstance(attrs, Copy):
        return attrs.shape, attrs.read_strides, attrs.read_offset
    if isinstance(attrs, MatMul):
        a, b = (attrs.batch, attrs.rows, attrs.depth), (attrs.batch, attrs.depth, attrs.columns)
        return (a, attrs.strides_of_a, 0) if role == "a" else (b, attrs.strides_of_b, 0)
    if isinstance(attrs, Binary):
        return attrs.shape, attrs.a_strides if role == "a" else attrs.b_strides, 0
    if isinstance(attrs, Attention):
        return attrs.extents(role), attrs.strides(role), 0
    return (), (), 0


def _with_strides(attrs: object, role: str, strides: Strides) -> object:
    if isinstance(attrs, Copy):
        return replace(attrs, read_strides=strides, read_offset=0)
    assert isinstance(attrs, (Attention, Binary, MatMul))
    return replace(attrs, **{f"{role}_strides": strides})  # type: ignore[arg-type]


def _composed(shape: Strides, strides: Strides, start: int, call: OpCall) -> tuple[Strides, int] | None:
    """How to read the source of a copy where its dense result was read; None where that is not by strides."""
    attrs = call.attrs
    assert isinstance(attrs, Copy)
    return _through(shape, strides, start, attrs.shape, attrs.read_strides, attrs.read_offset) if shape else None


def _through(
    shape: Strides, strides: Strides, start: int, dense: Strides, to: Strides, first: int
) -> tuple[Strides, int] | None:
    """An access to a dense tensor of extents ``dense`` as one to where its axes have the strides ``to``."""
    axes = _coalesced(dense, to)
    places = contiguous(tuple(size for size, _ in axes))
    used, offset = [0] * len(axes), first
    for index, place in enumerate(places):
        used[index], start = divmod(start, place)
        offset += used[index] * axes[index][1]
    if start or (axes and used[0] >= axes[0][0]) or any(stride < 0 for stride in strides):
        return None
    made = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1 or stride == 0:
            made.append(0)
            continue
        index = next((i for i, place in enumerate(places) if place <= stride), len(places) - 1)
        steps, rest = divmod(stride, places[index]) if places else (0, 1)
        if rest:
            return None
        used[index] += steps * (size - 1)
        made.append(steps * axes[index][1])
    return None if any(most >= axis[0] for most, axis in zip(used, axes, strict=True)) else (tuple(made), offset)


def _coalesced(shape: Strides, strides: Strides) -> list[tuple[int, int]]:
    """Extents and strides, neighbouring axes as one where one goes on where the other ends."""
    found: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == stride * size:
            found[-1] = (found[-1][0] * size, stride)
        else:
            found.append((size, stride))
    return found


# ---- a copy that the product in front of it can do without


def _into_writer(state: _State, position: int, pinned: set[str]) -> _State | None:
    call = state.calls[position]
    source, target = _ends(state, call)
    if source is None or target is None or source.buffer in pinned or source.dtype != target.dtype:
        return None
    writers = state.writers(source.buffer)
    if len(writers) != 1 or not isinstance(writers[0].attrs, MatMul) or state.readers(source.buffer) != [call]:
        return None
    between = state.calls[state.calls.index(writers[0]) : position]
    if any(state.is_among(target.buffer, (*item.reads, *item.writes)) for item in between):
        return None
    moved = _writing(writers[0], call, source)
    if moved is None:
        return None
    strides, first = moved
    views = dict(state.views)
    product, y = writers[0].attrs, views[writers[0].writes[0]]
    shape = (product.batch, product.rows, product.columns)
    made = replace(_rest(target, first, y), shape=shape, strides=strides, layout=(0, 1, 2))
    nodes = tuple(dict.fromkeys((*writers[0].source_nodes, *call.source_nodes)))
    writer = replace(
        writers[0], writes=(_added(views, made),), attrs=replace(product, y_strides=strides), source_nodes=nodes
    )
    kept = tuple(writer if item is writers[0] else item for item in state.calls if item is not call)
    return _without(state, kept, views, source.buffer)


def _writing(writer: OpCall, call: OpCall, source: View) -> tuple[tuple[int, int, int], int] | None:
    """Strides and first element with which a product writes where a copy of its whole result went."""
    product, attrs = writer.attrs, call.attrs
    assert isinstance(product, MatMul) and isinstance(attrs, Copy)
    order = sorted((axis for axis, size in enumerate(attrs.shape) if size > 1), key=lambda i: -attrs.read_strides[i])
    dense = tuple(attrs.shape[axis] for axis in order)
    in_a_row = tuple(attrs.read_strides[axis] for axis in order) == contiguous(dense)
    if not in_a_row or math.prod(dense) != source.size or source.offset or attrs.read_offset:
        return None
    shape = (product.batch, product.rows, product.columns)
    to = tuple(attrs.write_strides[axis] for axis in order)
    found = _through(shape, product.strides_of_y, 0, dense, to, attrs.write_offset)
    if found is None or (product.columns > 1 and found[0][2] != 1):
        return None
    return (found[0][0], found[0][1], 1), found[1]


# ---- a copy of a whole tensor to one place


def _into_place(state: _State, position: int, pinned: set[str]) -> _State | None:
    call = state.calls[position]
    source, target = _ends(state, call)
    if source is None or target is None or not isinstance(call.attrs, Copy) or source.buffer in pinned:
        return None
    attrs, item = call.attrs, ITEM_BYTES[source.dtype]
    shape = tuple(size for size in attrs.shape if size > 1)
    dense = contiguous(shape)
    for strides in (attrs.read_strides, attrs.write_strides):
        if tuple(stride for size, stride in zip(attrs.shape, strides, strict=True) if size > 1) != dense:
            return None
    start = target.offset + attrs.write_offset * item
    whole = source.offset == 0 and attrs.read_offset == 0 and source.bytes == state.buffers[source.buffer].bytes
    if source.dtype != target.dtype or source.buffer == target.buffer or start % ALIGN or not whole:
        return None
    if any(state.is_among(source.buffer, later.writes) for later in state.calls[position:]):
        return None
    size = math.prod(attrs.shape) * item
    if size != source.bytes or _is_written(state, call, target.buffer, start, start + size):
        return None
    views = {
        name: replace(view, buffer=target.buffer, offset=view.offset + start) if view.buffer == source.buffer else view
        for name, view in state.views.items()
    }
    kept = tuple(item for item in state.calls if item is not call)
    return _without(state, kept, views, source.buffer)


def _is_written(state: _State, call: OpCall, buffer: str, begin: int, end: int) -> bool:
    """Whether another call writes any of these bytes."""
    for item in state.calls:
        for name in item.writes if item is not call else ():
            view = state.views[name]
            first, last = _range(item, view)
            if view.buffer == buffer and first < end and begin < last:
                return True
    return False


def _range(call: OpCall, view: View) -> tuple[int, int]:
    """The bytes of a buffer from the first to behind the last that a call writes through a view."""
    item = ITEM_BYTES[view.dtype]
    shape, strides, start = view.shape, view.strides, 0
    if isinstance(call.attrs, Copy):
        shape, strides, start = call.attrs.shape, call.attrs.write_strides, call.attrs.write_offset
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    first = start + sum(min(step, 0) for step in reach)
    last = start + sum(max(step, 0) for step in reach) + 1
    return view.offset + first * item, view.offset + last * item


# ---- what all three need


def _ends(state: _State, call: OpCall) -> tuple[View | None, View | None]:
    """What a copy reads and writes; None for anything else, and for a copy of constants."""
    if not isinstance(call.attrs, Copy) or call.op != "copy" or len(call.reads) != 1:
        return None, None
    return state.views[call.reads[0]], state.views[call.writes[0]]


def _fills(state: _State, call: OpCall, target: View) -> bool:
    """Whether a copy writes its target from the first byte to the last in a row."""
    attrs = call.attrs
    assert isinstance(attrs, Copy)
    whole = (
        target.offset == 0 and math.prod(attrs.shape) * ITEM_BYTES[target.dtype] == state.buffers[target.buffer].bytes
    )
    used = [(size, stride) for size, stride in zip(attrs.shape, attrs.write_strides, strict=True) if size > 1]
    dense = contiguous(tuple(size for size, _ in used))
    return whole and attrs.write_offset == 0 and tuple(stride for _, stride in used) == dense


def _rest(whole: View, first: int, meaning: View) -> View:
    """The elements of a view from ``first`` on, in a row, with the meaning of another."""
    offset = whole.offset + first * ITEM_BYTES[whole.dtype]
    shape = (whole.size - first,)
    return replace(whole, offset=offset, shape=shape, strides=(1,), layout=(0,), qparams=meaning.qparams)


def _added(views: dict[str, View], view: View) -> str:
    """The id under which a new view is kept."""
    name = f"v{len(views)}"
    while name in views:
        name += "_"
    views[name] = replace(view, id=name)
    return name


def _without(state: _State, kept: tuple[OpCall, ...], views: Mapping[str, View], buffer: str) -> _State:
    """The state without a buffer that nothing needs any more."""
    buffers = {name: item for name, item in state.buffers.items() if name != buffer}
    return _State(kept, {name: view for name, view in views.items() if view.buffer != buffer}, buffers, state.outputs)
