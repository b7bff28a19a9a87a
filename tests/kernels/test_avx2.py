"""The kernels on AVX2 equal the integer spec bit for bit where the processor has AVX2, and compile everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, conv, depthwise, fully_connected, link, prepare, with_modes
from microlith.device.host import HostRunner
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels.avx2 import AVX2
from microlith.kernels.base import Kernel

CONV = (
    *with_modes(conv(5, 5, 3, 3, 3, pad=1)),
    *with_modes(conv(4, 5, 16, 16, 3, pad=1)),
    *with_modes(conv(4, 4, 5, 27, 1)),
    conv(1, 1, 1, 1, 1),
    conv(1, 3, 7, 8, 1),
    conv(6, 7, 17, 33, 3, dilation=2, pad=1),
    conv(7, 9, 6, 4, (5, 3), stride=2, pad=(2, 1, 2, 1)),
    conv(9, 7, 1, 9, (5, 2), stride=(2, 1), pad=(2, 0, 1, 1)),
    conv(8, 8, 3, 8, 3, stride=2, pad=(0, 0, 1, 1)),
    conv(3, 3, 4, 2, 5, pad=4),
    conv(5, 4, 64, 24, 3, pad=1, extreme=True),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5)),
    conv(9, 5, 8, 4, 3, pad=1, rows=(5, 9), x_ring=6, y_ring=4),
    conv(11, 5, 3, 19, 3, stride=2, pad=1, rows=(3, 5), x_ring=5, y_ring=3),
)

DEPTHWISE = (
    *with_modes(depthwise(5, 5, 16, pad=1)),
    *with_modes(depthwise(6, 7, 21, stride=2, pad=(0, 0, 1, 1))),
    depthwise(3, 4, 1),
    depthwise(5, 5, 8, kernel=5, pad=2),
    depthwise(7, 7, 40, dilation=2, pad=2),
    depthwise(5, 6, 3, kernel=(1, 1)),
    depthwise(5, 6, 9, kernel=(2, 1), stride=(2, 3)),
    depthwise(6, 6, 32, pad=1, extreme=True),
    depthwise(9, 7, 8, pad=1, rows=(2, 5)),
    depthwise(9, 7, 17, stride=2, pad=1, rows=(1, 3), x_ring=5, y_ring=2),
)

FULLY_CONNECTED = (
    *with_modes(fully_connected(1, 64, 10)),
    *with_modes(fully_connected(3, 9, 5)),
    fully_connected(1, 1, 1),
    fully_connected(2, 33, 4),
    fully_connected(1, 130, 9, extreme=True),
)


def kernel_for(case: Case) -> Kernel:
    return next(kernel for kernel in AVX2 if kernel.op == case.op)


@pytest.mark.parametrize(
    "cases", [CONV, DEPTHWISE, FULLY_CONNECTED], ids=["conv2d", "depthwise_conv2d", "fully_connected"]
)
def test_host_equals_the_spec(cases: tuple[Case, ...], rng: np.random.Generator, tmp_path: Path) -> None:
    host = load_device("host")
    device = host.model_copy(update={"isas": ("portable", "avx2")})
    batch = Batch([prepare(case, kernel_for(case), device, rng) for case in cases])
    library = link(batch, find_toolchain(device), tmp_path)
    assert library.stat().st_size > 0
    if "avx2" in host.isas:
        with HostRunner(library) as runner:
            (output,) = runner.infer(batch.inputs())
        batch.check(output)


def test_a_host_without_avx2_is_refused(rng: np.random.Generator) -> None:
    plain = load_device("host").model_copy(update={"isas": ("portable",)})
    for case in (CONV[0], DEPTHWISE[0], FULLY_CONNECTED[0]):
        with pytest.raises(AssertionError, match="host has no avx2 instructions"):
            prepare(case, kernel_for(case), plain, rng)
