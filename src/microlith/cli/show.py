"""Results on stdout: tables, or one JSON document and nothing else."""

from __future__ import annotations

import dataclasses
import json as json_module
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microlith.core.budget import Budget
from microlith.core.details import CheckRow, PassRow, RunDetails
from microlith.core.evidence import EvidenceSet
from microlith.core.units import format_bytes
from microlith.device.profile import Device
from microlith.report import terminal
from microlith.report.format import TIMES, clean_lines, compact_bytes, figure
from microlith.report.load import Run
from microlith.report.names import NARROW, WIDTH, short, short_details
from microlith.report.ranges import render_ranges

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from microlith.api import Artifact, DryRun, Result
    from microlith.bench.layers import Bench
    from microlith.search.check import Check, Form
    from microlith.search.existing import OutputArray
    from microlith.search.ranges import RangeCheck

PLAIN_WIDTH = 120
"""Columns of a table that goes into a file or a pipe."""
WIDE = 112
"""Columns from which on tables are shown with all they have."""
_PEAK = 21
_MOST_OBSTACLES = 8
_MOST_VALUES = 10


def print_remarks(remarks: Sequence[str]) -> None:
    """Say on stderr what a file that was written does otherwise than the graph."""
    for remark in remarks:
        print(f"Note: {clean_lines(remark)}", file=sys.stderr)


