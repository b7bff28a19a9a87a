"""Program, entries, steps, calls, buffers, views, consts and storage.

Shapes are in Program order: activations N,H,W,C; weights O,KH,KW,I. Offsets and sizes are in bytes, strides in
elements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microlith.quant.requantize import Requant
from microlith.quant.types import QParams, Requantization

DType = Literal["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "bool"]
NUMPY: Mapping[str, str] = {
    "s8": "int8",
    "u8": "uint8",
    "s16": "int16",
    "u16": "uint16",
    "s32": "int32",
    "u32": "uint32",
    "s64": "int64",
    "u64": "uint64",
    "f32": "float32",
    "bool": "bool",
}
"""NumPy's name of every element type; a bool is one byte, 0 or 1."""
ITEM_BYTES: Mapping[str, int] = {dtype: np.dtype(name).itemsize for dtype, name in NUMPY.items()}


@dataclass(frozen=True)
class Lifetime:
    """Positions of the first and the last step that need a buffer, both included."""

    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Buffer:
    """Bytes in one memory space; where they lie is :attr:`Program.offsets`.

    Attributes:
        id: unique name.
        bytes: size.
        align: power of two.
        space: name of the memory space.
        lifetime: when it is needed.
    """

    id: str
    bytes: int
    align: int
    space: str
    lifetime: Lifetime


@dataclass(frozen=True)
class View:
    """A tensor laid over a buffer.

    Attributes:
        id: unique name.
        buffer: id of the buffer.
        offset: bytes from the start of the buffer.
        shape: in physical order.
        strides: elements, in physical order.
        layout: ``layout[i]`` is the graph axis that physical axis ``i`` holds; (0, 2, 3, 1) is NHWC of an NCHW value.
        dtype: element type.
        qparams: meaning of the integers, None for floats.
        ring_rows: rows that the buffer holds where it is a ring over the row axis; None for a whole tensor.
        source: name of the graph value.
    """

    id: str
    buffer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    layout: tuple[int, ...]
    dtype: DType
    qparams: QParams | None = None
    ring_rows: int | None = None
    source: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes of the elements, without gaps."""
        return self.size * ITEM_BYTES[self.dtype]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


@dataclass(frozen=True, eq=False)
class Const:
    """Constant values, apart from how they are stored.

    Attributes:
        id: unique name.
        sha256: of dtype, shape and bytes; equal consts have equal hashes.
        values: in Program order.
    """

    id: str
    sha256: str
    values: NDArray[np.generic]

    @classmethod
    def of(cls, id: str, values: NDArray[np.generic]) -> Const:
        """A const with its hash computed."""
        values = np.ascontiguousarray(values)
        header = f"{values.dtype.str}{values.shape}".encode()
        return cls(id, hashlib.sha256(header + values.tobytes()).hexdigest(), values)


Residency = Literal["in_place", "loaded"]


@dataclass(frozen=True, eq=False)
class Storage:
    """How and where a const is kept.

    Attributes:
        const: id of the const.
        packing: name of the order of its elements, given by the kernel that reads it.
        codec: name of the encoding; ``raw`` for none.
        segment: name of the segment of the weights file.
        residency: read where it lies, or loaded into a slot first.
        values: the packed elements, one-dimensional.
        align: bytes.
        offset: bytes from the start of the segment.
    """

    const: str
    packing: str
    codec: str
    segment: str
    residency: Residency
    values: NDArray[np.generic]
    align: int
    offset: int

    @property
    def bytes(self) -> int:
        """Stored size."""
        return self.values.nbytes


@dataclass(frozen=True)
class ConstRef:
    """A call's reference to a const, or to a slice of its leading axis."""

    id: str
    slice: tuple[int, int] | None = None


@dataclass(frozen=True)
class Epilogue:
    """What is done to each result before it is stored.

    Attributes:
        low: least value stored: an integer after requantization, a float in a float call; None for no clamp.
        high: greatest value stored, likewise.
    """

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RowMap:
    """Which input rows a range of output rows needs, before clipping to the input.

    Output rows [a, b) need input rows [a * stride + first, (b - 1) * stride + last].
    """

    stride: int
    first: int
    last: int

    def rows(self, begin: int, end: int, height: int) -> tuple[int, int]:
        """Input rows [begin, end) for output rows [begin, end), clipped to ``height``."""
        return max(0, begin * self.stride + self.first), min(height, (end - 1) * self.stride + self.last + 1)


