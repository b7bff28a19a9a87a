"""A package whose flash and RAM keep limits: the fastest that fits, by link or run and choice in turn.

What an instance of code takes is known once it is linked, and before that about. So what no limit binds is linked
first. Where that does not fit, all that could run a call is linked, and from then on each link corrects what the choice
reckons with, until the choice stays what it is: code takes other bytes beside other code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from microlith.compile.candidates import Part
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
    build: Callable[[Goal], Package],
    code_bytes: Callable[[], Mapping[Part, int]],
    toolchain: Toolchain,
    goal: Goal,
    flash_bytes: int,
) -> Package:
    """The package of the fewest cycles whose minimal application takes at most ``flash_bytes``.

    Args:
        build: makes the package for a goal.
        code_bytes: links each instance that could be used; asked where the limit binds.
        toolchain: links it.
        goal: what to aim at, limit on flash apart.
        flash_bytes: the limit.

    Raises:
        BudgetUnmetError: no set of kernels fits; the message gives the least flash that was reached.
    """
    known = dict(goal.known.code_bytes)
    trial = goal
    fits: tuple[float, Package] | None = None
    least: int | None = None
    seen: set[tuple[str, ...]] = set()
    for _ in range(_MOST_LINKS):
        package = build(trial)
        chosen = package.planned.chosen
        linked, instances = _link(package, toolchain)
        if trial is goal and linked > flash_bytes:
            known.update(code_bytes())
        known.update(instances)
        reckoned = sum(known.get(part, size) for part, size in parts(chosen).items())
        least = linked if least is None else min(least, linked)
        cycles = sum(item.cycles for item in chosen)
        if linked <= flash_bytes and (fits is None or cycles < fits[0]):
            fits = (cycles, package)
        names = tuple(item.name for item in chosen)
        if names in seen or (trial is goal and fits is not None):
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
    return fits[1]


# Stack and static data of the minimal application, before it has run.
_RAM_BESIDE_ARENA = 1024
_MOST_RUNS = 6


def package_on_device(build: Callable[[Goal], Package], goal: Goal, ram_bytes: int | None) -> Package:
    """The package for a goal; where its arena does not fit the device, the fastest that does, if any."""
    package = build(goal)
    limit = None if ram_bytes is None else max(1, ram_bytes - _RAM_BESIDE_ARENA)
    if limit is None or package.manifest.spaces.get("arena", 0) <= limit:
        return package
    return build(replace(goal, ram_bytes=limit))


def package_within_ram(
    build: Callable[[Goal], Package], measure: Callable[[Package], int | None], goal: Goal, ram_bytes: int
) -> Package:
    """The package of the fewest cycles whose minimal application uses at most so much RAM.

    What it uses beside the arena is known once it has run, so the limit of the arena is corrected by each run.

    Args:
        build: makes the package for a goal.
        measure: RAM of its minimal application; None where that is not known.
        goal: what to aim at, limit on RAM apart.
        ram_bytes: the limit.

    Raises:
        BudgetUnmetError: nothing takes as little; the message gives the least RAM that was reached.
    """
    limit = max(1, ram_bytes - _RAM_BESIDE_ARENA)
    fits: Package | None = None
    reached: list[int] = []
    seen: set[int] = set()
    while limit not in seen and len(seen) < _MOST_RUNS:
        seen.add(limit)
        package = build(replace(goal, ram_bytes=limit))
        used = measure(package)
        if used is None:
            return package
        reached.append(used)
        arena = package.manifest.spaces.get("arena", 0)
        if used <= ram_bytes:
            fits = package
        elif fits is not None or arena > limit:
            break
        limit = max(1, ram_bytes - (used - arena))
    if fits is None:
        raise BudgetUnmetError(
            f"RAM: {format_bytes(ram_bytes)} is allowed, and no plan takes less than {format_bytes(min(reached))}",
            hint="Allow that much, or make the model or its inputs smaller.",
        )
    return fits


def _link(package: Package, toolchain: Toolchain) -> tuple[int, dict[Part, int]]:
    """Flash of the minimal application, and what each instance takes in it."""
    with Workbench(package.files, package.manifest, toolchain) as bench:
        elf = bench.minimal()
        table = symbols(elf)
        found = {key: table[symbol].bytes for key, symbol in package.instances.items() if symbol in table}
        return sizes(elf).flash, found
