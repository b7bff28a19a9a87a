"""Functions of one element."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.cast import CastAttrs
from microlith.ops.clip import ClipAttrs
from microlith.ops.elu import EluAttrs
from microlith.ops.float_tests import IsInfAttrs
from microlith.ops.shrink import ShrinkAttrs
from microlith.train.forms.base import Form, Function, Site, plain

_DTYPES = {
    "float32": torch.float32,
    "bool": torch.bool,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
}


def _clip(attrs: ClipAttrs, site: Site) -> Function:
    low, high = (None if np.isinf(bound) else bound for bound in (attrs.low, attrs.high))
    return (lambda x: x) if low is None and high is None else lambda x: torch.clamp(x, low, high)


def _prelu(attrs: Any, site: Site) -> Function:
    def prelu(x: Tensor, slope: Tensor) -> Tensor:
        return torch.where(x < 0, x * slope, x)

    return prelu


def _elu(attrs: EluAttrs, site: Site) -> Function:
    return lambda x: attrs.gamma * F.elu(x, attrs.alpha)


def _shrink(attrs: ShrinkAttrs, site: Site) -> Function:
    def shrink(x: Tensor) -> Tensor:
        moved = torch.where(x > attrs.lambd, x - attrs.bias, torch.zeros_like(x))
        return torch.where(x < -attrs.lambd, x + attrs.bias, moved)

    return shrink


def _thresholded_relu(attrs: Any, site: Site) -> Function:
    return lambda x: torch.where(x > attrs.alpha, x, torch.zeros_like(x))


def _softsign(x: Tensor) -> Tensor:
    return x / (1 + torch.abs(x))


def _cast(attrs: CastAttrs, site: Site) -> Function:
    if attrs.dtype not in _DTYPES:
        raise site.refuse(f"torch computes nothing with {attrs.dtype}")
    dtype = _DTYPES[attrs.dtype]
    if attrs.dtype == "bool":
        return lambda x: x != 0
    if attrs.dtype == "float32":
        return lambda x: x if x.is_floating_point() else x.to(dtype)
    return partial(_to_integers, dtype)


def _to_integers(dtype: torch.dtype, x: Tensor) -> Tensor:
    """Truncated and saturated; what is not a number becomes 0."""
    if not x.is_floating_point():
        return x.to(dtype)
    info = torch.iinfo(dtype)
    too_large, too_small = x >= float(info.max) + 1.0, x <= float(info.min)
    inside = torch.where(torch.isnan(x) | too_large | too_small, torch.zeros_like(x), x).to(dtype)
    largest, least = (torch.full_like(inside, bound) for bound in (info.max, info.min))
    return torch.where(too_large, largest, torch.where(too_small, least, inside))


def _is_inf(attrs: IsInfAttrs, site: Site) -> Function:
    def is_inf(x: Tensor) -> Tensor:
        found = torch.zeros_like(x, dtype=torch.bool)
        if attrs.positive:
            found = found | torch.isposinf(x)
        return found | torch.isneginf(x) if attrs.negative else found

    return is_inf


_FUNCTIONS: dict[str, Function] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "Log": torch.log,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": F.softplus,
    "Softsign": _softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
_STEPS: dict[str, Function] = {
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Not": torch.logical_not,
    "Round": torch.round,
    "Sign": torch.sign,
}

POINTWISE = (
    *(Form(op_type, plain(function)) for op_type, function in _FUNCTIONS.items()),
    *(Form(op_type, plain(function), gradient=False) for op_type, function in _STEPS.items()),
    Form("Cast", _cast),
    Form("CastLike", _cast, inputs=(0,)),
    Form("Celu", lambda attrs, site: lambda x: F.celu(x, attrs.alpha)),
    Form("Clip", _clip),
    Form("Elu", _elu),
    Form("Gelu", lambda attrs, site: partial(F.gelu, approximate="tanh" if attrs.tanh else "none")),
    Form("HardSigmoid", lambda attrs, site: lambda x: torch.clamp(attrs.alpha * x + attrs.beta, 0.0, 1.0)),
    Form("IsInf", _is_inf, gradient=False),
    Form("LeakyRelu", lambda attrs, site: lambda x: F.leaky_relu(x, attrs.alpha)),
    Form("PRelu", _prelu, inputs=(0, 1), learned=(1,), stacks=True, parses=False),
    Form("Selu", _elu),
    Form("Shrink", _shrink),
    Form("Swish", lambda attrs, site: lambda x: x * torch.sigmoid(attrs.alpha * x)),
    Form("ThresholdedRelu", _thresholded_relu),
)
