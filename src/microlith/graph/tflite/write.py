"""A graph as a ``.tflite`` file, with the same integers, names and interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.export import export_model
from microlith.graph.metadata import requantization, set_requantization
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.state import read_states
from microlith.graph.tflite import export_elementwise, export_images, export_linear, export_movement, export_reduction
from microlith.graph.tflite.channels_last import bring_channels_last
from microlith.graph.tflite.encode import tflite_bytes
from microlith.graph.tflite.exporter import Exporter
from microlith.graph.tflite.tidy import tidied
from microlith.graph.units import Unit, units
from microlith.graph.values import constant
from microlith.quant.types import QParams

HANDLERS: Mapping[str, Callable[[Exporter, Unit], None]] = {
    **export_images.HANDLERS,
    **export_linear.HANDLERS,
    **export_elementwise.HANDLERS,
    **export_movement.HANDLERS,
    **export_reduction.HANDLERS,
}
"""How each ONNX op becomes operators."""

_MOVING = frozenset(
    ("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Tile", "Transpose")
) | {"Unsqueeze"}


@dataclass(frozen=True)
class TfliteFile:
    """A file.

    Attributes:
        content: its bytes.
        remarks: where it does otherwise than the graph: each within a quantum of a layer, and named.
    """

    content: bytes
    remarks: tuple[str, ...]


def tflite_of_model(model: ir.Model) -> TfliteFile:
    """A graph as a ``.tflite`` file.

    What the file computes is ``fixed`` requantization, as LiteRT computes it: a graph of ``fixed`` has the same
    integers in the file, one of ``float`` those of its copy that is set to ``fixed``.

    Args:
        model: float or quantized, all types and shapes known; it is not changed.

    Raises:
        UnsupportedError: a node cannot be expressed, or the model keeps state; it is named.
        ModelError: it is too large.
    """
    if read_states(model):
        raise UnsupportedError(
            "a model that keeps state cannot be written to a .tflite file", hint="Write it as .onnx, or compile it."
        )
    copy: ir.Model = ir.from_proto(ir.to_proto(model))
    run_passes(copy, DEFAULT_PASSES)
    copy = _written_out(copy)
    remarks = []
    if _quantized(copy) and requantization(copy) != "fixed":
        remarks.append(
            "LiteRT requantizes in fixed point, and the model is meant for float: a quantum of difference now and then"
        )
    set_requantization(copy, "fixed")
    bring_channels_last(copy)
    found = units(copy)
    exporter = Exporter(copy, HANDLERS, _meanings(found))
    graph = tidied(exporter.run(found))
    return TfliteFile(tflite_bytes(graph, "microlith"), (*remarks, *exporter.remarks))


def _quantized(model: ir.Model) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph)


def _written_out(model: ir.Model) -> ir.Model:
    """A copy in which float ops without an operator are what ONNX defines them as; quantized ones are refused later."""
    integer = {unit.node.name for unit in units(model) if unit.kind == "integer"}
    return export_model(model, None, lambda node: node.op_type not in HANDLERS and node.name not in integer)


def _meanings(found: Sequence[Unit]) -> dict[ir.Value, QParams]:
    """What the integers stand for that only move, from what is said of those before or behind."""
    known: dict[ir.Value, QParams] = {}
    for unit in found:
        for item in (*unit.inputs, unit.output):
            if item is not None and item.qparams is not None and constant(item.value) is None:
                known.setdefault(item.value, item.qparams)
    moving = [
        (first.value, unit.output.value)
        for unit in found
        if unit.kind == "raw" and unit.node.op_type in _MOVING and (first := unit.inputs[0]) is not None
    ]
    for before, after in (*moving[::-1], *moving):
        if after in known:
            known.setdefault(before, known[after])
        elif before in known:
            known[after] = known[before]
    return known
