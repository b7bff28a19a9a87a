"""The helpers of ``ml_common.h`` and ``ml_float.h`` by themselves."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels.harness import COMMAND, Library
from microlith.device.load import host
from microlith.quant.requantize import FixedRequant, FloatRequant, Requant, saturate, scale_accumulator
from microlith.quant.types import QParams

Floats = Callable[[np.ndarray], np.ndarray]
EXTRA = """
void requantize(int32_t *y, const int32_t *acc, int32_t count, int32_t kind, const float *scale,
    const int32_t *multiplier, const int8_t *shift, int32_t zero, int32_t low, int32_t high);
void requantize(int32_t *y, const int32_t *acc, int32_t count, int32_t kind, const float *scale,
    const int32_t *multiplier, const int8_t *shift, int32_t zero, int32_t low, int32_t high)
{
    const ml_requant how = ml_make_requant(kind, scale, multiplier, shift, 1);
    for (int32_t i = 0; i < count; ++i) {
        y[i] = ml_requantize(acc[i], how, i, zero, low, high);
    }
}
"""
FUNCTION = """
void call_{name}(float *y, const float *x, int32_t count);
void call_{name}(float *y, const float *x, int32_t count)
{{
    for (int32_t i = 0; i < count; ++i) {{
        y[i] = {name}(x[i]);
    }}
}}
"""
INT32 = np.iinfo(np.int32)
EXTREMES = np.array([INT32.min, INT32.min + 1, -(2**24) - 1, -1, 0, 1, 2**24 + 1, INT32.max - 1, INT32.max], np.int32)


@pytest.fixture(scope="module", params=["wide", "narrow", "relaxed"])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """``requantize`` as above: with 64-bit products, as on a core that has none, and with flags that relax sums."""
    defines = ("ML_NARROW_MULTIPLY 1",) if request.param == "narrow" else ()
    fused = ("-mfma",) if "avx2" in host().isas else ()
    flags = ("-ffp-model=fast", *fused) if request.param == "relaxed" else ()
    return Library(tmp_path_factory.mktemp("common"), defines, flags).compile(extra=EXTRA)


def run(library: Library, acc: np.ndarray, how: Requant, y: QParams, low: int, high: int) -> np.ndarray:
    """``requantize`` with one factor for each accumulator."""
    result = np.empty(acc.size, np.int32)
    fixed = isinstance(how, FixedRequant)
    scale = np.zeros(1, np.float32) if fixed else np.ascontiguousarray(how.scale)
    multiplier = np.ascontiguousarray(how.multiplier) if fixed else np.zeros(1, np.int32)
    shift = np.ascontiguousarray(how.shift) if fixed else np.zeros(1, np.int8)
    pointers = [ctypes.c_void_p(item.ctypes.data) for item in (scale, multiplier, shift)]
    assert library.library is not None
    library.library.requantize(
        ctypes.c_void_p(result.ctypes.data),
        ctypes.c_void_p(acc.ctypes.data),
        acc.size,
        int(fixed),
        *pointers,
        int(y.zero_point),
        low,
        high,
    )
    return result


def check(library: Library, acc: np.ndarray, how: Requant, zero: int, low: int = -128, high: int = 127) -> None:
    y = QParams.per_tensor(1.0, zero, "int16")
    expected = saturate(scale_accumulator(acc.astype(np.int64), how), y, low, high)
    assert np.array_equal(run(library, acc, how, y, low, high), expected)


def test_float_ties_go_to_even_and_huge_values_saturate(library: Library) -> None:
    ties = np.arange(-1000, 1000, dtype=np.int32)
    for scale in (0.5, 0.25, 1.5, 1e-30, 1.0):
        check(library, ties, FloatRequant(np.full(ties.size, scale, np.float32)), 3)
    for scale in (1e-9, 1.0, 1e9):
        check(library, EXTREMES, FloatRequant(np.full(EXTREMES.size, scale, np.float32)), -128)
    # Beyond what the spec's 64-bit integers hold, infinity included.
    infinite = FloatRequant(np.full(EXTREMES.size, 3e38, np.float32))
    y = QParams.per_tensor(1.0, 3, "int8")
    assert np.array_equal(
        run(library, EXTREMES, infinite, y, -100, 90), np.select([EXTREMES < 0, EXTREMES > 0], [-100, 90], 3)
    )


def test_float_product_is_rounded_before_it_becomes_an_integer(library: Library) -> None:
    # In float32 the product is exactly a tie; the exact product lies beside it.
    scale = np.float32(0.1)
    acc = np.arange(-200_000, 200_000, dtype=np.int32)
    product = acc.astype(np.float32) * scale
    exact = acc.astype(np.float64) * np.float64(scale)
    differ = np.rint(product.astype(np.float64)) != np.rint(exact)
    assert differ.any(), "the sweep must hold accumulators that tell the two apart"
    check(library, acc, FloatRequant(np.full(acc.size, scale)), 0, -(2**15), 2**15 - 1)


def test_fixed_ties_go_up(library: Library) -> None:
    acc = np.concatenate([np.arange(-3000, 3000, dtype=np.int32), EXTREMES])
    for shift in (0, -1, -2, -7, -20, -31):
        for multiplier in (2**30, 2**30 + 1, 2**31 - 1, 1431655765, 0):
            how = FixedRequant(np.full(acc.size, multiplier, np.int32), np.full(acc.size, shift, np.int8))
            check(library, acc, how, -5)


def test_fixed_left_shifts(library: Library) -> None:
    for shift in (1, 7, 19):
        acc = np.arange(-2000, 2000, dtype=np.int32)
        how = FixedRequant(np.full(acc.size, 1_500_000_001, np.int32), np.full(acc.size, shift, np.int8))
        check(library, acc, how, 100)


pairs = hnp.arrays(np.int32, st.shared(st.integers(1, 300), key="count"))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    acc=pairs,
    multiplier=hnp.arrays(
        np.int32, st.shared(st.integers(1, 300), key="count"), elements=st.integers(2**30, 2**31 - 1)
    ),
    shift=hnp.arrays(np.int8, st.shared(st.integers(1, 300), key="count"), elements=st.integers(-31, 0)),
    zero=st.integers(-128, 127),
)
def test_any_fixed_requantization(
    library: Library, acc: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero: int
) -> None:
    check(library, acc, FixedRequant(multiplier, shift), zero)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    acc=pairs,
    scale=hnp.arrays(
        np.float32, st.shared(st.integers(1, 300), key="count"), elements=st.floats(2**-60, 2**30, width=32)
    ),
    zero=st.integers(-128, 127),
)
def test_any_float_requantization(library: Library, acc: np.ndarray, scale: np.ndarray, zero: int) -> None:
    check(library, acc, FloatRequant(scale), zero)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The functions of ``ml_float.h``, applied to arrays."""
    text = '#include "ml_float.h"\n' + "".join(
        FUNCTION.format(name=name) for name in ("ml_exp", "ml_tanh", "ml_sigmoid")
    )
    return Library(tmp_path_factory.mktemp("float")).compile(extra=text)


