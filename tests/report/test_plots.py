import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from microlith.core.details import BufferRow
from microlith.core.statistics import Interval
from microlith.report import memory_plot, plots
from report.example_run import layers, memory

SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def _boxes(svg: str) -> list[tuple[float, ...]]:
    """Left, top, right and bottom of every rectangle that stands for a buffer."""
    found = []
    for element in ET.fromstring(svg).iter(f"{SVG}rect"):
        x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append((x, y, x + width, y + height))
    return found


def _row(name: str, offset: int, size: int, first: int, last: int, space: str = "ram") -> BufferRow:
    return BufferRow(name=name, space=space, offset=offset, bytes=size, first=first, last=last)


def test_rectangles_stand_where_the_buffers_lie() -> None:
    rows = [_row("a", 0, 600, -1, 1), _row("b", 600, 400, 1, 3), _row("other", 0, 9999, 0, 9, space="ccm")]
    boxes = _boxes(memory_plot.memory(rows, "ram").svg)
    assert len(boxes) == 2
    (left_a, top_a, right_a, bottom_a), (left_b, top_b, right_b, bottom_b) = boxes
    step = plots.WIDTH / 4
    assert (left_a, right_a, left_b, right_b) == pytest.approx((0, 2 * step, step, 4 * step))
    assert top_a == pytest.approx(bottom_b)
    assert (bottom_a - top_a) / (bottom_b - top_b) == pytest.approx(600 / 400)


def test_peak_and_bound_are_labelled() -> None:
    rows = [_row("a", 0, 600, 0, 1), _row("b", 700, 400, 1, 3)]
    plot = memory_plot.memory(rows, "ram", 1000)
    assert "peak 1,100 B" in _texts(plot.svg)
    assert "lower bound 1,000 B" in _texts(plot.svg)
    assert "less than 1,000 bytes" in plot.alternative
    assert "peak 1,100 B = lower bound of any placement" in _texts(memory_plot.memory(rows, "ram", 1100).svg)
    assert not any("bound" in text for text in _texts(memory_plot.memory(rows, "ram").svg))


def test_buffers_are_named_where_there_is_room() -> None:
    rows = [_row("wide", 0, 1000, 0, 9), _row("thin", 1000, 4, 0, 9)]
    texts = _texts(memory_plot.memory(rows, "ram").svg)
    assert "wide · 1,000 B" in texts
    assert not any("thin" in text for text in texts)


def test_long_names_are_cut() -> None:
    rows = [_row("n" * 400, 0, 1000, 0, 0), _row("b", 0, 1000, 1, 9)]
    texts = _texts(memory_plot.memory(rows, "ram").svg)
    assert any(text.endswith("…") and len(text) < 20 for text in texts)


def test_a_plan_without_bytes() -> None:
    ET.fromstring(memory_plot.memory([_row("a", 0, 0, 0, 0)], "ram").svg)


def test_axes_have_round_numbers() -> None:
    texts = _texts(memory_plot.memory([_row("a", 0, 20_123, 0, 44)], "ram").svg)
    assert [text for text in texts if text.endswith("000")] == [f"{n:,}" for n in range(5000, 21_000, 5000)]
    assert {"0", "5", "45", "bytes", "step"} <= set(texts)


def test_names_are_text() -> None:
    texts = _texts(memory_plot.memory([_row("</svg><a&b>", 0, 900, 0, 0)], "ram").svg)
    assert "</svg><a&b> · 900 B" in texts


def test_ratios_are_bars_in_order() -> None:
    plot = plots.sqnr(layers(), "s")
    names = [text for text in _texts(plot.svg) if re.match(r"\d+ +\S", text)]
    assert names == [f"{row.index}  {row.name}" for row in layers()]
    worst = min(layers(), key=lambda row: row.sqnr_db or 0)
    assert worst.name in plot.alternative


def test_intervals_and_limit() -> None:
    marks = [plots.Mark("one", Interval(1.0, 0.5, 2.0, 9)), plots.Mark("two", Interval(-1.0, -1.5, 0.0, 9))]
    plot = plots.intervals(marks, "pp", "i", limit=1.5, zero=True)
    assert {"one", "two", "limit", "pp"} <= set(_texts(plot.svg))
    assert "one: 1.00, 95% interval 0.50 to 2.00" in plot.alternative
    assert "The limit is 1.50." in plot.alternative


def test_colours_are_those_of_the_page() -> None:
    for plot in (plots.sqnr(layers(), "s"), memory_plot.memory(memory(layers()), "ram")):
        colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', plot.svg))
        assert all(colour in ("none", "transparent") or colour.startswith("var(--") for colour in colours), colours


def test_ids_are_apart() -> None:
    one, two = plots.sqnr(layers(), "one").svg, plots.sqnr(layers(), "two").svg
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (one, two)]
    assert not ids[0] & ids[1]
    for svg in (one, two):
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_drawing_libraries_are_imported_late() -> None:
    code = "import sys, microlith.report.html, microlith.report.terminal; print([m for m in ('altair', 'vl_convert', "
    code += "'jinja2', 'rich', 'torch', 'onnx') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
