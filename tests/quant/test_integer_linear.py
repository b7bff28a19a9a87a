"""Convolution and matrix products against loops over Python integers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.core.errors import UnsupportedError
from microlith.quant import integer_linear
from microlith.quant.accumulator import accumulator_bound, magnitude
from microlith.quant.factors import linear_requant
from microlith.quant.integer_linear import conv2d, fully_connected, matmul
from microlith.quant.requantize import FloatRequant
from microlith.quant.types import QArray, QParams, Requantization
from microlith.quant.windows import Geometry
from oracles import scale_fixed, scale_float

MODES = st.sampled_from(["float", "fixed"])


def _qparams(rng: np.random.Generator, dtype: str, channels: int | None, symmetric: bool = False) -> QParams:
    count = 1 if channels is None else channels
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}[dtype]
    scale = rng.uniform(0.001, 0.05, count).astype(np.float32)
    zero = np.zeros(count, np.int32) if symmetric else rng.integers(low, high + 1, count).astype(np.int32)
    return QParams(scale[0], zero[0], dtype) if channels is None else QParams(scale, zero, dtype, 0)


def _array(rng: np.random.Generator, q: QParams, *shape: int) -> QArray:
    # Extremes are as likely as everything else, so that the accumulators grow.
    values = rng.integers(q.low, q.high + 1, shape)
    values = np.where(rng.random(shape) < 0.3, rng.choice([q.low, q.high], shape), values)
    return QArray(values.astype(q.dtype), q)


def _bias(rng: np.random.Generator, x: QParams, w: QParams, count: int) -> QArray:
    scale = np.asarray(x.scale * w.scale, np.float32)
    q = QParams(scale, np.zeros(scale.shape, np.int32), "int32", None if scale.ndim == 0 else 0)
    return QArray(rng.integers(-(10**6), 10**6, count).astype(np.int32), q)


def _scaled(acc: int, channel: int, x: QParams, w: QParams, y: QParams, mode: Requantization) -> int:
    how = linear_requant(x, w, y, mode)
    if isinstance(how, FloatRequant):
        return scale_float(acc, float(how.scale.reshape(-1)[channel if how.scale.ndim else 0]))
    index = channel if how.multiplier.ndim else 0
    return scale_fixed(acc, int(how.multiplier.reshape(-1)[index]), int(how.shift.reshape(-1)[index]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    mode=MODES,
    dtypes=st.tuples(st.sampled_from(["int8", "uint8"]), st.sampled_from(["int8", "uint8"])),
    groups=st.sampled_from([1, 2, 4]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pad=st.tuples(*[st.integers(0, 2)] * 4),
    per_channel=st.booleans(),
)
def test_conv2d(
    seed: int,
    mode: Requantization,
    dtypes: tuple[str, str],
    groups: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
    per_channel: bool,
) -> None:
    rng = np.random.default_rng(seed)
    size, filters, depth = (5, 6), 4, 4 // groups
    output = tuple((size[a] + pad[a] + pad[a + 2] - (kernel[a] - 1) * dilation[a] - 1) // stride[a] + 1 for a in (0, 1))
    geometry = Geometry(kernel, stride, dilation, pad, size, (output[0], output[1]))
    x = _array(rng, _qparams(rng, dtypes[0], None), 2, 4, *size)
    weights = _array(rng, _qparams(rng, dtypes[1], filters if per_channel else None), filters, depth, *kernel)
    bias = _bias(rng, x.qparams, weights.qparams, filters)
    y = QParams.per_tensor(float(rng.uniform(0.01, 1.0)), 0, "int8")
    got = conv2d(x, weights, bias, geometry, groups, y, mode)
    assert got.shape == (2, filters, *output)
    for n, o, row, column in product(range(2), range(filters), range(output[0]), range(output[1])):
        acc = int(bias.values[o])
        for c, i, j in product(range(depth), range(kernel[0]), range(kernel[1])):
            r = row * stride[0] - pad[0] + i * dilation[0]
            s = column * stride[1] - pad[1] + j * dilation[1]
            if 0 <= r < size[0] and 0 <= s < size[1]:
                source = int(x.values[n, o // (filters // groups) * depth + c, r, s]) - int(x.qparams.zero_point)
                zero = weights.qparams.zero_point.reshape(-1)[o if per_channel else 0]
                acc += source * (int(weights.values[o, c, i, j]) - int(zero))
        assert got[n, o, row, column] == _scaled(acc, o, x.qparams, weights.qparams, y, mode)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mode=MODES, depth=st.sampled_from([1, 7, 300]), per_channel=st.booleans())
def test_fully_connected_and_matmul(seed: int, mode: Requantization, depth: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    x = _array(rng, _qparams(rng, "uint8", None), 2, depth)
    weights = _array(rng, _qparams(rng, "int8", 3 if per_channel else None), 3, depth)
    bias = _bias(rng, x.qparams, weights.qparams, 3)
    y = QParams.per_tensor(float(rng.uniform(0.01, 1.0)), 0, "int8")
    got = fully_connected(x, weights, bias, y, mode)
    transposed = weights.qparams
    if per_channel:
        transposed = QParams(transposed.scale, transposed.zero_point, transposed.dtype, 1)
    without_bias = matmul(x, QArray(weights.values.T, transposed), y, mode)
    for m, o in product(range(2), range(3)):
        zero = int(weights.qparams.zero_point.reshape(-1)[o if per_channel else 0])
        acc = sum(
            (int(a) - int(x.qparams.zero_point)) * (int(b) - zero)
            for a, b in zip(x.values[m], weights.values[o], strict=True)
        )
        assert without_bias[m, o] == _scaled(acc, o, x.qparams, weights.qparams, y, mode)
        assert got[m, o] == _scaled(acc + int(bias.values[o]), o, x.qparams, weights.qparams, y, mode)


def test_sums_beyond_float32_are_exact() -> None:
    # Odd sums of this size do not exist in float32.
    depth = 1001
    x = QArray(np.full((1, depth), 127, np.int8), QParams.per_tensor(1.0, -128, "int8"))
    weights = QArray(np.full((1, depth), 127, np.int8), QParams.per_tensor(1.0, 0, "int8"))
    y = QParams.per_tensor(1.0, 0, "int8")
    acc = 255 * 127 * depth
    assert acc > 2**24
    assert acc % 2 == 1
    # A factor of 1/2 in `fixed` shows the lowest bit.
    half = QParams.per_tensor(2.0, 0, "int8")
    assert fully_connected(x, weights, None, y, "fixed")[0, 0] == scale_fixed(acc, 2**30, 1)
    assert fully_connected(x, weights, None, half, "fixed")[0, 0] == (acc + 1) // 2


def test_the_bound_of_the_accumulator() -> None:
    x = QParams.per_tensor(1.0, -128, "int8")
    assert magnitude(x) == 255
    assert magnitude(QParams.per_tensor(1.0, 0, "int8")) == 128
    assert magnitude(QParams.per_tensor(1.0, 200, "uint8")) == 200
    weights = np.array([[1, -2, 3], [0, 0, 4]], np.int32)
    assert accumulator_bound(weights, x, None) == 6 * 255
    assert accumulator_bound(weights, x, np.array([-10, 100], np.int32)) == 6 * 255 + 10
    assert accumulator_bound(weights, x, np.array([[5], [-7], [6]], np.int32)) == 6 * 255 + 7


@pytest.mark.parametrize(
    ("bias", "mode", "scale"),
    [(2**31 - 1, "float", 1.0), (2**29, "fixed", 0.125)],
    ids=["sum", "shifted sum"],
)
def test_a_sum_that_could_overflow_is_refused(bias: int, mode: Requantization, scale: float) -> None:
    one = QParams.per_tensor(1.0, 0, "int8")
    x, weights = QArray(np.ones((1, 2), np.int8), one), QArray(np.ones((1, 2), np.int8), one)
    wide = QArray(np.array([bias], np.int32), QParams.per_tensor(1.0, 0, "int32"))
    with pytest.raises(UnsupportedError, match="32-bit accumulator"):
        fully_connected(x, weights, wide, QParams.per_tensor(scale, 0, "int8"), mode)


def test_a_bias_of_another_scale_is_refused() -> None:
    one = QParams.per_tensor(1.0, 0, "int8")
    x, weights = QArray(np.ones((1, 2), np.int8), one), QArray(np.ones((1, 2), np.int8), one)
    bias = QArray(np.zeros(1, np.int32), QParams.per_tensor(0.5, 0, "int32"))
    with pytest.raises(UnsupportedError, match="scale of the bias"):
        fully_connected(x, weights, bias, one, "float")


def test_scales_along_the_summed_axis_are_refused() -> None:
    one = QParams.per_tensor(1.0, 0, "int8")
    along_depth = QParams(np.ones(2, np.float32), np.zeros(2, np.int32), "int8", 1)
    x, weights = QArray(np.ones((1, 2), np.int8), one), QArray(np.ones((3, 2), np.int8), along_depth)
    with pytest.raises(UnsupportedError, match="axis 1"):
        fully_connected(x, weights, None, one, "float")
    with pytest.raises(UnsupportedError, match="per channel"):
        matmul(weights, x, one, "float")


def test_float32_and_float64_give_the_same_sums(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    x = _array(rng, _qparams(rng, "int8", None), 3, 8, 7, 7)
    weights = _array(rng, _qparams(rng, "int8", 5, symmetric=True), 5, 8, 3, 3)
    geometry = Geometry((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (7, 7), (7, 7))
    y = QParams.per_tensor(0.1, 0, "int8")
    narrow = conv2d(x, weights, None, geometry, 1, y, "fixed")
    monkeypatch.setattr(integer_linear, "_EXACT_FLOAT32", 0)
    np.testing.assert_array_equal(conv2d(x, weights, None, geometry, 1, y, "fixed"), narrow)
