"""What lowering joined without changing the graph: how many nodes became how many kernel calls, and why."""

from __future__ import annotations

import onnx_ir as ir

from microlith.core.details import FusionRow
from microlith.graph.units import units
from microlith.program.neural_attrs import Attention
from microlith.program.types import Program, calls


def fusion_rows(model: ir.Model, program: Program) -> tuple[FusionRow, ...]:
    """One row a kind of fusion that took place.

    Args:
        model: that was lowered.
        program: what it became.
    """
    found = units(model)
    written = {name for call in calls(program.entries[0].body) for name in call.source_nodes}
    activations = [unit.activation for unit in found if unit.activation is not None]
    epilogues = [unit for unit in found if unit.kind == "integer" and unit.node.op_type != "QuantizeLinear"]
    covered = {node for unit in found for node in unit.nodes}
    dequantized = [node for node in model.graph if node.op_type == "DequantizeLinear" and node not in covered]
    unmoved = [unit.node for unit in found if unit.node.name not in written]
    parts = [node for node in unmoved if node.op_type == "Concat"]
    slices = [node for node in unmoved if node.op_type in ("Slice", "Split")]
    mixes = [call for call in calls(program.entries[0].body) if isinstance(call.attrs, Attention)]
    views = [node for node in unmoved if node not in parts and node not in slices]
    rows = (
        ("activation", activations, "clamps the result of the operator in front of it"),
        ("requantization", epilogues, "the operator writes quantized results itself"),
        ("dequantization", dequantized, "the operator reads integers"),
        ("attention", mixes, "products of queries and keys are in memory for a few rows at a time"),
        ("concat without copy", parts, "the operands are written where the result has them"),
        ("slice without copy", slices, "a part of the bytes of the operand, or read from there by strides"),
        ("alias", views, "the same bytes under another shape or order of axes, or read and written by strides"),
    )
    return tuple(FusionRow(kind=kind, count=len(items), note=note) for kind, items, note in rows if items)
