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
from functools import cache
from typing import Any

from microlith.core.details import BufferRow, LayerRow
from microlith.core.statistics import Interval
from microlith.report.format import clean

WIDTH = 1000
_HEIGHT = 340
_LETTER = 6.9
_HUES = 6
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


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


@cache
def prepare() -> None:
    """Load and start what plots are drawn with; for a thread that runs while something else is waited for."""
    import altair  # noqa: F401
    import vl_convert

    vl_convert.vegalite_to_svg({"data": {"values": []}, "mark": "point"})


def memory(rows: Sequence[BufferRow], space: str, key: str, bound_bytes: int | None = None) -> Plot:
    """Buffers of one space over time: each a rectangle of its steps and its bytes.

    Args:
        rows: the plan; other spaces are left out.
        space: what to draw.
        key: makes ids unique within the page.
        bound_bytes: least peak that any placement could reach, drawn as a line.
    """
    import altair as alt

    held = [row for row in rows if row.space == space]
    peak = max(row.offset + row.bytes for row in held)
    steps = max(row.last for row in held) + 1
    top = max(peak, bound_bytes or 0, 1) * 1.06
    lines = [_level(peak, f"peak {peak:,} B", "var(--ink)", [1, 0])]
    bound = ""
    if bound_bytes is not None:
        bound = f" No placement of these buffers could need less than {bound_bytes:,} bytes."
        if bound_bytes == peak:
            lines = [_level(peak, f"peak {peak:,} B = lower bound of any placement", "var(--ink)", [1, 0])]
        else:
            lines.append(_level(bound_bytes, f"lower bound {bound_bytes:,} B", "var(--muted)", [5, 3]))
    chart = alt.layer(_rectangles(held, steps, top), *lines).properties(width=WIDTH, height=_HEIGHT)
    alternative = (
        f"Memory plan of space {clean(space)}: {len(held)} buffers over {steps} steps, at most {peak:,} bytes.{bound} "
        "The table of buffers holds the same."
    )
    return Plot(to_svg(chart, key), alternative)


def _rectangles(held: Sequence[BufferRow], steps: int, top: float) -> Any:
    import altair as alt

    base = chart_of(
        [
            {
                "first": row.first,
                "end": row.last + 1,
                "low": row.offset,
                "high": row.offset + row.bytes,
                "x": (row.first + row.last + 1) / 2,
                "y": row.offset + row.bytes / 2,
                "hue": str(index % _HUES),
                "label": _fitting(row, WIDTH / steps * (row.last + 1 - row.first), _HEIGHT * row.bytes / top),
            }
            for index, row in enumerate(held)
        ]
    )
    hues = alt.Scale(domain=[str(n) for n in range(_HUES)], range=[f"var(--hue{n})" for n in range(_HUES)])
    # Buffers may share bytes where a result is written over an operand: both must stay visible.
    boxes = base.mark_rect(strokeWidth=1, stroke="var(--surface)", opacity=0.88).encode(
        x=alt.X(
            "first:Q",
            title="step",
            scale=alt.Scale(domain=[0, steps], nice=False),
            axis=alt.Axis(tickMinStep=1, format="d", grid=False),
        ),
        x2="end:Q",
        y=alt.Y(
            "low:Q",
            title="bytes",
            scale=alt.Scale(domain=[0, top], nice=False),
            axis=alt.Axis(format=",d", minExtent=64, titlePadding=10),
        ),
        y2="high:Q",
        color=alt.Color("hue:N", legend=None, scale=hues),
    )
    labels = base.mark_text(fontSize=11, color="var(--ink)").encode(x="x:Q", y="y:Q", text="label:N")
    return boxes + labels


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
    chart = (bars + texts).properties(width=WIDTH - 180, height=max(60, 21 * len(values)))
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

    room = min(240.0, _LETTER * max(map(len, names)) + 12)
    return alt.Axis(labelLimit=235, ticks=False, domain=False, minExtent=room, maxExtent=room, labelPadding=8)


def _level(value: float, text: str, colour: str, dash: list[int]) -> Any:
    import altair as alt

    base = chart_of([{"value": value, "text": text}])
    rule = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.2).encode(y="value:Q")
    label = base.mark_text(align="right", baseline="bottom", dy=-3, dx=-4, fontSize=11, fontWeight=600, color=colour)
    return rule + label.encode(y="value:Q", x=alt.value(WIDTH), text="text:N")


def upright(value: float, text: str, colour: str, dash: list[int]) -> Any:
    """A vertical line at a value, named unless ``text`` is ``none``."""
    import altair as alt

    base = chart_of([{"value": value, "text": text}])
    rule = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.2).encode(x="value:Q")
    if text == "none":
        return rule
    label = base.mark_text(align="left", baseline="top", dx=4, fontSize=11, color=colour)
    return rule + label.encode(x="value:Q", y=alt.value(0), text="text:N")


def _fitting(row: BufferRow, width: float, height: float) -> str:
    """A label that fits into a rectangle of this size in pixels; empty where none does."""
    if height < 13 or width < 30:
        return ""
    room = int(width / _LETTER) - 1
    full = f"{clean(row.name)} · {row.bytes:,} B"
    if len(full) <= room:
        return full
    name = clean(row.name)
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 4 else ""


def has_sqnr(row: LayerRow) -> bool:
    """Whether a layer's ratio can be drawn; that of a layer without any noise is infinite and cannot."""
    return row.sqnr_db is not None and math.isfinite(row.sqnr_db)


def _layer_label(row: LayerRow) -> str:
    return f"{row.index}  {clean(row.name)}"


def to_svg(chart: Any, key: str) -> str:
    """SVG without a background, its ids made unique."""
    import altair as alt

    configured = chart.configure(background="transparent", font=_FONT).configure_view(stroke=None)
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
    # A plan of more than 5,000 rows is drawn like any other.
    with alt.data_transformers.enable("default", max_rows=None):
        configured.save(stream, format="svg", engine="vl-convert")
    text = stream.getvalue().replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    # The library numbers ids through the whole process; here they depend on the plot alone.
    numbers = {name: str(index) for index, name in enumerate(re.findall(r'\bid="([^"]+)"', text))}
    text = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{key}-{numbers[match[1]]}"', text)
    return re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{key}-{numbers[match[1]]})", text)
