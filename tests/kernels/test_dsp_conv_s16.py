"""The convolution with weights of 16 bits equals the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, conv, in_place, link, prepare, with_modes
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.dsp_conv_s16 import DSP_CONV_S16

(KERNEL,) = DSP_CONV_S16
M4 = "stm32l4r5"
CASES = (
    *with_modes(conv(5, 5, 3, 3, 3, pad=1)),
    *with_modes(conv(4, 5, 16, 16, 3, pad=1)),
    conv(3, 3, 40, 6, 1, mode="fixed"),
    conv(2, 3, 36, 4, 1, mode="fixed"),
    conv(1, 1, 8, 5, 1),
    conv(6, 7, 5, 5, 3, dilation=2, pad=1, mode="fixed"),
    conv(9, 7, 1, 4, (5, 2), stride=(2, 1), pad=(2, 0, 1, 1), mode="fixed"),
    conv(5, 4, 64, 6, 3, pad=1, extreme=True, mode="fixed"),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5), mode="fixed"),
    conv(11, 5, 3, 3, 3, stride=2, pad=1, rows=(3, 5), x_ring=5, y_ring=3),
    conv(4, 5, 2, 2, 1, mode="fixed", gain=200),
)


@pytest.mark.mcu
@pytest.mark.parametrize("name", [M4, "stm32u575"])
def test_emulated_core_equals_the_spec(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    items = [prepare(case, KERNEL, device, rng) for case in CASES]
    batch = Batch([placed for item in items if item.ctx.call.rows is None for placed in in_place(item)] + items)
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
def test_a_core_without_fpu_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("stm32f746").model_copy(update={"fpu": "none"})
    batch = Batch([prepare(case, KERNEL, device, rng) for case in CASES[:8]])
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        batch.check(emulator.infer(batch.inputs())[0])
