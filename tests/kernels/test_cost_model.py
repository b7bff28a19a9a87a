"""The costs that kernels are chosen by: what the table says, against emulated calls that were not fitted."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from kernels import cases_s8
from kernels.cases_s8 import Bounds, Layer
from kernels.cost_model import CALLS, measure, non_negative_least_squares
from kernels.harness import Case, view
from microlith.device.load import device as load_device
from microlith.kernels.cost_table import evaluate, fitted_cost, table
from microlith.kernels.work import Work, work
from microlith.program.attrs import Window

WORST_PERCENT, MEDIAN_PERCENT = 10.0, 3.0
# The portable convolution copies and multiplies in loops that the compiler writes out anew for every window.
GATHERED_PERCENT = 40.0
# Small averages divide by counts that compilers treat apart.
AVERAGE_PERCENT = 15.0


def bound(kernel: str, path: str) -> float:
    """The greatest error allowed to a code path, in percent."""
    if kernel.startswith("s8_average_pool2d"):
        return AVERAGE_PERCENT
    return GATHERED_PERCENT if kernel == "s8_conv2d__portable" and "gathered" in path else WORST_PERCENT


def window(size: int, stride: int = 1, pad: int = 0) -> Window:
    return Window((size, size), (stride, stride), (1, 1), (pad,) * 4)


def calls(rng: np.random.Generator) -> list[Case]:
    """Small maps, few channels, one output channel, odd sizes; and two that are drawn for each kernel."""
    clamped = Layer("fixed", False, bounds=Bounds(-90, 100))
    shapes = (
        ((9, 13, 3), 1, window(1), Layer()),
        ((1, 1, 7), 5, window(1), Layer("fixed")),
        ((7, 5, 3), 6, window(3, 1, 1), Layer("fixed")),
        ((6, 11, 8), 7, window(3, 2, 1), clamped),
        ((13, 3, 1), 2, window(5, 1, 2), Layer(per_channel=False)),
    )
    found = [
        cases_s8.conv2d(rng, x, outputs, taps, layer=layer, name=f"s8_conv2d__{isa}")
        for isa in ("dsp_2x4", "portable")
        for x, outputs, taps, layer in shapes
    ]
    found += [
        cases_s8.depthwise_conv2d(rng, (11, 7, 5), 1, window(3, stride, 1), Layer(mode), f"s8_depthwise_conv2d__{isa}")  # type: ignore[arg-type]
        for isa in ("dsp_3x3", "portable")
        for mode in ("float", "fixed")
        for stride in (1, 2)
    ]
    drawn = np.random.default_rng(99)
    return found + [case for name, draw in CALLS.items() for case in islice(draw(drawn, name), 2)]


@pytest.mark.mcu
def test_costs_are_within_a_tenth_of_what_an_emulated_core_takes(rng: np.random.Generator) -> None:
    device = load_device("stm32l4r5")
    errors = []
    for item in measure(calls(rng)):
        cost = fitted_cost(item.case.kernel, item.case.ctx, device)
        assert cost is not None, f"{item.case.label} was not fitted: {item.work.path}"
        error = 100 * (cost.cycles / item.cycles - 1)
        assert abs(error) < bound(item.case.kernel.name, item.work.path), f"{item.case.label}: {error:.1f}%"
        errors.append(abs(error))
    assert np.median(errors) < MEDIAN_PERCENT


def test_the_table_states_errors_within_the_bounds() -> None:
    paths = {(kernel, path): cost for kernel, paths in table("cortex-m4f").items() for path, cost in paths.items()}
    assert {kernel for kernel, _ in paths} == set(CALLS)
    for where, cost in paths.items():
        assert cost.calls >= 4, where
        assert cost.worst_percent < bound(*where), where
        assert cost.median_percent < MEDIAN_PERCENT or bound(*where) > WORST_PERCENT, where


def test_least_squares_are_found_without_negative_costs(rng: np.random.Generator) -> None:
    a = rng.uniform(0, 1, (40, 6))
    truth = np.array([3.0, 0.0, 0.5, 0.0, 20.0, 1.0])
    np.testing.assert_allclose(non_negative_least_squares(a, a @ truth), truth, atol=1e-9)
    against = non_negative_least_squares(a, -a @ truth)
    np.testing.assert_array_equal(against, np.zeros(6))
    found = non_negative_least_squares(a[:, :3], a @ truth)
    slope = a[:, :3].T @ (a @ truth - a[:, :3] @ found)
    assert (found >= 0).all()
    assert (slope <= 1e-9).all()
    np.testing.assert_allclose(slope[found > 0], 0, atol=1e-9)


def test_a_part_that_was_never_measured_has_no_cost() -> None:
    assert evaluate({"call": 10.0, "row": 2.0}, Work("", {"call": 1, "row": 3, "group": 0})) == 16.0
    assert evaluate({"call": 10.0, "row": 2.0}, Work("", {"call": 1, "row": 3, "group": 1})) is None


def test_cores_and_calls_without_a_table_are_costed_by_a_formula(rng: np.random.Generator) -> None:
    case = cases_s8.conv2d(rng, (5, 5, 4), 4, window(3, 1, 1))
    assert case.kernel.cost(case.ctx, load_device("stm32l4r5")).error_percent is not None
    assert case.kernel.cost(case.ctx, load_device("rp2040")).error_percent is None
    assert work(case.kernel, case.ctx) is not None
    assert table("rp2040") == {}
    ring = replace(case.ctx, reads=(view("x", (1, 5, 5, 4), "s8", case.ctx.reads[0].qparams, ring_rows=4),))
    assert work(case.kernel, ring) is None
