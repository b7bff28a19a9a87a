"""The memory plan as inline SVG, written as it is: every compilation draws one, and a drawing library takes a second.

Colours are CSS variables of the page, as in :mod:`microlith.report.plots`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from microlith.core.details import BufferRow
from microlith.report.format import clean
from microlith.report.plots import FONT, LETTER, WIDTH, Plot

_HEIGHT = 340
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 5, 8, 40
_HUES = 6
_LINE = 13
_ACROSS, _UP = 20, 10


def memory(rows: Sequence[BufferRow], space: str, bound_bytes: int | None = None) -> Plot:
    """Buffers of one space over time: each a rectangle of its steps and its bytes.

    Args:
        rows: the plan; other spaces are left out.
        space: what to draw.
        bound_bytes: least peak that any placement could reach, drawn as a line.
    """
    held = [row for row in rows if row.space == space]
    peak = max(row.offset + row.bytes for row in held)
    steps = max(row.last for row in held) + 1
    top = max(peak, bound_bytes or 0, 1) * 1.06
    lines = [(peak, f"peak {peak:,} B", "var(--ink)", "")]
    bound = ""
    if bound_bytes is not None:
        bound = f" No placement of these buffers could need less than {bound_bytes:,} bytes."
        if bound_bytes == peak:
            lines = [(peak, f"peak {peak:,} B = lower bound of any placement", "var(--ink)", "")]
        else:
            lines.append((bound_bytes, f"lower bound {bound_bytes:,} B", "var(--muted)", "5,3"))
    parts = [*_axes(steps, top), *_boxes(held, steps, top)]
    parts += [part for line in lines for part in _level(*line, top)]
    width, height = WIDTH + _LEFT + _RIGHT, _HEIGHT + _TOP + _BOTTOM
    alternative = (
        f"Memory plan of space {clean(space)}: {len(held)} buffers over {steps} steps, at most {peak:,} bytes.{bound} "
        "The table of buffers holds the same."
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}" font-size="11px"><g transform="translate({_LEFT},{_TOP})">{"".join(parts)}</g></svg>'
    )
    return Plot(svg, alternative)


def _axes(steps: int, top: float) -> list[str]:
    """Lines across with their bytes, and ticks below with their steps."""
    parts = []
    for value in _ticks(top, _UP):
        y = _number(_y(value, top))
        parts.append(f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="var(--line)"/>')
        parts.append(_text(-8, _y(value, top) + 4, f"{value:,}", "var(--muted)", "end"))
    for value in _ticks(steps, _ACROSS):
        x = WIDTH * value / steps
        parts.append(f'<path d="M{_number(x)},{_HEIGHT}v5" stroke="var(--line)"/>')
        parts.append(_text(x, _HEIGHT + 16, f"{value}", "var(--muted)", "middle"))
    parts.append(f'<path d="M0,0v{_HEIGHT}h{WIDTH}" fill="none" stroke="var(--line)"/>')
    parts.append(_text(WIDTH / 2, _HEIGHT + 34, "step", "var(--muted)", "middle"))
    parts.append(
        f'<text transform="translate(-76,{_HEIGHT // 2}) rotate(-90)" text-anchor="middle" fill="var(--muted)">'
        "bytes</text>"
    )
    return parts


def _boxes(held: Sequence[BufferRow], steps: int, top: float) -> list[str]:
    """A rectangle for each; what is there before the first step begins with it.

    Buffers may share bytes where a result is written over an operand: both must stay visible. Names stand over all
    rectangles, where there is room and no later one stands.
    """
    boxes: list[str] = []
    names: list[tuple[float, float, str]] = []
    for index, row in reversed(list(enumerate(held))):
        left, right = WIDTH * max(row.first, 0) / steps, WIDTH * (row.last + 1) / steps
        high, low = _y(row.offset + row.bytes, top), _y(row.offset, top)
        width, height = right - left, low - high
        boxes.append(
            f'<rect x="{_number(left)}" y="{_number(high)}" width="{_number(width)}" height="{_number(height)}" '
            f'fill="var(--hue{index % _HUES})" stroke="var(--surface)" opacity="0.88"/>'
        )
        name = ((left + right) / 2, (high + low) / 2 + 4, _fitting(row, width, height))
        if name[2] and not any(_collide(name, other) for other in names):
            names.append(name)
    return [*reversed(boxes), *(_text(x, y, text, "var(--ink)", "middle") for x, y, text in names)]


def _collide(one: tuple[float, float, str], other: tuple[float, float, str]) -> bool:
    room = LETTER * (len(one[2]) + len(other[2])) / 2
    return abs(one[0] - other[0]) < room and abs(one[1] - other[1]) < _LINE


def _level(value: int, text: str, colour: str, dashes: str, top: float) -> list[str]:
    y = _y(value, top)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = f'<path d="M0,{_number(y)}h{WIDTH}" stroke="{colour}" stroke-width="1.2"{dashed}/>'
    # The bound is below the peak, and so is its name.
    return [line, _text(WIDTH - 4, y + 12 if dashes else y - 5, text, colour, "end", weight=600)]


def _fitting(row: BufferRow, width: float, height: float) -> str:
    """A label that fits into a rectangle of this size in pixels; empty where none does."""
    if height < 13 or width < 30:
        return ""
    room = int(width / LETTER) - 1
    full = f"{clean(row.name)} · {row.bytes:,} B"
    if len(full) <= room:
        return full
    name = clean(row.name)
    if len(name) <= room:
        return name
    return name[: room - 1] + "…" if room >= 4 else ""


def _ticks(top: float, count: int) -> range:
    """Round numbers from 0 to the top, about so many: steps of 1, 2 or 5 times a power of ten."""
    least = max(1.0, top / count)
    power = 10 ** math.floor(math.log10(least))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= least)
    return range(0, math.floor(top) + 1, step)


def _y(value: float, top: float) -> float:
    return _HEIGHT * (1 - value / top)


def _text(x: float, y: float, text: str, colour: str, anchor: str, weight: int = 400) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}" fill="{colour}"{bold}>{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
