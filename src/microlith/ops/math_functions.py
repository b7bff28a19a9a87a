"""Functions of one float without attributes: one file, since each op is one line of the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.ops.base import Array, Op, Pointwise
from microlith.ops.unary import NoAttrs, no_attributes, unary

_ERF = np.frompyfunc(math.erf, 1, 1)


def erf(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The error function, computed in double, in the type of ``x``."""
    return np.asarray(_ERF(x.astype(np.float64)), np.float64).astype(x.dtype).reshape(x.shape)


def expm1_below_zero(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """``exp(x) - 1`` below 0, and 0 above, where it might overflow."""
    return np.asarray(np.expm1(np.minimum(x, 0)))


def softplus(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """``log(1 + exp(x))`` without overflow."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _softsign(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return np.asarray(np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))))


def _mish(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return gated(x, np.tanh(softplus(x)))


def gated(x: NDArray[np.floating[Any]], gate: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """``x * gate``, and 0 where the gate is closed, also for an infinite ``x``."""
    return np.where(gate == 0, np.zeros_like(x), x * gate)


def _function(
    op_type: str, kernel: str, function: Callable[..., Any], integers: Callable[[NoAttrs, Array], Array] | None = None
) -> Op[NoAttrs]:
    return unary(
        op_type,
        no_attributes,
        lambda attrs, x: function(x),
        lambda attrs: function,
        integers,
        lowering=Pointwise(kernel),
    )


MATH: tuple[Op[NoAttrs], ...] = (
    _function("Abs", "abs", np.abs, lambda attrs, x: np.abs(x)),
    _function("Neg", "negate", np.negative, lambda attrs, x: np.negative(x)),
    _function("Sign", "sign", np.sign, lambda attrs, x: np.sign(x)),
    _function("Ceil", "ceil", np.ceil),
    _function("Floor", "floor", np.floor),
    _function("Round", "round", np.rint),
    _function("Sqrt", "sqrt", np.sqrt),
    _function("Reciprocal", "reciprocal", np.reciprocal),
    _function("Exp", "exp", np.exp),
    _function("Log", "log", np.log),
    _function("Erf", "erf", erf),
    _function("Sin", "sin", np.sin),
    _function("Cos", "cos", np.cos),
    _function("Tan", "tan", np.tan),
    _function("Asin", "asin", np.arcsin),
    _function("Acos", "acos", np.arccos),
    _function("Atan", "atan", np.arctan),
    _function("Sinh", "sinh", np.sinh),
    _function("Cosh", "cosh", np.cosh),
    _function("Asinh", "asinh", np.arcsinh),
    _function("Acosh", "acosh", np.arccosh),
    _function("Atanh", "atanh", np.arctanh),
    _function("Softplus", "softplus", softplus),
    _function("Softsign", "softsign", _softsign),
    _function("Mish", "mish", _mish),
)
