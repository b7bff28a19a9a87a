"""Static plots as inline SVG that follows the page's colours.

Colours are CSS variables of the page (``var(--...)``), so that one plot serves the light and the dark theme. Altair
and vl-convert are imported when the first plot is drawn.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microlith.core.details import LayerRow
from microlith.core.statistics import Interval
from microlith.report.format import clean
from microlith.report.names import short

WIDTH = 1000
_NAME_ROOM = 180
_STRIP = 21
_LONGEST = 30
LETTER = 6.9
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class Plot:
    """SVG text, and what a reader who cannot see it must know."""

    svg: str
    alternative: str


@dataclass(frozen=True)
class Mark:
    """One interval of :func:`intervals`: its label, and its ends in the plot's unit."""

    label: str
    interval: Interval


def sqnr(rows: Sequence[LayerRow], key: str) -> Plot:
    """Signal to quantization noise of every layer for which it was computed, as bars in order."""
    import altair as alt

    known = [(row, row.sqnr_db or 0.0) for row in rows if has_sqnr(row)]
    values = [{"name": _layer_label(row), "db": round(db, 1), "text": f"{db:.1f}"} for row, db in known]
    base = chart_of(values).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=names_axis([_layer_label(row) for row, _ in known])),
    )
    bars = base.mark_bar(color="var(--accent)", cornerRadiusEnd=2, height={"band": 0.62}).encode(
        x=alt.X("db:Q", title="dB", scale=alt.Scale(zero=True))
    )
    texts = base.mark_text(align="left", dx=4, fontSize=11, color="var(--ink)").encode(x="db:Q", text="text:N")
    chart = (bars + texts).properties(**strips_of(len(values)))
    row, least = min(known, key=lambda pair: pair[1])
    alternative = (
        f"Signal-to-quantization-noise ratio of {len(known)} layers in decibels; the lowest is {least:.1f} dB at "
        f"{_layer_label(row)}. The table of layers holds the same."
    )
    return Plot(to_svg(chart, key), alternative)


def intervals(
    marks: Sequence[Mark], unit: str, key: str, *, limit: float | None = None, zero: bool = False, format: str = ".2f"
) -> Plot:
    """Estimates as points with their 95% intervals, one below the other.

    Args:
        marks: from top to bottom, in ``unit``.
        unit: title of the axis.
        key: makes ids unique within the page.
        limit: a bound, drawn as a line.
        zero: whether zero is drawn as a line.
        format: of the figures in the text alternative.
    """
    import altair as alt

    values = [
        {"label": clean(mark.label), "low": mark.interval.low, "value": mark.interval.value, "high": mark.interval.high}
        for mark in marks
    ]
    base = chart_of(values).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=names_axis([mark.label for mark in marks]))
    )
    x = alt.X(
        "low:Q",
        title=unit,
        scale=alt.Scale(zero=zero or limit is not None, padding=14, nice=False),
        axis=alt.Axis(tickCount=6, labelOverlap=True),
    )
    layers: list[Any] = []
    if zero:
        layers.append(upright(0.0, "none", "var(--muted)", [1, 0]))
    if limit is not None:
        layers.append(upright(limit, "limit", "var(--bad)", [5, 3]))
    layers.append(base.mark_rule(strokeWidth=3, color="var(--accent)", opacity=0.55).encode(x=x, x2="high:Q"))
    layers.append(base.mark_point(filled=True, size=85, color="var(--accent)", opacity=1).encode(x="value:Q"))
    chart = alt.layer(*layers).properties(width=330, height=34 * len(values) + 6)
    parts = [
        f"{mark.label}: {mark.interval.value:{format}}, 95% interval {mark.interval.low:{format}} to "
        f"{mark.interval.high:{format}}"
        for mark in marks
    ]
    bound = "" if limit is None else f" The limit is {limit:{format}}."
    return Plot(to_svg(chart, key), f"In {unit}: {'; '.join(parts)}.{bound}")


def chart_of(values: list[dict[str, Any]]) -> Any:
    """A chart over rows of values."""
    import altair as alt

    data: Any = alt.Data
    return alt.Chart(data(values=values))


def names_axis(names: Sequence[str]) -> Any:
    """An axis of names with room for them: the width of text is only known to the browser."""
    import altair as alt

    room = min(240.0, LETTER * max(map(len, names)) + 12)
    return alt.Axis(labelLimit=235, ticks=False, domain=False, minExtent=room, maxExtent=room, labelPadding=8)


def numbered(names: Sequence[str]) -> list[str]:
    """Distinct labels that fit beside a picture, by position."""
    return [f"{index}  {short(clean(name), _LONGEST)}" for index, name in enumerate(names)]


def strips_of(count: int) -> dict[str, int]:
    """Width and height of a picture of named strips, one below the other."""
    return {"width": WIDTH - _NAME_ROOM, "height": max(60, _STRIP * count)}


def upright(value: float, text: str, colour: str, dash: list[int]) -> Any:
    """A vertical line at a value, named unless ``text`` is ``none``."""
    import altair as alt

    base = chart_of([{"value": value, "text": text}])
    rule = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.2).encode(x="value:Q")
    if text == "none":
        return rule
    label = base.mark_text(align="left", baseline="top", dx=4, fontSize=11, color=colour)
    return rule + label.encode(x="value:Q", y=alt.value(0), text="text:N")


def has_sqnr(row: LayerRow) -> bool:
    """Whether a layer's ratio can be drawn; that of a layer without any noise is infinite and cannot."""
    return row.sqnr_db is not None and math.isfinite(row.sqnr_db)


def _layer_label(row: LayerRow) -> str:
    return f"{row.index}  {clean(row.name)}"


def to_svg(chart: Any, key: str) -> str:
    """SVG without a background, its ids made unique."""
    import altair as alt

    configured = chart.configure(background="transparent", font=FONT).configure_view(stroke=None)
    configured = configured.configure_axis(
        labelColor="var(--muted)",
        titleColor="var(--muted)",
        titleFontWeight="normal",
        gridColor="var(--line)",
        domainColor="var(--line)",
        tickColor="var(--line)",
        labelFontSize=11,
        titleFontSize=11,
    )
    stream = io.StringIO()
    # More than 5,000 rows are drawn like any other number.
    with alt.data_transformers.enable("default", max_rows=None):
        configured.save(stream, format="svg", engine="vl-convert")
    text = stream.getvalue().replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    # The library numbers ids through the whole process; here they depend on the plot alone.
    numbers = {name: str(index) for index, name in enumerate(re.findall(r'\bid="([^"]+)"', text))}
    text = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{key}-{numbers[match[1]]}"', text)
    return re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{key}-{numbers[match[1]]})", text)
