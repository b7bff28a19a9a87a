import pytest

from microlith.core.evidence import Evidence
from microlith.report import format as fmt
from report import example_run


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (65536, "B", "65,536 B (64.0 K)"),
        (0.0321, "s", "32.1 ms"),
        (4.5e-6, "s", "4.5 µs"),
        (0.0032, "J", "3.2 mJ"),
        (2e-12, "J", "0.002 nJ"),
        (0.894, "fraction", "89.40%"),
        (0.4, "pp", "+0.40 pp"),
        (-0.4, "pp", "\N{MINUS SIGN}0.40 pp"),
        (-0.0001, "pp", "0.00 pp"),
        (36502332, "cycles", "36,502,332"),
        (0.01234567, "1", "0.01235"),
        (1.5, "inst/MAC", "1.5 inst/MAC"),
        (float("inf"), "B", "inf"),
    ],
)
def test_figures(value: float, unit: str, text: str) -> None:
    assert fmt.figure(value, unit) == text


def test_bit_exact_is_a_word() -> None:
    assert fmt.figure(1, "", "bit_exact") == "yes"
    assert fmt.figure(0, "", "bit_exact") == "no"


def test_interval() -> None:
    assert fmt.interval(Evidence.exact("macs", 5, "MAC", "counted")) == ""
    same = Evidence("accuracy_drop", 0.0, 0.0, 0.0, 50, "%", "measured")
    assert fmt.interval(same) == "0.00 % to 0.00 %"
    drop = Evidence("accuracy_drop", 0.1, -0.5, 0.7, 9, "pp", "measured")
    assert fmt.interval(drop) == "\N{MINUS SIGN}0.50 pp to +0.70 pp"


@pytest.mark.parametrize(
    ("pessimistic", "limit", "unit", "text"),
    [
        (49152, 65536, "B", "16.0 K (25%) to spare"),
        (65537, 65536, "B", "1 B (0%) over"),
        (1.16, 1.0, "pp", "0.16 pp over"),
        (0.06, 0.05, "s", "10 ms (20%) over"),
        (1.0, 0.0, "pp", "1.00 pp over"),
        (-0.5, 1.0, "pp", "1.50 pp to spare"),
    ],
)
def test_excess(pessimistic: float, limit: float, unit: str, text: str) -> None:
    assert fmt.excess(pessimistic, limit, unit) == text


def test_titles() -> None:
    assert fmt.metric_title("accuracy_float", "accuracy") == "Accuracy, original model"
    assert fmt.metric_title("accuracy_drop", "auc") == "Drop of area under the ROC curve"
    assert fmt.metric_title("accuracy", "user.py:{score}") == "user.py:{score}, artifact"
    assert fmt.metric_title("odd_{metric", "accuracy") == "odd_{metric"
    assert fmt.line_title("ram") == "RAM"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 ✓", "plain é 漢 ✓"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("tab\tnul\x00", "tab\\tnul\\x00"),
        ("bidi\u202e", "bidi\\u202e"),
        ("\ud800", "\\ud800"),
        ("line\nbreak", "line\\nbreak"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert fmt.clean(text) == shown


def test_clean_lines_keeps_breaks() -> None:
    assert fmt.clean_lines("a\nb\x07") == "a\nb\\x07"


def test_decibels() -> None:
    assert [fmt.decibels(value) for value in (31.26, None, float("inf"))] == ["31.3 dB", "\N{EN DASH}", "exact"]


def test_memory_lines_tell_order_placement_and_regions() -> None:
    plan = example_run.details(example_run.evidence()).memory_plan
    assert plan is not None
    lines = fmt.memory_lines(plan)
    assert lines == [
        "Peak: 27,648 B (27.0 K) alive in block1/depthwise, block1/project.",
        "Order of the calls: proven to have the lowest peak of calls by themselves, 36,864 B (36.0 K).",
        "Placement: a gap of 16 B over the bound of 27,648 B (27.0 K); 9 results over their inputs.",
        "Layers 1 to 2 run together, 2 rows at a time; rows held: block1/depthwise 3.",
    ]
    unproven = plan.model_copy(update={"order_bound_bytes": 30000})
    assert "at most 6,864 B from the best" in fmt.memory_lines(unproven)[1]
    assert fmt.memory_lines(plan, rings=False)[3] == "Layers 1 to 2 run together, 2 rows at a time."
