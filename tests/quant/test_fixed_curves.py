"""Tables of ``fixed`` against LiteRT's kernels, for every 8-bit integer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microlith.core.errors import UnsupportedError
from microlith.quant import fixed_curves as curves
from microlith.quant.types import QParams
from tflite_models import Node, Oracle, Tensor, build, options

Table = Callable[[QParams, QParams], np.ndarray]
EVERY = np.arange(-128, 128).astype(np.int8)
LEAKY = options("LeakyReluOptions", alpha=0.2)
CASES: dict[str, tuple[Table, object]] = {
    "QUANTIZE": (lambda x, y: curves.change_of_parameters(x, y, -128, 127), None),
    "RELU": (lambda x, y: curves.clamp(x, y, (0.0, np.inf), -128, 127), None),
    "RELU6": (lambda x, y: curves.clamp(x, y, (0.0, 6.0), -128, 127), None),
    "RELU_N1_TO_1": (lambda x, y: curves.clamp(x, y, (-1.0, 1.0), -128, 127), None),
    "LEAKY_RELU": (lambda x, y: curves.leaky_relu(x, y, 0.2, -128, 127), LEAKY),
    "HARD_SWISH": (lambda x, y: curves.hard_swish(x, y, -128, 127), None),
}


@pytest.mark.parametrize("op", CASES)
def test_table_equals_litert(op: str, rng: np.random.Generator) -> None:
    table, given = CASES[op]
    for _ in range(40):
        parameters = [QParams.per_tensor(rng.uniform(0.005, 0.12), rng.integers(-128, 128), "int8") for _ in range(2)]
        x, y = parameters
        tensors = {
            name: Tensor((1, 256), "int8", scale=float(q.scale), zero_point=int(q.zero_point))
            for name, q in (("x", x), ("y", y))
        }
        content = build(tensors, [Node(op, ["x"], ["y"], given)], ["x"], ["y"])
        np.testing.assert_array_equal(table(x, y), Oracle(content).run(EVERY[None])[0][0])


def test_bounds_are_rounded_half_away_from_zero() -> None:
    y = QParams.per_tensor(4.0, 0, "int8")
    assert curves.quantized_bounds((-6.0, 10.0), y) == (-2.0, 3.0)
    assert curves.quantized_bounds((-np.inf, np.inf), y) == (-np.inf, np.inf)


def test_wide_integers_are_refused() -> None:
    wide = QParams.per_tensor(0.1, 0, "int16")
    with pytest.raises(UnsupportedError, match="8-bit"):
        curves.hard_swish(wide, wide, -128, 127)
