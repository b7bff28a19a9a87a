"""The Winograd convolution on the DSP extension equals the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, conv, in_place, link, prepare, with_modes
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.dsp_winograd import DSP_WINOGRAD

(KERNEL,) = DSP_WINOGRAD
M4 = "stm32l4r5"
CASES = (
    *with_modes(conv(6, 8, 8, 6, 3, pad=1)),
    conv(5, 7, 4, 3, 3, pad=1, mode="fixed"),
    conv(3, 3, 12, 1, 3, mode="fixed"),
    conv(4, 9, 4, 5, 3, pad=(2, 0, 1, 2)),
    conv(1, 1, 4, 2, 3, pad=1, mode="fixed"),
    conv(6, 6, 64, 6, 3, pad=1, extreme=True),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5), mode="fixed"),
    conv(9, 5, 8, 4, 3, pad=1, rows=(5, 9), x_ring=6, y_ring=4),
    conv(9, 6, 4, 3, 3, pad=1, rows=(0, 1)),
)


@pytest.mark.mcu
@pytest.mark.parametrize("name", [M4, "stm32f746", "stm32u575"])
def test_emulated_core_equals_the_spec(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    items = [prepare(case, KERNEL, device, rng) for case in CASES]
    batch = Batch([placed for item in items if item.ctx.call.rows is None for placed in in_place(item)] + items)
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (conv(6, 6, 8, 4, 3, stride=2), r"stride \(2, 2\)"),
        (conv(6, 6, 8, 4, 5), r"a window of \(5, 5\)"),
        (conv(6, 6, 6, 4, 3), "6 channels"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(case: Case, reason: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=reason):
        prepare(case, KERNEL, load_device(M4), rng)