def apply(functions: Library, name: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    assert functions.library is not None
    functions.library[f"call_{name}"](ctypes.c_void_p(y.ctypes.data), ctypes.c_void_p(x.ctypes.data), x.size)
    return y


def every_float(low: float, high: float, step: int) -> np.ndarray:
    """Every ``step``-th float of both signs with a magnitude from ``low`` to ``high``."""
    first, last = (int(np.float32(bound).view(np.uint32)) for bound in (low, high))
    positive = np.arange(first, last + 1, step, dtype=np.uint32).view(np.float32)
    return np.concatenate([-positive[::-1], positive])


@pytest.mark.parametrize(
    ("name", "exact", "low", "high", "bound"),
    [
        ("ml_exp", np.exp, 1e-10, 87.0, 2e-7),
        ("ml_tanh", np.tanh, 1e-30, 100.0, 4e-7),
        ("ml_sigmoid", lambda x: 1 / (1 + np.exp(-x)), 1e-10, 87.0, 4e-7),
    ],
)
def test_relative_error_of_functions(
    functions: Library, name: str, exact: Floats, low: float, high: float, bound: float
) -> None:
    x = every_float(low, high, 997)
    expected = exact(x.astype(np.float64))
    error = np.abs(apply(functions, name, x) - expected) / np.abs(expected)
    assert error.max() <= bound, f"{error.max():.3g} at {x[error.argmax()]!r}"


def test_functions_at_the_ends_of_their_range(functions: Library) -> None:
    x = np.array([-np.inf, -1e30, -104.0, 88.72, 89.0, 1e30, np.inf, 0.0], np.float32)
    y = apply(functions, "ml_exp", x)
    assert y[[0, 1, 2]].tolist() == [0, 0, 0]
    assert np.isfinite(y[3])
    assert np.isinf(y[[4, 5, 6]]).all()
    assert y[7] == 1
    assert apply(functions, "ml_tanh", x).tolist() == [-1, -1, -1, 1, 1, 1, 1, 0]
    assert apply(functions, "ml_sigmoid", x).tolist()[-1] == 0.5
    denormal = apply(functions, "ml_exp", np.array([-90.0, -100.0], np.float32))
    assert np.allclose(denormal, np.exp([-90.0, -100.0]), rtol=0, atol=2e-45)


def compile_only(text: str, path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Compile C text without keeping the result."""
    source = path / "unit.c"
    source.write_text(text)
    with resources.as_file(resources.files("microlith.kernels") / "c") as include:
        command = [*COMMAND, *flags, f"-I{include}", "-c", str(source), "-o", str(path / "unit.o")]
        return subprocess.run(command, capture_output=True, text=True)


def test_fast_math_is_refused(tmp_path: Path) -> None:
    result = compile_only('#include "ml_common.h"\n', tmp_path, "-ffast-math")
    assert result.returncode != 0
    assert "-ffast-math" in result.stderr


def test_headers_are_cplusplus_as_well(tmp_path: Path) -> None:
    folder = resources.files("microlith.kernels") / "c"
    sets = ("avx2", "dsp", "mve", "thumb1")
    portable = sorted(item.name for item in folder.iterdir() if not any(isa in item.name for isa in sets))
    assert "s8_conv2d.h" in portable
    text = "".join(f'#include "{name}"\n' for name in portable if name.endswith(".h"))
    result = compile_only(text, tmp_path, "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    assert result.returncode == 0, result.stderr
