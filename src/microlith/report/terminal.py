"""The summary of a run, and of several, for the terminal: renderables of rich, which the caller prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from microlith.bench.layers import Bench
from microlith.core.details import CheckRow, PrecisionPlan, RunDetails, TradeRow
from microlith.core.evidence import EvidenceSet
from microlith.core.units import format_bytes
from microlith.report import summary
from microlith.report.format import DASH, allowance, clean, clean_lines, interval_text, memory_lines, metric_name
from microlith.report.load import Run
from microlith.report.names import NARROW, WIDTH, short

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_STYLES = {"met": "bold green", "missed": "bold red", "unset": "bold"}
_SIGNS = {"met": "✓", "missed": "✗", "unset": DASH}
_HEAVIEST = 8
_TRADES = 12
_BAR = 20
_NARROW_BAR = 8


def render_summary(details: RunDetails, evidence: EvidenceSet, *, narrow: bool = False) -> Group:
    """The verdict, the figures, the heaviest layers, the candidates, the checks and the notes of one run.

    Args:
        details: what is known of the run.
        evidence: its figures.
        narrow: leave out columns that 80 characters have no room for: how a budget line was judged, which the figures
            tell, and the kernels, which the page shows.
    """
    from rich.console import Group

    parts: list[RenderableType] = [_headline(details), _subject(details)]
    if details.verdicts:
        parts += [text(""), _verdicts(details, narrow)]
    parts += [text(""), _figures(details, evidence)]
    compilers = summary.compilers(details, evidence)
    # A second compiler's flash alone, which is counted wherever there is one, is told by the page.
    if any(row.instructions is not None for row in compilers[1:]):
        parts += [text(""), _compilers(compilers)]
    if details.candidates:
        parts += [text(""), _candidates(details)]
    if details.precision is not None:
        parts += [text(""), _precision(details.precision, narrow)]
    if details.layers:
        parts += [text(""), _layers(details, narrow)]
        parts += [text(remark, "dim") for remark in summary.layers(details).remarks]
        if expectation := summary.expectation(details):
            parts.append(text(expectation, "dim"))
    if details.memory_plan is not None:
        parts += [text(""), *(text(line, "dim") for line in memory_lines(details.memory_plan, rings=False))]
    if details.checks:
        parts += [text(""), render_checks(details.checks)]
    if details.runtimes:
        parts += [text(""), render_runtimes(details, narrow=narrow)]
    if details.notes:
        parts += [text(""), *(text(f"Note: {note}", "yellow") for note in details.notes)]
    return Group(*parts)


def render_comparison(runs: Sequence[Run]) -> Table:
    """One column a run: verdict, then every figure."""
    table = table_of("Runs side by side", "")
    for run in runs:
        table.add_column(text(run.name), justify="right")
    heads = [summary.headline(run.details) for run in runs]
    table.add_row(text("verdict"), *(text(f"{_SIGNS[head.state]} {head.title}", _STYLES[head.state]) for head in heads))
    table.add_row(text("device"), *(text(run.details.device_title) for run in runs))
    table.add_section()
    for metric in dict.fromkeys(item.metric for run in runs for item in run.evidence.items):
        cells = [run.evidence.get(metric) for run in runs]
        table.add_row(
            text(metric),
            *(text(summary.value_text(item), "dim" if item is None else "") for item in cells),
        )
    return table


def text(content: str, style: str = "") -> Text:
    """Text that is never read as markup and holds no control characters."""
    from rich.text import Text

    return Text(clean_lines(content), style=style)


def table_of(title: str, *columns: str) -> Table:
    """An empty table in the style of all; a column whose heading begins with ``>`` is aligned to the right."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=text(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        plain = column.removeprefix(">")
        table.add_column(text(plain), justify="right" if column != plain else "left", overflow="fold")
    return table


def _headline(details: RunDetails) -> Text:
    head = summary.headline(details)
    line = text(f"{_SIGNS[head.state]} {head.title}", _STYLES[head.state])
    return line.append_text(text(f"  {head.text}", "not bold"))


def _subject(details: RunDetails) -> Text:
    toolchain = details.toolchain or "no toolchain"
    return text(f"{clean(details.model)} on {clean(details.device_title)}, {clean(toolchain)}", "dim")


