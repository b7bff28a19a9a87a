"""Tuning counts candidates on the emulated device once, and choices within a limit of flash are linked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import models
from microlith.compile.choose import Goal
from microlith.core.errors import BudgetUnmetError, InputError
from microlith.core.units import parse_bytes
from microlith.device.elf import sizes, symbols
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain
from microlith.search.artifact import Tools, build_package, figures_of
from microlith.search.code_sizes import linked_code_bytes
from microlith.search.tune import tune
from microlith.verify.workbench import Workbench

DEVICE = device("stm32l4r5")


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    rng = np.random.default_rng(0)
    made = compiled.prepared(models.tiny_cnn(channels=8))
    return compiled.quantized(made, [{"image": picture[None]} for picture in models.images(rng, 8)])


@pytest.mark.mcu
def test_counts_are_those_of_the_network_and_are_kept(graph: ir.Model, tmp_path: Path) -> None:
    tools = Tools.find(DEVICE, None, required=True)
    steps: list[tuple[str, int, int | None]] = []
    first = tune(graph, tools, lambda *step: steps.append(step), tmp_path)
    assert first.kept == 0
    assert steps[-1] == ("tune", first.counted, first.counted)
    again = tune(graph, tools, lambda *step: None, tmp_path)
    assert (again.counted, again.kept, again.known) == (0, first.counted, first.known)
    package = build_package(graph, tools, "net", goal=Goal("speed", known=first.known))
    counts = figures_of(graph, package, tools, thorough=False).counts
    assert counts is not None
    measured = [
        (item, layer) for item, layer in zip(package.planned.chosen, counts.layers, strict=True) if item.measured
    ]
    assert measured
    # Schedules that were counted together share an instance; one that a call has alone is specialised, so it is faster.
    for item, layer in measured:
        least = 0.85 if item.call.schedule else 0.98
        assert least * item.cycles <= layer.cycles <= 1.02 * item.cycles, item.name


@pytest.mark.mcu
def test_flash_is_met_or_refused_with_the_least(graph: ir.Model) -> None:
    tools = Tools.find(DEVICE, None, required=True)

    def flash(goal: Goal, limit: int | None) -> int:
        package = build_package(graph, tools, "net", goal=goal, flash_bytes=limit)
        assert tools.target is not None
        with Workbench(package.files, package.manifest, tools.target) as bench:
            return sizes(bench.minimal()).flash

    fastest, smallest = flash(Goal("speed"), None), flash(Goal("size"), None)
    assert smallest < fastest
    assert flash(Goal("speed"), fastest) == fastest
    limit = (smallest + fastest) // 2
    assert flash(Goal("speed"), limit) <= limit
    with pytest.raises(BudgetUnmetError, match=r"takes less than [\d,]+ B") as refused:
        flash(Goal("speed"), 1000)
    least = parse_bytes(refused.value.what.split("less than ")[1].split(" B")[0].replace(",", ""))
    assert least <= smallest


@pytest.mark.mcu
def test_code_is_measured_as_it_is_linked(graph: ir.Model, tmp_path: Path) -> None:
    toolchain = find_toolchain(DEVICE)
    measured = linked_code_bytes(graph, toolchain, tmp_path)
    assert linked_code_bytes(graph, replace(toolchain, command=("no compiler",)), tmp_path) == measured  # it is kept
    package = build_package(graph, Tools(DEVICE, toolchain), "net", goal=Goal("speed"))
    with Workbench(package.files, package.manifest, toolchain) as bench:
        table = symbols(bench.minimal())
    linked = {part: table[name].bytes for part, name in package.instances.items()}
    assert {part: measured[part] for part in linked} == pytest.approx(linked, rel=0.25)


def test_this_machine_is_not_tuned_for(graph: ir.Model) -> None:
    with pytest.raises(InputError, match="is not emulated"):
        tune(graph, Tools(device("host"), None), lambda *step: None)
