"""Computes nothing twice."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import EXACT, PassResult, Property
from microlith.graph.values import constant


class EliminateCommonSubexpressions:
    """Merges nodes with the same operator, attributes and inputs, and equal integer constants.

    Equal float constants stay apart: two biases that are both 0 now would otherwise be one parameter in training. They
    are stored once all the same, since the Program shares constants by content.
    """

    name = "EliminateCommonSubexpressions"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes and constants merged."""
        from onnx_ir.passes.common import CommonSubexpressionEliminationPass

        graph = model.graph
        before = len(graph) + len(graph.initializers)
        _merge_integer_constants(graph)
        merged = CommonSubexpressionEliminationPass()(model).modified  # two graph outputs keep a node each: an Identity
        return PassResult(max(before - len(graph) - len(graph.initializers), int(merged)))


def _merge_integer_constants(graph: ir.Graph) -> None:
    first: dict[tuple[ir.DataType | None, tuple[int, ...], bytes], ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        array = constant(value)
        if array is None or np.issubdtype(array.dtype, np.floating) or value.is_graph_output():
            continue
        kept = first.setdefault((value.dtype, array.shape, array.tobytes()), value)
        if kept is not value:
            value.replace_all_uses_with(kept)
            del graph.initializers[name]
