"""Sums and differences on the DSP extension equal the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import RUNNER_SYMBOLS
from kernels import cases_s8 as s8
from kernels.harness import Case
from kernels.mcu_program import McuProgram, write_program
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import kernel
from microlith.kernels.dsp_elementwise import DSP_ELEMENTWISE

NAMES = tuple(item.name for item in DSP_ELEMENTWISE)
M4 = "stm32l4r5"


def cases(rng: np.random.Generator) -> list[Case]:
    found = []
    for name in NAMES:
        for shape in ((1, 5, 4, 5), (1, 3, 1, 1), (1, 8, 9, 16), (2, 3, 1, 5)):
            found.append(s8.binary(rng, name, shape, shape, "fixed"))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", s8.Bounds(-7, 90), gain=10))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", constant="b"))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", constant="a", gain=0.3))
    assert all(case.kernel.fits(case.ctx, load_device(M4)) for case in found)
    return found


@pytest.mark.mcu
@pytest.mark.parametrize("name", [M4, "stm32f746", "stm32u575"])
def test_emulated_core_equals_the_spec(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    program = McuProgram(cases(rng))
    elf = tmp_path / "program.elf"
    sources = write_program(program, device, tmp_path)
    find_toolchain(device).link_elf(sources, [tmp_path], tmp_path / "linker.ld", elf, keep=RUNNER_SYMBOLS)
    with Emulator(elf, device) as emulator:
        (output,) = emulator.infer([bytes(program.reads)])
    program.check(output)


def test_what_does_not_fit_is_refused_with_a_reason(rng: np.random.Generator) -> None:
    device, shape = load_device(M4), (1, 5, 4, 5)
    for other, mode, reason in (
        (shape, "float", "no fixed one"),
        ((1, 1, 1, 5), "fixed", "broadcasts"),
    ):
        case = s8.binary(rng, NAMES[0], shape, other, mode)  # type: ignore[arg-type]
        assert reason in kernel(NAMES[0]).fits(case.ctx, device).reason
    case = s8.binary(rng, NAMES[0], shape, shape, "fixed")
    assert "no dsp" in kernel(NAMES[0]).fits(case.ctx, load_device("rp2040")).reason


def test_selection_prefers_them_to_their_portable_twins(rng: np.random.Generator) -> None:
    device, shape = load_device(M4), (1, 5, 4, 5)
    for name in NAMES:
        case = s8.binary(rng, name, shape, shape, "fixed")
        twin = kernel(name.replace("dsp_1x4", "flat"))
        assert kernel(name).cost(case.ctx, device).cycles < twin.cost(case.ctx, device).cycles


def test_rows_of_a_ring_are_taken(rng: np.random.Generator) -> None:
    case = s8.binary(rng, NAMES[0], (1, 8, 4, 5), (1, 8, 4, 5), "fixed")
    ring = replace(case.ctx, reads=(replace(case.ctx.reads[0], ring_rows=3), case.ctx.reads[1]))
    assert kernel(NAMES[0]).fits(ring, load_device(M4))