def _verdicts(details: RunDetails, narrow: bool) -> Table:
    columns = ["", "line", ">figure", ">judged at", ">limit", ">margin", *([] if narrow else ["how"])]
    table = table_of("Against the budget", *columns)
    for card in summary.verdict_cards(details):
        style = "green" if card.met else "red"
        cells = [
            text("✓" if card.met else "✗", style),
            text(card.title),
            text(card.value),
            text(card.judged or ("" if card.fill is None else "the same"), "" if card.judged else "dim"),
            text(card.limit),
            text(card.excess, style),
            text(card.how, "dim"),
        ]
        table.add_row(*cells[: len(columns)])
    return table


def _figures(details: RunDetails, evidence: EvidenceSet) -> Table:
    table = table_of("Figures", "figure", ">value", ">95% interval", ">n", "how")
    for row in summary.figure_rows(details, evidence):
        table.add_row(text(row.title), text(row.value), text(row.interval), text(f"{row.n:,}"), text(row.how, "dim"))
    return table


def _precision(plan: PrecisionPlan, narrow: bool) -> Table:
    """What bits the weights of each layer got."""
    title = f"Precision of weights, by {plan.measure} on {plan.samples} samples"
    table = table_of(title, "layer", "weights", ">loss", ">bytes", *([] if narrow else ["why"]))
    for row in plan.rows:
        taken = next(item for item in row.options if item.kind == row.chosen)
        cells = (
            short(row.layer, NARROW if narrow else WIDTH),
            row.chosen,
            f"{taken.loss:.2g}",
            f"{taken.weight_bytes:,}",
        )
        table.add_row(*map(text, cells), *([] if narrow else [text(row.why, "dim")]))
    return table


def _compilers(rows: Sequence[summary.CompilerRow]) -> Table:
    table = table_of("Compilers", "compiler", ">flash", ">RAM", ">instructions", ">cycles")
    for row in rows:
        sizes = (row.flash_bytes, row.ram_bytes)
        cells = [DASH if size is None else format_bytes(size) for size in sizes]
        cells += [DASH if count is None else f"{count:,}" for count in (row.instructions, row.cycles)]
        table.add_row(text(row.compiler), *map(text, cells))
    return table


def _candidates(details: RunDetails) -> Table:
    names = list(dict.fromkeys(name for row in details.candidates for name in row.settings))
    table = table_of("Candidates, on the selection part", "", *names, f">{metric_name(details.metric)}", "note")
    for row in details.candidates:
        style = "bold" if row.chosen else ""
        settings = [text(row.settings.get(name, DASH), style) for name in names]
        mark = text("→" if row.chosen else "", "green")
        table.add_row(mark, *settings, text(f"{row.metric:.4f}", style), text(row.note, "dim"))
    return table


def _layers(details: RunDetails, narrow: bool) -> Table:
    """The layers with the largest share; all of them in order where nothing was counted."""
    layers = summary.layers(details)
    lines = sorted(layers.lines, key=lambda line: -(line.share or 0))[:_HEAVIEST] if layers.basis else layers.lines
    title = f"Layers, the {len(lines)} heaviest of {len(layers.lines)}" if len(lines) < len(layers.lines) else "Layers"
    share_title = f"share of {layers.basis}" if layers.basis and not narrow else "share"
    columns = [">#", "layer", *([] if narrow else ["kernel"]), ">MACs", ">instructions", ">cycles", share_title]
    table = table_of(title, *columns)
    bar = _NARROW_BAR if narrow else _BAR
    for line in lines:
        row = line.row
        share = "" if line.share is None else f"{'█' * round(bar * line.share)} {100 * line.share:.1f}%"
        table.add_row(
            text(str(row.index), "dim"),
            text(row.name),
            *([] if narrow else [text(row.kernel, "dim")]),
            text(f"{row.macs:,}"),
            _count(row.instructions),
            _count(row.cycles),
            text(share, "cyan"),
        )
    return table


def render_bench(found: Bench, details: RunDetails, *, narrow: bool = False) -> Group:
    """Every layer's time beside its work and the least that it could take, and cycles for bytes.

    Args:
        found: what was counted.
        details: with the names to show.
        narrow: leave out the kernels and what was expected.
    """
    from rich.console import Group

    columns = [">#", "layer", *([] if narrow else ["kernel"]), f">{found.unit}", ">a MAC", ">instr. a MAC"]
    columns += [">bytes moved", ">bound", ">share", *([] if narrow else [">estimate"])]
    table = table_of(f"{found.unit.capitalize()} by layer", *columns)
    for row, named in zip(found.rows, details.layers, strict=True):
        time = row.cycles if row.cycles is not None and found.unit == "cycles" else row.instructions
        table.add_row(
            text(str(row.index), "dim"),
            text(named.name),
            *([] if narrow else [text(row.kernel, "dim")]),
            text(f"{time:,}"),
            text(_decimal(row.cycles_per_mac)),
            text(_decimal(row.instructions_per_mac)),
            text("" if row.moved_bytes is None else f"{row.moved_bytes:,}"),
            text("" if row.bound is None else f"{row.bound:,.0f}"),
            text("" if row.fraction is None else f"{100 * row.fraction:.0f}%", "cyan"),
            *([] if narrow else [text("" if row.error_percent is None else f"{row.error_percent:+.1f}%", "dim")]),
        )
    parts: list[RenderableType] = [table, text(""), text(summary.bound_line(found))]
    if found.expectation:
        parts.append(text(found.expectation))
    if details.trades:
        parts += [text(""), render_trades(details.trades, {row.index: row.name for row in details.layers})]
    return Group(*parts)


