import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from microlith.core.details import RunDetails
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.report.html import render, render_comparison
from microlith.report.load import Run
from report.example_run import bare, details, evidence, layers, runs

VOID = {"meta", "br", "link", "img", "input", "hr", "path", "line"}
EVIL = "<script>alert('x')</script>\"&\u202e\x1b[31m"


class Page(HTMLParser):
    """Tags, ids, attributes and text, with every opened element closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def full() -> str:
    figures = evidence()
    return render(details(figures), figures)


@pytest.fixture(scope="module")
def compared() -> str:
    return render_comparison(runs())


@pytest.mark.parametrize("name", ["full", "compared"])
def test_self_contained(name: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(name)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    loading = [item for item in page.attributes if item[1] in ("src", "href", "xlink:href", "srcset", "data", "action")]
    assert loading == []
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_every_section_is_present(full: str) -> None:
    page = Page(full)
    sections = ["verdict", "notes", "accuracy", "figures", "candidates"]
    sections += ["layers", "bench", "memory", "sqnr", "checks", "passes"]
    assert [name for name in page.ids if name in {*sections, "device"}] == [*sections, "device"]
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == 4


def test_the_verdict_comes_first_with_its_pessimistic_end(full: str) -> None:
    text = Page(full).text
    assert text.index("Meets the budget") < text.index("Accuracy, original model")
    drop = evidence().get("accuracy_drop")
    assert drop is not None
    assert f"judged at +{drop.high:.2f} pp" in text
    assert "limit 2.00 pp" in text
    assert "All 4 lines hold" in text


def test_a_missed_budget_says_which_line_and_by_how_much() -> None:
    figures = evidence()
    text = Page(render(details(figures, ram_limit=8192), figures)).text
    assert "Misses the budget" in text
    assert "RAM: 21.5 K (269%) over." in text
    assert "✗ missed" in text


def test_a_line_without_evidence_is_not_met() -> None:
    figures = evidence()
    run = details(figures)
    line = run.verdicts[3].model_copy(update={"value": None, "pessimistic": None, "how": "", "met": False})
    text = Page(render(run.model_copy(update={"verdicts": (line,)}), figures)).text
    assert "Latency: no evidence, so the line is not met." in text
    assert "a line without evidence is not met" in text


def test_all_evidence_is_listed_with_how(full: str) -> None:
    text = Page(full).text
    for item in evidence().items:
        assert f" {item.metric} " in text
    for word in ("86.37% to 90.33%", "71,236 B (69.6 K)", "emulated", "3f7a9c21d0be", "not speed"):
        assert word in text


def test_layers_have_shares_that_sum_to_one(full: str) -> None:
    section = full[full.index('id="layers"') : full.index('id="bench"')]
    shares = [float(share) for share in re.findall(r'class="percent">([0-9.]+)%', section)]
    assert len(shares) == len(layers())
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))
    for row in layers():
        assert row.name in section
        assert f"{row.instructions:,}" in section
    assert "1,840" in section


def test_layers_stand_beside_their_bound_and_the_price_of_faster_ways(full: str) -> None:
    text = Page(full).text
    assert re.search(
        r"cycles in all layers; products, results and memory traffic alone take at least [\d,]+ \(\d+%\)", text
    )
    assert "Cost model: " in text
    first = text.index("s8_conv2d__dsp_winograd_2x2 s8_conv2d__dsp_2x2 12,400 5,888 B 1,312 B taken")
    assert first < text.index("s8_conv2d__dsp_int16 s8_conv2d__dsp_2x2 1,200 864 B 1,312 B on offer")


def test_plots_are_sound_and_described(full: str) -> None:
    drawn = re.findall(r'<div class="plot" role="img" aria-label="([^"]+)">(<svg.*?</svg>)', full, re.DOTALL)
    assert len(drawn) == 4
    for alternative, svg in drawn:
        ET.fromstring(svg)
        assert len(alternative) > 40
    assert any("at most 27,648 bytes" in alternative for alternative, _ in drawn)
    assert "peak 27,648 B" in full
    assert any("the lowest is" in alternative for alternative, _ in drawn)
    assert "var(--accent)" in drawn[0][1]


def test_missing_data_is_stated() -> None:
    page = Page(render(bare(), EvidenceSet(())))
    for words in (
        "No budget was set",
        "Instructions and cycles were not counted: the artifact was not run in the emulator.",
        "The signal-to-noise ratio of the layers was not computed.",
        "the run was given no data",
        "the run produced no evidence",
        "the run recorded no memory plan",
        "no two executors were compared",
        "figures that need a linked program are not there",
    ):
        assert words in page.text
    assert "svg" not in page.tags
    rows = page.text.count("not counted")
    assert rows > 3 * len(layers())


def test_nothing_at_all() -> None:
    page = Page(render(RunDetails(model="m", device="d", device_title="D"), EvidenceSet(())))
    assert "the run recorded no layers" in page.text


def test_cycles_that_no_table_gives() -> None:
    run = details(evidence())
    rows = tuple(row.model_copy(update={"cycles": None}) for row in run.layers)
    text = Page(render(run.model_copy(update={"layers": rows}), evidence())).text
    assert "Cycles are not modelled for this core" in text
    assert "the share is of instructions" in text


def test_a_layer_without_noise_is_exact_and_not_drawn() -> None:
    run = details(evidence())
    rows = tuple(row.model_copy(update={"sqnr_db": float("inf")}) for row in run.layers[:2]) + run.layers[2:]
    text = render(run.model_copy(update={"layers": rows}), evidence())
    assert text.count("exact</td>") >= 2
    assert "ratio of 14 layers" in text


def test_agreement_is_not_called_accuracy() -> None:
    figures = evidence()
    text = Page(render(details(figures).model_copy(update={"metric": "agreement"}), figures)).text
    assert "Agreement with the original model" in text
    assert "Accuracy, original model" not in text


def _evil() -> tuple[RunDetails, EvidenceSet]:
    run = details(evidence())
    fields = {
        "model": EVIL,
        "device_title": EVIL,
        "command": EVIL,
        "toolchain": EVIL,
        "flags": EVIL,
        "notes": (EVIL,),
        "metric": EVIL,
        "layers": tuple(row.model_copy(update={"name": EVIL, "kernel": EVIL, "why": EVIL}) for row in run.layers),
        "memory": tuple(row.model_copy(update={"name": EVIL, "space": EVIL}) for row in run.memory),
        "passes": tuple(row.model_copy(update={"name": EVIL, "note": EVIL}) for row in run.passes),
        "checks": tuple(row.model_copy(update={"what": EVIL}) for row in run.checks),
        "candidates": tuple(row.model_copy(update={"settings": {EVIL: EVIL}, "note": EVIL}) for row in run.candidates),
        "verdicts": tuple(row.model_copy(update={"line": EVIL, "how": EVIL}) for row in run.verdicts),
    }
    items = tuple(
        Evidence(EVIL, item.value, item.low, item.high, item.n, item.unit, item.how, {EVIL: EVIL})
        for item in evidence().items[:1]
    )
    return run.model_copy(update=fields), EvidenceSet(items + evidence().items)


def test_text_of_the_model_is_escaped() -> None:
    run, figures = _evil()
    for text in (render(run, figures), render_comparison([Run(EVIL, run, figures)] * 2)):
        page = Page(text)
        assert "script" not in page.tags
        assert "<script" not in text.lower()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "alert('x')" in page.text
        assert "\\x1b[31m" in page.text
        text.encode()


def test_lone_surrogates_can_be_written() -> None:
    run = details(evidence()).model_copy(update={"model": "a\ud800b", "notes": ("c\udfffd",)})
    assert b"a\\ud800b" in render(run, evidence()).encode()


def test_the_same_run_gives_the_same_bytes(full: str) -> None:
    figures = evidence()
    assert render(details(figures), figures) == full


def test_comparison(compared: str) -> None:
    page = Page(compared)
    assert "2 runs side by side" in page.text
    assert "meets the budget" in page.text
    assert "misses the budget" in page.text
    assert page.text.count("no evidence") == 5
    assert "21.5 K (269%) over" in page.text


def test_comparison_states_differences_against_the_first() -> None:
    first, _ = runs()
    smaller = EvidenceSet((Evidence.exact("flash_bytes", 71236 / 2, "B", "counted"),))
    bigger = EvidenceSet((Evidence.exact("flash_bytes", 71236 * 1.1, "B", "counted"),))
    text = Page(render_comparison([first, Run("a", first.details, smaller), Run("b", first.details, bigger)])).text
    assert "\N{MINUS SIGN}50.0%" in text
    assert "+10.0%" in text


def test_comparison_of_runs_with_other_budgets() -> None:
    first, _ = runs()
    other = Run("bare", bare(), EvidenceSet(()))
    text = Page(render_comparison([first, other])).text
    assert "no budget was set" in text
    assert "no limit" in text


def test_comparison_needs_two() -> None:
    with pytest.raises(ValueError, match="1 runs"):
        render_comparison(runs()[:1])
