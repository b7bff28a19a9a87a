"""A zero Pad in front of a Conv is padding of the Conv.

``Conv(Pad(x, p, 0), pads=q) = Conv(x, pads=q + p)`` for pads of H and W that are not negative, because a Conv pads with
zeros. The same holds for an AveragePool that counts its padding; one without padding of its own may be told to.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from microlith.graph.linear_layers import own_pads
from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import (
    constant_ints,
    constant_scalar,
    input_at,
    integer,
    ints,
    set_ints,
    sole_consumer,
    static_shape,
)


@dataclass(frozen=True)
class ConstantPad:
    """A Pad of spatial axes with one value: ``pads`` are all begins, then all ends, of the axes after N and C."""

    node: ir.Node
    source: ir.Value
    pads: tuple[int, ...]
    value: float


def constant_pad(node: ir.Node | None) -> ConstantPad | None:
    """What a node pads, where it is a Pad with a constant value on axes after the second, and nothing negative."""
    if node is None or node.op_type != "Pad" or node.attributes.get_string("mode", "constant") != "constant":
        return None
    source, pads = node.inputs[0], constant_ints(input_at(node, 1))
    value = 0.0 if input_at(node, 2) is None else constant_scalar(input_at(node, 2))
    if source is None or pads is None or value is None:
        return None
    rank = len(static_shape(source))
    axes = range(rank) if input_at(node, 3) is None else constant_ints(input_at(node, 3))
    if axes is None:
        return None
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[index], pads[index + len(axes)]
    if any(begins[:2] + ends[:2]) or min(begins + ends, default=0) < 0 or rank < 3:
        return None
    return ConstantPad(node, source, (*begins[2:], *ends[2:]), value)


def absorb(node: ir.Node, pad: ConstantPad, own: tuple[int, ...]) -> None:
    """Let a node read what the Pad read, with the sum of both paddings, and remove the Pad."""
    node.attributes.pop("auto_pad", None)
    set_ints(node, "pads", [mine + other for mine, other in zip(own, pad.pads, strict=True)])
    node.replace_input_with(0, pad.source)
    assert node.graph is not None
    node.graph.remove(pad.node, safe=True)


class FoldPadIntoConv:
    """Adds the widths of a zero Pad to the pads of the Conv or AveragePool that alone reads it."""

    name = "FoldPadIntoConv"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Pads folded."""
        changes = 0
        for node in list(model.graph):
            middle = node.inputs[0] if node.op_type in ("Conv", "AveragePool") else None
            if middle is None or sole_consumer(middle) is not node:
                continue
            pad, own = constant_pad(middle.producer()), own_pads(node)
            if pad is None or own is None or pad.value != 0:
                continue
            if node.op_type == "AveragePool" and not _count_padding(node, pad, own):
                continue
            absorb(node, pad, own)
            changes += 1
        return PassResult(changes)


def _count_padding(node: ir.Node, pad: ConstantPad, own: tuple[int, ...]) -> bool:
    """Let an AveragePool count its padding, where that keeps its meaning; whether it does."""
    counts = bool(integer(node, "count_include_pad", 0))
    if integer(node, "ceil_mode", 0) or (any(own) and not counts):
        return False
    kernel = ints(node, "kernel_shape", ())
    if any(total >= size for total, size in zip(map(sum, zip(own, pad.pads, strict=True)), kernel * 2, strict=True)):
        return False  # ONNX Runtime takes no pad as large as the window
    node.attributes.add(ir.AttrInt64("count_include_pad", 1))
    return True
