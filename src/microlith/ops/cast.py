"""Cast and CastLike: one file, since they differ only in where the type stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

_TYPES = frozenset(
    (
        ir.DataType.FLOAT,
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT16,
        ir.DataType.UINT16,
        ir.DataType.INT32,
        ir.DataType.UINT32,
        ir.DataType.INT64,
        ir.DataType.UINT64,
    )
)


@dataclass(frozen=True)
class CastAttrs:
    """NumPy's name of the type."""

    dtype: str


def parse_cast(node: ir.Node) -> CastAttrs:
    """The type of a Cast node."""
    number = nodes.integer(node, "to", 0)
    try:
        kind = ir.DataType(number)
    except ValueError as error:
        raise nodes.unsupported(node, f"type number {number} is not known") from error
    return _attrs(node, kind)


def parse_cast_like(node: ir.Node) -> CastAttrs:
    """The type of the second input of a CastLike node."""
    like = nodes.required(node, node.inputs[1] if len(node.inputs) > 1 else None, "its second input")
    return _attrs(node, nodes.required(node, like.dtype, "the type of its second input"))


def _attrs(node: ir.Node, kind: ir.DataType) -> CastAttrs:
    if kind not in _TYPES:
        raise nodes.unsupported(node, f"a cast to {kind}; only float32, integers of 8 to 64 bits and bool are computed")
    return CastAttrs(kind.numpy().name)


def cast(x: Array, dtype: str) -> Array:
    """Integers wrap around; a float is truncated and saturates, NaN gives 0; every number but 0 gives true.

    ONNX leaves open what a float outside the range of the integer type gives.
    """
    if x.dtype != np.float32 or dtype in ("float32", "bool"):
        return x.astype(dtype)
    info = np.iinfo(dtype)
    # Powers of two just beyond the range, which float32 holds exactly.
    too_large, too_small = x >= np.float32(float(info.max) + 1.0), x <= np.float32(info.min)
    inside = np.where(np.isnan(x) | too_large | too_small, np.float32(0), x).astype(dtype)
    return np.where(too_large, info.max, np.where(too_small, info.min, inside)).astype(dtype)


def infer(attrs: CastAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the first input."""
    return (inputs[0],)


def reference(attrs: CastAttrs, inputs: Sequence[Array | None]) -> Array:
    """See :func:`cast`."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    return cast(x, attrs.dtype)


CAST = Op(
    "Cast",
    parse_cast,
    infer,
    reference,
    data_inputs=(0,),
    batches=lambda attrs, inputs, output: True,
    lowering="lower_plain.lower_cast",
)
CAST_LIKE = Op(
    "CastLike",
    parse_cast_like,
    infer,
    reference,
    data_inputs=(0,),
    batches=lambda attrs, inputs, output: True,
    lowering="lower_plain.lower_cast",
)
