"""A Transpose that moves only axes of size 1 moves no element."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.passes.merge_reshapes import reshape_to
from microlith.graph.values import ints, static_shape


class RewriteTransposeAsReshape:
    """Replaces a Transpose under which all axes larger than 1 keep their order by a Reshape.

    Elements lie in memory in the order of the axes larger than 1, so that their order does not change.
    """

    name = "RewriteTransposeAsReshape"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes replaced."""
        changes = 0
        for node in list(model.graph):
            source = node.inputs[0] if node.op_type == "Transpose" else None
            if source is not None and moves_nothing(static_shape(source), permutation(node)):
                reshape_to(node, source)
                changes += 1
        return PassResult(changes)


def permutation(node: ir.Node) -> tuple[int, ...]:
    """The axes of a Transpose; reversed where none are given."""
    source = node.inputs[0]
    assert source is not None
    return ints(node, "perm", tuple(reversed(range(len(static_shape(source))))))


def moves_nothing(shape: tuple[int, ...], perm: tuple[int, ...]) -> bool:
    """Whether a transposition leaves the order of the elements of a tensor of this shape as it is."""
    moving = [axis for axis in perm if shape[axis] != 1]
    return moving == sorted(moving)
