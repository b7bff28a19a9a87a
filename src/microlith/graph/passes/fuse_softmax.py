"""A softmax that is written out is one operator again.

``Softmax(x) = exp(x - m) / sum(exp(x - m))`` along one axis, for every m that is constant along it: exporters take the
greatest x, or none.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import made_by, reduced_axes, remove_unused
from microlith.graph.values import replace_node
from microlith.ops import OPS


class FuseSoftmax:
    """Replaces ``Exp(x - max) / ReduceSum(Exp(x - max))`` by Softmax."""

    name = "FuseSoftmax"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "exponentials are taken of smaller numbers and summed in another order")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: quotients replaced."""
        changes = 0
        for node in list(model.graph) if "Softmax" in self._supported else ():
            found = _softmax(node) if node.op_type == "Div" else None
            if found is not None:
                source, axis = found
                producers = [value.producer() for value in node.inputs if value is not None]
                replace_node(node, "Softmax", [source], {"axis": ir.AttrInt64("axis", axis)})
                for producer in dict.fromkeys(producers):
                    remove_unused(producer)
                changes += 1
        return PassResult(changes)


def _softmax(node: ir.Node) -> tuple[ir.Value, int] | None:
    exponential, total = made_by(node.inputs[0], "Exp"), made_by(node.inputs[1], "ReduceSum")
    axes = reduced_axes(total)
    if exponential is None or total is None or axes is None or len(axes) != 1:
        return None
    if total.inputs[0] is not node.inputs[0] or not _read_only_by(exponential.outputs[0], (node, total)):
        return None
    source = exponential.inputs[0]
    shifted = made_by(source, "Sub")
    greatest = None if shifted is None else made_by(shifted.inputs[1], "ReduceMax")
    if shifted is not None and greatest is not None and reduced_axes(greatest) == axes:
        source = shifted.inputs[0] if greatest.inputs[0] is shifted.inputs[0] else source
    return None if source is None else (source, axes[0])


def _read_only_by(value: ir.Value, nodes: Collection[ir.Node]) -> bool:
    return not value.is_graph_output() and all(reader in nodes for reader in value.consumers())
