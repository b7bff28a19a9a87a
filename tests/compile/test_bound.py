"""The least that a call can take, by hand for one convolution."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_batch import conv, prepare
from microlith.compile.bound import bound
from microlith.device.load import device
from microlith.kernels import kernel
from microlith.program.types import Program

MACS = 6 * 8 * 8 * 9 * 5
RESULTS = 6 * 8 * 5
BYTES = 6 * 8 * 8 + RESULTS + 400


class _Views:
    """As much of a Program as the bound looks at."""

    def __init__(self, *views: object) -> None:
        self._views = {view.id: view for view in views}  # type: ignore[attr-defined]

    def view(self, name: str) -> object:
        return self._views[name]


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        # Half a cycle a product, and four bytes a cycle.
        ("stm32l4r5", "fixed", MACS / 2 + 4 * RESULTS + BYTES / 4),
        ("stm32l4r5", "float", MACS / 2 + 6 * RESULTS + BYTES / 4),
        # Instructions: no word is counted, and without MLA a product takes two.
        ("stm32u575", "fixed", MACS / 2 + 4 * RESULTS),
        ("rp2040", "fixed", MACS * 2 + 4 * RESULTS),
        ("esp32c3", "fixed", MACS * 2 + 4 * RESULTS),
        ("host", "fixed", None),
    ],
)
def test_bound_of_a_convolution(name: str, mode: str, expected: float | None, rng: np.random.Generator) -> None:
    case = conv(6, 8, 8, 5, 3, pad=1, mode=mode)
    ctx = prepare(case, kernel("s8_conv2d__portable"), device(name), rng).ctx
    program: Program = _Views(*ctx.reads, *ctx.writes)  # type: ignore[assignment]
    assert bound(program, ctx.call, device(name), MACS, 400) == expected
