import math

import pytest

from microlith.core.budget import Budget, judge, parse_budget
from microlith.core.errors import InputError
from microlith.core.evidence import Evidence, EvidenceSet


def _evidence(**high: float) -> EvidenceSet:
    return EvidenceSet(tuple(Evidence(name, 0.5, 0.0, value, 9, "pp", "measured") for name, value in high.items()))


def test_from_command_line_text() -> None:
    budget = parse_budget(max_drop="1pp", flash="256K", ram="64K", latency="50ms", energy="3mJ")
    assert (budget.max_drop, budget.flash, budget.ram, budget.latency) == (1.0, 262144, 65536, 0.05)
    assert budget.energy == pytest.approx(0.003)


def test_lines_are_only_those_that_are_set() -> None:
    assert parse_budget(ram="8K").lines() == (("ram", "ram_bytes", 8192),)
    assert Budget().lines() == ()


def test_the_pessimistic_end_decides() -> None:
    budget = Budget(max_drop="1pp")
    assert judge(budget, _evidence(accuracy_drop=1.0))[0].met
    assert not judge(budget, _evidence(accuracy_drop=1.01))[0].met


def test_a_line_without_evidence_is_not_met() -> None:
    (verdict,) = judge(Budget(latency="50ms"), _evidence(accuracy_drop=0.0))
    assert not verdict.met
    assert verdict.evidence is None
    assert math.isinf(verdict.excess)


def test_excess_is_relative() -> None:
    (verdict,) = judge(Budget(ram=1000), _evidence(ram_bytes=1250))
    assert verdict.excess == pytest.approx(0.25)
    (verdict,) = judge(Budget(max_drop=0), _evidence(accuracy_drop=0.5))
    assert verdict.excess == pytest.approx(0.5)


@pytest.mark.parametrize("fields", [{"ram": "64X"}, {"max_drop": "1%"}, {"speed": "1s"}, {"latency": "50"}])
def test_malformed(fields: dict[str, str]) -> None:
    with pytest.raises(InputError):
        parse_budget(**fields)


def test_percent_is_refused_with_the_hint() -> None:
    with pytest.raises(InputError, match="1pp"):
        parse_budget(max_drop="1%")
