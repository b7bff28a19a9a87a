"""Convolutions of several groups on the DSP extension equal the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Prepared, link, prepared
from kernels import cases_s8
from kernels.cases_s8 import Bounds, Layer
from kernels.harness import Case
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import kernel
from microlith.program.attrs import Window

M4, NAME, TWIN = "stm32l4r5", "s8_conv2d__dsp_groups", "s8_conv2d__portable"
SAME = Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
HALF = Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1))


def grouped(
    rng: np.random.Generator, x: tuple[int, int, int], out: int, window: Window, groups: int, layer: Layer
) -> Case:
    return cases_s8.conv2d(rng, x, out, window, groups, layer, NAME)


def items(rng: np.random.Generator) -> list[Prepared]:
    """Whole tensors, ranges of rows, and rings."""
    fixed = Layer("fixed", symmetric=True)
    found = [
        grouped(rng, (6, 7, 8), 8, SAME, 2, fixed),
        grouped(rng, (5, 5, 6), 9, HALF, 3, Layer(symmetric=True)),
        grouped(rng, (4, 5, 8), 8, Window((1, 1), (1, 1)), 2, Layer(per_channel=False, bounds=Bounds(-90, 100))),
        grouped(rng, (9, 9, 4), 8, Window((3, 2), (1, 1), (2, 3), (2, 1, 2, 2)), 2, fixed),
        grouped(rng, (5, 4, 10), 4, SAME, 2, Layer("fixed", gain=2000.0, symmetric=True)),
    ]
    parts = (((1, 4), None, None), ((3, 7), 7, 5), ((0, 1), 4, 2))
    made = [(grouped(rng, (9, 5, 8), 8, SAME, 2, fixed), *part) for part in parts]
    made.append((grouped(rng, (11, 5, 6), 6, HALF, 3, fixed), (2, 5), 8, 3))
    return [prepared(case, rng) for case in found] + [prepared(*case[:1], rng, *case[1:]) for case in made]


@pytest.mark.mcu
@pytest.mark.parametrize(("name", "fpu"), [(M4, True), ("stm32f746", False)])
def test_emulated_core_equals_the_spec(name: str, fpu: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    device = device if fpu else device.model_copy(update={"fpu": "none"})
    batch = Batch(items(rng))
    assert all(item.kernel.fits(item.ctx, device) for item in batch.prepared)
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


def test_what_does_not_fit_is_refused_with_a_reason(rng: np.random.Generator) -> None:
    device = load_device(M4)
    for groups, out, layer, reason in (
        (1, 8, Layer(), "one group"),
        (4, 4, Layer(), "two or more filters"),
        (2, 8, Layer(weight_zeros=True, per_channel=False), "zero points"),
    ):
        case = grouped(rng, (5, 5, 8), out, SAME, groups, layer)
        assert reason in kernel(NAME).fits(case.ctx, device).reason
    assert "no dsp" in kernel(NAME).fits(case.ctx, load_device("rp2040")).reason


@pytest.mark.mcu
def test_it_takes_less_than_its_portable_twin_and_about_what_it_costs(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(M4)
    for index, (x, out, groups) in enumerate((((12, 12, 32), 32, 4), ((9, 9, 16), 16, 8))):
        case = grouped(rng, x, out, SAME, groups, Layer("fixed", symmetric=True))
        batch = Batch([prepared(case, rng)])
        (directory := tmp_path / str(index)).mkdir()
        with Emulator(link(batch, find_toolchain(device), directory), device) as emulator:
            counts = emulator.infer_counted(batch.inputs(), ["instance_0"]).layers[0]
        cost = case.kernel.cost(case.ctx, device)
        assert cost.cycles == pytest.approx(counts.cycles, rel=0.15)
        assert 1.1 * cost.cycles < kernel(TWIN).cost(case.ctx, device).cycles
