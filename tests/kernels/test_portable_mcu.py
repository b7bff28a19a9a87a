"""The portable kernels on emulated cores: the FPU's own rounding (M4F), no 64-bit product (M0+), RISC-V."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_batch import RUNNER_SYMBOLS
from kernels.cases_indexing import indexing_cases
from kernels.cases_integer_sums import integer_sum_cases
from kernels.cases_neural import neural_cases
from kernels.cases_plain import plain_cases
from kernels.harness import Case
from kernels.mcu_program import McuProgram, write_program
from kernels.portable_cases import f32_cases, float_algorithm_cases, s8_cases
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain

# Apart, because operands and results must fit into the memory of the devices.
GROUPS: dict[str, Callable[[], tuple[Case, ...]]] = {
    "integer networks": lambda: (*s8_cases(), *integer_sum_cases()),
    "float networks": f32_cases,
    "float algorithms": lambda: tuple(float_algorithm_cases()),
    "neural": neural_cases,
    "plain": plain_cases,
    "indexing": lambda: tuple(indexing_cases(0)),
}


# The two Arm cores run everything; RISC-V what depends on the width of a product and on software floats.
RUNS = [(name, group) for name in ("nrf52840", "rp2040") for group in GROUPS]
RUNS += [("esp32c3", group) for group in ("integer networks", "float networks", "plain")]


@pytest.mark.mcu
@pytest.mark.parametrize(("name", "group"), RUNS)
def test_emulated_core_equals_the_meaning(name: str, group: str, tmp_path: Path) -> None:
    device = load_device(name)
    program = McuProgram(GROUPS[group]())
    toolchain = find_toolchain(device)
    elf = tmp_path / "program.elf"
    sources = write_program(program, device, tmp_path)
    toolchain.link_elf(sources, [tmp_path], tmp_path / "linker.ld", elf, keep=RUNNER_SYMBOLS)
    with Emulator(elf, device) as emulator:
        (output,) = emulator.infer([bytes(program.reads)])
    program.check(output)
