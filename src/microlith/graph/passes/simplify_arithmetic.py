"""Sums and products with constants in a row are one.

* ``x - a = x + (-a)``, ``x / a = x * (1 / a)``.
* ``(x + a) + b = x + (a + b)``, ``(a - x) + b = (a + b) - x``.
* ``b - (x + a) = (b - a) - x``, ``b - (a - x) = x + (b - a)``.
* ``(x * a) * b = x * (a * b)``.
* ``-(x + a) = -a - x``, ``-(a - x) = x + (-a)``, ``-(x * a) = x * (-a)``, ``-(-x) = x``.
* ``(x + a) * b + c = x * b + (a * b + c)``: two operators, and not three.
* ``x + 0 = x``; ``x * 1 = x``, ``x - 0 = x`` and ``x / 1 = x`` are for EliminateIdentity.

Constants are combined in float64 and rounded once. Two constants become one only if it is no larger than the larger of
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import fits_float32
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.values import (
    add_initializer,
    bypass,
    can_bypass,
    constant,
    known_shape,
    replace_node,
    sole_consumer,
)

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Sum:
    """``sign * x + offset``."""

    x: ir.Value
    sign: int
    offset: Float64


@dataclass(frozen=True, eq=False)
class _Product:
    """``x * factor``."""

    x: ir.Value
    factor: Float64


class SimplifyArithmetic:
    """Merges Add, Sub, Mul, Div and Neg with constants, and writes Sub and Div by a constant as Add and Mul."""

    name = "SimplifyArithmetic"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "constants are combined before they are applied")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: operators removed or rewritten."""
        changes = 0
        for node in list(model.graph):
            if node.op_type in ("Add", "Div", "Mul", "Neg", "Sub") and node.outputs[0].dtype == ir.DataType.FLOAT:
                changes += _simplify(node)
        return PassResult(changes)


def _simplify(node: ir.Node) -> int:
    return int(_drop_zero(node) or _merge(node) or _distribute(node) or _normalize(node))


def _read(node: ir.Node | None) -> _Sum | _Product | None:
    """What a node computes of its one computed operand, where its other operand is a constant."""
    if node is None or node.op_type not in ("Add", "Div", "Mul", "Neg", "Sub"):
        return None
    first, second = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if node.op_type == "Neg":
        return None if first is None else _Sum(first, -1, np.zeros(()))
    left, right = constant(first), constant(second)
    if (left is None) == (right is None) or first is None or second is None:
        return None
    x, array = (first, right) if left is None else (second, left)
    assert array is not None
    number = np.asarray(array, np.float64)
    if node.op_type == "Add":
        return _Sum(x, 1, number)
    if node.op_type == "Sub":
        return _Sum(x, 1, -number) if left is None else _Sum(x, -1, number)
    if node.op_type == "Mul":
        return _Product(x, number)
    return _Product(x, 1 / number) if left is None and (number != 0).all() and fits_float32(1 / number) else None


def _drop_zero(node: ir.Node) -> bool:
    found = _read(node) if node.op_type == "Add" else None
    if not isinstance(found, _Sum) or found.offset.any():
        return False
    if known_shape(found.x) != known_shape(node.outputs[0]) or not can_bypass(node, found.x):
        return False
    bypass(node, found.x)
    return True


def _merge(node: ir.Node) -> bool:
    """Let a node take in the one in front of it."""
    outer = _read(node)
    inner_node = None if outer is None else outer.x.producer()
    inner = _read(inner_node)
    if outer is None or inner is None or inner_node is None or sole_consumer(outer.x) is not node:
        return False
    if isinstance(inner, _Product):
        factor = _factor_of(outer)
        if factor is None or not _stays_small(factor, inner.factor) or not fits_float32(factor * inner.factor):
            return False
        _write(node, _Product(inner.x, factor * inner.factor))
    else:
        if not isinstance(outer, _Sum) or not _stays_small(outer.offset, inner.offset):
            return False
        offset = outer.sign * inner.offset + outer.offset
        if not fits_float32(offset):
            return False
        _write(node, _Sum(inner.x, outer.sign * inner.sign, offset))
    return True


def _factor_of(item: _Sum | _Product) -> Float64 | None:
    """The factor of a product, or -1 of a negation."""
    if isinstance(item, _Product):
        return item.factor
    return np.full((), -1.0) if item.sign < 0 and not item.offset.any() else None


def _stays_small(first: Float64, second: Float64) -> bool:
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        return False
    return int(np.prod(shape)) <= max(first.size, second.size)


def _distribute(node: ir.Node) -> bool:
    """``(x + a) * b + c``, seen from the last sum."""
    last = _read(node) if node.op_type in ("Add", "Sub") else None
    middle_node = last.x.producer() if isinstance(last, _Sum) and last.sign > 0 else None
    middle = _read(middle_node)
    first_node = middle.x.producer() if isinstance(middle, _Product) else None
    first = _read(first_node)
    if not (isinstance(last, _Sum) and isinstance(middle, _Product) and isinstance(first, _Sum)) or first.sign < 0:
        return False
    if sole_consumer(last.x) is not node or sole_consumer(middle.x) is not middle_node or middle_node is None:
        return False
    if not _stays_small(first.offset, middle.factor) or not _stays_small(first.offset * middle.factor, last.offset):
        return False
    offset = first.offset * middle.factor + last.offset
    if known_shape(first.x) != known_shape(middle.x) or not fits_float32(offset):
        return False
    middle_node.replace_input_with(list(middle_node.inputs).index(middle.x), first.x)
    _write(node, _Sum(last.x, 1, offset))
    if first_node is not None and first_node.graph is not None and not first_node.outputs[0].uses():
        first_node.graph.remove(first_node, safe=True)
    return True


def _normalize(node: ir.Node) -> bool:
    found = _read(node)
    if node.op_type not in ("Sub", "Div") or found is None or (isinstance(found, _Sum) and found.sign < 0):
        return False
    _write(node, found)
    return True


def _write(node: ir.Node, meaning: _Sum | _Product) -> None:
    """Let a node compute this, in its normal form."""
    graph, name = node.graph, node.outputs[0].name
    assert graph is not None
    producers = [value.producer() for value in node.inputs if value is not None]
    if isinstance(meaning, _Product):
        value = add_initializer(graph, f"{name}_factor", meaning.factor.astype(np.float32))
        replace_node(node, "Mul", [meaning.x, value])
    elif meaning.sign < 0 and not meaning.offset.any() and meaning.offset.size == 1:
        replace_node(node, "Neg", [meaning.x])
    else:
        value = add_initializer(graph, f"{name}_offset", meaning.offset.astype(np.float32))
        replace_node(node, *(("Add", [meaning.x, value]) if meaning.sign > 0 else ("Sub", [value, meaning.x])))
    for producer in producers:
        if producer is not None and producer.graph is not None and not _is_read(producer):
            producer.graph.remove(producer, safe=True)


def _is_read(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)
