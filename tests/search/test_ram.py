"""A limit on RAM: corrected by what runs use beside the arena, met by the cheapest way, or refused with the least."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from microlith.compile.choose import Goal
from microlith.core.errors import BudgetUnmetError
from microlith.search.fit import package_on_device, package_within_ram

ARENAS = (4000, 3000, 2500)
"""What there is to choose from, the cheapest first."""


def _build(goal: Goal) -> Any:
    assert goal.ram_bytes is not None
    arena = next((size for size in ARENAS if size <= goal.ram_bytes), ARENAS[-1])
    return SimpleNamespace(manifest=SimpleNamespace(spaces={"arena": arena}))


def _arena(limit: int, beside: int) -> int:
    package: Any = package_within_ram(_build, lambda made: made.manifest.spaces["arena"] + beside, Goal(), limit)
    return int(package.manifest.spaces["arena"])


@pytest.mark.parametrize("beside", [100, 1024, 2000])
def test_the_cheapest_way_that_fits_is_taken(beside: int) -> None:
    for arena in ARENAS:
        assert _arena(arena + beside, beside) == arena
        assert _arena(arena + beside + 200, beside) == arena
    with pytest.raises(BudgetUnmetError, match=f"no plan takes less than {ARENAS[-1] + beside:,} B"):
        _arena(ARENAS[-1] + beside - 1, beside)


def test_what_cannot_be_measured_is_left_to_the_verdict() -> None:
    package: Any = package_within_ram(_build, lambda made: None, Goal(), 100)
    assert package.manifest.spaces["arena"] == ARENAS[-1]


def test_a_device_that_is_too_small_for_the_default_gets_less() -> None:
    def build(goal: Goal) -> Any:
        return _build(Goal(ram_bytes=goal.ram_bytes or 10**9))

    for ram, arena in ((None, 4000), (4000 + 1024, 4000), (4000, 2500), (100, 2500)):
        package: Any = package_on_device(build, Goal(), ram)
        assert package.manifest.spaces["arena"] == arena
