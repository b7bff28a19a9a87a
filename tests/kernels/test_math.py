"""The functions of ``ml_math.h``: their stated errors over all floats, and what they give at the ends."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from kernels.harness import Library
from microlith.ops.math_functions import erf

Floats = Callable[[np.ndarray], np.ndarray]
BOUND = 4e-7
POWER_BOUND = 1e-7
LARGEST = float(np.finfo(np.float32).max)
SPECIAL = np.array(
    [0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, 7, np.inf, -np.inf, np.nan, LARGEST, -LARGEST, 1e-40, 3e-39], np.float32
)

# C expression of x, meaning in float64, least and greatest input, whether it is exact.
FUNCTIONS: dict[str, tuple[str, Floats, float, float, bool]] = {
    "sin": ("ml_sin_turned(x, 0)", np.sin, -LARGEST, LARGEST, False),
    "cos": ("ml_sin_turned(x, 1)", np.cos, -LARGEST, LARGEST, False),
    "tan": ("ml_tan(x)", np.tan, -LARGEST, LARGEST, False),
    "asin": ("ml_asin(x)", np.arcsin, -1, 1, False),
    "acos": ("ml_acos(x)", np.arccos, -1, 1, False),
    "atan": ("ml_atan(x)", np.arctan, -LARGEST, LARGEST, False),
    "sinh": ("ml_sinh(x)", np.sinh, -89.4, 89.4, False),
    "cosh": ("ml_cosh(x)", np.cosh, -89.4, 89.4, False),
    "asinh": ("ml_asinh(x)", np.arcsinh, -LARGEST, LARGEST, False),
    "acosh": ("ml_acosh(x)", np.arccosh, 1, LARGEST, False),
    "atanh": ("ml_atanh(x)", np.arctanh, -1, 1, False),
    "erf": ("ml_erf(x)", erf, -LARGEST, LARGEST, False),
    "expm1": ("ml_expm1(x)", np.expm1, -LARGEST, 88.7, False),
    "log1p": ("ml_log1p(x)", np.log1p, -1, LARGEST, False),
    "trunc": ("ml_trunc_f32(x)", np.trunc, -LARGEST, LARGEST, True),
    "floor": ("ml_floor_f32(x)", np.floor, -LARGEST, LARGEST, True),
    "ceil": ("ml_ceil_f32(x)", np.ceil, -LARGEST, LARGEST, True),
    "round": ("ml_round_even(x)", np.rint, -LARGEST, LARGEST, True),
}
_ONE = """void call_{name}(float *y, const float *a, int32_t count);
void call_{name}(float *y, const float *a, int32_t count)
{{
    for (int32_t i = 0; i < count; ++i) {{
        const float x = a[i];
        y[i] = {expression};
    }}
}}
"""
_TWO = """void call_{name}(float *y, const float *a, const float *b, int32_t count);
void call_{name}(float *y, const float *a, const float *b, int32_t count)
{{
    for (int32_t i = 0; i < count; ++i) {{
        y[i] = ml_{name}(a[i], b[i]);
    }}
}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    text = '#include "ml_math.h"\n'
    text += "".join(_ONE.format(name=name, expression=item[0]) for name, item in FUNCTIONS.items())
    text += "".join(_TWO.format(name=name) for name in ("pow", "fmod"))
    return Library(tmp_path_factory.mktemp("math")).compile(extra=text)


def apply(library: Library, name: str, *operands: np.ndarray) -> np.ndarray:
    y = np.empty_like(operands[0])
    assert library.library is not None
    addresses = [ctypes.c_void_p(item.ctypes.data) for item in (y, *operands)]
    library.library[f"call_{name}"](*addresses, y.size)
    return y


def floats_between(low: float, high: float) -> np.ndarray:
    """Floats of all magnitudes, and evenly spread ones near 0, of a range."""
    positive = np.arange(0, 0x7F800000, 20011, dtype=np.uint32).view(np.float32)
    near = np.linspace(max(low, -1e5), min(high, 1e5), 60001, dtype=np.float32)
    halves = np.arange(-9, 9, 0.5, dtype=np.float32)
    every = np.concatenate([-positive, positive, near, halves])
    return np.ascontiguousarray(every[(every >= low) & (every <= high)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_relative_error(library: Library, name: str) -> None:
    _, exact, low, high, is_exact = FUNCTIONS[name]
    x = floats_between(low, high)
    with np.errstate(all="ignore"):
        expected = exact(x.astype(np.float64))
        error = np.abs(apply(library, name, x) - expected) / np.abs(expected)
    # Results that are no normal floats have fewer digits; those at a pole are infinite on both sides.
    counts = np.isfinite(expected) & (np.abs(expected) > 1.2e-38) & (np.abs(expected) <= LARGEST)
    worst = np.where(counts, error, 0.0)
    assert worst.max() <= (0.0 if is_exact else BOUND), f"{worst.max():.3g} at {x[worst.argmax()]!r}"
    assert counts.sum() > 1000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(library: Library, name: str) -> None:
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][1](SPECIAL.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(apply(library, name, SPECIAL), expected, rtol=BOUND, atol=1e-44)


def test_angles_that_lie_next_to_a_multiple_of_a_quarter_turn(library: Library) -> None:
    x = (np.arange(1, 60000) * (np.pi / 2)).astype(np.float32)
    for name, exact in (("sin", np.sin), ("cos", np.cos)):
        expected = exact(x.astype(np.float64))
        assert (np.abs(apply(library, name, x) - expected) / np.abs(expected)).max() <= BOUND


def test_powers(library: Library) -> None:
    rng = np.random.default_rng(5)
    x = np.exp(rng.uniform(-30, 30, 100000)).astype(np.float32)
    y = rng.uniform(-9, 9, 100000).astype(np.float32)
    expected = np.power(x.astype(np.float64), y.astype(np.float64))
    found = apply(library, "pow", x, y).astype(np.float64)
    normal = (expected > 1.2e-38) & (expected < LARGEST)
    assert np.abs(found / expected - 1)[normal].max() <= POWER_BOUND
    assert np.isinf(found[expected > 2 * LARGEST]).all()
    assert (found[expected < 1e-46] == 0).all()
    near_one = (1 + rng.uniform(-1e-3, 1e-3, 10000)).astype(np.float32)
    many = rng.uniform(-1e5, 1e5, 10000).astype(np.float32)
    expected = np.power(near_one.astype(np.float64), many.astype(np.float64))
    found = apply(library, "pow", near_one, many).astype(np.float64)
    normal = (expected > 1.2e-38) & (expected < LARGEST)
    assert np.abs(found / expected - 1)[normal].max() <= POWER_BOUND


@pytest.mark.parametrize("name", ["pow", "fmod"])
def test_special_pairs(library: Library, name: str) -> None:
    a, b = (np.ascontiguousarray(item.reshape(-1)) for item in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        if name == "fmod":
            expected = np.fmod(a, b)
        else:
            expected = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(apply(library, name, a, b), expected, rtol=0 if name == "fmod" else 2e-7, atol=0)


def test_remainders_are_exact(library: Library) -> None:
    rng = np.random.default_rng(6)
    a, b = (rng.integers(0, 0x7F800000, 50000).astype(np.uint32).view(np.float32) for _ in range(2))
    a *= rng.choice(np.array([-1, 1], np.float32), a.size)
    assert np.array_equal(apply(library, "fmod", a, b), np.fmod(a, b), equal_nan=True)
    with np.errstate(all="ignore"):
        close = (b * rng.uniform(0.1, 300, b.size).astype(np.float32)).astype(np.float32)
        expected = np.fmod(close, b)
    assert np.array_equal(apply(library, "fmod", close, b), expected, equal_nan=True)