def console() -> Console:
    """Stdout as rich knows it; nothing is read as markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def say(*parts: RenderableType, wrap: bool = True) -> None:
    """Print text and tables on stdout.

    Args:
        parts: printed one below the other.
        wrap: break long lines of text between words; off for commands and paths, which are copied.
    """
    screen = console()
    for part in parts:
        plain = isinstance(part, str)
        screen.print(terminal.text(part) if isinstance(part, str) else part, soft_wrap=plain and not wrap)


def say_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document; numbers that JSON does not have become null."""
    print(json_module.dumps(_plain(document), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def run_json(details: RunDetails, evidence: EvidenceSet) -> dict[str, Any]:
    """Everything that is known of a run."""
    met = all(row.met for row in details.verdicts) if details.verdicts else None
    return {
        "budget_met": met,
        "evidence": json_module.loads(evidence.to_json()),
        "details": details.model_dump(mode="python"),
    }


def print_check(
    found: Check,
    model: str,
    device: Device,
    *,
    passes: bool = False,
    written: Path | None = None,
    ranges: RangeCheck | None = None,
    page: Path | None = None,
    json: bool = False,
) -> None:
    """What a model needs and what a device has, and what data has shown."""
    if json:
        document = {"model": model, "device": device.name}
        for field in dataclasses.fields(found):
            document[field.name] = getattr(found, field.name)
        document["forms"] = [_form_document(form) for form in found.forms]  # type: ignore[assignment]
        document["passes"] = [row.model_dump() for row in found.passes]  # type: ignore[assignment]
        if ranges is not None:
            document["ranges"] = _ranges_document(ranges)  # type: ignore[assignment]
        say_json(document)
        return
    ops = ", ".join(f"{count} {name}" for name, count in found.ops.items())
    say(f"{model} on {device.title}", f"{found.nodes} nodes, {found.macs:,} MACs: {ops}", "", _forms(found, device))
    say("")
    for form in found.forms:
        _obstacles(form)
    say("Weights and activations only; code, stack and start-up come on top. microlith compile counts all of it.")
    if passes:
        say("", _passes(found.passes), "", *(_fusions(form) for form in found.forms if form.fusions))
    if ranges is not None:
        say("", render_ranges(ranges, narrow=console().width < WIDE))
    if page is not None:
        say("", f"Wrote {page}", wrap=False)
    if written is not None:
        say("", f"The graph at that point is in {written}.", wrap=False)


def _ranges_document(ranges: RangeCheck) -> dict[str, Any]:
    scheme = None if ranges.scheme is None else ranges.scheme.model_dump(mode="json")
    return {**dataclasses.asdict(dataclasses.replace(ranges, scheme=None)), "scheme": scheme}


def _form_document(form: Form) -> dict[str, Any]:
    return dataclasses.asdict(form) | {"fusions": [row.model_dump() for row in form.fusions]}


def _fusions(form: Form) -> RenderableType:
    table = terminal.table_of(f"What lowering joined, {form.arithmetic}", "kind", ">nodes", "what")
    for row in form.fusions:
        table.add_row(*(terminal.text(cell) for cell in (row.kind, str(row.count), row.note)))
    return table


def _forms(found: Check, device: Device) -> RenderableType:
    table = terminal.table_of("", "", *(f">{form.arithmetic}" for form in found.forms), ">the device has")
    rows = [
        (
            "weights and biases",
            [_bytes(form.weights_bytes) for form in found.forms],
            _limit(found.flash_bytes, "flash"),
        ),
        ("activations", [_bytes(form.arena_bytes) for form in found.forms], _limit(found.ram_bytes, "RAM")),
        ("peak layer", [short(form.peak_layer, _PEAK) for form in found.forms], ""),
        ("estimated cycles", [_count(form.estimated_cycles) for form in found.forms], _clock(device)),
        ("fits", [{None: "no figures", True: "yes", False: "no"}[form.fits] for form in found.forms], ""),
    ]
    for title, cells, limit in rows:
        styles = {"yes": "bold green", "no": "bold red", "no figures": "yellow"}
        row = (terminal.text(cell, styles.get(cell, "")) for cell in cells)
        table.add_row(terminal.text(title), *row, terminal.text(limit, "dim"))
    return table


def _obstacles(form: Form) -> None:
    for obstacle in form.obstacles[:_MOST_OBSTACLES]:
        say(terminal.text(f"{form.arithmetic}: {obstacle}", "yellow"))
    if len(form.obstacles) > _MOST_OBSTACLES:
        say(terminal.text(f"{form.arithmetic}: and {len(form.obstacles) - _MOST_OBSTACLES} more", "yellow"))


def _passes(rows: Sequence[PassRow]) -> RenderableType:
    narrow = console().width < WIDE
    heads = ["pass", ">changes", ">nodes", ">MACs", ">weights", ">peak activations"]
    table = terminal.table_of("Graph passes", *heads, *(() if narrow else ("what",)))
    for row in rows:
        cells = [
            row.name,
            str(row.changes),
            _change(str(row.nodes_before), str(row.nodes_after)),
            _change(_count(row.macs_before), _count(row.macs_after)),
            _change(_bytes(row.weight_bytes_before), _bytes(row.weight_bytes_after)),
            _change(_bytes(row.peak_activation_bytes_before), _bytes(row.peak_activation_bytes_after)),
        ]
        style = "" if row.changes else "dim"
        table.add_row(*(terminal.text(cell, style) for cell in (cells if narrow else [*cells, row.note])))
    return table


def _change(before: str, after: str) -> str:
    return f"{before} → {after}" if before != after else after


def print_artifact(artifact: Artifact, out: Path, *, json: bool = False) -> None:
    """What was compiled, and where it is."""
    if json:
        say_json({"out": str(out), **run_json(artifact.details, artifact.evidence)})
        return
    _print_run(artifact.details, artifact.evidence)
    _print_place(artifact, out)


def print_optimized(result: Result, out: Path, *, json: bool = False) -> None:
    """The artifact that meets the budget and where it is, or the nearest miss, which is not written."""
    shown = result.nearest if result.best is None else result.best
    if json:
        place = None if result.best is None else str(out)
        say_json({"out": place, **run_json(shown.details, shown.evidence)})
        return
    _print_run(shown.details, shown.evidence)
    if result.best is not None:
        _print_place(result.best, out)


def _print_run(details: RunDetails, evidence: EvidenceSet) -> None:
    narrow = console().width < WIDE
    shortened = short_details(details, NARROW if narrow else WIDTH)
    say(terminal.render_summary(shortened, evidence, narrow=narrow))


def _print_place(artifact: Artifact, out: Path) -> None:
    from microlith.compile.ecosystems import package_place

    manifest = artifact.manifest
    more = [f"Wrote {out / package_place(kind, manifest.name)}" for kind in manifest.packages if kind != "c"]
    say("", f"Wrote {out}: the C library, its self-test, and {out / 'report.html'}", *more, wrap=False)


def print_dry_run(plan: DryRun, device: Device, budget: Budget, *, json: bool = False) -> None:
    """What optimize would do."""
    candidates = [candidate.model_dump(mode="json") for candidate in plan.candidates]
    if json:
        say_json(
            {
                "device": device.name,
                "budget": budget.model_dump(exclude={"schema_version"}),
                "parts": plan.parts,
                "metric": plan.metric,
                "candidates": candidates,
                "recipe": plan.recipe,
                "infeasible": plan.infeasible,
                "notes": plan.notes,
                "forms": [_form_document(form) for form in plan.check.forms],
            }
        )
        return
    parts = ", ".join(f"{count} {name}" for name, count in plan.parts.items())
    say(f"Samples: {parts}. Metric: {plan.metric}.")
    say(*(f"Note: {note}" for note in plan.notes))
    say("", _forms(plan.check, device), "")
    for form in plan.check.forms:
        _obstacles(form)
    if budget.lines() and not plan.infeasible:
        say("Nothing speaks against the budget so far; only a compiled candidate shows whether it is met.")
    count = len(candidates)
    what = "It would run this recipe:" if count == 1 else f"It would try {count} recipes, beginning with this one:"
    say("", what, "", plan.recipe.rstrip(), wrap=False)


def print_outputs(outputs: Sequence[OutputArray], *, json: bool = False) -> None:
    """The results of an inference."""
    if json:
        rows = [
            {
                "name": output.name,
                "shape": output.stored.shape,
                "dtype": str(output.stored.dtype),
                "stored": output.stored.tolist(),
                "real": output.real.tolist(),
            }
            for output in outputs
        ]
        say_json({"outputs": rows})
        return
    for output in outputs:
        shape = f" {TIMES} ".join(map(str, output.stored.shape))
        say(f"{short(output.name)}: {output.stored.dtype}, {shape}", _values(output))


def _values(output: OutputArray) -> RenderableType:
    """The largest values with their positions, since most outputs are scores of classes."""
    import numpy as np

    flat, stored = output.real.reshape(-1), output.stored.reshape(-1)
    order = np.argsort(-flat.astype(np.float64), kind="stable")[:_MOST_VALUES]
    title = f"The {len(order)} largest of {len(flat):,}" if len(order) < len(flat) else "Largest first"
    quantized = output.stored.dtype != output.real.dtype
    table = terminal.table_of(title, ">at", ">value", *([f">as {output.stored.dtype}"] if quantized else []))
    for index in order:
        place = ", ".join(map(str, np.unravel_index(index, output.real.shape)[1:])) or str(index)
        cells = [place, f"{flat[index]:.6g}", *([str(stored[index])] if quantized else [])]
        table.add_row(*map(terminal.text, cells))
    return table


def print_checks(rows: Sequence[CheckRow], *, json: bool = False) -> None:
    """How the executors compare."""
    if json:
        say_json({"passed": all(row.passed for row in rows), "checks": [row.model_dump() for row in rows]})
        return
    say(terminal.render_checks(rows))


def print_board(run: Run, out: Path, *, json: bool = False) -> None:
    """What a board's log has shown."""
    if json:
        say_json({"out": str(out), **run_json(run.details, run.evidence)})
        return
    exact = run.evidence.get("board_bit_exact")
    assert exact is not None, "taking in a log puts it there"
    say(f"On the board all outputs equal the golden ones, over {exact.n} vectors. Measured there:")
    for item in run.evidence.items:
        if item.context.get("source") == "board log" and item is not exact:
            say(f"  {item.metric}: {figure(item.value, item.unit, item.metric)}")
    say(f"Updated {out / 'evidence.json'} and {out / 'report.html'}", wrap=False)


def print_report(runs: Sequence[Run], html: Path, *, json: bool = False) -> None:
    """The summary of one run, or several side by side, and where the page is."""
    if json:
        say_json(
            {"html": str(html), "runs": [{"name": run.name, **run_json(run.details, run.evidence)} for run in runs]}
        )
        return
    if len(runs) == 1:
        _print_run(runs[0].details, runs[0].evidence)
    else:
        say(terminal.render_comparison(runs))
    say("", f"Wrote {html}", wrap=False)


def print_bench(found: Bench, details: RunDetails, *, why: bool = False, json: bool = False) -> None:
    """Each layer's time beside the least that it could take."""
    if json:
        document = dataclasses.asdict(found)
        for row, made in zip(document["rows"], found.rows, strict=True):
            row["moved_bytes"] = made.moved_bytes
        trades = [row.model_dump() for row in details.trades]
        say_json({"model": details.model, "device": details.device, **document, "trades": trades})
        return
    narrow = console().width < WIDE
    details = short_details(details, NARROW)
    say(terminal.render_bench(found, details, narrow=narrow))
    if why:
        say("", terminal.render_reasons(details))


def print_runtimes(details: RunDetails, *, json: bool = False) -> None:
    """The model in every runtime."""
    if json:
        rows = [row.model_dump() for row in details.runtimes]
        say_json({"model": details.model, "metric": details.runtimes_metric, "runtimes": rows})
        return
    narrow = console().width < WIDE
    say(terminal.render_runtimes(details, narrow=narrow), *terminal.runtime_notes(details))


def print_devices(devices: Iterable[Device], *, json: bool = False) -> None:
    """The device profiles."""
    if json:
        say_json({"devices": [device.model_dump(mode="json") for device in devices]})
        return
    table = terminal.table_of("", "name", "device", "core", "FPU", ">clock", ">flash", ">RAM")
    for device in devices:
        cells = (
            device.name,
            device.title,
            _core(device),
            device.fpu,
            "" if device.clock_hz is None else f"{device.clock_hz / 1e6:g} MHz",
            *(_capacity(device.capacity(kind)) for kind in ("flash", "ram")),
        )
        table.add_row(*map(terminal.text, cells))
    say(table, "", "Another device: --device yours.toml, written like one of these profiles (see --json).")


def _core(device: Device) -> str:
    if device.is_host:
        return ", ".join(device.isas)
    return device.core.removeprefix("cortex-").upper().replace("PLUS", "+")


def _capacity(count: int | None) -> str:
    return "" if count is None else compact_bytes(count)


def _bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def _count(value: float | None) -> str:
    return "" if value is None else f"{round(value):,}"


def _limit(count: int | None, what: str) -> str:
    return "no limit" if count is None else f"{compact_bytes(count)} {what}"


def _clock(device: Device) -> str:
    return "" if device.clock_hz is None else f"{device.clock_hz / 1e6:g} MHz"
