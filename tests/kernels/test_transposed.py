"""Transposed convolutions by rows of ordinary ones: on the DSP extension, and what both refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import Batch, link, prepared
from kernels.cases_neural import f32_transposed_by_rows, s8_transposed, transposed_by_rows
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import kernel
from microlith.program.neural_attrs import ConvNd, Volume

M4, DSP, ROWS = "stm32l4r5", "s8_conv_transpose2d__dsp_2x4", "s8_conv_transpose2d__rows"
TWICE = Volume((1, 3, 3), (1, 2, 2), (1, 1, 1), (0, 1, 1))


@pytest.mark.mcu
@pytest.mark.parametrize(("name", "fpu"), [(M4, True), ("stm32f746", False)])
def test_emulated_core_equals_the_spec(name: str, fpu: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device(name)
    device = device if fpu else device.model_copy(update={"fpu": "none"})
    items = [
        prepared(case, rng) for symmetric in (True, False) for case in transposed_by_rows(rng, DSP, symmetric=symmetric)
    ]
    served = [item for item in items if item.kernel.fits(item.ctx, device)]
    assert len(served) > len(items) // 2
    batch = Batch(served)
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.parametrize("name", [DSP, ROWS])
def test_what_does_not_fit_is_refused_with_a_reason(name: str, rng: np.random.Generator) -> None:
    device, x = load_device(M4), (1, 4, 5, 3)
    for volume, size, groups, reason in (
        (Volume((1, 3, 3), (1, 2, 2), (1, 1, 2), (0, 1, 1)), (10, 6), 1, "a dilation of"),
        (TWICE, (10, 6), 2, "2 groups"),
        (TWICE, (9, 5), 1, "rows of 5"),
        (Volume((1, 2, 2), (1, 3, 2), (1, 1, 1), (0, 0, 0)), (14, 6), 1, "2 taps with a stride of 3"),
        (Volume((1, 2, 2), (1, 2, 2), (1, 1, 1), (0, 2, 0)), (6, 6), 1, "2 taps with a stride of 2"),
    ):
        case = s8_transposed(
            rng, x, 6, volume, size, "float", groups=groups, per_channel=groups == 1, least=-127, name=name
        )
        assert reason in kernel(name).fits(case.ctx, device).reason


def test_selection_prefers_rows_to_single_places_and_the_extension_to_both(rng: np.random.Generator) -> None:
    device = load_device(M4)
    for mode in ("float", "fixed"):
        case = s8_transposed(rng, (1, 16, 6, 6), 8, TWICE, (12, 12), mode, least=-127)
        costs = [kernel(name).cost(case.ctx, device).cycles for name in (DSP, ROWS, "s8_conv_transpose2d__portable")]
        assert costs == sorted(costs)


def test_rows_of_floats_are_refused_where_zeros_would_be_multiplied(rng: np.random.Generator) -> None:
    case = next(f32_transposed_by_rows(rng))
    rows, twin = kernel("f32_conv_nd__rows"), kernel("f32_conv_nd__portable")
    for device in map(load_device, (M4, "host")):
        assert rows.fits(case.ctx, device)
        assert rows.cost(case.ctx, device).cycles < twin.cost(case.ctx, device).cycles
    attrs = case.ctx.call.attrs
    assert isinstance(attrs, ConvNd)
    shared = replace(attrs, volume=replace(attrs.volume, stride=(1, 2, 1), before=(0, 0, 0)))
    ctx = replace(case.ctx, call=replace(case.ctx.call, attrs=shared))
    assert rows.fits(ctx, load_device(M4))
    wide = replace(attrs, volume=replace(attrs.volume, kernel=(1, 2, 3)))
    weights = {**case.ctx.consts, "weights": np.zeros((1, 2, 3, 4, 10), np.float32)}
    ctx = replace(case.ctx, call=replace(case.ctx.call, attrs=wide), consts=weights)
    assert "share in part" in rows.fits(ctx, load_device(M4)).reason
