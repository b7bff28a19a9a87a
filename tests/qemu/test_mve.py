"""The kernels on MVE equal the integer spec bit for bit on the Cortex-M55 that QEMU emulates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, conv, depthwise, fully_connected, in_place, link, prepare, with_modes
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.base import Kernel
from microlith.kernels.mve import MVE

CONV = (
    *with_modes(conv(5, 5, 3, 3, 3, pad=1)),
    *with_modes(conv(4, 5, 16, 16, 3, pad=1)),
    *with_modes(conv(3, 4, 32, 6, 1)),
    conv(4, 5, 4, 2, 1),
    conv(1, 1, 8, 5, 1),
    conv(1, 2, 1, 1, 1),
    conv(1, 2, 1, 1, 1, mode="fixed"),
    conv(2, 2, 2, 4, 2),
    conv(4, 3, 20, 4, 1, pad=1, mode="fixed"),
    conv(6, 7, 5, 5, 3, dilation=2, pad=1),
    conv(7, 9, 6, 4, (5, 3), stride=2, pad=(2, 1, 2, 1)),
    conv(9, 7, 1, 4, (5, 2), stride=(2, 1), pad=(2, 0, 1, 1)),
    conv(6, 6, 16, 8, 1, stride=2, mode="fixed"),
    conv(3, 3, 4, 2, 5, pad=4),
    conv(3, 3, 7, 3, (1, 3), dilation=(1, 2), pad=(0, 2, 0, 2)),
    conv(5, 4, 64, 6, 3, pad=1, extreme=True, mode="fixed"),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5)),
    conv(9, 5, 8, 4, 3, pad=1, rows=(5, 9), x_ring=6, y_ring=4),
    conv(9, 5, 4, 3, 1, rows=(7, 9), x_ring=2, y_ring=2, mode="fixed"),
    conv(4, 5, 2, 2, 1, mode="fixed", gain=200),
    conv(4, 5, 2, 2, 1, mode="fixed", gain=200, per_channel=False),
)

DEPTHWISE = (
    *with_modes(depthwise(5, 5, 8, pad=1)),
    *with_modes(depthwise(6, 7, 6, stride=2, pad=(0, 0, 1, 1))),
    depthwise(5, 5, 1, pad=1),
    depthwise(1, 1, 1, kernel=1, mode="fixed"),
    depthwise(3, 4, 4),
    depthwise(5, 5, 7, pad=1, mode="fixed"),
    depthwise(7, 6, 5, pad=2),
    depthwise(9, 8, 9, stride=(1, 2), pad=1, kernel=5),
    depthwise(9, 7, 6, kernel=(10, 4), pad=(4, 1, 5, 2), mode="fixed"),
    depthwise(8, 8, 8, dilation=2, pad=2),
    depthwise(4, 4, 8, pad=(1, 4, 1, 3)),
    depthwise(6, 6, 8, pad=1, extreme=True, mode="fixed"),
    depthwise(9, 7, 8, pad=1, rows=(2, 5)),
    depthwise(9, 7, 8, pad=1, rows=(4, 9), x_ring=6, y_ring=5),
    depthwise(5, 5, 8, pad=1, mode="fixed", gain=300),
)

FULLY_CONNECTED = (
    *with_modes(fully_connected(1, 64, 10)),
    *with_modes(fully_connected(3, 9, 5)),
    fully_connected(1, 1, 1),
    fully_connected(1, 1, 1, mode="fixed"),
    fully_connected(2, 7, 3, mode="fixed"),
    fully_connected(1, 130, 8, extreme=True, mode="fixed"),
    fully_connected(3, 2, 5, mode="fixed", gain=200),
)

ALL = (*CONV, *DEPTHWISE, *FULLY_CONNECTED)


def kernel_for(case: Case) -> Kernel:
    return next(kernel for kernel in MVE if kernel.op == case.op)


def run(batch: Batch, directory: Path) -> None:
    device = load_device("mps3-an547")
    elf = link(batch, find_toolchain(device), directory)
    with Emulator(elf, device, time_limit_s=60) as emulator:
        (output,) = emulator.infer(batch.inputs())
    batch.check(output)


def test_every_kernel_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("mps3-an547")
    run(Batch([prepare(case, kernel_for(case), device, rng) for case in ALL]), tmp_path)


def test_results_may_lie_over_the_input(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("mps3-an547")
    items = [prepare(case, kernel_for(case), device, rng) for case in (*CONV, *DEPTHWISE) if case.rows is None]
    batch = Batch([placed for item in items for placed in in_place(item)])
    assert len(batch.prepared) == 2 * len(items)
    run(batch, tmp_path)


def test_a_wrong_weight_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("mps3-an547")
    item = prepare(FULLY_CONNECTED[0], kernel_for(FULLY_CONNECTED[0]), device, rng)
    item.ctx.consts["weights"][0] ^= 64
    with pytest.raises(AssertionError, match="Mismatched"):
        run(Batch([item]), tmp_path)
