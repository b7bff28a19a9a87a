"""Figures of an artifact, and what is said where one cannot be had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import compiled
import models
from microlith.compile.pipeline import compile_graph, random_feeds
from microlith.core.details import RunDetails
from microlith.core.errors import TimeLimitError
from microlith.core.evidence import EvidenceSet
from microlith.device.emulator import Emulator
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain
from microlith.report.summary import compilers
from microlith.verify.agreement import to_bytes
from microlith.verify.figures import Figures, emulated_figures
from microlith.verify.workbench import Workbench


def _figures(target: str, beside: tuple[str, ...] = ()) -> Figures:
    rng = np.random.default_rng(0)
    graph = compiled.prepared(models.tiny_cnn())
    profile = device(target)
    feeds = [{"image": picture[None]} for picture in models.images(rng, 8)]
    quantized = compiled.quantized(graph, feeds, profile.requantization)
    package = compile_graph(quantized, profile, name="net")
    inputs = to_bytes(package.manifest.entries[0], random_feeds(quantized, 1, 0)[0])
    with Workbench(package.files, package.manifest, find_toolchain(profile)) as bench:
        return emulated_figures(bench, inputs, thorough=True, beside=beside)


@pytest.mark.mcu
def test_layers_and_remainder_add_up_to_the_total() -> None:
    figures = _figures("stm32l4r5")
    counts = figures.counts
    assert counts is not None and counts.cycles is not None
    assert sum(layer.instructions for layer in counts.layers) + counts.remainder_instructions == counts.instructions
    found = {item.metric: item.value for item in figures.evidence}
    assert found["ram_bytes"] == found["data_bss_bytes"] + found["stack_bytes"]
    assert found["flash_bytes"] > found["flash_increment_bytes"] > 0
    assert found["cycles"] == counts.cycles > counts.instructions
    assert found["latency_s"] == pytest.approx(counts.cycles / 120e6)


@pytest.mark.mcu
def test_a_compiler_beside_is_told_by_every_figure_that_it_changes() -> None:
    evidence = EvidenceSet(_figures("stm32l4r5", ("zig",)).evidence)
    bare = RunDetails(model="net", device="stm32l4r5", device_title="", toolchain="first")
    first, *others = compilers(bare, evidence)
    again = next(row for row in others if row.compiler.startswith("zig cc"))
    # The same compiler a second time: whatever differs would be taken from the wrong place.
    assert replace(again, compiler="first") == first
    assert first.cycles == evidence.value("cycles") and first.ram_bytes == evidence.value("ram_bytes")
    assert compilers(bare, EvidenceSet(())) == ()


@pytest.mark.mcu
@pytest.mark.parametrize("name", ["rp2040", "esp32c3"])
def test_core_without_a_cycle_table_has_instructions_only(name: str) -> None:
    figures = _figures(name)
    metrics = {item.metric for item in figures.evidence}
    assert "instructions" in metrics
    assert not metrics & {"cycles", "latency_s", "energy_j"}


@pytest.mark.mcu
def test_emulation_that_takes_too_long_leaves_figures_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: object, **named: object) -> None:
        raise TimeLimitError("the program did not end within 1 s")

    monkeypatch.setattr(Emulator, "infer_counted", late)
    figures = _figures("stm32l4r5")
    assert figures.counts is None
    assert {item.metric for item in figures.evidence} == {"flash_bytes", "flash_increment_bytes", "data_bss_bytes"}
    assert "did not end within 1 s" in figures.notes[0]
