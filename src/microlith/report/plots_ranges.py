"""Pictures of what quantization does to values and layers, as inline SVG; see :mod:`microlith.report.plots`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from microlith.report.format import clean
from microlith.report.plots import Plot, chart_of, names_axis, numbered, strips_of, to_svg, upright
from microlith.search.ranges import CELLS, MARGIN, LayerNoise, ValueRange

_LEAST_SHARE = 1e-3
_NOISES = (("weights_only_db", "weights only"), ("activations_only_db", "activations only"), ("both_db", "both"))


def distributions(rows: Sequence[ValueRange], key: str) -> Plot:
    """A strip a value: the share of its values in each part of the range that its integers cover, and beyond it."""
    import altair as alt

    labels = numbered([row.name for row in rows])
    cells = [
        {
            "name": label,
            "from": (1 + 2 * MARGIN) * cell / CELLS - MARGIN,
            "to": (1 + 2 * MARGIN) * (cell + 1) / CELLS - MARGIN,
            "shade": math.log10(share) + 6,
        }
        for row, label in zip(rows, labels, strict=True)
        for cell, share in enumerate(row.density)
        if share > 1e-6
    ]
    base = chart_of(cells).encode(y=alt.Y("name:N", sort=labels, title=None, axis=names_axis(labels)))
    strips = base.mark_rect(color="var(--accent)").encode(
        x=alt.X(
            "from:Q",
            title="position in the range of the integers; below 0 and above 1 is clipped",
            scale=alt.Scale(domain=[-MARGIN, 1 + MARGIN], nice=False),
        ),
        x2="to:Q",
        opacity=alt.Opacity("shade:Q", legend=None, scale=alt.Scale(domain=[0, 6], range=[0.06, 1])),
    )
    chart = alt.layer(
        strips, upright(0.0, "none", "var(--ink)", [1, 0]), upright(1.0, "none", "var(--ink)", [1, 0])
    ).properties(**strips_of(len(rows)))
    worst = max(rows, key=lambda row: row.clipped)
    return Plot(
        to_svg(chart, key),
        f"Distributions of {len(rows)} values over the ranges of their integers. The most is clipped of "
        f"{clean(worst.name)}: {100 * worst.clipped:.3g}%. The table of values holds the ranges.",
    )


def noise(rows: Sequence[LayerNoise], key: str) -> Plot:
    """Three points a layer: the ratio of its result to the noise of weights, of activations, and of both."""
    import altair as alt

    labels = numbered([row.name for row in rows])
    points = [
        {"name": label, "db": round(getattr(row, field), 2), "what": what}
        for row, label in zip(rows, labels, strict=True)
        for field, what in _NOISES
        if math.isfinite(getattr(row, field))
    ]
    names = [what for _, what in _NOISES]
    base = chart_of(points).encode(
        x=alt.X("db:Q", title="signal to quantization noise in dB; further left is worse", scale=alt.Scale(zero=False)),
        y=alt.Y("name:N", sort=labels, title=None, axis=names_axis(labels)),
    )
    marks = base.mark_point(filled=True, size=75, opacity=1, stroke="var(--surface)", strokeWidth=1).encode(
        color=alt.Color(
            "what:N",
            sort=names,
            scale=alt.Scale(domain=names, range=["var(--accent)", "var(--bad)", "var(--ink)"]),
            legend=alt.Legend(title=None, orient="top", labelColor="var(--muted)"),
        ),
        shape=alt.Shape("what:N", sort=names, scale=alt.Scale(domain=names, range=["circle", "square", "diamond"])),
    )
    chart = marks.properties(**strips_of(len(rows)))
    worst = min(rows, key=lambda row: row.both_db)
    return Plot(
        to_svg(chart, key),
        f"Signal to quantization noise of {len(rows)} layers; the least with both is {worst.both_db:.1f} dB in "
        f"{clean(worst.name)}. The table of layers holds the same.",
    )


def channels(rows: Sequence[LayerNoise], key: str) -> Plot:
    """A tick an output channel: the greatest magnitude of its weights, a thousandth of the layer's at least."""
    import altair as alt

    labels = numbered([row.name for row in rows])
    ticks = [
        {"name": label, "share": max(item / max(row.channel_ranges), _LEAST_SHARE)}
        for row, label in zip(rows, labels, strict=True)
        for item in row.channel_ranges
        if max(row.channel_ranges) > 0
    ]
    base = chart_of(ticks).encode(
        x=alt.X(
            "share:Q",
            title="greatest weight of a channel, as a share of the layer's greatest",
            scale=alt.Scale(type="log", domain=[_LEAST_SHARE, 1], nice=False),
            axis=alt.Axis(tickCount=6, format="~g"),
        ),
        y=alt.Y("name:N", sort=labels, title=None, axis=names_axis(labels)),
    )
    marks = base.mark_tick(color="var(--accent)", thickness=1.4, opacity=0.75)
    chart = marks.properties(**strips_of(len(rows)))
    widest = max(rows, key=lambda row: row.spread)
    return Plot(
        to_svg(chart, key),
        f"Weight ranges of the output channels of {len(rows)} layers; they lie furthest apart in {clean(widest.name)}, "
        f"where the greatest is {widest.spread:.1f} times the median. One scale for all would cost the others bits.",
    )
