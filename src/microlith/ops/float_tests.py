"""IsNaN and IsInf: one file, since both are tests of a float that give a bool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array, Op
from microlith.ops.unary import NoAttrs, always, no_attributes, same_shape

A = TypeVar("A")


@dataclass(frozen=True)
class IsInfAttrs:
    """Which infinities count."""

    negative: bool
    positive: bool


def parse(node: ir.Node) -> IsInfAttrs:
    """Attributes of an IsInf node."""
    negative, positive = (nodes.integer(node, f"detect_{sign}", 1) != 0 for sign in ("negative", "positive"))
    if not negative and not positive:
        raise nodes.unsupported(node, "it detects neither infinity", "Replace it by a constant.")
    return IsInfAttrs(negative, positive)


def _is_inf(attrs: IsInfAttrs, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.isinf(x) & np.where(x > 0, attrs.positive, attrs.negative)


def _test(
    op_type: str, parse: Callable[[ir.Node], A], compute: Callable[[A, NDArray[np.float32]], NDArray[np.bool_]]
) -> Op[A]:
    def reference(attrs: A, inputs: Sequence[Array | None]) -> Array:
        return compute(attrs, nodes.f32(inputs))

    return Op(
        op_type, parse, same_shape, reference, data_inputs=(0,), batches=always, lowering="lower_plain.lower_float_test"
    )


def _is_nan(attrs: NoAttrs, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.isnan(x)


IS_NAN = _test("IsNaN", no_attributes, _is_nan)
IS_INF = _test("IsInf", parse, _is_inf)
