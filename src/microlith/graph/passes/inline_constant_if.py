"""Takes the branch of an If whose condition is a constant."""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import EXACT, PassResult, Property
from microlith.graph.subgraphs import inline, replace_outputs, subgraph
from microlith.graph.values import constant_scalar


class InlineConstantIf:
    """``If(true, then, else) = then()``, and ``If(false, then, else) = else()``."""

    name = "InlineConstantIf"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Ifs replaced by a branch."""
        changes = 0
        for node in list(model.graph):
            if node.op_type != "If":
                continue
            condition = constant_scalar(node.inputs[0])
            branch = None if condition is None else subgraph(node, "then_branch" if condition else "else_branch")
            if branch is None or len(branch.outputs) != len(node.outputs):
                continue
            replace_outputs(node, inline(node, branch, (), f"_{node.name}"))
            changes += 1
        return PassResult(changes)
