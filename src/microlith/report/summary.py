"""What both the page and the terminal show, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microlith.bench.layers import Bench, bench_if_counted
from microlith.core.details import LayerRow, RunDetails, VerdictRow
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.report import format as fmt

State = Literal["met", "missed", "unset"]


@dataclass(frozen=True)
class Headline:
    """The verdict in one line: whether the budget is met, and what stands in its way."""

    state: State
    title: str
    text: str


@dataclass(frozen=True)
class VerdictCard:
    """One budget line.

    Attributes:
        title: of the line.
        value: the figure, or that there is none.
        limit: the bound.
        judged: the pessimistic end that was compared, where it differs from the figure.
        excess: how far it lies from the limit.
        how: how the figure was obtained; empty without evidence.
        met: whether the line holds.
        fill: the pessimistic end as a fraction of the limit, 0 to 1, for a bar; None without evidence.
    """

    title: str
    value: str
    limit: str
    judged: str
    excess: str
    how: str
    met: bool
    fill: float | None


@dataclass(frozen=True)
class FigureRow:
    """One piece of evidence."""

    metric: str
    title: str
    value: str
    interval: str
    n: int
    how: str
    context: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LayerLine:
    """One layer with its share of the work, 0 to 1; None where nothing was counted."""

    row: LayerRow
    shape: str
    per_mac: str
    share: float | None


@dataclass(frozen=True)
class Layers:
    """All layers.

    Attributes:
        lines: in order.
        basis: what shares are of: ``cycles``, ``instructions``, or empty where neither was counted.
        macs: sum over the layers.
        weight_bytes: sum over the layers.
        instructions: sum over the layers; None where they were not counted.
        cycles: likewise.
        remarks: what is missing, and why.
        reasons: kernels with the reason for which they were chosen, and the indices of their layers.
    """

    lines: tuple[LayerLine, ...]
    basis: Literal["cycles", "instructions", ""]
    macs: int
    weight_bytes: int
    instructions: int | None
    cycles: int | None
    remarks: tuple[str, ...]
    reasons: tuple[tuple[str, str, str], ...]


def headline(details: RunDetails) -> Headline:
    """The verdict of all budget lines together."""
    verdicts = details.verdicts
    if not verdicts:
        return Headline("unset", "No budget was set", "The figures below are not judged against a limit.")
    missed = [row for row in verdicts if not row.met]
    if not missed:
        count = f"All {len(verdicts)} lines hold" if len(verdicts) > 1 else "Its one line holds"
        return Headline("met", "Meets the budget", f"{count} at the pessimistic end of the evidence.")
    parts = [f"{fmt.line_title(row.line)}: {_shortfall(row)}" for row in missed]
    return Headline("missed", "Misses the budget", "; ".join(parts) + ".")


def _shortfall(row: VerdictRow) -> str:
    if row.pessimistic is None:
        return "no evidence, so the line is not met"
    return fmt.excess(row.pessimistic, row.limit, row.unit)


def verdict_cards(details: RunDetails) -> tuple[VerdictCard, ...]:
    """The budget lines."""
    return tuple(_card(row) for row in details.verdicts)


def _card(row: VerdictRow) -> VerdictCard:
    limit = fmt.bound(row.limit, row.unit)
    if row.value is None or row.pessimistic is None:
        return VerdictCard(
            fmt.line_title(row.line), "no evidence", limit, "", "a line without evidence is not met", "", row.met, None
        )
    exact = row.value == row.pessimistic
    return VerdictCard(
        title=fmt.line_title(row.line),
        value=fmt.figure(row.value, row.unit),
        limit=limit,
        judged="" if exact else fmt.figure(row.pessimistic, row.unit),
        excess=fmt.excess(row.pessimistic, row.limit, row.unit),
        how=row.how,
        met=row.met,
        fill=_fill(row.pessimistic, row.limit),
    )


def _fill(pessimistic: float, limit: float) -> float:
    if limit <= 0:
        return 0.0 if pessimistic <= limit else 1.0
    return min(max(pessimistic / limit, 0.0), 1.0)


def figure_rows(details: RunDetails, evidence: EvidenceSet) -> tuple[FigureRow, ...]:
    """Every piece of evidence, in its order."""
    return tuple(
        FigureRow(
            metric=item.metric,
            title=fmt.metric_title(item.metric, details.metric),
            value=fmt.figure(item.value, item.unit, item.metric),
            interval=fmt.interval(item),
            n=item.n,
            how=item.how,
            context=tuple(sorted(item.context.items())),
        )
        for item in evidence.items
    )


@dataclass(frozen=True)
class CompilerRow:
    """What one compiler makes of the artifact; figures that were not obtained are None."""

    compiler: str
    flash_bytes: int | None
    ram_bytes: int | None
    instructions: int | None
    cycles: int | None


def compilers(details: RunDetails, evidence: EvidenceSet) -> tuple[CompilerRow, ...]:
    """The artifact's compiler and those beside it; empty where there are no others."""
    metrics = ("flash_bytes", "ram_bytes", "instructions", "cycles")
    own: dict[str, int] = {}
    others: dict[str, dict[str, int]] = {}
    for item in evidence.items:
        if item.metric in metrics:
            own[item.metric] = int(item.value)
            for key, value in item.context.items():
                metric, _, other = key.partition("_with_")
                if metric == item.metric and other and value.isdecimal():
                    others.setdefault(other.replace("_", " "), {})[metric] = int(value)
    rows = [(details.toolchain, own), *others.items()] if others else []
    return tuple(CompilerRow(name, *(figures.get(metric) for metric in metrics)) for name, figures in rows)


