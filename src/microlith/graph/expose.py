"""Making values within a graph visible."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir


def expose(model: ir.Model, names: Collection[str]) -> ir.Model:
    """A copy of the model with these values as further outputs.

    A value that is an output keeps a name of its own in every executor, where a fused activation or a QuantizeLinear
    would otherwise take it up. Names of graph inputs and outputs, and names that the graph does not have, add nothing.
    """
    copy = model.clone()
    outputs = set(copy.graph.outputs)
    wanted = [value for node in copy.graph for value in node.outputs if value.name in names]
    copy.graph.outputs.extend(value for value in wanted if value not in outputs)
    return copy
