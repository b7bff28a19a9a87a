"""Not and BitwiseNot: one file, since both are complements, of a bool and of every bit of an integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microlith.ops.base import Array, Op
from microlith.ops.unary import NoAttrs, always, no_attributes, same_shape


def _complement(op_type: str, function: Any) -> Op[NoAttrs]:
    def reference(attrs: NoAttrs, inputs: Sequence[Array | None]) -> Array:
        return np.asarray(function(inputs[0]))

    return Op(
        op_type,
        no_attributes,
        same_shape,
        reference,
        data_inputs=(0,),
        batches=always,
        lowering="lower_plain.lower_integer_unary",
    )


NOT = _complement("Not", np.logical_not)
BITWISE_NOT = _complement("BitwiseNot", np.bitwise_not)
