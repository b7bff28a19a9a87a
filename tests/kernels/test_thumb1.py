"""The kernels for Armv6-M equal the integer spec bit for bit on an emulated Cortex-M0+."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, conv, depthwise, fully_connected, in_place, link, over_input, prepare
from kernels.quad_cases import CONV, DEPTHWISE, FULLY_CONNECTED
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import PORTABLE
from microlith.kernels.base import Kernel, Literal
from microlith.kernels.thumb1 import THUMB1, THUMB1_FIXED

EVERY = (*CONV, *DEPTHWISE, *FULLY_CONNECTED)
M0 = "rp2040"


def kernel_for(case: Case) -> Kernel:
    return next(kernel for kernel in THUMB1 if kernel.op == case.op)


@pytest.mark.mcu
def test_cortex_m0plus_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(M0)
    batch = Batch([prepare(case, kernel_for(case), device, rng) for case in EVERY])
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
def test_results_may_lie_over_the_input(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(M0)
    whole = [case for case in (*CONV[:8], *DEPTHWISE[2:7]) if case.rows is None]
    items = [prepare(case, kernel_for(case), device, rng) for case in whole]
    batch = Batch([placed for item in items for placed in in_place(item)])
    assert {item.kernel.op for item in batch.prepared} == {"conv2d", "depthwise_conv2d"}
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
def test_a_result_too_near_its_input_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(M0)
    for index, case in enumerate((conv(4, 5, 16, 16, 3, pad=1), depthwise(9, 7, 8, pad=1))):
        item = prepare(case, kernel_for(case), device, rng)
        (lead,) = item.kernel.overlap(item.ctx)
        assert lead is not None
        (directory := tmp_path / str(index)).mkdir()
        batch = Batch([over_input(item, lead.least - lead.multiple)])
        with Emulator(link(batch, find_toolchain(device), directory), device) as emulator:
            (output,) = emulator.infer(batch.inputs())
        with pytest.raises(AssertionError, match="Mismatched"):
            batch.check(output)


def test_two_neighbouring_weights_of_minus_128_are_refused(rng: np.random.Generator) -> None:
    device = load_device(M0)
    ctx = prepare(CONV[4], THUMB1[0], device, rng).ctx
    weights = np.full_like(ctx.consts["weights"], 3)
    weights[0, 0, 0, 1:3] = -128
    assert THUMB1[0].fits(replace(ctx, consts={**ctx.consts, "weights": weights}), device)
    weights[0, 0, 0, 3] = -128
    refused = THUMB1[0].fits(replace(ctx, consts={**ctx.consts, "weights": weights}), device)
    assert "two neighbouring weights are -128" in refused.reason


def test_other_cores_are_refused(rng: np.random.Generator) -> None:
    for case in (CONV[0], DEPTHWISE[0], FULLY_CONNECTED[0]):
        with pytest.raises(AssertionError, match="stm32l4r5 has no thumb1 instructions"):
            prepare(case, kernel_for(case), load_device("stm32l4r5"), rng)


@pytest.mark.parametrize("case", [CONV[-1], DEPTHWISE[-1], FULLY_CONNECTED[-1]], ids=lambda case: case.op)
def test_shifts_to_the_left_are_left_to_the_portable_requantization(case: Case, rng: np.random.Generator) -> None:
    def kind(case: Case) -> str:
        ctx = prepare(case, kernel_for(case), load_device(M0), rng).ctx
        return next(a.value for a in kernel_for(case).arguments(ctx) if isinstance(a, Literal) and a.name == "kind")

    assert kind(case) == "1"
    assert kind(replace(case, gain=1.0)) == str(THUMB1_FIXED)


@pytest.mark.mcu
def test_costs_are_near_what_the_emulator_counts_and_below_those_of_twins(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    device = load_device(M0)
    cases = [
        conv(8, 8, 32, 16, 3, pad=1),
        conv(8, 8, 8, 16, 1),
        depthwise(8, 8, 16, pad=1),
        fully_connected(1, 128, 32),
    ]
    batch = Batch([prepare(replace(case, mode="fixed"), kernel_for(case), device, rng) for case in cases])
    elf, names = link(batch, find_toolchain(device), tmp_path), sorted(set(batch.instances.values()))
    with Emulator(elf, device) as emulator:
        counts = emulator.infer_counted(batch.inputs(), names)
    batch.check(counts.outputs[0])
    costs = [item.kernel.cost(item.ctx, device) for item in batch.prepared]
    counted = sum(layer.instructions for layer in counts.layers)
    assert sum(cost.instructions for cost in costs) == pytest.approx(counted, rel=0.2)
    for case, item, cost in zip(cases, batch.prepared, costs, strict=True):
        twin = next(other for other in PORTABLE if other.op == case.op and other.fits(item.ctx, device))
        assert cost.cycles < twin.cost(item.ctx, device).cycles
