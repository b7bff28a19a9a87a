"""One HTML file that needs nothing else: no network, no script, light and dark, fit for printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import microlith
from microlith.bench.layers import bench_if_counted
from microlith.core.details import RunDetails
from microlith.core.evidence import EvidenceSet
from microlith.core.statistics import Interval
from microlith.report import format as fmt
from microlith.report import plots, summary
from microlith.report.load import Run
from microlith.report.memory_plot import memory
from microlith.report.names import short
from microlith.report.plots_precision import precision

_TEMPLATES = Path(__file__).parent / "templates"
_MARKS = {"accuracy_float": "original model", "accuracy": "artifact", "agreement": "top-1 agreement"}
_KEY_FIGURES = ("flash_bytes", "ram_bytes", "latency_s", "cycles", "instructions", "macs", "bit_exact")


@dataclass(frozen=True)
class AccuracyView:
    """How good the artifact is beside the original model.

    Attributes:
        title: name of the metric.
        figures: heading, figure, interval and remark of each.
        plots: with their captions.
        samples: behind the figures.
        drop: what its plot and its sign mean.
    """

    title: str
    figures: tuple[tuple[str, str, str, str], ...]
    plots: tuple[tuple[str, plots.Plot], ...]
    samples: int


def render(details: RunDetails, evidence: EvidenceSet) -> str:
    """The report of one run as one self-contained HTML document."""
    found = bench_if_counted(details)
    return str(
        template("report.html.j2").render(
            details=details,
            headline=summary.headline(details),
            cards=summary.verdict_cards(details),
            key_figures=_key_figures(details, evidence),
            accuracy=_accuracy(details, evidence),
            figures=summary.figure_rows(details, evidence),
            compilers=summary.compilers(details, evidence),
            settings=_setting_names(details),
            layers=summary.layers(details),
            bench=found,
            bound_line="" if found is None else summary.bound_line(found),
            names={row.index: row.name for row in details.layers},
            memory_plots=_memory_plots(details),
            sqnr_plot=_sqnr_plot(details),
            precision_plot=None if details.precision is None else precision(details.precision, "precision"),
            short=short,
            how=fmt.HOW,
            fmt=fmt,
            version=microlith.__version__,
        )
    )


def render_comparison(runs: Sequence[Run]) -> str:
    """Several runs side by side as one self-contained HTML document; differences are against the first."""
    if len(runs) < 2:
        raise ValueError(f"a comparison of {len(runs)} runs")
    return str(
        template("comparison.html.j2").render(
            runs=runs,
            headlines=[summary.headline(run.details) for run in runs],
            rows=_comparison_rows(runs),
            lines=_comparison_lines(runs),
            how=fmt.HOW,
            fmt=fmt,
            version=microlith.__version__,
        )
    )


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: fmt.clean_lines(value) if type(value) is str else value,
    )
    environment.globals["style"] = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment


def template(name: str) -> Any:
    """A page of this package, by the name of its file."""
    return _environment().get_template(name)


def _key_figures(details: RunDetails, evidence: EvidenceSet) -> list[summary.FigureRow]:
    """The figures that matter most and are judged by no budget line."""
    judged = {row.metric for row in details.verdicts}
    rows = {row.metric: row for row in summary.figure_rows(details, evidence)}
    return [rows[metric] for metric in _KEY_FIGURES if metric in rows and metric not in judged]


def _accuracy(details: RunDetails, evidence: EvidenceSet) -> AccuracyView | None:
    items = {
        name: item
        for name in ("accuracy_float", "accuracy", "accuracy_drop", "agreement")
        if (item := evidence.get(name)) is not None
    }
    if not items:
        return None
    if details.metric == "agreement":
        # Without labels the metric is the agreement itself: the original agrees with itself, always.
        items = {name: items[name] for name in ("agreement", "accuracy_drop") if name in items}
    titles = {name: fmt.metric_title(name, details.metric) for name in items}
    figures = tuple(
        (titles[name], fmt.figure(item.value, item.unit), fmt.interval(item), item.how) for name, item in items.items()
    )
    shares = [item for name, item in items.items() if name != "accuracy_drop" and item.unit == "fraction"]
    drawn = []
    if shares:
        marks = [plots.Mark(_MARKS[item.metric], _interval(item).scaled(100)) for item in shares]
        drawn.append(("With 95% intervals", plots.intervals(marks, "%", "accuracy")))
    drop = items.get("accuracy_drop")
    if drop is not None:
        limit = next((row.limit for row in details.verdicts if row.metric == "accuracy_drop"), None)
        marks = [plots.Mark("Drop", _interval(drop))]
        unit = "percentage points" if drop.unit == "pp" else drop.unit
        drawn.append(("Drop, paired on the same samples", plots.intervals(marks, unit, "drop", limit=limit, zero=True)))
    samples = max(item.n for item in items.values())
    return AccuracyView(fmt.metric_name(details.metric), figures, tuple(drawn), samples)


def _interval(item: Any) -> Interval:
    return Interval(item.value, item.low, item.high, item.n)


def _setting_names(details: RunDetails) -> list[str]:
    """Names of all settings of all candidates, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in details.candidates for name in row.settings))


def _memory_plots(details: RunDetails) -> list[tuple[str, plots.Plot]]:
    spaces = list(dict.fromkeys(row.space for row in details.memory))
    bound = details.arena_bound_bytes if len(spaces) == 1 else None
    return [(space, memory(details.memory, space, bound)) for space in spaces]


def _sqnr_plot(details: RunDetails) -> plots.Plot | None:
    if not any(map(plots.has_sqnr, details.layers)):
        return None
    return plots.sqnr(details.layers, "sqnr")


def _comparison_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a metric: the cells of all runs, and how each differs from the first."""
    metrics = dict.fromkeys(item.metric for run in runs for item in run.evidence.items)
    rows = []
    for metric in metrics:
        items = [run.evidence.get(metric) for run in runs]
        quality = {run.details.metric for run in runs}
        rows.append(
            {
                "title": fmt.metric_title(metric, quality.pop() if len(quality) == 1 else ""),
                "metric": metric,
                "cells": [
                    None
                    if item is None
                    else {
                        "value": fmt.figure(item.value, item.unit, metric),
                        "interval": fmt.interval(item),
                        "how": item.how,
                        "difference": "" if index == 0 else _difference(items[0], item),
                    }
                    for index, item in enumerate(items)
                ],
            }
        )
    return rows


def _difference(first: Any, item: Any) -> str:
    """Relative difference of counts; empty where there is none to state, or where figures are shares already."""
    if first is None or first.unit != item.unit or item.unit in ("pp", "%", "fraction") or not first.value:
        return ""
    percent = 100 * (item.value - first.value) / abs(first.value)
    return f"{percent:+.1f}%".replace("-", fmt.MINUS) if round(percent, 1) else "±0%"


def _comparison_lines(runs: Sequence[Run]) -> list[tuple[str, list[summary.VerdictCard | None]]]:
    """One row a budget line that any run has."""
    titles = dict.fromkeys(card.title for run in runs for card in summary.verdict_cards(run.details))
    cards = [{card.title: card for card in summary.verdict_cards(run.details)} for run in runs]
    return [(title, [found.get(title) for found in cards]) for title in titles]
