"""Calls of the kernels of numbers that stand for themselves, with what NumPy gives for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kernels.cases_f32 import transpose
from kernels.cases_s8 import Rng
from kernels.harness import Array, Case, context, view
from microlith.kernels import kernel
from microlith.kernels.plain import BINARY, COMPARE, INTEGER_UNARY, MATH, TESTS, as_computed
from microlith.ops.cast import cast
from microlith.ops.integer_arithmetic import divide, power, remainder
from microlith.ops.math_functions import erf
from microlith.program.attrs import Broadcast, Cast, Fill, Test, Unary
from microlith.program.types import ITEM_BYTES, NUMPY, contiguous

INTEGERS = ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
SHAPE = (2, 3, 2, 5)
# Bound of ml_math.h on relative errors, and as many roundings as the functions of f32_math.h add.
MATH_ERROR = 4e-7 + 3 * float(np.finfo(np.float32).eps)
SHIFTS = ("shift_left", "shift_right")


def draw(rng: Rng, dtype: str, shape: tuple[int, ...], limit: int | None = None) -> Array:
    """Numbers of the whole range of a type, a fourth of them small and some the ends; or numbers up to a limit."""
    if dtype == "f32":
        special = rng.choice(np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5], np.float32), shape)
        return np.where(rng.random(shape) < 0.3, special, rng.normal(0, 3, shape).astype(np.float32))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    info = np.iinfo(NUMPY[dtype])
    if limit is not None:
        return rng.integers(max(info.min, -limit), limit, shape, info.dtype, endpoint=True)
    some = rng.integers(max(info.min, -3), 3, shape, info.dtype, endpoint=True)
    wide = rng.integers(info.min, info.max, shape, info.dtype, endpoint=True)
    ends = rng.choice(np.array([info.min, info.max], info.dtype), shape)
    return np.choose(rng.integers(0, 4, shape), [some, wide, wide, ends]).astype(info.dtype)


def _integer_meaning(function: str, a: Array, b: Array) -> Array:
    found: dict[str, Callable[[], Array]] = {
        "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: divide(a, b),
        "mod": lambda: remainder(a, b, of_truncation=False), "fmod": lambda: remainder(a, b, of_truncation=True),
        "pow": lambda: power(a, b), "min": lambda: np.minimum(a, b), "max": lambda: np.maximum(a, b),
        "and": lambda: a & b, "or": lambda: a | b, "xor": lambda: a ^ b, "shift_left": lambda: np.left_shift(a, b),
        "shift_right": lambda: np.right_shift(a, b), "prelu": lambda: np.where(a < 0, a * b, a),
    }  # fmt: skip
    return found[function]()


def _float_meaning(function: str, a: Array, b: Array) -> Array:
    found: dict[str, Callable[[], Array]] = {
        "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: a / b,
        "fmod": lambda: np.fmod(a, b), "min": lambda: np.minimum(a, b), "max": lambda: np.maximum(a, b),
        "pow": lambda: np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32),
        "prelu": lambda: np.where(a < 0, a * b, a),
    }  # fmt: skip
    return found[function]()


def _compared(function: str, a: Array, b: Array) -> Array:
    pairs = (np.equal, np.greater, np.greater_equal, np.less, np.less_equal)
    return pairs[COMPARE.index(function)](a, b)


def _strides(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(
        0 if size != wanted else step for size, wanted, step in zip(shape, out, contiguous(shape), strict=True)
    )


def broadcast(
    op: str, function: str, operands: tuple[Array, ...], expected: Array, dtypes: tuple[str, str], constant: str = ""
) -> Case:
    """A call of ``binary``, ``compare`` or ``where``; one operand may be constant."""
    roles, out = "abc"[: len(operands)], expected.shape
    attrs = Broadcast(function, out, tuple(_strides(item.shape, out) for item in operands))
    names = {"bool": "bool", **{name: dtype for dtype, name in NUMPY.items()}}
    computed = [(role, item) for role, item in zip(roles, operands, strict=True) if role != constant]
    views = [view(role, item.shape, names[item.dtype.name]) for role, item in computed]
    consts = {role: item for role, item in zip(roles, operands, strict=True) if role == constant}
    read, written = dtypes
    prefix = f"x{8 * ITEM_BYTES[read]}" if op == "where" else as_computed(read)  # type: ignore[arg-type]
    ctx = context(op, attrs, views, view("y", out, written), consts)
    # Relative roundings of the power; everything else is exact.
    tolerance = 2e-7 * np.abs(expected) if function == "pow" and read == "f32" else None
    label = f"{op} {read} {function} {[item.shape for item in operands]} {constant}"
    return Case(
        label, kernel(f"{prefix}_{op}__portable"), ctx, tuple(item for _, item in computed), expected, tolerance
    )


def binary(rng: Rng, dtype: str, function: str, b_shape: tuple[int, ...], constant: str = "") -> Case:
    """Arithmetic of two operands."""
    limit = 80 if function in SHIFTS else None
    a = draw(rng, dtype, SHAPE)
    b = draw(rng, dtype, b_shape, limit)
    with np.errstate(all="ignore"):
        expected = (_float_meaning if dtype == "f32" else _integer_meaning)(function, a, b)
    return broadcast("binary", function, (a, b), expected, (dtype, dtype), constant)


def compare(rng: Rng, dtype: str, function: str) -> Case:
    """A comparison, with equal elements among others."""
    a = draw(rng, dtype, SHAPE)
    b = np.where(rng.random(SHAPE) < 0.3, a, draw(rng, dtype, SHAPE))[:, :, :1]
    return broadcast("compare", function, (a, b), _compared(function, a, b), (dtype, "bool"))


def where(rng: Rng, dtype: str, constant: str = "") -> Case:
    """A choice."""
    flag, a, b = draw(rng, "bool", (2, 1, 2, 1)), draw(rng, dtype, SHAPE), draw(rng, dtype, (1, 1, 1, 5))
    return broadcast("where", "", (flag, a, b), np.where(flag, a, b), (dtype, dtype), constant)


def conversion(rng: Rng, source: str, target: str) -> Case:
    """A cast; floats stay clear of the ends of the integer type, where NumPy and C may differ, or lie far beyond."""
    x = draw(rng, source, (60,))
    if source == "f32":
        x = np.where(np.arange(60) % 2 == 0, x, (x * np.float32(1e12)).astype(np.float32))
    ctx = context("cast", Cast(), [view("x", (60,), source)], view("y", (60,), target))
    with np.errstate(invalid="ignore"):
        expected = cast(x, NUMPY[target])
    return Case(f"cast {source} {target}", kernel("x_cast__portable"), ctx, (x,), expected)


def integer_unary(rng: Rng, dtype: str, function: str) -> Case:
    """One function of integers."""
    x = draw(rng, dtype, (60,))
    info = np.iinfo(NUMPY[as_computed(dtype)])  # type: ignore[index]
    bounds = (max(info.min, -100), info.max - 20)
    meanings: dict[str, Callable[[], Array]] = {
        "abs": lambda: np.abs(x), "negate": lambda: np.zeros_like(x) - x, "sign": lambda: np.sign(x),
        "complement": lambda: np.invert(x), "not": lambda: np.logical_not(x).astype(x.dtype),
        "clamp": lambda: np.clip(x, *(np.array(item, x.dtype) for item in bounds)),
    }  # fmt: skip
    attrs = Unary(function, bounds if function == "clamp" else ())
    ctx = context("unary", attrs, [view("x", (60,), dtype)], view("y", (60,), dtype))
    name = f"{as_computed(dtype)}_unary__portable"  # type: ignore[arg-type]
    with np.errstate(over="ignore"):
        return Case(f"{function} {dtype}", kernel(name), ctx, (x,), meanings[function]())


def float_test(rng: Rng, function: str) -> Case:
    """A test of floats."""
    x = draw(rng, "f32", (60,))
    expected = (np.isnan(x), np.isinf(x), np.isposinf(x), np.isneginf(x))[TESTS.index(function)]
    ctx = context("test", Test(function), [view("x", (60,), "f32")], view("y", (60,), "bool"))
    return Case(f"test {function}", kernel("f32_test__portable"), ctx, (x,), expected)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# Function, parameters, meaning in float64, least and greatest input.
MEANINGS: dict[str, tuple[tuple[float, ...], Callable[[np.ndarray], np.ndarray], float, float]] = {
    "abs": ((), np.abs, -9, 9), "negate": ((), np.negative, -9, 9), "sign": ((), np.sign, -9, 9),
    "ceil": ((), np.ceil, -9, 9), "floor": ((), np.floor, -9, 9), "round": ((), np.rint, -9, 9),
    "sqrt": ((), np.sqrt, 0, 900), "reciprocal": ((), np.reciprocal, 0.1, 9), "exp": ((), np.exp, -20, 20),
    "log": ((), np.log, 1e-3, 900), "erf": ((), erf, -5, 5), "sin": ((), np.sin, -1e5, 1e5),
    "cos": ((), np.cos, -1e5, 1e5), "tan": ((), np.tan, -1e5, 1e5), "asin": ((), np.arcsin, -1, 1),
    "acos": ((), np.arccos, -1, 1), "atan": ((), np.arctan, -50, 50), "sinh": ((), np.sinh, -20, 20),
    "cosh": ((), np.cosh, -20, 20), "asinh": ((), np.arcsinh, -50, 50), "acosh": ((), np.arccosh, 1, 50),
    "atanh": ((), np.arctanh, -0.999, 0.999), "softplus": ((), _softplus, -20, 20),
    "softsign": ((), lambda x: x / (1 + np.abs(x)), -20, 20),
    "elu": ((0.7, 1.3), lambda x: np.float32(1.3) * np.where(x < 0, np.float32(0.7) * np.expm1(x), x), -9, 9),
    "celu": ((0.5,), lambda x: np.where(x < 0, 0.5 * np.expm1(x / 0.5), x), -9, 9),
    "gelu": ((), lambda x: 0.5 * x * (1 + erf(x * np.sqrt(0.5))), -4, 9),
    "gelu_tanh": ((), lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), -4, 9),
    "mish": ((), lambda x: x * np.tanh(_softplus(x)), -15, 25),
    "swish": ((1.5,), lambda x: x * _sigmoid(1.5 * x), -15, 25),
    "thresholded_relu": ((0.25,), lambda x: np.where(x > 0.25, x, 0), -9, 9),
    "shrink": ((0.5, 0.25), lambda x: np.where(x < -0.5, x + 0.25, np.where(x > 0.5, x - 0.25, 0)), -9, 9),
}  # fmt: skip


def math(rng: Rng, function: str, shape: tuple[int, ...]) -> Case:
    """A float function; errors of gates count relative to the input, which they multiply, or grow with it."""
    parameters, exact, low, high = MEANINGS[function]
    x = rng.uniform(low, high, shape).astype(np.float32)
    wide = x.astype(np.float64)
    expected = exact(wide)
    gate = np.abs(wide) if function.startswith("gelu") else np.abs(wide * expected) if function == "swish" else 0
    tolerance = MATH_ERROR * (np.abs(expected) + gate)
    ctx = context("unary", Unary(function, parameters), [view("x", shape, "f32")], view("y", shape, "f32"))
    return Case(f"math {function} {shape}", kernel("f32_math__portable"), ctx, (x,), expected, tolerance)


def plain_cases() -> tuple[Case, ...]:
    """Every kernel, and every function in one type at least."""
    rng = np.random.default_rng(22)
    return (*_arithmetic(rng), *_others(rng))


def _arithmetic(rng: Rng) -> Iterator[Case]:
    for function in BINARY:
        for dtype in ("s64", "u8") if function in SHIFTS else ("s64", "s8"):
            signed_shift = function in SHIFTS and dtype.startswith("s")
            yield binary(rng, "u64" if signed_shift else dtype, function, SHAPE)
    for dtype, function in zip(("s16", "u16", "s32", "u32", "u64"), ("mod", "div", "pow", "max", "sub"), strict=True):
        yield binary(rng, dtype, function, (1, 3, 1, 5))
    for function in ("add", "sub", "mul", "div", "fmod", "pow", "min", "max", "prelu"):
        yield binary(rng, "f32", function, SHAPE)
    yield binary(rng, "f32", "div", (2, 1, 2, 1), constant="b")
    yield binary(rng, "s32", "add", (1, 3, 1, 1), constant="b")
    for index, dtype in enumerate((*INTEGERS, "f32")):
        yield compare(rng, dtype, COMPARE[index % len(COMPARE)])
    yield compare(rng, "f32", "less_or_equal")


def _others(rng: Rng) -> Iterator[Case]:
    for dtype, constant in zip(("s8", "s16", "f32", "s64"), ("", "c", "b", ""), strict=True):
        yield where(rng, dtype, constant)
    types = (*INTEGERS, "f32", "bool")
    for index, source in enumerate(types):
        yield conversion(rng, source, types[(index + 3) % len(types)])
        yield conversion(rng, "f32", source)
        yield conversion(rng, source, "f32")
    for index, dtype in enumerate(INTEGERS):
        for function in ("abs", "clamp", INTEGER_UNARY[index % 4]):
            yield integer_unary(rng, dtype, function)
    yield integer_unary(rng, "bool", "not")
    for function in TESTS:
        yield float_test(rng, function)
    for function in MATH:
        yield math(rng, function, (1, 4, 10, 3))
    yield math(rng, "exp", (4, 50))
    yield from _moves(rng)


def _moves(rng: Rng) -> Iterator[Case]:
    for dtype in ("s16", "s64"):
        yield transpose(rng, (2, 3, 4), (2, 0, 1), dtype)
        ctx = context("fill", Fill(-7), [], view("y", (3, 5), dtype))
        name = f"x{8 * ITEM_BYTES[dtype]}_fill__portable"
        yield Case(f"fill {dtype}", kernel(name), ctx, (), np.full((3, 5), -7, NUMPY[dtype]))