def render_trades(trades: Sequence[TradeRow], names: Mapping[int, str]) -> Table:
    """Cycles for bytes, what was paid first, then what is on offer, the most cycles first."""
    ordered = sorted(trades, key=lambda row: (not row.taken, -row.cycles))
    title = "Cycles for bytes" + (f", the {_TRADES} largest of {len(ordered)}" if len(ordered) > _TRADES else "")
    table = table_of(title, ">#", "layer", "kernel", ">cycles saved", ">flash more", ">scratch more", "")
    for row in ordered[:_TRADES]:
        table.add_row(
            text(str(row.layer), "dim"),
            text(names[row.layer]),
            text(row.kernel, "dim"),
            text(f"{row.cycles:,.0f}"),
            text(f"{row.flash_bytes:,} B"),
            text(f"{row.scratch_bytes:,} B"),
            text("taken" if row.taken else "on offer", "green" if row.taken else "dim"),
        )
    return table


def render_reasons(details: RunDetails) -> Table:
    """Why each kernel was chosen."""
    table = table_of("Why these kernels", "layers", "kernel", "reason")
    for kernel, why, indices in summary.layers(details).reasons:
        table.add_row(text(indices), text(kernel), text(why, "dim"))
    return table


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _count(value: int | None) -> Text:
    return text("not counted", "dim") if value is None else text(f"{value:,}")


def render_checks(rows: Sequence[CheckRow]) -> Table:
    """Comparisons of executors."""
    table = table_of("Checks", "", "compared", ">samples", ">values", ">differing", ">worst", ">allowed")
    for row in rows:
        table.add_row(
            text("✓" if row.passed else "✗", "green" if row.passed else "red"),
            text(row.what),
            text(f"{row.samples:,}"),
            text(f"{row.elements:,}"),
            text(f"{row.differing:,}"),
            text(f"{row.worst:.4g}"),
            text(allowance(row.bound)),
        )
    return table


def render_runtimes(details: RunDetails, *, narrow: bool = False) -> Table:
    """The model in every runtime that there is.

    Args:
        details: of a run.
        narrow: leave out the ends of intervals.
    """
    metric = metric_name(details.runtimes_metric).lower() if details.runtimes_metric else "metric"
    table = table_of("Runtimes", "runtime", ">size", ">samples", f">{metric}", ">agreement", ">differing", ">worst")
    for row in details.runtimes:
        if row.missing:
            table.add_row(text(row.runtime), *(text(DASH, "dim") for _ in range(6)))
            continue
        size = DASH if row.size_bytes is None else f"{row.size_bytes:,} B"
        differing = f"{row.differing:,} of {row.elements:,}" if row.elements else DASH
        table.add_row(
            text(row.runtime),
            text(size),
            text(f"{row.samples:,}"),
            text(interval_text(row.metric, shares=details.runtimes_metric != "mse", narrow=narrow)),
            text(interval_text(row.agreement, shares=True, narrow=narrow)),
            text(differing),
            text(f"{row.worst:.3g}" if row.elements else DASH),
        )
    return table


def runtime_notes(details: RunDetails) -> list[str]:
    """What the table cannot say: what sizes are of, which runtimes are missing, and what some compute otherwise."""
    sizes = dict.fromkeys(row.size_of for row in details.runtimes if row.size_of)
    notes = [f"Sizes are of: {', '.join(sizes)}."] if sizes else []
    notes.append(
        "Values are compared with the specification; the worst difference is in quanta where they are integers."
    )
    notes += [f"{row.runtime} was not run: {row.missing}" for row in details.runtimes if row.missing]
    said: dict[str, list[str]] = {}
    for row in details.runtimes:
        for remark in row.remarks:
            said.setdefault(remark, []).append(row.runtime)
    return notes + [f"{' and '.join(names)}: {remark}" for remark, names in said.items()]
