"""Computes and stores nothing twice."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, PassResult, Property


class EliminateCommonSubexpressions:
    """Merges equal initializers, and nodes with the same operator, attributes and inputs."""

    name = "EliminateCommonSubexpressions"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes and initializers merged."""
        from onnx_ir.passes.common import CommonSubexpressionEliminationPass, DeduplicateHashedInitializersPass

        graph = model.graph
        before = len(graph) + len(graph.initializers)
        DeduplicateHashedInitializersPass()(model)
        CommonSubexpressionEliminationPass()(model)
        return PassResult(before - len(graph) - len(graph.initializers))
