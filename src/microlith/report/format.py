"""Figures and names as text for people."""

from __future__ import annotations

import math
import unicodedata

from microlith.core.details import Figures, MemoryPlanRow
from microlith.core.evidence import Evidence, How
from microlith.core.units import format_bytes, format_seconds

MINUS, TIMES, DASH = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
_JOULES = (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9))
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")

HOW: dict[How, str] = {
    "measured": "ran on the thing itself",
    "emulated": "ran in an instruction-exact emulator",
    "counted": "counted in the linked ELF, the memory plan or the graph",
    "modelled": "computed from a table or a model",
    "published": "stated by another source",
}

_TITLES = {
    "accuracy_float": "{metric}, original model",
    "accuracy": "{metric}, artifact",
    "accuracy_drop": "Drop of {metric_lower}",
    "agreement": "Top-1 agreement with the original model",
    "flash_bytes": "Flash",
    "flash_increment_bytes": "Flash over an empty application",
    "ram_bytes": "RAM",
    "arena_bytes": "Arena",
    "state_bytes": "State",
    "stack_bytes": "Stack high-water mark",
    "data_bss_bytes": "Data and bss, the arena among it",
    "weights_bytes": "Weights and biases",
    "library_bytes": "Shared library",
    "code_bytes": "Code",
    "macs": "Multiply-accumulates",
    "instructions": "Instructions an inference",
    "cycles": "Cycles an inference",
    "latency_s": "Latency",
    "energy_j": "Energy an inference",
    "bit_exact": "Bit-exact",
    "board_bit_exact": "Bit-exact on the board",
    "samples": "Samples of the report part",
}

_YES_OR_NO = ("bit_exact", "board_bit_exact")

_LINES = {"max_drop": "Accuracy drop", "flash": "Flash", "ram": "RAM", "latency": "Latency", "energy": "Energy"}

_METRICS = {
    "": "Accuracy",
    "accuracy": "Accuracy",
    "auc": "Area under the ROC curve",
    "mse": "Mean squared error",
    "agreement": "Agreement with the original model",
}


def memory_lines(plan: MemoryPlanRow, *, rings: bool = True) -> list[str]:
    """How the memory plan came about, a sentence a line; with the rows that regions hold where ``rings``."""
    gap = plan.arena_bytes - plan.bound_bytes
    order = plan.order_peak_bytes - plan.order_bound_bytes
    proven = "proven to have the lowest peak" if order == 0 else f"at most {order:,} B from the best"
    lines = [
        f"Peak: {format_bytes(plan.peak_bytes)} alive in {clean(plan.peak_layer)}.",
        f"Order of the calls: {proven} of calls by themselves, {format_bytes(plan.order_peak_bytes)}.",
        f"Placement: {'no gap' if gap == 0 else f'a gap of {gap:,} B'} over the bound of "
        f"{format_bytes(plan.bound_bytes)}; {plan.in_place} results over their inputs.",
    ]
    for row in plan.regions:
        held = ", ".join(f"{clean(name)} {count}" for name, count in row.ring_rows.items())
        many = "row" if row.rows == 1 else "rows"
        more = f"; rows held: {held}" if rings else ""
        lines.append(f"Layers {row.first} to {row.last} run together, {row.rows} {many} at a time{more}.")
    return lines


def clean(text: str) -> str:
    """Text without characters that are invisible or steer a terminal; they are written as escapes instead."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _HIDDEN else character
        for character in text
    )


def clean_lines(text: str) -> str:
    """Like :func:`clean`, with line breaks kept."""
    return "\n".join(map(clean, text.split("\n")))


def metric_name(metric: str) -> str:
    """A metric of quality as a heading; a function of the user's keeps its own name."""
    return _METRICS.get(metric, metric)


def metric_title(metric: str, quality: str) -> str:
    """The heading of a figure, where ``quality`` is the run's metric; unknown ones keep their name."""
    name = metric_name(quality)
    lower = name if quality not in _METRICS else name[0].lower() + name[1:]
    title = _TITLES.get(metric)
    return metric if title is None else title.format(metric=name, metric_lower=lower)


def line_title(line: str) -> str:
    """The heading of a budget line."""
    return _LINES.get(line, line)


def figure(value: float, unit: str, metric: str = "") -> str:
    """A figure with its unit, readable and exact where it is a count."""
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if metric in _YES_OR_NO and value in (0, 1):
        return "yes" if value else "no"
    if unit == "B":
        return format_bytes(value)
    if unit == "s":
        return format_seconds(value).replace("us", "µs")
    if unit == "J":
        return _joules(value)
    if unit == "fraction":
        return f"{100 * value:.2f}%"
    if unit in ("pp", "%"):
        return f"{value:+.2f} {unit}".replace("-", MINUS) if round(value, 2) else f"0.00 {unit}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}" if unit in ("", "1") else f"{value:.4g} {unit}"


def compact_bytes(count: float) -> str:
    """Bytes in one short figure: ``512 B``, ``29.5 K``, ``1.25 M``."""
    if count < 1024:
        return f"{round(count):,} B"
    return f"{count / 1024:.1f} K" if count < 1024**2 else f"{count / 1024**2:.2f} M"


def interval(item: Evidence) -> str:
    """Both ends of the interval; empty for a count and for a yes or no, which have none."""
    if item.low == item.high and (item.n == 1 or item.metric in _YES_OR_NO):
        return ""
    return f"{figure(item.low, item.unit)} to {figure(item.high, item.unit)}"


def interval_text(item: Figures | None, *, shares: bool, narrow: bool = False) -> str:
    """A figure with the ends of its interval; a dash where there is none.

    Args:
        item: figure, lower end, upper end.
        shares: whether they are shown as percentages.
        narrow: leave out the ends.
    """
    if item is None:
        return DASH
    value, low, high = (f"{100 * number:.1f}" if shares else f"{number:.4g}" for number in item)
    unit = "%" if shares else ""
    return f"{value}{unit}" if narrow else f"{value}{unit} [{low}, {high}]"


def decibels(value: float | None) -> str:
    """A ratio in decibels; an infinite one is that of exactly equal values."""
    if value is None:
        return DASH
    return f"{value:.1f} dB" if math.isfinite(value) else "exact" if value > 0 else str(value)


def bound(value: float, unit: str) -> str:
    """A limit as it is set: whole kilobytes in their short form, which then loses nothing."""
    return compact_bytes(value) if unit == "B" and value % 1024 == 0 else figure(value, unit).lstrip("+")


def excess(pessimistic: float, limit: float, unit: str) -> str:
    """How far a figure lies above its limit, or below it."""
    gap = pessimistic - limit
    side = "over" if gap > 0 else "to spare"
    amount = compact_bytes(abs(gap)) if unit == "B" else figure(abs(gap), unit).lstrip("+")
    share = f" ({100 * abs(gap) / abs(limit):.0f}%)" if limit and unit not in ("pp", "%") else ""
    return f"{amount}{share} {side}"


def _joules(value: float) -> str:
    unit, scale = next(((unit, scale) for unit, scale in _JOULES if abs(value) >= scale), _JOULES[-1])
    return f"{value / scale:.3g} {unit}"


def allowance(bound: float) -> str:
    """The largest difference that a comparison allows; an infinite one allows any, and is only looked at."""
    return f"{bound:.4g}" if math.isfinite(bound) else "any"
