import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import InputError
from microlith.data.dataset import Dataset
from microlith.data.split import Split


@settings(deadline=None)
@given(st.integers(2, 4000), st.integers(0, 9))
def test_default_parts_are_disjoint_and_inside(n: int, seed: int) -> None:
    split = Split.of(n, seed=seed)
    sizes = split.sizes
    own = split.selection if sizes["selection"] else split.selection[:0]
    together = np.concatenate([split.calibration, own, split.report()])
    assert len(np.unique(together)) == len(together) == sum(sizes.values()) == n
    assert together.min() >= 0
    assert together.max() < n
    assert sizes["calibration"] >= 1
    assert sizes["report"] >= 1


@settings(deadline=None)
@given(st.integers(3, 300), st.data())
def test_counts_are_what_was_asked(n: int, data: st.DataObject) -> None:
    report = data.draw(st.integers(1, n - 2))
    calibration = data.draw(st.integers(1, n - report - 1))
    selection = data.draw(st.integers(1, n - report - calibration))
    split = Split.of(n, calibration=calibration, selection=selection, report=report)
    assert split.sizes == {"calibration": calibration, "selection": selection, "report": report}
    parts = [split.calibration, split.selection, split.report()]
    assert len(np.unique(np.concatenate(parts))) == calibration + selection + report
    assert all(np.array_equal(part, np.sort(part)) for part in parts)
    assert split.notes == ()


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (2, (1, 0, 1)),
        (60, (20, 0, 40)),
        (600, (100, 100, 400)),
        (1500, (250, 250, 1000)),
        (50000, (512, 2000, 47488)),
    ],
)
def test_defaults(n: int, sizes: tuple[int, int, int]) -> None:
    assert tuple(Split.of(n).sizes.values()) == sizes


def test_what_is_not_asked_for_shares_the_rest() -> None:
    assert Split.of(600, calibration=100, selection=0).sizes == {"calibration": 100, "selection": 0, "report": 500}
    assert Split.of(600, report=500).sizes == {"calibration": 50, "selection": 50, "report": 500}
    assert Split.of(100, calibration=0.29, selection=0.5).sizes == {"calibration": 29, "selection": 50, "report": 21}


def test_selection_on_the_calibration_part_is_noted() -> None:
    split = Split.of(600, calibration=100, selection=0)
    assert np.array_equal(split.selection, split.calibration)
    assert len(split.notes) == 1
    assert "100 calibration samples" in split.notes[0]
    assert not np.intersect1d(split.selection, split.report()).size


def test_seed_decides() -> None:
    assert np.array_equal(Split.of(100, seed=1).calibration, Split.of(100, seed=1).calibration)
    assert not np.array_equal(Split.of(100, seed=1).calibration, Split.of(100, seed=2).calibration)
    sorted_classes = np.repeat([0, 1], 50)
    assert len(np.unique(sorted_classes[Split.of(100).calibration])) == 2


def test_report_is_read_once() -> None:
    split = Split.of(100)
    assert split.sizes["report"] == len(split.report())
    with pytest.raises(RuntimeError, match="read once, last"):
        split.report()
    assert split.sizes["report"] > 0


def test_labels_stay_with_their_samples() -> None:
    x = np.arange(90, dtype=np.float32).reshape(90, 1)
    data, split = Dataset.of(x, np.arange(90)), Split.of(90, seed=3)
    for indices in (split.calibration, split.selection, split.report()):
        part = data.select(indices)
        assert part.y is not None
        assert np.array_equal(part.x[:, 0], part.y)
        assert np.array_equal(part.y, indices)


@pytest.mark.parametrize(
    ("n", "asked", "message"),
    [
        (10, {"calibration": 6, "report": 5}, r"11 samples are asked for \(6 for calibration, 5 for report\)"),
        (10, {"calibration": 11}, "11 samples are asked for"),
        (10, {"calibration": 10}, "none are left for the report part"),
        (10, {"calibration": 0}, "none are left for the calibration part"),
        (10, {"report": 10}, "none are left for the calibration part"),
        (10, {"report": 0}, "none are left for the report part"),
        (1, {}, "none are left"),
        (10, {"calibration": -1}, "0 or more"),
        (10, {"calibration": 1.5}, "fraction"),
        (10, {"selection": -0.1}, "fraction"),
        (10, {"calibration": 0.6, "report": 0.7}, "13 samples are asked for"),
    ],
)
def test_refusals(n: int, asked: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Split.of(n, **asked)
