"""Depthwise convolutions of any window on the DSP extension equal the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Case, depthwise, in_place, link, over_input, prepare, with_modes
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import PORTABLE
from microlith.kernels.base import Lead
from microlith.kernels.dsp_depthwise import DSP_DEPTHWISE

(KERNEL,) = DSP_DEPTHWISE
M4 = "stm32l4r5"

ROWS = (
    *with_modes(depthwise(7, 9, 8, 5, pad=2)),
    depthwise(9, 8, 6, 5, stride=2, pad=(1, 1, 2, 2)),
    *(depthwise(6, width, 4, 5, pad=2, mode="fixed") for width in (1, 2, 3, 4, 6, 7, 10, 11)),
    *(depthwise(6, width, 5, (3, 5), stride=(1, 2), pad=(1, 2, 1, 2), mode="fixed") for width in (3, 5, 8, 9, 13)),
    depthwise(5, 8, 8, (1, 3), pad=(0, 1, 0, 1)),
    depthwise(3, 20, 4, (1, 9), pad=(0, 4, 0, 4), mode="fixed"),
    depthwise(5, 7, 7, (2, 2), mode="fixed"),
    depthwise(4, 9, 4, (4, 7), pad=(3, 3, 3, 3)),
    depthwise(4, 9, 4, 4, stride=2, pad=1, mode="fixed"),
    depthwise(6, 5, 4, 1, mode="fixed"),
    depthwise(6, 5, 4, 1, stride=2),
    depthwise(3, 3, 4, 5, pad=4),
    depthwise(8, 8, 8, 5, pad=2, extreme=True),
    depthwise(9, 6, 4, 3, pad=(3, 3, 3, 3), mode="fixed"),
    depthwise(9, 9, 4, (5, 5), stride=(3, 1), pad=2),
    depthwise(9, 7, 4, (2, 3), stride=(4, 1), mode="fixed", schedule="rows_1"),
    *(depthwise(9, 7, 8, 5, pad=2, mode="fixed", schedule=f"rows_{rows}") for rows in (1, 2, 4, 9)),
    *(depthwise(9, 7, 8, 5, stride=2, pad=2, mode="fixed", schedule=f"rows_{rows}") for rows in (1, 2)),
    depthwise(9, 7, 8, 5, pad=2, rows=(2, 5)),
    depthwise(9, 7, 8, 5, pad=2, rows=(5, 9), x_ring=8, y_ring=5, mode="fixed"),
    depthwise(11, 7, 5, 5, stride=2, pad=2, rows=(1, 3), x_ring=7, y_ring=2),
    depthwise(5, 5, 8, 5, pad=2, mode="fixed", gain=300),
)

DILATED = (
    depthwise(9, 10, 8, 3, dilation=2, pad=2),
    depthwise(7, 11, 4, (3, 3), dilation=(3, 2), pad=(3, 1, 3, 2), mode="fixed"),
    depthwise(6, 5, 4, (2, 3), dilation=(1, 4), pad=(0, 4, 1, 4), mode="fixed"),
    depthwise(4, 2, 4, 3, dilation=5, pad=5),
    depthwise(3, 17, 5, (1, 5), dilation=(1, 3), mode="fixed"),
    depthwise(12, 7, 8, 3, dilation=2, pad=2, rows=(4, 9), x_ring=9, y_ring=6),
)

UPRIGHT = (
    depthwise(9, 5, 8, (3, 1), pad=(1, 0, 1, 0)),
    depthwise(12, 1, 6, (9, 1), stride=(2, 1), pad=(4, 0, 4, 0), mode="fixed", low=-90, high=100),
    *(depthwise(height, 3, 4, (5, 1), pad=(2, 0, 2, 0), mode="fixed") for height in (1, 2, 4, 6, 7, 9)),
    depthwise(9, 5, 4, (2, 1), stride=(1, 2), mode="fixed"),
    depthwise(9, 5, 7, (3, 1), pad=(1, 2, 1, 1), mode="fixed"),
    depthwise(13, 2, 4, (3, 1), dilation=(4, 1), pad=(4, 0, 4, 0)),
    *(depthwise(8, 5, 8, (3, 1), pad=(1, 0, 1, 0), mode="fixed", schedule=f"rows_{rows}") for rows in (1, 2, 5)),
    depthwise(9, 5, 8, (3, 1), pad=(1, 0, 1, 0), rows=(2, 5)),
    depthwise(9, 5, 8, (3, 1), pad=(1, 0, 1, 0), rows=(3, 8), x_ring=7, y_ring=6, mode="fixed"),
    depthwise(14, 3, 4, (5, 1), stride=(2, 1), pad=(2, 0, 2, 0), rows=(2, 5), x_ring=9, y_ring=4),
    depthwise(14, 3, 4, (3, 1), dilation=(2, 1), pad=(2, 0, 2, 0), rows=(5, 11), x_ring=10, y_ring=7),
)


def run(cases: tuple[Case, ...], device: Device, rng: np.random.Generator, directory: Path, *, near: bool) -> None:
    items = [prepare(case, KERNEL, device, rng) for case in cases]
    placed = [other for item in items if item.ctx.call.rows is None for other in in_place(item)] if near else []
    batch = Batch(items + placed)
    with Emulator(link(batch, find_toolchain(device), directory), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
@pytest.mark.parametrize("cases", [ROWS, (*DILATED, *UPRIGHT)], ids=["rows", "dilated_and_upright"])
def test_cortex_m4_equals_the_spec(cases: tuple[Case, ...], rng: np.random.Generator, tmp_path: Path) -> None:
    run(cases, load_device(M4), rng, tmp_path, near=True)


@pytest.mark.mcu
@pytest.mark.parametrize(("name", "fpu"), [("stm32u575", True), ("stm32f746", False)])
def test_other_cores_equal_the_spec(name: str, fpu: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    chosen = device if fpu else device.model_copy(update={"fpu": "none"})
    cases = (depthwise(7, 9, 8, 5, pad=2, mode="fixed"), depthwise(7, 9, 8, 5, pad=2), UPRIGHT[-2])
    run(cases, chosen, rng, tmp_path, near=False)


@pytest.mark.mcu
def test_a_result_too_near_its_input_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(M4)
    item = prepare(depthwise(5, 7, 8, 5, pad=2, mode="fixed", schedule="rows_1"), KERNEL, device, rng)
    (lead,) = item.kernel.overlap(item.ctx)
    assert lead is not None
    batch = Batch([over_input(item, lead.least - lead.multiple)])
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer(batch.inputs())
    with pytest.raises(AssertionError, match="Mismatched"):
        batch.check(output)


def lead_of(case: Case, rng: np.random.Generator) -> Lead | None:
    (lead,) = KERNEL.overlap(prepare(case, KERNEL, load_device(M4), rng).ctx)
    return lead


def test_lines_that_are_read_after_others_are_written_may_not_lie_over_their_results(rng: np.random.Generator) -> None:
    upright = depthwise(8, 5, 8, (3, 1), pad=(1, 0, 1, 0))
    assert lead_of(replace(upright, schedule="rows_5"), rng) is not None
    assert lead_of(replace(upright, schedule="rows_2"), rng) is None
    assert lead_of(depthwise(8, 5, 8, 3, dilation=(2, 1)), rng) is not None
    assert lead_of(depthwise(8, 5, 8, 3, dilation=2), rng) is None
    assert lead_of(depthwise(8, 8, 6, 5, pad=2), rng) is None  # the last four channels overlap those before


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (depthwise(5, 5, 3, 5, pad=2), "3 channels, the kernel takes 4 or more"),
        (depthwise(5, 5, 8, 3, pad=1), "which s8_depthwise_conv2d__dsp_3x3 takes"),
        (depthwise(9, 9, 8, 5, stride=(1, 3)), "a stride of 3 along rows"),
        (depthwise(9, 9, 8, (5, 1), stride=(3, 1)), "a stride of 3 along columns"),
        (depthwise(9, 9, 8, 3, stride=2, dilation=2), "the kernel takes one of them"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(case: Case, reason: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=reason):
        prepare(case, KERNEL, load_device(M4), rng)


@pytest.mark.parametrize(
    "case",
    [
        depthwise(12, 12, 32, 5, pad=2, mode="fixed"),
        depthwise(7, 7, 32, 5, stride=2, pad=2, mode="fixed"),
        depthwise(49, 1, 64, (9, 1), pad=(4, 0, 4, 0)),
        depthwise(1, 49, 64, (1, 3)),
        depthwise(12, 12, 16, 3, dilation=2, pad=2, mode="fixed"),
    ],
)
def test_it_takes_less_than_half_of_what_its_portable_twin_takes(case: Case, rng: np.random.Generator) -> None:
    device = load_device(M4)
    ctx = prepare(case, KERNEL, device, rng).ctx
    twin = next(item for item in PORTABLE if item.op == case.op and item.fits(ctx, device))
    assert KERNEL.cost(ctx, device).error_percent is not None
    assert 2 * KERNEL.cost(ctx, device).cycles < twin.cost(ctx, device).cycles
