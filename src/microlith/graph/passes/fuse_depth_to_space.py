"""Blocks moved between channels and space, written as Reshape, Transpose, Reshape, are one operator again.

For x of shape (N, C, H, W) and block size b, with c = C / b^2:

* DepthToSpace, mode DCR: ``Reshape(N,b,b,c,H,W)``, ``Transpose(0,3,4,1,5,2)``, ``Reshape(N,c,Hb,Wb)``.
* DepthToSpace, mode CRD: ``Reshape(N,c,b,b,H,W)``, ``Transpose(0,1,4,2,5,3)``, ``Reshape(N,c,Hb,Wb)``.
* SpaceToDepth: ``Reshape(N,C,H/b,b,W/b,b)``, ``Transpose(0,3,5,1,2,4)``, ``Reshape(N,Cb^2,H/b,W/b)``.

A shuffle of channels has no operator and stays as it is.

Source: definitions of DepthToSpace-13 and SpaceToDepth-13 in the ONNX operator set.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.passes.rewrite_transpose_as_reshape import permutation
from microlith.graph.patterns import made_by, remove_unused
from microlith.graph.values import replace_node, sole_consumer, static_shape
from microlith.ops import OPS


class FuseDepthToSpace:
    """Replaces Reshape, Transpose, Reshape by DepthToSpace or SpaceToDepth, where that can be compiled."""

    name = "FuseDepthToSpace"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: triples replaced."""
        changes = 0
        for node in list(model.graph):
            if node.op_type == "Reshape" and node.graph is not None:
                changes += self._fuse(node)
        return PassResult(changes)

    def _fuse(self, node: ir.Node) -> int:
        transpose = made_by(node.inputs[0], "Transpose")
        first = made_by(None if transpose is None else transpose.inputs[0], "Reshape")
        source = None if first is None else first.inputs[0]
        if transpose is None or first is None or source is None:
            return 0
        if sole_consumer(transpose.outputs[0]) is not node or sole_consumer(first.outputs[0]) is not transpose:
            return 0
        before, middle, after = (static_shape(value) for value in (source, first.outputs[0], node.outputs[0]))
        found = _block(before, middle, after, permutation(transpose))
        if found is None or found[0] not in self._supported:
            return 0
        op_type, size, mode = found
        attributes: dict[str, ir.Attr] = {"blocksize": ir.AttrInt64("blocksize", size)}
        if mode:
            attributes["mode"] = ir.AttrString("mode", mode)
        replace_node(node, op_type, [source], attributes)
        remove_unused(transpose)
        return 1


def _block(
    before: tuple[int, ...], middle: tuple[int, ...], after: tuple[int, ...], perm: tuple[int, ...]
) -> tuple[str, int, str] | None:
    """Operator, block size and mode."""
    if len(before) != 4 or len(middle) != 6 or 0 in middle:
        return None
    n, channels, height, width = before
    if perm == (0, 3, 5, 1, 2, 4):
        size = middle[3]
        wanted = (n, channels, height // size, size, width // size, size)
        result = (n, channels * size * size, height // size, width // size)
        return ("SpaceToDepth", size, "") if (middle, after) == (wanted, result) else None
    size = middle[2]
    depth = channels // (size * size)
    result = (n, depth, height * size, width * size)
    if perm == (0, 3, 4, 1, 5, 2) and (middle, after) == ((n, size, size, depth, height, width), result):
        return "DepthToSpace", size, "DCR"
    if perm == (0, 1, 4, 2, 5, 3) and (middle, after) == ((n, depth, size, size, height, width), result):
        return "DepthToSpace", size, "CRD"
    return None
