"""Functions of several tensors that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor

from microlith.ops.binary import ModAttrs
from microlith.train.forms.base import Form, Function, Site, plain


def _is_float(site: Site, index: int = 0) -> bool:
    value = site.node.inputs[index]
    return value is None or value.dtype in (None, ir.DataType.FLOAT)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    if a.is_floating_point():
        return a / b
    safe = torch.where(b == 0, torch.ones_like(b), b)
    return torch.where(b == 0, torch.zeros_like(a), torch.div(a, safe, rounding_mode="trunc"))


def _mod(attrs: ModAttrs, site: Site) -> Function:
    def mod(a: Tensor, b: Tensor) -> Tensor:
        if a.is_floating_point():
            return torch.fmod(a, b)
        safe = torch.where(b == 0, torch.ones_like(b), b)
        rest = torch.fmod(a, safe) if attrs.fmod else torch.remainder(a, safe)
        return torch.where(b == 0, torch.zeros_like(rest), rest)

    return mod


def _power(attrs: Any, site: Site) -> Function:
    if not _is_float(site):
        raise site.refuse("its base is an integer")
    return lambda a, b: torch.pow(a, b.to(a.dtype))


def _chain(pair: Callable[[Tensor, Tensor], Tensor]) -> Function:
    return lambda *operands: reduce(pair, operands)


def _mean(*operands: Tensor) -> Tensor:
    return reduce(torch.add, operands) / len(operands)


_PAIRS: dict[str, Function] = {
    "Add": torch.add,
    "Div": _divide,
    "Max": _chain(torch.maximum),
    "Mean": _mean,
    "Min": _chain(torch.minimum),
    "Mul": torch.mul,
    "Sub": torch.sub,
    "Sum": _chain(torch.add),
    "Where": torch.where,
}
_TESTS: dict[str, Function] = {
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}

BINARY = (
    *(Form(op_type, plain(function)) for op_type, function in _PAIRS.items()),
    *(Form(op_type, plain(function), gradient=False) for op_type, function in _TESTS.items()),
    Form("Mod", _mod),
    Form("Pow", _power, fixed=(1,)),
)
