"""Successive changes of shape are one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, SHAPES_KNOWN, PassResult, Property
from microlith.graph.values import add_initializer, replace_node, sole_consumer, static_shape

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


class MergeReshapes:
    """Replaces two of Reshape, Flatten, Squeeze, Unsqueeze in a row by one Reshape to the final shape.

    None of them changes the order of elements, so only the last shape counts.
    """

    name = "MergeReshapes"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: pairs merged."""
        changes = 0
        for node in list(model.graph):
            middle = node.inputs[0] if node.op_type in RESHAPES else None
            first = None if middle is None else middle.producer()
            if middle is None or first is None or first.op_type not in RESHAPES or sole_consumer(middle) is not node:
                continue
            source = first.inputs[0]
            assert source is not None
            reshape_to(node, source)
            model.graph.remove(first, safe=True)
            changes += 1
        return PassResult(changes)


def reshape_to(node: ir.Node, source: ir.Value) -> None:
    """Replace a node by a Reshape of ``source`` to the shape of the node's output.

    A first dimension that stays is written as 0, which copies it, so that the node still means the same for a larger
    batch.
    """
    graph, output = node.graph, node.outputs[0]
    assert graph is not None
    before, after = static_shape(source), list(static_shape(output))
    if before and after and before[0] == after[0]:
        after[0] = 0
    shape = add_initializer(graph, f"{output.name}_shape", np.asarray(after, np.int64))
    replace_node(node, "Reshape", [source, shape])
