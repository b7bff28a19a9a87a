import io

import pytest
from rich.console import Console, RenderableType

from microlith.bench.layers import bench
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.report.load import Run
from microlith.report.terminal import render_bench, render_comparison, render_reasons, render_summary
from report.example_run import bare, details, evidence, layers, runs

EVIL = "[red]conv[/red] [/] \x1b[31m\u202e [link=file:x]y[/link]"


def _print(what: RenderableType, width: int = 160, *, color: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=color, color_system="truecolor" if color else None).print(what)
    return stream.getvalue()


def test_the_verdict_is_the_first_line() -> None:
    lines = _print(render_summary(details(evidence()), evidence())).splitlines()
    assert lines[0].startswith("✓ Meets the budget")
    missed = _print(render_summary(details(evidence(), ram_limit=8192), evidence())).splitlines()
    assert missed[0].startswith("✗ Misses the budget  RAM: 21.5 K (269%) over.")


def test_all_figures_and_the_heaviest_layers() -> None:
    text = _print(render_summary(details(evidence()), evidence()))
    assert "86.37% to 90.33%" in text
    assert "71,236 B (69.6 K)" in text
    assert f"the 8 heaviest of {len(layers())}" in text
    heaviest = max(layers(), key=lambda row: row.cycles or 0)
    assert heaviest.name in text
    assert "percentile 99.99" in text
    assert "ONNX Runtime, layer by layer" in text
    assert "Note: Cycles are modelled" in text


def test_missing_data_is_stated() -> None:
    text = _print(render_summary(bare(), EvidenceSet(())))
    assert text.startswith("– No budget was set")  # noqa: RUF001
    assert "no toolchain" in text
    assert "not counted" in text
    assert "was not run in the emulator" in text


@pytest.mark.parametrize("color", [False, True])
def test_text_of_the_model_is_neither_markup_nor_control(color: bool) -> None:
    run = details(evidence())
    fields = {
        "model": EVIL,
        "device_title": EVIL,
        "toolchain": EVIL,
        "notes": (EVIL,),
        "metric": EVIL,
        "layers": tuple(row.model_copy(update={"name": EVIL, "kernel": EVIL}) for row in run.layers),
        "checks": tuple(row.model_copy(update={"what": EVIL}) for row in run.checks),
        "candidates": tuple(row.model_copy(update={"settings": {EVIL: EVIL}, "note": EVIL}) for row in run.candidates),
        "verdicts": tuple(row.model_copy(update={"line": EVIL, "how": EVIL}) for row in run.verdicts),
    }
    figures = EvidenceSet((Evidence.exact(EVIL, 1, EVIL, "counted"),))
    run = run.model_copy(update=fields)
    for what in (render_summary(run, figures), render_comparison([Run(EVIL, run, figures)] * 2)):
        text = _print(what, width=2000, color=color)
        assert text.count("[red]conv[/red] [/] \\x1b[31m\\u202e [link=file:x]y[/link]") >= 3
        assert "\u202e" not in text
        if not color:
            assert "\x1b" not in text


def test_narrow_terminals_lose_nothing() -> None:
    text = _print(render_summary(details(evidence()), evidence()), width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "…" not in text


@pytest.mark.parametrize("narrow", [False, True])
def test_bench_of_every_layer(narrow: bool) -> None:
    run = details(evidence())
    text = _print(render_bench(bench(run), run, narrow=narrow), 80 if narrow else 160)
    for row in run.layers:
        assert f"{row.cycles:,}" in text
    assert ("s8_softmax__portable" in text) is not narrow
    assert "traffic alone" in text
    assert text.index("taken") < text.index("on offer")
    assert "fewest modelled cycles" in _print(render_reasons(run))


def test_comparison() -> None:
    text = _print(render_comparison(runs()))
    assert "✓ Meets the budget" in text
    assert "✗ Misses the budget" in text
    assert text.count("no evidence") == 5
