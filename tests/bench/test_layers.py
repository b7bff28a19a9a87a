"""Each layer's time beside its work: ratios, totals, and what cannot be said."""

from __future__ import annotations

import pytest

from microlith.bench.layers import bench, bench_if_counted
from microlith.core.details import LayerRow, RunDetails
from microlith.core.errors import InputError


def row(index: int, **changes: object) -> LayerRow:
    base = {
        "index": index,
        "name": f"layer {index}",
        "op": "conv2d",
        "kernel": "s8_conv2d__dsp_2x4",
        "output_shape": (1, 4, 4, 8),
        "macs": 1000,
        "weight_bytes": 100,
        "instructions": 1100,
        "cycles": 1250,
        "schedule": "rows_2",
        "expected_cycles": 1500.0,
        "expected_by": "estimate",
        "bound": 500.0,
        "read_bytes": 64,
        "written_bytes": 128,
    }
    return LayerRow.model_validate(base | changes)


def details(*rows: LayerRow) -> RunDetails:
    return RunDetails(model="net", device="stm32l4r5", device_title="a device", layers=rows)


def test_ratios_of_one_layer() -> None:
    (found,) = bench(details(row(0))).rows
    assert (found.kernel, found.moved_bytes) == ("s8_conv2d__dsp_2x4 rows_2", 292)
    assert (found.cycles_per_mac, found.instructions_per_mac) == (1.25, 1.1)
    assert (found.fraction, found.error_percent) == (0.4, 20.0)


def test_totals_leave_out_what_has_no_bound() -> None:
    other = row(1, macs=0, cycles=750, bound=None, expected_cycles=500.0, expected_by="tuning")
    found = bench(details(row(0), other))
    assert (found.unit, found.total, found.bound, found.fraction) == ("cycles", 2000, 500.0, 0.4)
    assert found.rows[1].cycles_per_mac is None
    assert found.error_percent == 0.0
    assert found.errors == pytest.approx((-100 / 3, -20 / 3, 20.0))
    assert "2,000 cycles expected (1 of 2 layers tuned), 2,000 emulated, +0.0%" in found.expectation


def test_small_layers_do_not_judge_the_cost_model() -> None:
    found = bench(details(row(0), row(1, cycles=1, expected_cycles=10.0)))
    assert found.errors == (20.0, 20.0, 20.0)


def test_without_a_cycle_table_instructions_are_the_unit() -> None:
    found = bench(details(row(0, cycles=None)))
    assert (found.unit, found.total, found.expectation) == ("instructions", 1100, "")
    assert found.rows[0].fraction == pytest.approx(500 / 1100)
    assert found.rows[0].error_percent is None


def test_what_was_not_counted_is_refused() -> None:
    uncounted = details(row(0, instructions=None, cycles=None))
    assert bench_if_counted(uncounted) is None
    with pytest.raises(InputError, match="not run in the emulator"):
        bench(uncounted)
