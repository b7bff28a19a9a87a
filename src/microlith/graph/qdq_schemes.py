"""The settings of each layer: those of the scheme, with its overrides in their place."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.qdq_plan import make_plan
from microlith.graph.values import constant, describe, input_at
from microlith.quant.schemes import Override, Scheme

# Opsets in which QuantizeLinear and DequantizeLinear have types beside int8 and uint8.
_OPSETS = {"int2": 25, "int4": 21, "int16": 21}


def weights_index(node: ir.Node) -> int | None:
    """Position of the constant that a node multiplies its input by; None for a node that is no layer."""
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return 1 if constant(input_at(node, 1)) is not None else None
    if node.op_type == "MatMul":
        found = [index for index in (1, 0) if constant(node.inputs[index]) is not None]
        return found[0] if len(found) == 1 else None
    return None


def node_schemes(graph: ir.Graph, scheme: Scheme) -> dict[ir.Node, Scheme]:
    """The settings of every node.

    Raises:
        InputError: an override selects nothing, or its settings do not go with the others.
        UnsupportedError: the graph's opset has no type that a setting needs.
    """
    nodes = list(graph)
    layers = [node for node in nodes if weights_index(node) is not None]
    places = {layers[0]: "first", layers[-1]: "last"} if len(layers) > 1 else dict.fromkeys(layers, "both")
    changes: dict[ir.Node, dict[str, object]] = {}
    for override in scheme.overrides:
        chosen = [n for n in nodes if override.selects(str(n.name), n.op_type, places.get(n))]
        if not chosen:
            raise _selects_nothing(override, nodes)
        for node in chosen:
            changes.setdefault(node, {}).update(override.changes())
    found = {node: _changed(scheme, changes[node], node) if node in changes else scheme for node in nodes}
    for node, own in found.items():
        _check_opset(graph, node, own)
    return found


def _changed(scheme: Scheme, changes: dict[str, object], node: ir.Node) -> Scheme:
    try:
        return scheme.with_changes(changes)
    except ValueError as error:
        raise InputError(f"the overrides of {describe(node)} do not go with the other settings: {error}") from error


def _selects_nothing(override: Override, nodes: Sequence[ir.Node]) -> InputError:
    known = sorted({str(node.name) for node in nodes} | {node.op_type for node in nodes})
    near = difflib.get_close_matches(override.match or override.op or "", known, 1)
    return InputError(
        f"an override for {override.described()} selects no node of the model",
        hint=f"Did you mean {near[0]!r}?" if near else "Names are those after the graph passes: microlith check tells.",
    )


def _check_opset(graph: ir.Graph, node: ir.Node, scheme: Scheme) -> None:
    opset = graph.opset_imports.get("", 0)
    used = [scheme.activations] + ([scheme.weight_grid.dtype] if weights_index(node) is not None else [])
    for dtype in used:
        if opset < _OPSETS.get(dtype, 0):
            raise UnsupportedError(
                f"{dtype} needs opset {_OPSETS[dtype]}, and the model has {opset}",
                node=describe(node),
                hint="Load it with microlith, which brings it to a newer one.",
            )


def value_schemes(model: ir.Model, scheme: Scheme, float_ops: Sequence[str] = ()) -> Mapping[str, Scheme]:
    """By the name of an observed value, settings of its activations that differ from the scheme's."""
    if not scheme.overrides:
        return {}
    plan, schemes = make_plan(model, float_ops), node_schemes(model.graph, scheme)
    return {
        str(plan.result(node).name): schemes[node]
        for node in plan.integer_nodes()
        if schemes[node] is not scheme and plan.result(node) in plan.values
    }
