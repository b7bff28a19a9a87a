"""What a kernel descriptor says about a C function, and how a call to it is written.

A kernel is a ``static inline`` C99 function in ``kernels/c/<header>``. Its arguments stand in one order everywhere:
results, operands, constants, scratch, requantization, rows, sizes, attributes, zero points and bounds. The emitter
makes one ``noinline`` instance for each :meth:`Kernel.instance_key`, in which :class:`Literal` arguments are written
as numbers, so that the compiler specialises there, while the other arguments stay parameters, so that calls share the
code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal as Choice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from microlith.device.profile import Device, Isa
from microlith.program.types import OpCall, RowMap, View


@dataclass(frozen=True)
class Fit:
    """Whether a kernel can serve a call; falsy with a reason where it cannot."""

    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Pointer:
    """An address argument.

    Attributes:
        name: parameter name in C.
        ctype: such as ``const int8_t *``.
        source: ``read`` and ``write`` name ``OpCall.reads``/``writes`` by index, ``const`` names ``OpCall.consts`` by
            role, ``scratch`` is ``OpCall.scratch``.
        key: the index as a string, or the role.
    """

    name: str
    ctype: str
    source: Choice["read", "write", "const", "scratch"]
    key: str = ""


@dataclass(frozen=True)
class Literal:
    """An argument written into the instance; calls that differ in it do not share code."""

    name: str
    ctype: str
    value: str


@dataclass(frozen=True)
class Runtime:
    """An argument passed at each call; calls that differ in it share code."""

    name: str
    ctype: str
    value: str


@dataclass(frozen=True)
class RowRange:
    """Two ``int32_t`` arguments, first output row and end; set by the emitter: the whole height, or a Region's turn."""

    name: str = "row"


Argument = Pointer | Literal | Runtime | RowRange


@dataclass(frozen=True, eq=False)
class Packed:
    """A const in the order in which a kernel reads it.

    Attributes:
        values: one-dimensional.
        packing: name of the order.
        align: bytes.
        tiles: elements of one indivisible block.
        sliceable_axes: axes of the const along which a slice of the packed values is contiguous.
    """

    values: NDArray[np.generic]
    packing: str
    align: int = 4
    tiles: int = 1
    sliceable_axes: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Stored size."""
        return self.values.nbytes


@dataclass(frozen=True)
class Lead:
    """Where a call may write over one of its inputs.

    Attributes:
        least: bytes by which what is written must start before the input; negative where it may start behind.
        multiple: the bytes between the two starts must be a multiple of it.
    """

    least: int
    multiple: int = 1

    def permits(self, distance: int) -> bool:
        """Whether what is written may start that many bytes before the input."""
        return distance >= self.least and distance % self.multiple == 0


@dataclass(frozen=True)
class Cost:
    """A priori cost of a call, from a table fitted to emulated calls or from a rough formula; used only to compare
    kernels of one op.

    Attributes:
        instructions: executed.
        loads: of memory.
        cycles: by the table of the device's core.
        const_bytes: constants, about.
        error_percent: greatest error of the cycles that was seen when the table was made; None for a rough formula.
    """

    instructions: float
    loads: float
    cycles: float
    const_bytes: int
    error_percent: float | None = None


@dataclass(frozen=True)
class CallContext:
    """A call together with the views that its ids name: what descriptors look at.

    Attributes:
        call: the call.
        reads: views read.
        writes: views written.
        consts: const values by role, in Program order.
    """

    call: OpCall
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    consts: Mapping[str, NDArray[np.generic]]


class Kernel(Protocol):
    """The descriptor of one C kernel.

    Attributes:
        name: of the C function, such as ``s8_conv2d__dsp_2x2``: types, op, ISA, tile.
        op: the ``OpCall.op`` that it serves.
        header: file in ``kernels/c`` that defines it.
        isa: what it needs beside C99.
    """

    @property
    def name(self) -> str:
        """Name of the C function."""
        ...

    @property
    def op(self) -> str:
        """The ``OpCall.op`` that it serves."""
        ...

    @property
    def header(self) -> str:
        """The file that defines it."""
        ...

    @property
    def isa(self) -> Isa:
        """What it needs beside C99."""
        ...

    @property
    def rounds_more(self) -> bool:
        """Whether results round more than those of the direct sum; such a kernel is a choice for speed."""
        ...

    def fits(self, ctx: CallContext, device: Device) -> Fit:
        """Whether this kernel can serve the call on that device."""
        ...

    def schedules(self, ctx: CallContext) -> tuple[str, ...]:
        """Names of the ways in which the kernel can run the call; at least one."""
        ...

    def arguments(self, ctx: CallContext) -> tuple[Argument, ...]:
        """Arguments in the order of the C function's parameters."""
        ...

    def instance_key(self, ctx: CallContext) -> tuple[object, ...]:
        """Calls with equal keys share one instance of the code."""
        ...

    def pack(self, ctx: CallContext) -> Mapping[str, Packed]:
        """Every const of the call by role, in the order in which the kernel reads it."""
        ...

    def scratch_bytes(self, ctx: CallContext) -> int:
        """Bytes of scratch in the arena."""
        ...

    def stack_bytes(self, ctx: CallContext) -> int:
        """Bytes of local arrays."""
        ...

    def input_rows(self, ctx: CallContext) -> RowMap | None:
        """Input rows that output rows need; None where the kernel cannot run on a range of rows."""
        ...

    def overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """For each read view: where the output may lie over it; None where it may not."""
        ...

    def scratch_overlap(self, ctx: CallContext) -> tuple[Lead | None, ...]:
        """For each read view: where the scratch may lie over it; None where it may not."""
        ...

    def rounding(self, ctx: CallContext) -> str:
        """What a kernel that rounds more loses in this call, as measured; empty for others."""
        ...

    def accum_bound(self, ctx: CallContext) -> int | None:
        """Greatest magnitude that the accumulator can reach with these weights; None without an accumulator."""
        ...

    def cost(self, ctx: CallContext, device: Device) -> Cost:
        """A priori cost of the call."""
        ...
