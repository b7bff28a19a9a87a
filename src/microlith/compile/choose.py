"""The choice of kernels and schedules of all calls at once: the fewest cycles that fit flash and RAM.

What a call needs in flash is shared with others: an instance of code and a packed constant are stored once, however
many calls use them. So the cheapest set is no sum of cheapest calls, and is found as an integer program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from microlith.compile.candidates import Candidate, Choices, Known, Part
from microlith.core.solver import silent_solver

Opt = Literal["size", "balanced", "speed"]
OPTS: tuple[Opt, ...] = ("size", "balanced", "speed")

# Stored constants of a balanced choice: the least that any kernel needs for the call times this, and a few bytes more.
_BALANCED_BYTES = 1.25
_BALANCED_SLACK = 256
# A byte of flash decides between sets of equal cycles only.
_BYTE_CYCLES = 1e-6


@dataclass(frozen=True)
class Goal:
    """What a choice aims at.

    Attributes:
        opt: ``size`` takes the fewest bytes of flash; ``speed`` the fewest cycles; ``balanced`` the fewest cycles of
            kernels whose stored constants take at most a quarter and 256 bytes more than the least. Schedules with
            more scratch than the first of their kernel, and kernels of floats that round more than the direct sum, are
            for ``speed`` alone.
        flash_bytes: most bytes of the kernels' code and constants; None for no limit.
        ram_bytes: most bytes that are alive in one call; None for no limit.
        known: what was measured.
    """

    opt: Opt = "balanced"
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    known: Known = field(default_factory=Known)


Peak = Callable[[Sequence[Candidate]], tuple[int, int]]
"""Most bytes alive with these candidates, and the position of the call in which they are."""


def choose(layers: Sequence[Choices], goal: Goal, peak: Peak) -> tuple[Candidate, ...]:
    """One candidate for each call.

    Where no set fits, the one of the fewest bytes: whoever knows the whole program says what it lacks.

    Args:
        layers: calls with what can run them.
        goal: what to aim at.
        peak: of RAM; asked only where it is limited.
    """
    allowed = [_allowed(layer.candidates, goal.opt) for layer in layers]
    while True:
        chosen = _fewest_cycles(allowed, goal)
        if goal.ram_bytes is None:
            return chosen
        alive, worst = peak(chosen)
        less = [item for item in allowed[worst] if item.scratch_bytes < chosen[worst].scratch_bytes]
        if alive <= goal.ram_bytes or not less:
            return chosen
        allowed[worst] = less


def _allowed(candidates: Sequence[Candidate], opt: Opt) -> list[Candidate]:
    if opt == "speed":
        return list(candidates)
    preferred: dict[str, int] = {}
    candidates = [item for item in candidates if not item.kernel.rounds_more]
    for item in candidates:
        preferred.setdefault(item.kernel.name, item.scratch_bytes)
    frugal = [item for item in candidates if item.scratch_bytes <= preferred[item.kernel.name]]
    if opt == "size":
        return frugal
    most = min(item.const_bytes for item in frugal) * _BALANCED_BYTES + _BALANCED_SLACK
    return [item for item in frugal if item.const_bytes <= most]


def _fewest_cycles(allowed: Sequence[Sequence[Candidate]], goal: Goal) -> tuple[Candidate, ...]:
    limit = goal.flash_bytes
    if goal.opt != "size":
        # Each call's best, which is the optimum where flash does not bind.
        free = tuple(min(items, key=lambda item: (item.cycles, item.const_bytes)) for items in allowed)
        if limit is None or flash_bytes(free) <= limit:
            return free
    least = flash_bytes(_solve(allowed, by="bytes", limit=None))
    return _solve(allowed, by="cycles", limit=least if goal.opt == "size" else max(least, limit or 0))


def flash_bytes(chosen: Sequence[Candidate]) -> int:
    """Bytes of code and constants of these candidates together."""
    return sum(parts(chosen).values())


def parts(chosen: Sequence[Candidate]) -> dict[Part, int]:
    """Bytes of each part that these candidates need."""
    return {part: size for item in chosen for part, size in item.parts.items()}


def _solve(
    allowed: Sequence[Sequence[Candidate]], *, by: Literal["bytes", "cycles"], limit: int | None
) -> tuple[Candidate, ...]:
    """One candidate of each list, with the least sum of bytes or cycles, and no more than ``limit`` bytes.

    A variable for each candidate, 0 or 1, and one for each part, at least that of any candidate that needs it.
    """
    solver = silent_solver()
    sizes = parts([item for items in allowed for item in items])
    stored = {part: solver.addVariable(0, 1) for part in sizes}
    taken = [[solver.addBinary() for _ in items] for items in allowed]
    for items, variables in zip(allowed, taken, strict=True):
        solver.addConstr(sum(variables[1:], variables[0]) == 1)
        for item, variable in zip(items, variables, strict=True):
            for part in item.parts:
                solver.addConstr(stored[part] >= variable)
    flash = sum((size * stored[part] for part, size in sizes.items()), 0.0 * taken[0][0])
    if limit is not None:
        solver.addConstr(flash <= limit)
    cycles = sum(
        (
            item.cycles * variable
            for pair in zip(allowed, taken, strict=True)
            for item, variable in zip(*pair, strict=True)
        ),
        0.0 * taken[0][0],
    )
    solver.minimize(flash if by == "bytes" else cycles + _BYTE_CYCLES * flash)
    values = solver.getSolution().col_value
    return tuple(
        max(zip(items, variables, strict=True), key=lambda pair: values[pair[1].index])[0]
        for items, variables in zip(allowed, taken, strict=True)
    )


@dataclass(frozen=True)
class Trade:
    """Cycles for bytes, of one call, with all other calls as they are.

    Attributes:
        layer: position of the call.
        kernel: the faster way, with its schedule.
        against: the smaller way.
        cycles: fewer than it.
        flash_bytes: more than it.
        scratch_bytes: more than it.
        taken: whether it was; an offer otherwise.
    """

    layer: int
    kernel: str
    against: str
    cycles: float
    flash_bytes: int
    scratch_bytes: int
    taken: bool


def trades(layers: Sequence[Choices], chosen: Sequence[Candidate]) -> tuple[Trade, ...]:
    """What was paid for speed, against a balanced choice, and what faster ways would cost, the cheapest first."""
    found = []
    users = Counter(part for item in chosen for part in item.parts)
    for index, (layer, mine) in enumerate(zip(layers, chosen, strict=True)):
        shared = {part for part, count in users.items() if count > (part in mine.parts)}
        price = {id(item): _own_bytes(item, shared) for item in layer.candidates}

        def trade(fast: Candidate, small: Candidate, taken: bool, index: int = index, price: Any = price) -> Trade:
            return Trade(
                index,
                fast.name,
                small.name,
                small.cycles - fast.cycles,
                price[id(fast)] - price[id(small)],
                fast.scratch_bytes - small.scratch_bytes,
                taken,
            )

        plain = min(_allowed(layer.candidates, "balanced"), key=lambda item: item.cycles)
        paid = trade(mine, plain, taken=True)
        if paid.cycles > 0 and (paid.flash_bytes > 0 or paid.scratch_bytes > 0):
            found.append(paid)
        best = mine.cycles
        for item in sorted(layer.candidates, key=lambda item: (price[id(item)], item.scratch_bytes, item.cycles)):
            if item.cycles < best:
                best = item.cycles
                found.append(trade(item, mine, taken=False))
    return tuple(found)


def _own_bytes(item: Candidate, shared: set[Part]) -> int:
    return sum(size for part, size in item.parts.items() if part not in shared)
