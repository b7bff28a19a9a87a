"""A Split is a Slice for each part, so that each can be quantized, placed and left out by itself."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import add_initializer, insert_node, integer, static_shape


class RewriteSplitAsSlices:
    """``y_0, y_1, ... = Split(x)`` becomes ``y_i = Slice(x, start_i, start_i + size_i)`` along the same axis."""

    name = "RewriteSplitAsSlices"
    requires: tuple[Property, ...] = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes replaced."""
        found = [node for node in model.graph if node.op_type == "Split"]
        for node in found:
            _rewrite(node)
        return PassResult(len(found))


def _rewrite(node: ir.Node) -> None:
    graph, source = node.graph, node.inputs[0]
    assert graph is not None and source is not None
    axis = integer(node, "axis", 0) % len(static_shape(source))
    axes = add_initializer(graph, f"{source.name}_axis", np.array([axis], np.int64))
    start = 0
    for old in node.outputs:
        end = start + static_shape(old)[axis]
        if old.name and (old.uses() or old.is_graph_output()):
            bounds = [
                add_initializer(graph, f"{old.name}_{what}", np.array([place], np.int64))
                for what, place in (("start", start), ("end", end))
            ]
            value = ir.Value(name=old.name, type=old.type, shape=old.shape)
            insert_node(node, "Slice", [source, *bounds, axes], value)
            old.replace_all_uses_with(value, replace_graph_outputs=True)
        start = end
    graph.remove(node, safe=True)