@dataclass(frozen=True)
class OpCall:
    """One kernel call.

    Attributes:
        op: what is computed, such as ``conv2d``; see :mod:`microlith.kernels.base` for the list.
        attrs: typed attributes of the op (a frozen dataclass of :mod:`microlith.program.attrs`).
        reads: ids of the views read, in the op's order.
        writes: ids of the views written.
        consts: by role (``weights``, ``bias``, ``scale``, ``multiplier``, ``shift``, ``table``).
        epilogue: clamp of the results.
        requant: how accumulators become integers; None in a float call.
        rows: output rows [begin, end) along the row axis; None for an op without rows.
        scratch: id of the view that the kernel may use while it runs.
        kernel: name of the chosen kernel; empty before selection.
        schedule: name of the chosen schedule of that kernel.
        source_nodes: names of the graph nodes that it computes.
    """

    op: str
    attrs: object
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    consts: Mapping[str, ConstRef] = field(default_factory=dict)
    epilogue: Epilogue = Epilogue()
    requant: Requant | None = None
    rows: tuple[int, int] | None = None
    scratch: str | None = None
    kernel: str = ""
    schedule: str = ""
    source_nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A step that calls one kernel."""

    op: OpCall


@dataclass(frozen=True)
class Region:
    """Steps computed a few rows at a time.

    Attributes:
        axis: physical axis of the rows (1 in N,H,W,C).
        rows: output rows of the last step in each turn.
        body: the steps; every step's result but the last one's may be a ring.
    """

    axis: int
    rows: int
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Load:
    """Bring a const into a slot (a view) before the step that reads it."""

    const: ConstRef
    slot: str


@dataclass(frozen=True)
class Exit:
    """Leave the entry with ``output`` where the predicate (a view of one element) is not zero."""

    predicate: str
    output: str


Step = Call | Region | Load | Exit


@dataclass(frozen=True)
class Entry:
    """One function of the library.

    Attributes:
        name: C identifier.
        inputs: ids of views that the caller fills.
        outputs: ids of views that the caller reads.
        body: steps in order.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: tuple[Step, ...]


STATE_SPACE = "state"
"""The memory space of what is kept from run to run; its buffers are needed before the first step and after the last."""


@dataclass(frozen=True, eq=False)
class StateSlot:
    """One state: what a run finds where the run before left it.

    Attributes:
        view: id of the view that a run reads; all of a buffer of :data:`STATE_SPACE`.
        output: name of the graph output that it becomes.
        initial: values before the first run, as they are stored.
        update: id of the view of the same buffer through which the next value is written; None where the state stays
            as it is.
    """

    view: str
    output: str
    initial: NDArray[np.generic]
    update: str | None = None


@dataclass(frozen=True)
class Program:
    """A planned network.

    Attributes:
        name: prefix of every C symbol.
        entries: functions.
        buffers: by id.
        views: by id.
        consts: by id.
        storage: by const id; empty before selection.
        offsets: by buffer id, bytes within its space; empty before planning.
        spaces: by space name, bytes used; empty before planning.
        requantization: the model's.
        states: what is kept from run to run.
    """

    name: str
    entries: tuple[Entry, ...]
    buffers: Mapping[str, Buffer]
    views: Mapping[str, View]
    consts: Mapping[str, Const]
    storage: Mapping[str, Storage] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)
    spaces: Mapping[str, int] = field(default_factory=dict)
    requantization: Requantization = "float"
    states: tuple[StateSlot, ...] = ()

    def view(self, id: str) -> View:
        """The view of that id."""
        return self.views[id]


def calls(steps: tuple[Step, ...]) -> Iterator[OpCall]:
    """Every kernel call of a step tree, in order."""
    for step in steps:
        if isinstance(step, Call):
            yield step.op
        elif isinstance(step, Region):
            yield from calls(step.body)
