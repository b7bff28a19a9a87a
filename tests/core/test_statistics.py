import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.statistics import Z95, Interval, bootstrap, bootstrap_mean, paired_difference, wilson


def test_wilson_solves_the_score_equation() -> None:
    # The ends are the proportions at which the score test is exactly at the quantile.
    for successes, n in ((3, 10), (81, 263), (1, 29), (880, 1000)):
        interval = wilson(successes, n)
        for end in (interval.low, interval.high):
            assert abs(successes / n - end) / math.sqrt(end * (1 - end) / n) == pytest.approx(Z95, abs=1e-9)


def test_wilson_published_value() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_estimate(case: tuple[int, int]) -> None:
    interval = wilson(*case)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.n == case[1]


def test_wilson_refuses_impossible_counts() -> None:
    for case in ((0, 0), (5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="successes"):
            wilson(*case)


def _pairs(both: int, first_only: int, second_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    cells = [(1, 1)] * both + [(1, 0)] * first_only + [(0, 1)] * second_only + [(0, 0)] * neither
    table = np.array(cells, bool)
    return table[:, 0], table[:, 1]


def test_paired_difference_by_hand() -> None:
    # 794 / 150 / 86 / 570: the prime minister table of Agresti (2002), table 10.1, n = 1,600.
    interval = paired_difference(*_pairs(794, 150, 86, 570))
    p, q, n = 150.5 / 1602, 86.5 / 1602, 1602
    half = 1.959964 * math.sqrt((p * (1 - p) + q * (1 - q) + 2 * p * q) / n)
    assert interval.value == 64 / 1600
    assert interval.low == pytest.approx(p - q - half, rel=1e-6)
    assert interval.high == pytest.approx(p - q + half, rel=1e-6)


def test_paired_difference_covers_the_truth() -> None:
    # Exact coverage over all tables of n = 30 with discordant probabilities 0.08 and 0.03.
    n, p, q = 30, 0.08, 0.03
    covered = 0.0
    for b, c in itertools.product(range(n + 1), repeat=2):
        if b + c <= n:
            chance = math.comb(n, b) * math.comb(n - b, c) * p**b * q**c * (1 - p - q) ** (n - b - c)
            interval = paired_difference(*_pairs(n - b - c, b, c, 0))
            covered += chance * (interval.low <= p - q <= interval.high)
    assert covered >= 0.95


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_paired_difference_contains_the_estimate_and_is_antisymmetric(pairs: list[tuple[bool, bool]]) -> None:
    first, second = np.array(pairs, bool).T
    forth, back = paired_difference(first, second), paired_difference(second, first)
    assert -1 <= forth.low <= forth.value <= forth.high <= 1
    assert (forth.value, forth.low) == pytest.approx((-back.value, -back.high))


def test_paired_difference_is_narrower_than_an_unpaired_one() -> None:
    first, second = _pairs(850, 12, 8, 130)
    paired, a, b = paired_difference(first, second), wilson(862, 1000), wilson(858, 1000)
    assert paired.high - paired.low < math.hypot(a.high - a.low, b.high - b.low) / 2


def test_paired_difference_refuses_other_lengths() -> None:
    with pytest.raises(ValueError, match="paired"):
        paired_difference(np.zeros(3, bool), np.zeros(4, bool))


def test_bootstrap_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    interval = bootstrap_mean(values, np.random.default_rng(2))
    half = Z95 * values.std() / math.sqrt(400)
    assert interval.value == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05)


def test_bootstrap_is_decided_by_the_generator() -> None:
    values = np.arange(20.0)
    one, two, other = (bootstrap_mean(values, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one == two
    assert one != other


def test_bootstrap_keeps_strata() -> None:
    strata = np.array([0] * 37 + [1] * 3)
    seen = set()

    def positives(chosen: np.ndarray) -> float:
        seen.add(int(strata[chosen].sum()))
        return float(len(chosen))

    assert bootstrap(40, positives, np.random.default_rng(0), strata=strata, resamples=50).value == 40
    assert seen == {3}


def test_interval_scaled_and_evidence() -> None:
    interval = Interval(0.1, -0.05, 0.2, 50)
    assert interval.scaled(-100) == Interval(-10.0, -20.0, 5.0, 50)
    item = interval.evidence("accuracy_drop", "pp", "measured", {"device": "host"})
    assert (item.metric, item.low, item.high, item.n, item.unit, item.how) == (
        "accuracy_drop",
        -0.05,
        0.2,
        50,
        "pp",
        "measured",
    )
    assert item.context == {"device": "host"}
