"""What passes need that look for several nodes which together are one operator."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from microlith.graph.values import constant, constant_scalar, input_at, integer, known_shape, sole_consumer

RELATIVE = 1e-4
"""How near a constant must be to the one of a formula: exporters write it with few digits or in half precision."""


_MOST_POWER = 8

FUSED_NODES = "fused_nodes"
"""In the ``meta`` of a node: names of the nodes in whose place it is."""


def made_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that computes a value, if it is one of these ops."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types else None


def in_both_orders(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    """The two operands of a node, in either order; none where one is absent."""
    first, second = input_at(node, 0), input_at(node, 1)
    if first is not None and second is not None:
        yield first, second
        yield second, first


def is_number(value: ir.Value | None, number: float) -> bool:
    """Whether a value is a constant with one element near this number."""
    found = constant_scalar(value)
    return found is not None and math.isclose(found, number, rel_tol=RELATIVE)


def remove_unused(node: ir.Node | None) -> None:
    """Remove a node that nothing reads, and then what only it read."""
    if node is None or node.graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
        return
    producers = [value.producer() for value in node.inputs if value is not None]
    node.graph.remove(node, safe=True)
    for producer in dict.fromkeys(producers):
        remove_unused(producer)


def reduced_axes(node: ir.Node | None) -> tuple[int, ...] | None:
    """The axes of a reduction that keeps them, sorted and counted from the front; None for anything else."""
    if node is None or not node.op_type.startswith("Reduce") or not integer(node, "keepdims", 1):
        return None
    shape, axes = known_shape(node.inputs[0]), constant(input_at(node, 1))
    if not shape or axes is None or axes.size == 0:
        return None
    return tuple(sorted(int(axis) % len(shape) for axis in axes.reshape(-1)))


@dataclass
class Product:
    """``coefficient * product of value ** power``."""

    coefficient: float = 1.0
    powers: Counter[ir.Value] = field(default_factory=Counter)


def product_of(value: ir.Value, stop: Collection[ir.Value] = (), limit: int = 12) -> Product:
    """A value as a product, through Mul, Div by a number and Pow by a small whole number.

    Args:
        value: to be taken apart.
        stop: values that are not taken apart.
        limit: of nodes gone through.
    """
    found, waiting = Product(), [(value, 1)]
    while waiting:
        item, power = waiting.pop()
        number = constant_scalar(item)
        node = made_by(item, "Mul", "Div", "Pow")
        if number is not None:
            found.coefficient *= number**power
        elif node is None or item in stop or limit <= 0 or (item is not value and sole_consumer(item) is None):
            found.powers[item] += power
        else:
            limit -= 1
            parts = _parts(node, power)
            if parts is None:
                found.powers[item] += power
            else:
                found.coefficient *= parts[0]
                waiting += parts[1]
    return found


def _parts(node: ir.Node, power: int) -> tuple[float, list[tuple[ir.Value, int]]] | None:
    first, second = input_at(node, 0), input_at(node, 1)
    if first is None or second is None:
        return None
    if node.op_type == "Mul":
        return 1.0, [(first, power), (second, power)]
    number = constant_scalar(second)
    if node.op_type == "Div":
        return None if not number else (number**-power, [(first, power)])
    if number not in (2.0, 3.0) or power * number > _MOST_POWER:
        return None
    return 1.0, [(first, power * int(number))]
