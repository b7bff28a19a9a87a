"""Multiply-accumulates of every node."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.values import static_shape
from microlith.ops import OPS


def node_macs(model: ir.Model) -> dict[str, int]:
    """MACs by node name; nodes of unknown ops and those without any are left out."""
    found: dict[str, int] = {}
    for node in model.graph:
        op = OPS.get(node.op_type)
        if op is None or node.name is None:
            continue
        chosen = (
            node.inputs if op.data_inputs is None else [node.inputs[i] for i in op.data_inputs if i < len(node.inputs)]
        )
        shapes = [static_shape(value) for value in chosen if value is not None]
        count = op.macs(op.parse(node), shapes, static_shape(node.outputs[0]))
        if count:
            found[node.name] = count
    return found
