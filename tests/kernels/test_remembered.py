"""What is remembered by constants follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernel_batch import conv, prepare
from microlith.device.load import device
from microlith.kernels.arguments import zero_point
from microlith.kernels.dsp import DSP
from microlith.kernels.remembered import by_constants
from microlith.kernels.weighted import result_range


def test_other_constants_or_zero_points_are_other_results() -> None:
    calls = []

    @by_constants
    def spied(ctx):
        calls.append(ctx)
        return result_range(ctx)

    ctx = prepare(conv(3, 4, 4, 2, 3, pad=1), DSP[0], device("stm32l4r5"), np.random.default_rng(0)).ctx
    first = spied(ctx)
    assert spied(replace(ctx, consts=dict(ctx.consts))) is first
    assert len(calls) == 1
    for _ in range(3):  # a new array may well lie where the last one lay
        weights = np.full_like(ctx.consts["weights"], len(calls))
        other = replace(ctx, consts={**ctx.consts, "weights": weights})
        np.testing.assert_array_equal(spied(other)[1], result_range(other)[1])
        np.testing.assert_array_equal(
            spied(other)[1], ctx.consts["bias"] + 36 * (len(calls) - 1) * (127 - zero_point(ctx.reads[0]))
        )
        del weights, other
    assert len(calls) == 4
    view = ctx.reads[0]
    moved = replace(ctx, reads=(replace(view, qparams=replace(view.qparams, zero_point=np.array(5, np.int8))),))
    assert spied(moved) is not first
