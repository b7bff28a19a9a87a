"""The picture of what precision costs in each layer, as inline SVG; see :mod:`microlith.report.plots`."""

from __future__ import annotations

from microlith.core.details import PrecisionPlan
from microlith.report.format import clean
from microlith.report.plots import Plot, chart_of, names_axis, numbered, strips_of, to_svg

_LEAST = 1e-9
_SHAPES = ["circle", "square", "triangle", "diamond", "cross", "stroke"]
_COLOURS = ["var(--accent)", "var(--bad)", "var(--good)", "var(--ink)", "var(--muted)", "var(--plain)"]


def precision(plan: PrecisionPlan, key: str) -> Plot:
    """The loss of each kind of weights in each layer, those taken filled."""
    import altair as alt

    labels = numbered([row.layer for row in plan.rows])
    kinds = [item.kind for item in plan.rows[0].options]
    points = [
        {"name": label, "loss": max(item.loss, _LEAST), "kind": item.kind, "taken": item.kind == row.chosen}
        for row, label in zip(plan.rows, labels, strict=True)
        for item in row.options
    ]
    base = chart_of(points).encode(
        x=alt.X(
            "loss:Q",
            title="loss of the network with this layer alone quantized; filled is what was taken",
            scale=alt.Scale(type="log", nice=False, padding=12),
            axis=alt.Axis(format="~e", tickCount=6),
        ),
        y=alt.Y("name:N", sort=labels, title=None, axis=names_axis(labels)),
        color=alt.Color(
            "kind:N",
            sort=kinds,
            scale=alt.Scale(domain=kinds, range=_COLOURS[: len(kinds)]),
            legend=alt.Legend(title=None, orient="top", labelColor="var(--muted)"),
        ),
        shape=alt.Shape("kind:N", sort=kinds, scale=alt.Scale(domain=kinds, range=_SHAPES[: len(kinds)])),
    )
    chart = base.mark_point(filled=True, size=80).encode(
        opacity=alt.condition("datum.taken", alt.value(1.0), alt.value(0.28))
    )
    worst = max(plan.rows, key=lambda row: max(item.loss for item in row.options))
    return Plot(
        to_svg(chart.properties(**strips_of(len(labels))), key),
        f"Loss of {len(kinds)} kinds of weights in {len(labels)} layers; the most sensitive is {clean(worst.layer)}. "
        "The table holds what was taken.",
    )
