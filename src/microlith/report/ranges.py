"""What data shows of a model before it is compiled: tables for the terminal, and one HTML page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import microlith
from microlith.device.profile import Device
from microlith.report import format as fmt
from microlith.report import plots_ranges
from microlith.report.html import template
from microlith.report.names import MESSAGE, NARROW, WIDTH, short
from microlith.report.plots import Plot
from microlith.report.terminal import table_of, text
from microlith.search.ranges import LayerNoise, RangeCheck, Saturation

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

WIDE_SPREAD = 4.0
"""Spread of channel ranges from which on a remark is made: one scale for all would cost the median channel 2 bits."""
MANY_CLIPPED = 1e-3
FAR_APART_DB = 6.0


@dataclass(frozen=True)
class _Pictures:
    """The pictures of the page, each with its caption."""

    distributions: Plot
    noise: Plot | None
    channels: Plot | None


def remarks(found: RangeCheck) -> list[str]:
    """What a reader should look at first, in sentences."""
    said = []
    if found.layers:
        noisiest = min(found.layers, key=lambda row: row.both_db)
        said.append(
            f"{short(noisiest.name, MESSAGE)} has the most noise: {fmt.decibels(noisiest.both_db)}, {_share(noisiest)}."
        )
    spread = [row for row in found.layers if row.spread >= WIDE_SPREAD]
    if spread:
        most = max(spread, key=lambda row: row.spread)
        said.append(
            f"Channels' ranges lie far apart in {_count(spread, 'layer')}, most in {short(most.name, MESSAGE)} "
            f"({most.spread:.1f} to 1): keep one weight scale a channel."
        )
    dead = [row for row in found.layers if row.dead]
    if dead:
        count = sum(row.dead for row in dead)
        said.append(
            f"{count} output channels of {_count(dead, 'layer')} have no weight above a millionth of their layer's "
            "greatest: they could be pruned."
        )
    clipped = [row for row in found.values if row.clipped > MANY_CLIPPED]
    if clipped:
        lost = max(clipped, key=lambda row: row.clipped)
        said.append(
            f"More than 0.1% is clipped of {_count(clipped, 'value')}, most of {short(lost.name, MESSAGE)} "
            f"({percent(lost.clipped)}): compare calibration methods."
        )
    ends = [row for row in found.saturation if _at_ends(row) > MANY_CLIPPED]
    if ends:
        worst = max(ends, key=_at_ends)
        said.append(
            f"More than 0.1% of the integers lie at an end of the type in {_count(ends, 'tensor')}, most in "
            f"{short(worst.name, MESSAGE)} ({percent(_at_ends(worst))}): the range may be too narrow."
        )
    return said


def _at_ends(row: Saturation) -> float:
    return max(row.at_low, row.at_high)


def _count(rows: Sequence[object], what: str) -> str:
    return f"1 {what}" if len(rows) == 1 else f"{len(rows)} {what}s"


def _share(row: LayerNoise) -> str:
    gap = row.weights_only_db - row.activations_only_db
    if gap >= FAR_APART_DB:
        return "nearly all of it from activations"
    if gap <= -FAR_APART_DB:
        return "nearly all of it from weights"
    return "from weights and activations alike"


def percent(share: float) -> str:
    """A share of values; what is less than shown but not nothing is said to be so."""
    if share == 0:
        return "0"
    return "<0.001%" if share < 1e-5 else f"{100 * share:.3f}%"


def number(value: float) -> str:
    """A real number in a table."""
    return f"{value:.4g}".replace("-", fmt.MINUS)


def render_ranges(found: RangeCheck, *, narrow: bool = False) -> Group:
    """Tables of values and layers, or of the integers of a quantized model, then the remarks."""
    from rich.console import Group

    width = NARROW if narrow else WIDTH
    parts: list[RenderableType] = []
    if found.saturation:
        parts.append(_saturation(found, width))
    if found.values:
        parts += [_values(found, width), text("")]
    if found.layers:
        parts += [_layers(found, width), text("")]
    if found.network:
        parts.append(_network(found))
    parts += [text(""), *(text(remark) for remark in remarks(found))]
    return Group(*parts)


def _values(found: RangeCheck, width: int) -> Table:
    narrow = width == NARROW
    optional = [] if narrow else [">deviation", ">zeros"]
    title = f"Values over {found.samples} samples, and the ranges of their integers"
    table = table_of(title, "value", ">least", ">greatest", *optional, ">range from", ">to", ">clipped")
    for row in found.values:
        more = [] if narrow else [number(row.deviation), f"{100 * row.zeros:.0f}%"]
        cells = [number(row.minimum), number(row.maximum), *more, number(row.low), number(row.high)]
        style = "yellow" if row.clipped > MANY_CLIPPED else ""
        table.add_row(text(short(row.name, width)), *map(text, cells), text(percent(row.clipped), style))
    return table


def _layers(found: RangeCheck, width: int) -> Table:
    table = table_of(
        f"Signal to quantization noise of each layer's result, {found.layer_samples} samples",
        "layer",
        ">channels",
        ">dead",
        ">spread",
        ">weights",
        ">weights only",
        ">activations only",
        ">both",
    )
    for row in found.layers:
        noises = (row.weights_db, row.weights_only_db, row.activations_only_db, row.both_db)
        style = "yellow" if row.spread >= WIDE_SPREAD else ""
        table.add_row(
            text(short(row.name, width)),
            text(f"{row.channels:,}"),
            text(f"{row.dead:,}" if row.dead else ""),
            text(f"{row.spread:.1f}", style),
            *(text(fmt.decibels(item)) for item in noises),
        )
    return table


def _network(found: RangeCheck) -> Table:
    table = table_of("The whole network", "quantized", ">output", ">same top-1")
    for row in found.network:
        same = fmt.DASH if row.agreement is None else f"{100 * row.agreement:.1f}%"
        table.add_row(text(row.what), text(fmt.decibels(row.output_db)), text(same))
    return table


def _saturation(found: RangeCheck, width: int) -> Table:
    title = f"Integers over {found.samples} samples"
    table = table_of(title, "tensor", "type", ">step", ">least", ">greatest", ">at the low end", ">at the high end")
    for row in found.saturation:
        ends = [text(percent(item), "yellow" if item > MANY_CLIPPED else "") for item in (row.at_low, row.at_high)]
        cells = (short(row.name, width), row.dtype, number(row.scale), str(row.least), str(row.greatest))
        table.add_row(*map(text, cells), *ends)
    return table


def render_page(found: RangeCheck, model: str, device: Device) -> str:
    """The page of a check with data as one self-contained HTML document."""
    pictures = None
    if found.values:
        layers = found.layers
        pictures = _Pictures(
            plots_ranges.distributions(found.values, "values"),
            plots_ranges.noise(layers, "noise") if layers else None,
            plots_ranges.channels(layers, "channels") if layers else None,
        )
    return str(
        template("ranges.html.j2").render(
            found=found,
            model=model,
            device=device,
            remarks=remarks(found),
            pictures=pictures,
            percent=percent,
            number=number,
            short=short,
            fmt=fmt,
            version=microlith.__version__,
        )
    )
