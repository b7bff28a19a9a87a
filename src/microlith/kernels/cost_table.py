"""What a call costs, from the work it does and a table fitted to emulated calls; the table tells its own errors.

``tests/kernels/cost_model.py`` measures and writes the tables, one a core, in ``cost_tables/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from microlith.device.profile import Device
from microlith.kernels.base import CallContext, Cost, Kernel
from microlith.kernels.work import Work, work


@dataclass(frozen=True)
class PathCost:
    """What the parts of one code path cost.

    Attributes:
        cycles: of each part.
        instructions: likewise.
        median_percent: median error of the cycles, on calls that were not fitted.
        worst_percent: the greatest.
        calls: number of those calls.
    """

    cycles: Mapping[str, float]
    instructions: Mapping[str, float]
    median_percent: float
    worst_percent: float
    calls: int


# What runs the same code is compared by the same table, though its own cycles differ.
_LIKE = {"cortex-m7": "cortex-m4f", "cortex-m33": "cortex-m4f"}

Table = Mapping[str, Mapping[str, PathCost]]


@cache
def table(core: str) -> Table:
    """The table of a core, by kernel and code path; empty where none was measured."""
    file = resources.files("microlith.kernels") / "cost_tables" / f"{core}.json"
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return {kernel: {path: PathCost(**cost) for path, cost in paths.items()} for kernel, paths in content.items()}


def evaluate(parts: Mapping[str, float], done: Work) -> float | None:
    """Parts times their cost; None where one of them was never measured."""
    present = {part: count for part, count in done.counts.items() if count}
    return sum(parts[part] * count for part, count in present.items()) if present.keys() <= parts.keys() else None


def fitted_cost(kernel: Kernel, ctx: CallContext, device: Device) -> Cost | None:
    """The cost of a call from the table; None where the core, the code path or a part was not measured."""
    paths = table(_LIKE.get(device.core, device.core)).get(kernel.name) if device.fpu != "none" else None
    done = None if paths is None else work(kernel, ctx)
    found = None if paths is None or done is None else paths.get(done.path)
    if found is None or done is None:
        return None
    cycles, instructions = evaluate(found.cycles, done), evaluate(found.instructions, done)
    if cycles is None or instructions is None:
        return None
    const_bytes = sum(int(values.nbytes) for values in ctx.consts.values())
    return Cost(instructions, max(0.0, cycles - instructions), cycles, const_bytes, found.worst_percent)
