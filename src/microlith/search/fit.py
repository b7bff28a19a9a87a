"""A package whose linked flash keeps a limit: the fastest set of kernels that fits, by link and choice in turn.

What an instance of code takes is known once it is linked, and before that about. So each link corrects what the choice
reckons with, until the choice stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from microlith.compile.choose import Goal, parts
from microlith.compile.package import Package
from microlith.core.errors import BudgetUnmetError
from microlith.core.units import format_bytes
from microlith.device.elf import sizes, symbols
from microlith.device.toolchain import Toolchain
from microlith.verify.workbench import Workbench

_MOST_LINKS = 8
# Start-up code, calls and what else is no kernel, before anything is linked.
_OVERHEAD_BYTES = 1024


def unlinked_goal(goal: Goal, flash_bytes: int | None) -> Goal:
    """The goal with what a limit on all of the flash leaves for kernels and constants, as far as it can be known."""
    return goal if flash_bytes is None else replace(goal, flash_bytes=max(0, flash_bytes - _OVERHEAD_BYTES))


def fitting_package(
    build: Callable[[Goal], Package], toolchain: Toolchain, goal: Goal, flash_bytes: int
) -> tuple[Package, Goal]:
    """The package of the fewest cycles whose minimal application takes at most ``flash_bytes``, and its goal.

    Args:
        build: makes the package for a goal.
        toolchain: links it.
        goal: what to aim at, limit on flash apart.
        flash_bytes: the limit.

    Raises:
        BudgetUnmetError: no set of kernels fits; the message gives the least flash that was reached.
    """
    known = dict(goal.known.code_bytes)
    trial = unlinked_goal(goal, flash_bytes)
    fits: tuple[float, Package, Goal] | None = None
    least: int | None = None
    seen: set[tuple[str, ...]] = set()
    for _ in range(_MOST_LINKS):
        package = build(trial)
        chosen = package.planned.chosen
        linked, instances = _link(package, toolchain)
        known.update(instances)
        reckoned = sum(known.get(part, size) for part, size in parts(chosen).items())
        least = linked if least is None else min(least, linked)
        cycles = sum(item.cycles for item in chosen)
        if linked <= flash_bytes and (fits is None or cycles < fits[0]):
            fits = (cycles, package, trial)
        names = tuple(item.name for item in chosen)
        if names in seen:
            break
        seen.add(names)
        room = flash_bytes - (linked - reckoned)
        trial = replace(goal, flash_bytes=max(0, room), known=replace(goal.known, code_bytes=dict(known)))
    if fits is None:
        raise BudgetUnmetError(
            f"flash: {format_bytes(flash_bytes)} is allowed, and no choice of kernels takes less than "
            f"{format_bytes(least or 0)}",
            hint="Allow that much, or make the model smaller.",
        )
    return fits[1], fits[2]


def _link(package: Package, toolchain: Toolchain) -> tuple[int, dict[tuple[object, ...], int]]:
    """Flash of the minimal application, and what each instance takes in it."""
    with Workbench(package.files, package.manifest, toolchain) as bench:
        elf = bench.minimal()
        table = symbols(elf)
        found = {key: table[symbol].bytes for key, symbol in package.instances.items() if symbol in table}
        return sizes(elf).flash, found
