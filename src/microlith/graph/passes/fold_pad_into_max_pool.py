"""A Pad that can never win in front of a MaxPool is padding of the MaxPool.

A MaxPool pads with minus infinity. A Pad with minus infinity is therefore the same thing. A Pad with 0 is the same
where the input is never negative and every window holds an element of the input: the maximum is then at least 0 and
comes from the input, or equals 0, which the input also holds or exceeds.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from microlith.graph.linear_layers import own_pads
from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.passes.fold_pad_into_conv import ConstantPad, absorb, constant_pad
from microlith.graph.values import constant_scalar, input_at, integer, ints, sole_consumer

_NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs")
_PASSES_SIGN = ("MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Identity", "Slice")


class FoldPadIntoMaxPool:
    """Adds the widths of a Pad to the pads of the MaxPool that alone reads it, where its value cannot win."""

    name = "FoldPadIntoMaxPool"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Pads folded."""
        changes = 0
        for node in list(model.graph):
            middle = node.inputs[0] if node.op_type == "MaxPool" else None
            if middle is None or sole_consumer(middle) is not node or len(node.outputs) > 1:
                continue
            pad, own = constant_pad(middle.producer()), own_pads(node)
            if pad is None or own is None or not _cannot_win(pad) or not _windows_hold_input(node, pad, own):
                continue
            absorb(node, pad, own)
            changes += 1
        return PassResult(changes)


def _cannot_win(pad: ConstantPad) -> bool:
    return pad.value == -math.inf or (pad.value == 0 and never_negative(pad.source))


def _windows_hold_input(node: ir.Node, pad: ConstantPad, own: tuple[int, ...]) -> bool:
    kernel = ints(node, "kernel_shape", ())
    totals = [mine + other for mine, other in zip(own, pad.pads, strict=True)]
    dilated = any(size != 1 for size in ints(node, "dilations", ()))
    plain = not dilated and not integer(node, "ceil_mode", 0)
    return plain and all(total < size for total, size in zip(totals, kernel * 2, strict=True))


def never_negative(value: ir.Value) -> bool:
    """Whether the operator that makes a value shows that no element is below 0."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type == "Clip":
        low = constant_scalar(input_at(node, 1))
        return low is not None and low >= 0
    if node.op_type in _PASSES_SIGN and node.inputs[0] is not None:
        return never_negative(node.inputs[0])
    return node.op_type in _NONNEGATIVE
