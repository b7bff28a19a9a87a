"""Bytes of code of every kernel, as zig's clang compiles it: writes ``src/microlith/kernels/code_bytes.json``.

``make code-bytes``; of the instances of one kernel the largest counts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from kernel_batch import RUNNER_SYMBOLS, Batch, Case, conv, depthwise, fully_connected, link, prepare, with_modes
from kernels import cases_s8
from kernels.cases_neural import transposed_by_rows
from kernels.harness import Case as KernelCase
from kernels.mcu_program import McuProgram, write_program
from kernels.test_dsp_elementwise import cases as elementwise_cases
from kernels.test_portable_mcu import GROUPS
from microlith.device.elf import symbols
from microlith.device.load import device as load_device
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import FAST
from microlith.program.attrs import Window
from microlith.quant.types import Requantization

TABLE = Path(__file__).parents[2] / "src/microlith/kernels/code_bytes.json"
GROUPED = "s8_conv2d__dsp_groups"
MODES: tuple[Requantization, ...] = ("float", "fixed")
DEVICES = ("stm32l4r5", "rp2040", "mps3-an547", "esp32c3")
# By kernel, or by op.
LAYERS: dict[str, Case] = {
    "s8_depthwise_conv2d__dsp_lines": depthwise(6, 8, 8, 5, pad=2),
    "conv2d": conv(6, 8, 8, 6, 3, pad=1),
    "depthwise_conv2d": depthwise(6, 8, 8, pad=1),
    "fully_connected": fully_connected(1, 40, 8),
}


def main() -> None:
    """Measure and write."""
    found = {load_device(name).core: dict(sorted(_measured(load_device(name)))) for name in DEVICES}
    TABLE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _measured(device: Device) -> Iterator[tuple[str, int]]:
    rng = np.random.default_rng(0)
    groups = [cases() for cases in GROUPS.values()]
    if "dsp" in device.isas:
        groups.append((*elementwise_cases(rng), *_others(rng)))
    for cases in groups:
        yield from _linked(cases, device)
    fast = [kernel for kernel in FAST if kernel.isa in device.isas and kernel.op in LAYERS and kernel.name != GROUPED]
    if fast:
        with tempfile.TemporaryDirectory() as directory:
            layers = [(kernel, LAYERS.get(kernel.name, LAYERS[kernel.op])) for kernel in fast]
            calls = [(kernel, case) for kernel, layer in layers for case in with_modes(layer)]
            batch = Batch([prepare(case, kernel, device, rng) for kernel, case in calls])
            elf = link(batch, find_toolchain(device), Path(directory))
            yield from _largest(elf, {name: key[0] for key, name in batch.instances.items()})


def _linked(cases: Sequence[KernelCase], device: Device) -> Iterator[tuple[str, int]]:
    with tempfile.TemporaryDirectory() as directory:
        program = McuProgram(cases)
        sources = write_program(program, device, Path(directory))
        elf = Path(directory) / "program.elf"
        find_toolchain(device).link_elf(
            sources, [Path(directory)], Path(directory) / "linker.ld", elf, keep=RUNNER_SYMBOLS
        )
        yield from _largest(elf, {name: key[0] for key, name in program.instances.items()})


def _others(rng: np.random.Generator) -> Iterator[KernelCase]:
    window, size = Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), (7, 8, 9)
    yield cases_s8.max_pool2d(rng, size, window, cases_s8.Bounds(-3, 100), "s8_max_pool2d__dsp_1x4")
    layer = cases_s8.Layer("fixed", symmetric=True)
    yield cases_s8.conv2d(rng, (6, 7, 8), 8, Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), 2, layer, GROUPED)
    for mode in MODES:
        yield cases_s8.average_pool2d(rng, size, window, False, mode, name="s8_average_pool2d__dsp_1x4")
        yield cases_s8.reduce_mean(rng, 1, 49, 30, mode, "s8_reduce_mean__dsp_1x4")
    yield from islice(transposed_by_rows(rng, "s8_conv_transpose2d__dsp_2x4", symmetric=True), 3)


def _largest(elf: Path, kernels: dict[str, object]) -> Iterator[tuple[str, int]]:
    found: dict[str, int] = {}
    table = symbols(elf)
    for symbol, kernel in kernels.items():
        if symbol in table:  # a call that the compiler could work out has no instance
            found[str(kernel)] = max(found.get(str(kernel), 0), table[symbol].bytes)
    yield from found.items()


if __name__ == "__main__":
    main()
