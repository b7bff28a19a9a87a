"""A figure together with what makes it believable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

How = Literal["measured", "emulated", "counted", "modelled", "published"]


@dataclass(frozen=True)
class Evidence:
    """One figure and how it was obtained.

    Attributes:
        metric: name with its unit, such as ``flash_bytes``.
        value: the figure.
        low: lower end of its 95% interval, or the figure itself where it is exact.
        high: upper end likewise.
        n: number of samples behind it; 1 for an exact count.
        unit: ``B``, ``s``, ``pp``, ``cycles``, ``instructions``, ``fraction`` ...
        how: ``measured`` on the thing itself, ``emulated`` instruction-exactly, ``counted`` from the linked ELF,
            the memory plan or the graph, ``modelled`` from a table, or ``published`` elsewhere.
        context: device, compiler, flags, artifact hash and whatever else the figure depends on.
    """

    metric: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    how: How
    context: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def exact(
        cls, metric: str, value: float, unit: str, how: How, context: Mapping[str, str] | None = None
    ) -> Evidence:
        """A figure without spread, such as a count."""
        return cls(metric, value, value, value, 1, unit, how, context or {})


@dataclass(frozen=True)
class EvidenceSet:
    """The evidence of one artifact, by metric; what ``evidence.json`` holds."""

    items: tuple[Evidence, ...]

    def get(self, metric: str) -> Evidence | None:
        """The evidence for a metric, or None where there is none."""
        return next((item for item in self.items if item.metric == metric), None)

    def value(self, metric: str) -> float:
        """The figure of a metric that must be there."""
        item = self.get(metric)
        if item is None:
            raise KeyError(metric)
        return item.value

    def to_json(self) -> str:
        """JSON text: ``{metric: {value, low, high, ...}}`` in a stable order."""
        return json.dumps({item.metric: _plain(item) for item in self.items}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EvidenceSet:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(Evidence(metric=name, **fields) for name, fields in json.loads(text).items()))


def _plain(item: Evidence) -> dict[str, Any]:
    fields = asdict(item)
    del fields["metric"]
    fields["context"] = dict(sorted(item.context.items()))
    return fields
