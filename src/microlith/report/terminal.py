"""The summary of a run, and of several, for the terminal: renderables of rich, which the caller prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microlith.core.details import RunDetails
from microlith.core.evidence import EvidenceSet
from microlith.report import summary
from microlith.report.format import DASH, clean, clean_lines, metric_name
from microlith.report.load import Run

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_STYLES = {"met": "bold green", "missed": "bold red", "unset": "bold"}
_SIGNS = {"met": "✓", "missed": "✗", "unset": DASH}
_HEAVIEST = 8
_BAR = 20


def render_summary(details: RunDetails, evidence: EvidenceSet) -> Group:
    """The verdict, the figures, the heaviest layers, the candidates, the checks and the notes of one run."""
    from rich.console import Group

    parts: list[RenderableType] = [_headline(details), _subject(details)]
    if details.verdicts:
        parts += [_text(""), _verdicts(details)]
    parts += [_text(""), _figures(details, evidence)]
    if details.candidates:
        parts += [_text(""), _candidates(details)]
    if details.layers:
        parts += [_text(""), _layers(details)]
        parts += [_text(remark, "dim") for remark in summary.layers(details).remarks]
    if details.checks:
        parts += [_text(""), _checks(details)]
    if details.notes:
        parts += [_text(""), *(_text(f"Note: {note}", "yellow") for note in details.notes)]
    return Group(*parts)


def render_comparison(runs: Sequence[Run]) -> Table:
    """One column a run: verdict, then every figure."""
    table = _table("Runs side by side", "")
    for run in runs:
        table.add_column(_text(run.name), justify="right")
    heads = [summary.headline(run.details) for run in runs]
    table.add_row(
        _text("verdict"), *(_text(f"{_SIGNS[head.state]} {head.title}", _STYLES[head.state]) for head in heads)
    )
    table.add_row(_text("device"), *(_text(run.details.device_title) for run in runs))
    table.add_section()
    for metric in dict.fromkeys(item.metric for run in runs for item in run.evidence.items):
        cells = [run.evidence.get(metric) for run in runs]
        table.add_row(
            _text(metric),
            *(_text(summary.value_text(item), "dim" if item is None else "") for item in cells),
        )
    return table


def _text(text: str, style: str = "") -> Text:
    """Text that is never read as markup and holds no control characters."""
    from rich.text import Text

    return Text(clean_lines(text), style=style)


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=_text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        plain = column.removeprefix(">")
        table.add_column(_text(plain), justify="right" if column != plain else "left", overflow="fold")
    return table


def _headline(details: RunDetails) -> Text:
    head = summary.headline(details)
    line = _text(f"{_SIGNS[head.state]} {head.title}", _STYLES[head.state])
    return line.append_text(_text(f"  {head.text}", "not bold"))


def _subject(details: RunDetails) -> Text:
    toolchain = details.toolchain or "no toolchain"
    return _text(f"{clean(details.model)} on {clean(details.device_title)}, {clean(toolchain)}", "dim")


def _verdicts(details: RunDetails) -> Table:
    table = _table("Against the budget", "", "line", ">figure", ">judged at", ">limit", "", "how")
    for card in summary.verdict_cards(details):
        style = "green" if card.met else "red"
        table.add_row(
            _text("✓" if card.met else "✗", style),
            _text(card.title),
            _text(card.value),
            _text(card.judged or ("" if card.fill is None else card.value)),
            _text(card.limit),
            _text(card.excess, style),
            _text(card.how, "dim"),
        )
    return table


def _figures(details: RunDetails, evidence: EvidenceSet) -> Table:
    table = _table("Figures", "figure", ">value", ">95% interval", ">n", "how")
    for row in summary.figure_rows(details, evidence):
        table.add_row(
            _text(row.title), _text(row.value), _text(row.interval), _text(f"{row.n:,}"), _text(row.how, "dim")
        )
    return table


def _candidates(details: RunDetails) -> Table:
    names = list(dict.fromkeys(name for row in details.candidates for name in row.settings))
    table = _table("Candidates, on the selection part", "", *names, f">{metric_name(details.metric)}", "note")
    for row in details.candidates:
        style = "bold" if row.chosen else ""
        settings = [_text(row.settings.get(name, DASH), style) for name in names]
        mark = _text("→" if row.chosen else "", "green")
        table.add_row(mark, *settings, _text(f"{row.metric:.4f}", style), _text(row.note, "dim"))
    return table


def _layers(details: RunDetails) -> Table:
    """The layers with the largest share; all of them in order where nothing was counted."""
    layers = summary.layers(details)
    lines = sorted(layers.lines, key=lambda line: -(line.share or 0))[:_HEAVIEST] if layers.basis else layers.lines
    title = f"Layers, the {len(lines)} heaviest of {len(layers.lines)}" if len(lines) < len(layers.lines) else "Layers"
    table = _table(title, ">#", "layer", "kernel", ">MACs", ">instructions", ">cycles", f"share of {layers.basis}")
    if not layers.basis:
        table.columns[-1].header = _text("share")
    for line in lines:
        row = line.row
        share = "" if line.share is None else f"{'█' * round(_BAR * line.share)} {100 * line.share:.1f}%"
        table.add_row(
            _text(str(row.index), "dim"),
            _text(row.name),
            _text(row.kernel, "dim"),
            _text(f"{row.macs:,}"),
            _count(row.instructions),
            _count(row.cycles),
            _text(share, "cyan"),
        )
    return table


def _count(value: int | None) -> Text:
    return _text("not counted", "dim") if value is None else _text(f"{value:,}")


def _checks(details: RunDetails) -> Table:
    table = _table("Checks", "", "compared", ">samples", ">values", ">differing", ">worst", ">allowed")
    for row in details.checks:
        table.add_row(
            _text("✓" if row.passed else "✗", "green" if row.passed else "red"),
            _text(row.what),
            _text(f"{row.samples:,}"),
            _text(f"{row.elements:,}"),
            _text(f"{row.differing:,}"),
            _text(f"{row.worst:.4g}"),
            _text(f"{row.bound:.4g}"),
        )
    return table
