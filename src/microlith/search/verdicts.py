"""An artifact against its budget, for reports and for errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microlith.core.budget import Budget, Verdict
from microlith.core.details import VerdictRow
from microlith.core.errors import BudgetUnmetError
from microlith.core.units import format_bytes, format_seconds
from microlith.search.artifact import Artifact


def budget_needs_toolchain(budget: Budget) -> bool:
    """Whether a budget line can only be judged on a linked program."""
    return any(limit is not None for limit in (budget.flash, budget.ram, budget.latency, budget.energy))


def unmet(verdicts: Sequence[Verdict], artifact: Artifact) -> BudgetUnmetError:
    """The error for a budget that nothing meets."""
    parts = []
    for verdict in verdicts:
        if verdict.met:
            continue
        limit = show(verdict.line, verdict.limit)
        if verdict.evidence is None:
            parts.append(f"{verdict.line} {limit}: no evidence")
            continue
        high = show(verdict.line, verdict.evidence.high)
        over = show(verdict.line, verdict.evidence.high - verdict.limit)
        parts.append(f"{verdict.line}: {high} where {limit} is allowed, {over} too much")
    hint = None
    if any(verdict.line == "ram" and not verdict.met for verdict in verdicts):
        layer, live = artifact.package.planned.peak_layer()
        hint = f"The layer that needs the most RAM is {layer}: {format_bytes(live)} of tensors are alive in it."
    return BudgetUnmetError("the budget is not met: " + "; ".join(parts), hint=hint)


def show(line: str, value: float) -> str:
    """A figure in the unit of its budget line."""
    if line in ("flash", "ram"):
        return format_bytes(value)
    if line == "latency":
        return format_seconds(value)
    return f"{value:.2f} pp" if line == "max_drop" else f"{value:.3g} J"


def with_verdicts(artifact: Artifact, verdicts: Sequence[Verdict]) -> Artifact:
    """The artifact with its budget lines in the details."""
    rows = tuple(_verdict_row(verdict) for verdict in verdicts)
    return replace(artifact, details=artifact.details.model_copy(update={"verdicts": rows}))


def _verdict_row(verdict: Verdict) -> VerdictRow:
    item = verdict.evidence
    return VerdictRow(
        line=verdict.line,
        metric=verdict.metric,
        limit=verdict.limit,
        value=None if item is None else item.value,
        pessimistic=None if item is None else item.high,
        unit="" if item is None else item.unit,
        how="" if item is None else item.how,
        met=verdict.met,
    )