def value_text(item: Evidence | None) -> str:
    """A figure, or that there is none."""
    return "no evidence" if item is None else fmt.figure(item.value, item.unit, item.metric)


def layers(details: RunDetails) -> Layers:
    """The layers with shares, sums and what is missing."""
    rows = details.layers
    cycles = _sum([row.cycles for row in rows])
    instructions = _sum([row.instructions for row in rows])
    basis: Literal["cycles", "instructions", ""] = ""
    if cycles:
        basis = "cycles"
    elif instructions:
        basis = "instructions"
    total = cycles if basis == "cycles" else instructions
    lines = []
    for row in rows:
        part = row.cycles if basis == "cycles" else row.instructions
        share = part / total if basis and total and part is not None else None
        per_mac = f"{row.instructions / row.macs:.2f}" if row.instructions is not None and row.macs else ""
        lines.append(LayerLine(row, f" {fmt.TIMES} ".join(map(str, row.output_shape)), per_mac, share))
    return Layers(
        lines=tuple(lines),
        basis=basis,
        macs=sum(row.macs for row in rows),
        weight_bytes=sum(row.weight_bytes for row in rows),
        instructions=instructions,
        cycles=cycles,
        remarks=_remarks(rows, instructions, cycles),
        reasons=_reasons(rows),
    )


def _reasons(rows: tuple[LayerRow, ...]) -> tuple[tuple[str, str, str], ...]:
    chosen: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.why:
            chosen.setdefault((row.kernel, row.why), []).append(row.index)
    return tuple((kernel, why, ", ".join(map(str, indices))) for (kernel, why), indices in chosen.items())


def _sum(values: list[int | None]) -> int | None:
    """The sum of what is there; None where a part is missing, because that would be no sum."""
    if not values or any(value is None for value in values):
        return None
    return sum(value for value in values if value is not None)


def bound_line(found: Bench) -> str:
    """How near all layers together are to the least that they could take."""
    if found.fraction is None:
        return f"{found.total:,} {found.unit} in all layers; no bound is stated for this device."
    return (
        f"{found.total:,} {found.unit} in all layers; products, results and memory traffic alone take at least "
        f"{found.bound:,.0f} ({100 * found.fraction:.0f}%)."
    )


def expectation(details: RunDetails) -> str:
    """What the cost model expected against what was counted; empty where nothing can be said."""
    found = bench_if_counted(details)
    return "" if found is None else found.expectation


def _remarks(rows: tuple[LayerRow, ...], instructions: int | None, cycles: int | None) -> tuple[str, ...]:
    remarks = []
    if rows and instructions is None:
        remarks.append("Instructions and cycles were not counted: the artifact was not run in the emulator.")
    elif rows and cycles is None:
        remarks.append("Cycles are not modelled for this core; exact instruction counts are shown instead.")
    without = sum(row.sqnr_db is None for row in rows)
    if rows and without == len(rows):
        remarks.append("The signal-to-noise ratio of the layers was not computed.")
    elif without:
        remarks.append(f"The signal-to-noise ratio was not computed for {without} of {len(rows)} layers.")
    return tuple(remarks)
