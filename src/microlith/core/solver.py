"""Exact choices by integer programs, solved by HiGHS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def silent_solver() -> Any:
    """A HiGHS solver that prints nothing and stops only at a proven optimum."""
    import highspy

    class Silent(highspy.Highs):
        def enableCallbacks(self) -> None:
            # The base class prints a banner here.
            self.silent()
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    solver: Any = Silent()  # type: ignore[no-untyped-call]
    solver.setOptionValue("mip_rel_gap", 0.0)
    return solver


@dataclass(frozen=True)
class Limit:
    """A bound on the sum of what the chosen options cost.

    Attributes:
        costs: of every option of every item.
        most: the bound.
    """

    costs: Sequence[Sequence[float]]
    most: float


def least_loss(losses: Sequence[Sequence[float]], limits: Sequence[Limit] = ()) -> tuple[int, ...] | None:
    """One option for each item with the least sum of losses; None where no choice keeps the limits.

    Args:
        losses: of every option of every item, not negative.
        limits: which must all hold.
    """
    solver = silent_solver()
    taken = [[solver.addBinary() for _ in options] for options in losses]
    for variables in taken:
        solver.addConstr(sum(variables[1:], variables[0]) == 1)
    for limit in limits:
        # Scaled, so that the solver's tolerance is a millionth of the bound at most.
        scale = 1.0 / max(limit.most, 1.0)
        solver.addConstr(_total(limit.costs, taken, scale) <= limit.most * scale)
    largest = max((item for options in losses for item in options), default=0.0) or 1.0
    solver.minimize(_total(losses, taken, 1.0 / largest))
    if solver.modelStatusToString(solver.getModelStatus()) != "Optimal":
        return None
    values = solver.getSolution().col_value
    return tuple(max(range(len(row)), key=lambda index: values[row[index].index]) for row in taken)


def _total(costs: Sequence[Sequence[float]], taken: Sequence[Sequence[Any]], scale: float) -> Any:
    rows = zip(costs, taken, strict=True)
    terms = [cost * scale * variable for row in rows for cost, variable in zip(*row, strict=True)]
    return sum(terms, 0.0 * taken[0][0])
