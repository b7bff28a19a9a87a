"""What the kernels on MVE read, and which calls they take; that they compute right is tested in QEMU."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_batch import Case, conv, depthwise, fully_connected, prepare
from kernels import cases_s8 as s8
from microlith.device.load import device
from microlith.kernels import candidates, kernel
from microlith.kernels.mve import MVE, blocks_of_rows


def test_blocks_hold_vectors_of_four_rows_in_turn_and_then_the_rest() -> None:
    rows = np.arange(5 * 18, dtype=np.int8).reshape(5, 18)
    blocks = blocks_of_rows(rows)
    assert blocks.shape == (2, 4 * 18)
    assert blocks[0, :64].reshape(4, 16).tolist() == rows[:4, :16].tolist()
    assert blocks[0, 64:].reshape(4, 2).tolist() == rows[:4, 16:].tolist()
    assert blocks[1, :16].tolist() == rows[4, :16].tolist()
    assert not blocks[1, 16:64].any()
    assert blocks[1, 64:66].tolist() == rows[4, 16:].tolist()


@pytest.mark.parametrize(
    ("case", "index"),
    [(conv(8, 8, 16, 10, 3, pad=1, mode="fixed"), 0), (depthwise(6, 6, 10), 1), (fully_connected(1, 64, 10), 2)],
)
def test_one_value_a_channel_is_filled_up_to_whole_fours(case: Case, index: int, rng: np.random.Generator) -> None:
    item = prepare(case, MVE[index], device("mps3-an547"), rng)
    packed = item.kernel.pack(item.ctx)
    for role, value in packed.items():
        if role != "weights":
            assert value.values.size == 12, role
            assert not value.values[10:].any()
    assert packed["weights"].values.size % packed["weights"].tiles == 0


@pytest.mark.parametrize(
    ("case", "index"),
    [(conv(8, 8, 16, 16, 3, pad=1), 0), (depthwise(6, 6, 16, pad=1), 1), (fully_connected(1, 64, 16), 2)],
)
def test_selection_prefers_them_on_a_core_that_has_mve(case: Case, index: int, rng: np.random.Generator) -> None:
    board = device("mps3-an547")
    ctx = prepare(case, MVE[index], board, rng).ctx
    costs = {found.name: found.cost(ctx, board).cycles for found, fit in candidates(ctx, board) if fit}
    assert min(costs, key=costs.__getitem__) == MVE[index].name
    assert "no mve" in MVE[index].fits(ctx, device("stm32u575")).reason


def test_sums_take_fixed_requantization_of_one_shape(rng: np.random.Generator) -> None:
    board, shape = device("mps3-an547"), (1, 5, 4, 5)
    found = kernel("s8_add__mve_1x4")
    case = s8.binary(rng, found.name, shape, shape, "fixed")
    assert found.fits(case.ctx, board)
    assert found.cost(case.ctx, board).cycles < kernel("s8_add__dsp_1x4").cost(case.ctx, board).cycles
    assert "no fixed one" in found.fits(s8.binary(rng, found.name, shape, shape, "float").ctx, board).reason
    assert "broadcasts" in found.fits(s8.binary(rng, found.name, shape, (1, 1, 1, 5), "fixed").ctx, board).reason
