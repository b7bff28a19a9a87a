"""Attention."""

from __future__ import annotations

import numpy as np

from microlith.compile.layout import Layout, identity
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import UnsupportedError
from microlith.graph.units import Unit
from microlith.ops.attention import AttentionAttrs
from microlith.program.neural_attrs import Attention, Quadruple
from microlith.program.types import ConstRef, View, contiguous

_ROLES = ("q", "k", "v", "mask")
_HEADS_INSIDE: Layout = (0, 2, 1, 3)


def lower_attention(low: Lowering, unit: Unit) -> None:
    """One call, that reads queries, keys and values in whatever order their axes are."""
    attrs: AttentionAttrs = low.attrs(unit)
    if unit.kind != "float":
        raise UnsupportedError("Attention has no integer form", node=low.where(unit))
    shapes = [attrs.split(shape_of(low.operand(unit, index).value), index) for index in range(3)]
    reads: list[View] = []
    consts: dict[str, ConstRef] = {}
    strides: dict[str, Quadruple] = {}
    for index, item in enumerate(unit.inputs):
        if item is None:
            continue
        role, shape = _ROLES[index], shape_of(item.value)
        values = low.constant(item)
        if values is None:
            reads.append(low.read(unit, index))
            by_axis = dict(zip(reads[-1].layout, reads[-1].strides, strict=True))
            own = tuple(by_axis[axis] for axis in range(len(shape)))
        else:
            consts[role] = low.builder.const(role, _numbers(values))
            own = contiguous(shape)
        strides[role] = _of_mask(shape, own) if role == "mask" else _of_heads(own, shapes[index])
    query, key, value = shapes
    layout = _wanted(unit) if len(shape_of(unit.output.value)) == 4 else identity(3)
    y = low.result(unit, layout)
    by_axis = dict(zip(y.layout, y.strides, strict=True))
    own = tuple(by_axis[axis] for axis in range(len(layout)))
    call = Attention(
        query[0], query[1], key[1], query[2], key[2], query[3], value[3],
        strides["q"], strides["k"], strides["v"], strides.get("mask", (0, 0, 0, 0)),
        _of_heads(own, (query[0], query[1], query[2], value[3])),
        attrs.causal, attrs.factor(query[3]), attrs.cap, tuple(strides),
    )  # fmt: skip
    low.builder.call("attention", call, reads, y, low.names(unit), consts=consts)


def _numbers(values: np.ndarray) -> np.ndarray:
    """A constant operand; of a mask of booleans, what it adds."""
    if values.dtype == np.bool_:
        return np.where(values, np.float32(0), np.float32(-np.inf))
    return np.ascontiguousarray(values)


def _of_heads(own: tuple[int, ...], split: tuple[int, int, int, int]) -> Quadruple:
    """Strides of batch, heads, rows and columns; of rank 3 the heads are parts of a row."""
    if len(own) == 4:
        return own[0], own[1], own[2], own[3]
    return own[0], split[3] * own[2], own[1], own[2]


def _of_mask(shape: tuple[int, ...], own: tuple[int, ...]) -> Quadruple:
    missing = 4 - len(shape)
    found = [0] * missing + [0 if size == 1 else stride for size, stride in zip(shape, own, strict=True)]
    return found[0], found[1], found[2], found[3]


def _wanted(unit: Unit) -> Layout:
    """Heads side by side in a row, where that is how the result is read next."""
    for node in unit.output.value.consumers():
        if node.op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) == _HEADS_INSIDE:
            return _HEADS_INSIDE
    return identity(4)
