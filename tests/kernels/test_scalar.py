"""The kernels for cores that multiply one pair of numbers at a time equal the integer spec bit for bit on RV32IMC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, Prepared, conv, depthwise, fully_connected, in_place, link, prepare
from kernels.quad_cases import CONV, DEPTHWISE, FULLY_CONNECTED
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import PORTABLE
from microlith.kernels.base import Kernel, Literal
from microlith.kernels.scalar import SCALAR, SCALAR_FIXED

DEVICE = load_device("esp32c3")
# Shifts to the right by 2 bits and more, and by 1 bit.
EDGES = (
    conv(3, 3, 4, 40, 2, mode="fixed", gain=45),
    depthwise(4, 5, 40, 4, mode="fixed", gain=45),
    fully_connected(2, 16, 40, mode="fixed", gain=45),
)
BEYOND = fully_connected(2, 16, 40, mode="fixed", gain=70)


def kernel_for(case: Case) -> Kernel:
    return next(kernel for kernel in SCALAR if kernel.op == case.op)


def made(case: Case, rng: np.random.Generator) -> Prepared:
    return prepare(case, kernel_for(case), DEVICE, rng)


@pytest.mark.mcu
def test_risc_v_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    batch = Batch([made(case, rng) for case in (*CONV, *DEPTHWISE, *FULLY_CONNECTED, *EDGES, BEYOND)])
    with Emulator(link(batch, find_toolchain(DEVICE), tmp_path), DEVICE) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
def test_results_may_lie_over_the_input(rng: np.random.Generator, tmp_path: Path) -> None:
    items = [made(case, rng) for case in (*CONV[3:6], *DEPTHWISE[2:5])]
    batch = Batch([placed for item in items for placed in in_place(item)])
    assert {item.kernel.op for item in batch.prepared} == {"conv2d", "depthwise_conv2d"}
    with Emulator(link(batch, find_toolchain(DEVICE), tmp_path), DEVICE) as emulator:
        (output,) = emulator.infer(batch.inputs())
    batch.check(output)


@pytest.mark.parametrize("case", EDGES, ids=lambda case: case.op)
def test_two_roundings_are_one_from_two_bits_on(case: Case, rng: np.random.Generator) -> None:
    def kind_and_shift(case: Case) -> tuple[str, int]:
        item = made(case, rng)
        kind = next(a for a in item.kernel.arguments(item.ctx) if isinstance(a, Literal) and a.name == "kind")
        return kind.value, int(item.ctx.consts["shift"].max())

    assert kind_and_shift(case) == (str(SCALAR_FIXED), -2)
    assert kind_and_shift(replace(case, gain=70)) == ("1", -1)


def test_other_cores_are_refused(rng: np.random.Generator) -> None:
    for name in ("host", "stm32l4r5", "rp2040"):
        with pytest.raises(AssertionError, match=f"{name} has no scalar instructions"):
            prepare(CONV[0], SCALAR[0], load_device(name), rng)


@pytest.mark.mcu
def test_costs_are_near_what_the_emulator_counts_and_below_those_of_twins(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    cases = [
        conv(8, 8, 32, 16, 3, pad=1),
        conv(8, 8, 8, 16, 1),
        depthwise(8, 8, 16, pad=1),
        fully_connected(1, 128, 32),
    ]
    batch = Batch([made(replace(case, mode="fixed"), rng) for case in cases])
    elf, names = link(batch, find_toolchain(DEVICE), tmp_path), sorted(set(batch.instances.values()))
    with Emulator(elf, DEVICE) as emulator:
        counts = emulator.infer_counted(batch.inputs(), names)
    batch.check(counts.outputs[0])
    costs = [item.kernel.cost(item.ctx, DEVICE) for item in batch.prepared]
    counted = sum(layer.instructions for layer in counts.layers)
    assert sum(cost.instructions for cost in costs) == pytest.approx(counted, rel=0.2)
    for case, item, cost in zip(cases, batch.prepared, costs, strict=True):
        twin = next(other for other in PORTABLE if other.op == case.op and other.fits(item.ctx, DEVICE))
        assert cost.cycles < twin.cost(item.ctx, DEVICE).cycles
