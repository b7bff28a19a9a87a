"""Removes what no graph output needs."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, NO_DEAD_NODES, PassResult, Property


class EliminateDeadNodes:
    """Removes nodes, optional outputs and initializers that nothing reads; graph inputs stay."""

    name = "EliminateDeadNodes"
    requires: tuple[Property, ...] = ()
    ensures = (NO_DEAD_NODES,)
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes and initializers removed."""
        from onnx_ir.passes.common import RemoveUnusedNodesPass

        before = len(model.graph) + len(model.graph.initializers)
        RemoveUnusedNodesPass()(model)
        return PassResult(before - len(model.graph) - len(model.graph.initializers))
