"""The kernels on the DSP extension equal the integer spec bit for bit on emulated cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kernel_batch import (
    Batch,
    Case,
    conv,
    depthwise,
    fully_connected,
    in_place,
    link,
    over_input,
    prepare,
    with_modes,
)
from microlith.device.emulator import Emulator
from microlith.device.load import device as load_device
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import PORTABLE
from microlith.kernels.base import Kernel, Literal
from microlith.kernels.dsp import DSP, interleave_pairs, interleave_quads
from microlith.kernels.dsp_fixed import DSP_FIXED, DSP_TWICE

CONV = (
    *with_modes(conv(5, 5, 3, 3, 3, pad=1)),
    *with_modes(conv(4, 5, 16, 16, 3, pad=1)),
    conv(4, 5, 4, 2, 1),
    conv(1, 1, 8, 5, 1),
    conv(1, 2, 1, 1, 1),
    conv(2, 2, 2, 4, 2),
    conv(6, 7, 5, 5, 3, dilation=2, pad=1),
    conv(7, 6, 4, 3, 3, dilation=2, pad=2),
    conv(7, 9, 6, 4, (5, 3), stride=2, pad=(2, 1, 2, 1)),
    conv(9, 7, 1, 4, (5, 2), stride=(2, 1), pad=(2, 0, 1, 1)),
    conv(8, 8, 3, 8, 3, stride=2, pad=(0, 0, 1, 1)),
    conv(6, 6, 16, 8, 1, stride=2),
    conv(3, 3, 4, 2, 5, pad=4),
    conv(3, 3, 7, 3, (1, 3), dilation=(1, 2), pad=(0, 2, 0, 2)),
    conv(5, 4, 64, 6, 3, pad=1, extreme=True),
    conv(9, 5, 8, 4, 3, pad=1, rows=(2, 5)),
    conv(9, 5, 8, 4, 3, pad=1, rows=(0, 1)),
    conv(9, 5, 8, 4, 3, pad=1, rows=(5, 9), x_ring=6, y_ring=4),
    conv(11, 5, 3, 3, 3, stride=2, pad=1, rows=(3, 5), x_ring=5, y_ring=3),
    conv(9, 5, 4, 3, 1, rows=(7, 9), x_ring=2, y_ring=2),
    conv(5, 7, 8, 4, 1, stride=(2, 3), mode="fixed"),
    conv(4, 5, 4, 3, 1, stride=2, pad=(0, 0, 2, 2)),
    conv(3, 6, 40, 7, 1, mode="fixed"),
    conv(4, 5, 2, 2, 1, mode="fixed", gain=200),
)

SYMMETRIC = tuple(replace(case, least_weight=-127) for case in (*CONV[:8], *CONV[12:16], *CONV[18:22]))
CONV = (*CONV[:-1], *SYMMETRIC, CONV[-1])

DEPTHWISE = (
    *with_modes(depthwise(5, 5, 8, pad=1)),
    *with_modes(depthwise(6, 7, 6, stride=2, pad=(0, 0, 1, 1))),
    depthwise(3, 4, 4),
    depthwise(5, 5, 7, pad=1),
    depthwise(7, 6, 5, pad=2),
    depthwise(1, 2, 8, pad=1),
    depthwise(3, 1, 8, pad=1),
    depthwise(9, 7, 9, stride=(2, 1), pad=1),
    depthwise(9, 8, 9, stride=(1, 2), pad=1),
    depthwise(10, 5, 4, stride=(3, 2), pad=1),
    depthwise(6, 5, 8, stride=2, pad=(2, 1, 2, 1)),
    depthwise(4, 4, 8, pad=(1, 4, 1, 3)),
    depthwise(6, 6, 8, pad=1, extreme=True),
    depthwise(9, 7, 8, pad=1, rows=(2, 5)),
    depthwise(9, 7, 8, pad=1, rows=(4, 9), x_ring=6, y_ring=5),
    depthwise(9, 7, 5, stride=2, pad=1, rows=(1, 3), x_ring=5, y_ring=2),
    *(depthwise(9, 7, 8, pad=1, mode="fixed", schedule=f"rows_{rows}") for rows in (1, 2, 4, 9)),
    *(depthwise(9, 7, 8, stride=2, pad=1, mode="fixed", schedule=f"rows_{rows}") for rows in (1, 2, 5)),
    depthwise(10, 5, 4, stride=(3, 2), pad=1, schedule="rows_2"),
    depthwise(7, 7, 8, stride=2, mode="fixed"),
    depthwise(5, 5, 8, pad=1, mode="fixed", gain=300),
)

FULLY_CONNECTED = (
    *with_modes(fully_connected(1, 64, 10)),
    *with_modes(fully_connected(3, 9, 5)),
    fully_connected(1, 1, 1),
    fully_connected(2, 7, 3),
    fully_connected(1, 256, 2),
    fully_connected(1, 130, 8, extreme=True),
    fully_connected(2, 1019, 5, extreme=True, mode="fixed"),
    fully_connected(3, 2, 5, mode="fixed", gain=200),
)


def kernel_for(case: Case) -> Kernel:
    return next(kernel for kernel in DSP if kernel.op == case.op)


def run(cases: tuple[Case, ...], device: Device, rng: np.random.Generator, directory: Path) -> None:
    batch = Batch([prepare(case, kernel_for(case), device, rng) for case in cases])
    elf = link(batch, find_toolchain(device), directory)
    with Emulator(elf, device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
@pytest.mark.parametrize(
    "cases", [CONV, DEPTHWISE, FULLY_CONNECTED], ids=["conv2d", "depthwise_conv2d", "fully_connected"]
)
def test_cortex_m4_equals_the_spec(cases: tuple[Case, ...], rng: np.random.Generator, tmp_path: Path) -> None:
    run(cases, load_device("stm32l4r5"), rng, tmp_path)


@pytest.mark.mcu
def test_results_may_lie_over_the_input(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("stm32l4r5")
    whole = [case for case in (*CONV, *DEPTHWISE, *FULLY_CONNECTED) if case.rows is None]
    items = [prepare(case, kernel_for(case), device, rng) for case in whole]
    batch = Batch([placed for item in items for placed in in_place(item)])
    assert {item.kernel.name for item in batch.prepared} == {kernel.name for kernel in DSP}
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        (output,) = emulator.infer_counted(batch.inputs(), check_alignment=True).outputs
    batch.check(output)


@pytest.mark.mcu
def test_a_result_too_near_its_input_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    """Of calls that are one pixel short of what is permitted, each spoils what it still reads."""
    device = load_device("stm32l4r5")
    cases = (conv(4, 5, 16, 16, 3, pad=1), conv(4, 6, 4, 8, 1), depthwise(9, 7, 8, pad=1, schedule="rows_1"))
    for index, case in enumerate(cases):
        item = prepare(case, kernel_for(case), device, rng)
        (lead,) = item.kernel.overlap(item.ctx)
        assert lead is not None
        (directory := tmp_path / str(index)).mkdir()
        batch = Batch([over_input(item, lead.least - lead.multiple)])
        with Emulator(link(batch, find_toolchain(device), directory), device) as emulator:
            (output,) = emulator.infer(batch.inputs())
        with pytest.raises(AssertionError, match="Mismatched"):
            batch.check(output)


@pytest.mark.mcu
@pytest.mark.parametrize("name", ["stm32f746", "stm32u575"])
def test_other_cores_equal_the_spec(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    run((*CONV[:4], CONV[17], *SYMMETRIC[:4], *DEPTHWISE[:4], *FULLY_CONNECTED[:4]), load_device(name), rng, tmp_path)


@pytest.mark.mcu
def test_a_core_without_fpu_equals_the_spec(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("stm32f746").model_copy(update={"fpu": "none"})
    run((*CONV[:4], *SYMMETRIC[:4], *DEPTHWISE[:4], *FULLY_CONNECTED[:4]), device, rng, tmp_path)


@pytest.mark.mcu
def test_a_wrong_weight_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("stm32l4r5")
    item = prepare(fully_connected(1, 64, 10), DSP[2], device, rng)
    weights = item.ctx.consts["weights"].copy()
    weights[0] ^= 64
    broken = replace(item, ctx=replace(item.ctx, consts={**item.ctx.consts, "weights": weights}))
    batch = Batch([broken])
    with (
        Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator,
        pytest.raises(AssertionError, match="Mismatched"),
    ):
        batch.check(emulator.infer(batch.inputs())[0])


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (depthwise(5, 5, 3, pad=1), "3 channels, the kernel takes 4 or more"),
        (depthwise(5, 5, 8, kernel=5), r"a window of \(5, 5\)"),
        (depthwise(7, 7, 8, dilation=2), "with dilation"),
        (depthwise(9, 9, 8, stride=3), "a column stride of 3"),
        (depthwise(9, 9, 8, pad=(3, 1, 1, 1)), "3 rows of padding above"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(case: Case, reason: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=reason):
        prepare(case, kernel_for(case), load_device("stm32l4r5"), rng)


def test_a_core_without_dsp_is_refused(rng: np.random.Generator) -> None:
    for case in (CONV[0], DEPTHWISE[0], FULLY_CONNECTED[0]):
        with pytest.raises(AssertionError, match="rp2040 has no dsp instructions"):
            prepare(case, kernel_for(case), load_device("rp2040"), rng)


def test_weight_zero_points_and_groups_are_refused(rng: np.random.Generator) -> None:
    device = load_device("stm32l4r5")
    ctx = prepare(CONV[4], DSP[0], device, rng).ctx
    with_zero = replace(ctx, consts={**ctx.consts, "weight_zero": np.full(16, 3, np.int32)})
    assert "zero points" in DSP[0].fits(with_zero, device).reason
    grouped = replace(ctx, call=replace(ctx.call, attrs=replace(ctx.call.attrs, groups=2)))  # type: ignore[type-var]
    assert "2 groups" in DSP[0].fits(grouped, device).reason


def literal_of(case: Case, name: str, rng: np.random.Generator) -> str:
    ctx = prepare(case, kernel_for(case), load_device("stm32l4r5"), rng).ctx
    return next(a.value for a in kernel_for(case).arguments(ctx) if isinstance(a, Literal) and a.name == name)


@pytest.mark.parametrize(
    ("case", "joined"),
    [
        (conv(4, 5, 16, 16, 3, least_weight=-127), "1"),
        (conv(4, 5, 16, 16, 3), "0"),  # some -128 stands beside a negative weight
        (conv(5, 4, 64, 6, 3, extreme=True, least_weight=-127), "0"),  # 576 * 127 * 128 is more than 2^23
    ],
)
def test_weights_are_joined_where_numbers_and_sums_have_room(case: Case, joined: str, rng: np.random.Generator) -> None:
    assert literal_of(case, "joined", rng) == joined


@pytest.mark.parametrize("case", [CONV[-1], DEPTHWISE[-1], FULLY_CONNECTED[-1]], ids=lambda case: case.op)
def test_shifts_to_the_left_are_left_to_the_portable_requantization(case: Case, rng: np.random.Generator) -> None:
    assert literal_of(case, "kind", rng) == "1"
    short = DSP_FIXED if case.op == "fully_connected" else DSP_TWICE
    assert literal_of(replace(case, gain=1.0), "kind", rng) == str(short)


def test_interleaved_quads_are_padded_with_zeros() -> None:
    rows = np.arange(1, 16, dtype=np.int8).reshape(3, 5)
    packed = interleave_quads(rows, 2)
    assert packed.shape == (2, 2, 2, 4)
    assert packed[0, 0].tolist() == [[1, 2, 3, 4], [6, 7, 8, 9]]
    assert packed[0, 1].tolist() == [[5, 0, 0, 0], [10, 0, 0, 0]]
    assert packed[1, 0].tolist() == [[11, 12, 13, 14], [0, 0, 0, 0]]


def test_pairs_of_two_rows_share_a_word() -> None:
    rows = np.array([[1, 2, 3, 4, 5], [11, 12, 13, 14, 15]], np.int8)
    assert interleave_pairs(rows, 2).tolist() == [[[1, 11, 3, 13, 2, 12, 4, 14], [5, 15, 0, 0, 0, 0, 0, 0]]]
    four = interleave_pairs(np.concatenate([rows[:, :4], rows[:, :4] + 20]), 4)
    assert four.tolist() == [[[1, 11, 3, 13, 21, 31, 23, 33, 2, 12, 4, 14, 22, 32, 24, 34]]]


def test_sizes_share_one_instance_and_ranges_of_the_clamp_do_not(rng: np.random.Generator) -> None:
    device = load_device("stm32l4r5")

    def key(case: Case) -> tuple[object, ...]:
        return kernel_for(case).instance_key(prepare(case, kernel_for(case), device, rng).ctx)

    assert key(conv(5, 5, 3, 4, 3, pad=1)) == key(conv(8, 7, 16, 5, 1, stride=2))
    assert key(conv(5, 5, 3, 4, 3, pad=1)) != key(conv(5, 5, 3, 4, 3, pad=1, high=100))
    assert key(depthwise(5, 5, 8, pad=1)) == key(depthwise(9, 8, 4, stride=2))
    assert key(depthwise(5, 5, 8, pad=1)) != key(depthwise(5, 5, 8, pad=1, high=100))


@pytest.mark.parametrize(
    "case",
    [
        conv(8, 8, 64, 64, 3, pad=1),
        conv(1, 1, 64, 64, 1),
        conv(8, 8, 3, 8, 1),
        depthwise(6, 6, 128),
        fully_connected(1, 64, 10),
    ],
)
def test_selection_would_prefer_them_to_their_portable_twins(case: Case, rng: np.random.Generator) -> None:
    device = load_device("stm32l4r5")
    ctx = prepare(case, kernel_for(case), device, rng).ctx
    twin = next(item for item in PORTABLE if item.op == case.op and item.fits(ctx, device))
    assert kernel_for(case).cost(ctx, device).cycles < twin.cost(ctx, device).cycles


@pytest.mark.mcu
@pytest.mark.parametrize(
    "case",
    [
        conv(16, 16, 32, 32, 3, pad=1),
        depthwise(24, 24, 16, pad=1),
        depthwise(12, 12, 16, stride=2, pad=1),
        fully_connected(1, 256, 64),
    ],
)
def test_cost_is_near_what_the_emulator_counts(case: Case, rng: np.random.Generator, tmp_path: Path) -> None:
    device = load_device("stm32l4r5")
    item = prepare(case, kernel_for(case), device, rng)
    batch = Batch([item])
    with Emulator(link(batch, find_toolchain(device), tmp_path), device) as emulator:
        counts = emulator.infer_counted(batch.inputs(), ["instance_0"])
    batch.check(counts.outputs[0])
    cost = item.kernel.cost(item.ctx, device)
    assert cost.instructions == pytest.approx(counts.layers[0].instructions, rel=0.2)
    assert cost.cycles == pytest.approx(counts.layers[0].cycles, rel=0.2)
