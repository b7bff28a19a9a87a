"""Each layer's time beside the work that it has, the least that it could take, and what was expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from microlith.core.details import LayerRow, RunDetails
from microlith.core.errors import InputError

# Of a layer below this share of all, an error of the estimate says nothing.
_SHARE_THAT_COUNTS = 0.005


@dataclass(frozen=True)
class LayerBench:
    """One layer.

    Attributes:
        index: position in the program.
        name: of the graph nodes.
        op: op of the Program.
        kernel: with its schedule where it has several.
        cycles: modelled; None where the core has no table.
        instructions: counted.
        macs: multiply-accumulates.
        cycles_per_mac: None without MACs or cycles.
        instructions_per_mac: None without MACs.
        read_bytes: of activations.
        written_bytes: likewise.
        const_bytes: stored constants.
        bound: least cycles, or instructions, by :mod:`microlith.compile.bound`; None where there is none.
        fraction: bound over what was counted.
        expected_cycles: what the choice of the kernel reckoned with.
        error_percent: of that, against what was counted; None without cycles.
        expected_by: ``estimate`` or ``tuning``.
        why: reason for the kernel.
    """

    index: int
    name: str
    op: str
    kernel: str
    cycles: int | None
    instructions: int
    macs: int
    cycles_per_mac: float | None
    instructions_per_mac: float | None
    read_bytes: int | None
    written_bytes: int | None
    const_bytes: int
    bound: float | None
    fraction: float | None
    expected_cycles: float | None
    error_percent: float | None
    expected_by: str
    why: str

    @property
    def moved_bytes(self) -> int | None:
        """Activations read and written, and constants read."""
        if self.read_bytes is None or self.written_bytes is None:
            return None
        return self.read_bytes + self.written_bytes + self.const_bytes


@dataclass(frozen=True)
class Bench:
    """All layers.

    Attributes:
        unit: what time is counted in.
        rows: in order.
        total: of all layers, in the unit.
        bound: likewise, of the layers that have one.
        fraction: bound over the total of those layers; None where none has one.
        expected_cycles: of all layers; None where it was not reckoned for all.
        error_percent: of that sum; None without cycles.
        errors: least, median and greatest error of the layers that take half a percent or more; empty without cycles.
    """

    unit: Literal["cycles", "instructions"]
    rows: tuple[LayerBench, ...]
    total: int
    bound: float
    fraction: float | None
    expected_cycles: float | None
    error_percent: float | None
    errors: tuple[float, ...]

    @property
    def expectation(self) -> str:
        """What was expected against what was counted, in one line; empty where that cannot be said."""
        if self.expected_cycles is None or self.error_percent is None or not self.errors:
            return ""
        tuned = sum(row.expected_by == "tuning" for row in self.rows)
        how = "estimated" if not tuned else f"expected ({tuned} of {len(self.rows)} layers tuned)"
        low, middle, high = (f"{value:+.1f}%" for value in self.errors)
        return (
            f"Cost model: {self.expected_cycles:,.0f} cycles {how}, {self.total:,} emulated, {self.error_percent:+.1f}%"
            f"; layer by layer {low} to {high}, median {middle}."
        )


def bench(details: RunDetails) -> Bench:
    """What the emulator counted, layer by layer.

    Raises:
        InputError: nothing was counted.
    """
    found = bench_if_counted(details)
    if found is None:
        raise InputError(
            "the layers of this artifact were not counted, since it was not run in the emulator",
            hint="Compile it for a microcontroller, with a compiler and the emulator installed: microlith[zig,mcu].",
        )
    return found


def bench_if_counted(details: RunDetails) -> Bench | None:
    """What the emulator counted, layer by layer; None where it counted nothing."""
    layers = details.layers
    if not layers or any(row.instructions is None for row in layers):
        return None
    unit: Literal["cycles", "instructions"] = "instructions" if any(row.cycles is None for row in layers) else "cycles"
    rows = tuple(_row(row, unit) for row in layers)
    counted = [_time(row, unit) for row in layers]
    total = sum(counted)
    bounded = [(row.bound, time) for row, time in zip(rows, counted, strict=True) if row.bound is not None]
    expected = [row.expected_cycles for row in rows if row.expected_cycles is not None]
    whole = sum(expected) if unit == "cycles" and len(expected) == len(rows) else None
    least = sum(value for value, _ in bounded)
    spent = sum(time for _, time in bounded)
    return Bench(
        unit=unit,
        rows=rows,
        total=total,
        bound=least,
        fraction=least / spent if spent else None,
        expected_cycles=whole,
        error_percent=None if whole is None else _error(whole, total),
        errors=_errors(rows, counted, total),
    )


def _row(row: LayerRow, unit: str) -> LayerBench:
    time = _time(row, unit)
    assert row.instructions is not None, "checked by the caller"
    return LayerBench(
        index=row.index,
        name=row.name,
        op=row.op,
        kernel=f"{row.kernel} {row.schedule}".strip(),
        cycles=row.cycles,
        instructions=row.instructions,
        macs=row.macs,
        cycles_per_mac=row.cycles / row.macs if row.macs and row.cycles is not None else None,
        instructions_per_mac=row.instructions / row.macs if row.macs else None,
        read_bytes=row.read_bytes,
        written_bytes=row.written_bytes,
        const_bytes=row.weight_bytes,
        bound=row.bound,
        fraction=row.bound / time if row.bound is not None and time else None,
        expected_cycles=row.expected_cycles,
        error_percent=_error(row.expected_cycles, time) if unit == "cycles" else None,
        expected_by=row.expected_by,
        why=row.why,
    )


def _time(row: LayerRow, unit: str) -> int:
    found = row.cycles if unit == "cycles" else row.instructions
    assert found is not None, "checked by the caller"
    return found


def _error(expected: float | None, counted: int) -> float | None:
    return None if expected is None or not counted else 100 * (expected - counted) / counted


def _errors(rows: Sequence[LayerBench], counted: Sequence[int], total: int) -> tuple[float, ...]:
    found = [
        row.error_percent
        for row, time in zip(rows, counted, strict=True)
        if row.error_percent is not None and time >= _SHARE_THAT_COUNTS * total
    ]
    return (min(found), median(found), max(found)) if found else ()
