"""ReverseSequence: the first steps of each sequence in reverse order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Shape
from microlith.ops.movement import rearrangement


@dataclass(frozen=True)
class ReverseSequenceAttrs:
    """The axis of the sequences and that of their steps: 0 and 1, or 1 and 0."""

    batch_axis: int
    time_axis: int


def parse(node: ir.Node) -> ReverseSequenceAttrs:
    """Attributes of a ReverseSequence node."""
    batch, time = nodes.integer(node, "batch_axis", 1), nodes.integer(node, "time_axis", 0)
    if {batch, time} != {0, 1}:
        raise ModelError(
            f"its batch_axis is {batch} and its time_axis {time}, expected 0 and 1", node=nodes.where(node)
        )
    return ReverseSequenceAttrs(batch, time)


def infer(attrs: ReverseSequenceAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape stays."""
    data, lengths = inputs
    if len(data) < 2 or lengths != (data[attrs.batch_axis],):
        raise ModelError(f"ReverseSequence got data of shape {data} and lengths of shape {lengths}")
    return (data,)


def _move(attrs: ReverseSequenceAttrs, inputs: Sequence[Array], zero: Array) -> Array:
    data, lengths = inputs
    infer(attrs, (data.shape, lengths.shape))
    result = data.copy()
    for sequence, length in enumerate(np.clip(lengths, 0, data.shape[attrs.time_axis])):
        steps = np.arange(int(length))
        if attrs.batch_axis == 0:
            result[sequence, steps] = data[sequence, steps[::-1]]
        else:
            result[steps, sequence] = data[steps[::-1], sequence]
    return result


REVERSE_SEQUENCE = rearrangement(
    "ReverseSequence", parse, infer, _move, data_inputs=(0, 1), lowering="lower_indexing.lower_reverse_sequence"
)
