"""The integer program against all choices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from microlith.core.solver import Limit, least_loss


@pytest.mark.parametrize("seed", range(6))
def test_no_choice_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = [list(rng.uniform(0, 1e-4 * 10**seed, rng.integers(1, 4))) for _ in range(6)]
    limits = []
    for _ in range(2):
        costs = [list(rng.integers(1, 100_000, len(row)).astype(float)) for row in losses]
        limits.append(Limit(costs, 0.6 * sum(max(row) for row in costs)))
    found = least_loss(losses, limits)

    def keeps(choice: tuple[int, ...]) -> bool:
        return all(sum(row[i] for row, i in zip(limit.costs, choice, strict=True)) <= limit.most for limit in limits)

    def loss(choice: tuple[int, ...]) -> float:
        return sum(row[i] for row, i in zip(losses, choice, strict=True))

    possible = [choice for choice in product(*(range(len(row)) for row in losses)) if keeps(choice)]
    if not possible:
        assert found is None
        return
    assert found is not None and keeps(found)
    assert loss(found) == pytest.approx(min(map(loss, possible)))


def test_limits_that_nothing_keeps() -> None:
    assert least_loss([[0.0, 1.0]], [Limit([[5.0, 3.0]], 2.0)]) is None
    assert least_loss([[0.0, 1.0]], [Limit([[5.0, 3.0]], 3.0)]) == (1,)
    assert least_loss([[1.0, 0.5]]) == (1,)
