"""Cycles of each call's candidates, counted on the emulated device, and kept for later runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from microlith.compile.candidates import Candidate, Known, content_key
from microlith.compile.context import call_context
from microlith.compile.lower import lower
from microlith.compile.plan import layer_choices
from microlith.compile.trial import IDLE, trial
from microlith.core.errors import InputError
from microlith.core.kept import Kept
from microlith.core.random import generator
from microlith.device.elf import symbols
from microlith.device.emulator import Emulator
from microlith.device.toolchain import Toolchain
from microlith.program.types import Program
from microlith.search.artifact import Progress, Tools
from microlith.search.code_sizes import tools_key
from microlith.verify.workbench import Workbench

# Candidates that are estimated at more than this many times the best one's cycles are not run.
_HOPELESS = 2.5
# A program's worth: so much is lost at most where a run is interrupted.
_MOST_CYCLES = 10_000_000
_MOST_CALLS = 48
_FIGURES = 2


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        known: cycles and code bytes of the candidates.
        counted: candidates that were run.
        kept: candidates that an earlier run had counted.
    """

    known: Known
    counted: int
    kept: int


def tune(model: ir.Model, tools: Tools, progress: Progress, directory: Path | None = None) -> Tuned:
    """Run what could run each call on the emulated device.

    On cores without a table of cycles, instructions take their place. Calls that one kernel in one schedule alone can
    run are not run.

    Args:
        model: through the graph passes.
        tools: with a toolchain for the device.
        progress: called with what is being done, the candidates done, and their number.
        directory: where counts are kept; the user's cache by default.

    Raises:
        InputError: the device is this machine.
    """
    device, toolchain = tools.device, tools.target
    if device.is_host:
        raise InputError(
            "tuning counts on an emulated device, and this machine is not emulated",
            hint="Leave out --tune, or name a microcontroller.",
        )
    assert toolchain is not None, "whoever tunes looks for a toolchain"
    program, layers = layer_choices(lower(model, "trial"), device)
    keys: dict[str, Candidate] = {}
    for layer in layers:
        if len(layer.candidates) > 1:
            most = _HOPELESS * min(item.cycles for item in layer.candidates)
            for item in layer.candidates:
                if item.cycles <= most:
                    keys.setdefault(content_key(call_context(program, item.call), item.kernel, device), item)
    kept = Kept("tuning", tools_key(toolchain), _FIGURES, directory)
    figures = {key: figure for key, figure in kept.load().items() if key in keys}
    before = len(figures)
    missing = {key: item for key, item in keys.items() if key not in figures}
    rng = generator(0, "tuning")
    progress("tune", before, len(keys))
    for part in _programs(missing):
        found = _counted(program, part, toolchain, rng)
        kept.add(found)
        figures |= found
        progress("tune", len(figures), len(keys))
    code = {keys[key].instance: int(figure[1]) for key, figure in figures.items()}
    return Tuned(Known({key: figure[0] for key, figure in figures.items()}, code), len(missing), before)


def _programs(missing: dict[str, Candidate]) -> Iterator[dict[str, Candidate]]:
    part: dict[str, Candidate] = {}
    cycles = 0.0
    for key, item in missing.items():
        if part and (cycles + item.cycles > _MOST_CYCLES or len(part) == _MOST_CALLS):
            yield part
            part, cycles = {}, 0.0
        part[key] = item
        cycles += item.cycles
    if part:
        yield part


def _counted(
    program: Program, part: dict[str, Candidate], toolchain: Toolchain, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Cycles and bytes of code of each candidate."""
    made = trial(program, list(part.values()), toolchain.device, rng)
    manifest = made.package.manifest
    with Workbench(made.package.files, manifest, toolchain) as bench:
        elf = bench.runner(IDLE)
        with Emulator(elf, made.device) as emulator:
            layers = emulator.infer_counted(made.inputs, manifest.layers).layers
        table = symbols(elf)
    code = {instance: table[name].bytes for instance, name in made.package.instances.items() if name in table}
    return {
        key: (
            float(counts.instructions if counts.cycles is None else counts.cycles),
            float(code.get(item.instance, item.parts[item.instance])),
        )
        for (key, item), counts in zip(part.items(), layers, strict=True)
    }
