"""Pooling and means on the DSP extension equal the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, Prepared, in_place, link, prepared
from kernels import cases_s8 as s8
from kernels.harness import Case
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import kernel
from microlith.program.attrs import Window

M4 = "stm32l4r5"
MAX, AVERAGE, MEAN = "s8_max_pool2d__dsp_1x4", "s8_average_pool2d__dsp_1x4", "s8_reduce_mean__dsp_1x4"
WINDOWS = (
    Window((2, 2), (2, 2)),
    Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
    Window((2, 3), (1, 2), (2, 1), (1, 2, 1, 0)),
)


def whole(rng: np.random.Generator) -> list[Case]:
    found = []
    for channels, window in ((8, WINDOWS[0]), (7, WINDOWS[1]), (13, WINDOWS[2]), (4, WINDOWS[1])):
        found.append(s8.max_pool2d(rng, (8, 9, channels), window, name=MAX))
        for mode in ("float", "fixed"):
            found.append(s8.average_pool2d(rng, (8, 9, channels), window, channels == 7, mode, name=AVERAGE))  # type: ignore[arg-type]
    found.append(s8.max_pool2d(rng, (8, 9, 6), WINDOWS[0], s8.Bounds(-3, 100), name=MAX))
    found.append(s8.average_pool2d(rng, (8, 9, 6), WINDOWS[0], False, "fixed", True, AVERAGE))
    found.append(s8.average_pool2d(rng, (8, 9, 6), WINDOWS[1], True, "fixed", True, AVERAGE, s8.Bounds()))
    found.append(s8.average_pool2d(rng, (8, 9, 6), WINDOWS[1], False, "fixed", False, AVERAGE, s8.Bounds()))
    found.append(s8.average_pool2d(rng, (16, 15, 5), Window((16, 15)), False, "fixed", name=AVERAGE))
    for mode in ("float", "fixed"):
        for outer, count, inner in ((1, 49, 30), (2, 3, 4), (1, 777, 9)):
            found.append(s8.reduce_mean(rng, outer, count, inner, mode, MEAN))  # type: ignore[arg-type]
    found += [s8.image_mean(rng, channels, (4, 8), "nhwc", MEAN) for channels in (4, 11)]
    return found


def in_parts(rng: np.random.Generator) -> list[Prepared]:
    """Ranges of rows, from and to rings."""
    found = []
    for make in (
        lambda window: s8.max_pool2d(rng, (12, 5, 6), window, name=MAX),
        lambda window: s8.average_pool2d(rng, (12, 5, 6), window, False, "fixed", name=AVERAGE),
    ):
        found.append(prepared(make(WINDOWS[0]), rng, rows=(1, 4)))
        found.append(prepared(make(WINDOWS[1]), rng, rows=(2, 5), x_ring=8, y_ring=4))
        found.append(prepared(make(WINDOWS[2]), rng, rows=(6, 10), x_ring=7, y_ring=5))
    return found


def run(items: list[Prepared], device: Device, directory: Path) -> None:
    assert all(item.kernel.fits(item.ctx, device) for item in items)
    batch = Batch(items)
    with Emulator(link(batch, find_toolchain(device), directory), device) as emulator:
        (output,) = emulator.infer(batch.inputs())
    batch.check(output)


@pytest.mark.mcu
def test_cortex_m4_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    items = [prepared(case, rng) for case in whole(rng)]
    run([*items, *in_parts(rng), *(placed for item in items for placed in in_place(item))], load_device(M4), tmp_path)


@pytest.mark.mcu
@pytest.mark.parametrize(("name", "fpu"), [("stm32u575", True), ("stm32f746", False)])
def test_other_cores_equal_the_spec(name: str, fpu: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    cases = [case for case in whole(rng) if case.ctx.reads[0].shape[-1] in (7, 30)]
    run([prepared(case, rng) for case in cases], device if fpu else device.model_copy(update={"fpu": "none"}), tmp_path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda rng: s8.max_pool2d(rng, (5, 5, 3), WINDOWS[0], name=MAX), "3 channels"),
        (lambda rng: s8.max_pool2d(rng, (17, 5, 4), Window((17, 1)), name=MAX), "17 rows"),
        (lambda rng: s8.average_pool2d(rng, (16, 16, 4), Window((16, 16)), False, "float", name=AVERAGE), "256 taps"),
        (lambda rng: s8.reduce_mean(rng, 6, 33, 3, "float", MEAN), "3 values beside each other"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(make: object, reason: str, rng: np.random.Generator) -> None:
    case = make(rng)  # type: ignore[operator]
    assert reason in case.kernel.fits(case.ctx, load_device(M4)).reason
    assert "no dsp" in case.kernel.fits(case.ctx, load_device("rp2040")).reason


def test_selection_prefers_them_to_their_portable_twins(rng: np.random.Generator) -> None:
    device = load_device(M4)
    for case in whole(rng):
        twin = kernel(case.kernel.name.replace("dsp_1x4", "portable"))
        assert case.kernel.cost(case.ctx, device).cycles < twin.cost(case.ctx, device).cycles
