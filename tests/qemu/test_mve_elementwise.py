"""Sums and differences on MVE equal the integer spec bit for bit on the Cortex-M55 that QEMU emulates."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kernel_batch import RUNNER_SYMBOLS
from kernels import cases_s8 as s8
from kernels.harness import Case
from kernels.mcu_program import McuProgram, write_program
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.mve_elementwise import MVE_ELEMENTWISE


def cases(rng: np.random.Generator) -> list[Case]:
    found = []
    for name in (item.name for item in MVE_ELEMENTWISE):
        for shape in ((1, 5, 4, 5), (1, 3, 1, 1), (1, 8, 9, 16), (2, 3, 1, 5)):
            found.append(s8.binary(rng, name, shape, shape, "fixed"))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", s8.Bounds(-7, 90), gain=10))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", constant="b"))
        found.append(s8.binary(rng, name, (1, 5, 4, 5), (1, 5, 4, 5), "fixed", constant="a", gain=0.3))
    assert all(case.kernel.fits(case.ctx, load_device("mps3-an547")) for case in found)
    return found


def test_emulated_core_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("mps3-an547")
    program = McuProgram(cases(rng))
    elf = tmp_path / "program.elf"
    sources = write_program(program, device, tmp_path)
    find_toolchain(device).link_elf(sources, [tmp_path], tmp_path / "linker.ld", elf, keep=RUNNER_SYMBOLS)
    with Emulator(elf, device, time_limit_s=60) as emulator:
        (output,) = emulator.infer([bytes(program.reads)])
    program.check(output)
