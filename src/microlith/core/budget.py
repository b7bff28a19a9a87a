"""What the artifact may cost, and whether the evidence says that it does not cost more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from microlith.core.errors import InputError
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.core.units import parse_bytes, parse_drop, parse_joules, parse_seconds


def _optional(parse: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None else parse(value))


class Budget(BaseModel):
    """Upper bounds on an artifact; a bound that is None is not set.

    Attributes:
        max_drop: accuracy drop against the float model in percentage points (``"1pp"``).
        flash: bytes of the linked minimal application (``"256K"``).
        ram: bytes of arena, input, output and state buffers, data, bss and stack (``"64K"``).
        latency: seconds an inference (``"50ms"``).
        energy: joules an inference (``"3mJ"``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    max_drop: Annotated[float | None, _optional(parse_drop)] = None
    flash: Annotated[int | None, _optional(parse_bytes)] = None
    ram: Annotated[int | None, _optional(parse_bytes)] = None
    latency: Annotated[float | None, _optional(parse_seconds)] = None
    energy: Annotated[float | None, _optional(parse_joules)] = None

    def lines(self) -> tuple[tuple[str, str, float], ...]:
        """The bounds that are set: (budget field, metric of the evidence, limit)."""
        return tuple((name, metric, limit) for name, metric in METRICS if (limit := getattr(self, name)) is not None)


METRICS = (
    ("max_drop", "accuracy_drop"),
    ("flash", "flash_bytes"),
    ("ram", "ram_bytes"),
    ("latency", "latency_s"),
    ("energy", "energy_j"),
)


@dataclass(frozen=True)
class Verdict:
    """One budget line judged.

    Attributes:
        line: field of the budget.
        metric: metric that it bounds.
        limit: the bound.
        evidence: what was compared, or None where there is no evidence.
        met: whether the pessimistic end of the evidence keeps the bound; without evidence a line is not met.
    """

    line: str
    metric: str
    limit: float
    evidence: Evidence | None
    met: bool

    @property
    def excess(self) -> float:
        """How far the pessimistic end lies above the limit, as a fraction of the limit (of 1 where it is 0)."""
        if self.evidence is None:
            return float("inf")
        return (self.evidence.high - self.limit) / (abs(self.limit) or 1.0)


def judge(budget: Budget, evidence: EvidenceSet) -> tuple[Verdict, ...]:
    """Compare every line of the budget with the pessimistic end of its evidence."""
    verdicts = []
    for line, metric, limit in budget.lines():
        item = evidence.get(metric)
        verdicts.append(Verdict(line, metric, limit, item, item is not None and item.high <= limit))
    return tuple(verdicts)


def parse_budget(**fields: Any) -> Budget:
    """A budget from command-line strings, with our own error for a malformed one."""
    try:
        return Budget(**fields)
    except ValueError as error:
        raise InputError(f"the budget is malformed: {error}") from error
