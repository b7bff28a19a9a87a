"""Writes out ops that are not implemented by themselves as the ops that ONNX defines them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.inference import TypeInfo, infer_types
from microlith.graph.opset import OPSET, convert_node
from microlith.graph.pass_base import PassResult, Property, tolerance
from microlith.graph.values import constant, unique_name
from microlith.ops import OPS

_MAX_ROUNDS = 16
"""Functions whose bodies are functions again, so deep."""

FOLDED = frozenset(("Range", "SequenceMap"))
"""Functions that are a loop: they are folded where they depend on constants, or refused under their own name."""


class ExpandFunctions:
    """Replaces every op that is not implemented, and that ONNX defines by a function, by the body of the function.

    The body is that of the newest opset up to the graph's, brought to the graph's opset.

    Source: the function bodies of the ONNX operator definitions (onnx.defs).
    """

    name = "ExpandFunctions"
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "the body rounds after each of its ops")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes replaced by bodies."""
        changes = 0
        for _ in range(_MAX_ROUNDS):
            waiting = [node for node in model.graph if _is_waiting(node)]
            if not waiting:
                break
            types = infer_types(model)
            replaced = sum(expand(node, OPSET, types) for node in waiting)
            changes += replaced
            if not replaced:
                break
        return PassResult(changes)


def expand_newer(model: ir.Model) -> int:
    """Write out the ops that :data:`OPSET` does not have yet, and return their number; the model is of its own opset."""
    import onnx

    version = model.graph.opset_imports[""]
    waiting = [node for node in model.graph if not onnx.defs.has(node.op_type, OPSET, "")]
    types = infer_types(model) if waiting else {}
    return sum(expand(node, version, types, convert=False) for node in waiting)


def _is_waiting(node: ir.Node) -> bool:
    if node.op_type in OPS or node.op_type in FOLDED or node.domain:
        return False
    # What depends on constants alone is folded as one op.
    return any(constant(value) is None for value in node.inputs if value is not None)


def expand(node: ir.Node, version: int, types: Mapping[str, TypeInfo], *, convert: bool = True) -> bool:
    """Put the body of the function that defines a node in its place; False where there is none that can be used.

    Args:
        node: of a graph in the opset ``version``.
        version: the body is the newest up to it.
        types: of the inputs, by name; what the body is can depend on them.
        convert: bring the body to :data:`OPSET`; otherwise its nodes state the opset that they are written in.
    """
    body = _body(node, version, types)
    if body is None or any(item.domain not in ("", "ai.onnx") for item in body.opset_import):
        return False
    if any(attribute.HasField("g") or attribute.graphs for item in body.node for attribute in item.attribute):
        return False  # it stays a call, and is refused under its own name
    written = next((item.version for item in body.opset_import), version)
    for item in _insert(node, body, version):
        item.version = written
        if convert:
            convert_node(item, written, types)
    return True


def _body(node: ir.Node, version: int, types: Mapping[str, TypeInfo]) -> Any:
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    plain = [item for item in schema.function_opset_versions if item <= version]
    if plain:
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(plain)))
    built = [item for item in schema.context_dependent_function_opset_versions if item <= version]
    if not built:
        return None
    kinds = [_type_proto(value, types).SerializeToString() for value in node.inputs]
    data = ir.serde.serialize_node(node).SerializeToString()
    text = schema.get_context_dependent_function_with_opset_version(max(built), data, kinds)
    return onnx.FunctionProto.FromString(text) if text else None


def _type_proto(value: ir.Value | None, types: Mapping[str, TypeInfo]) -> Any:
    import onnx

    if value is None:
        return onnx.TypeProto()
    found = types.get(value.name or "")
    dtype = value.dtype if found is None else found.dtype
    shape = (None if value.shape is None else tuple(value.shape)) if found is None else found.shape
    if dtype is None:
        return onnx.TypeProto()
    sizes = None if shape is None else [size if isinstance(size, int) else None for size in shape]
    return onnx.helper.make_tensor_type_proto(int(dtype), sizes)


def _insert(node: ir.Node, body: Any, version: int) -> list[ir.Node]:
    """The nodes of the body in front of ``node``, which is removed; its outputs keep their names."""
    graph = node.graph
    assert graph is not None
    values: dict[str, ir.Value | None] = {"": None}
    for index, name in enumerate(body.input):
        values[name] = node.inputs[index] if index < len(node.inputs) else None
    results = {name: node.outputs[i] for i, name in enumerate(body.output) if i < len(node.outputs)}
    inserted = []
    for number, item in enumerate(body.node):
        outputs = []
        for name in item.output:
            base = f"{node.outputs[0].name}_{name}" if name else ""
            made = ir.Value(name=unique_name(graph, base) if name else "")
            values[name] = None if not name else made
            outputs.append(made)
        attributes = _attributes(item, node, body, version)
        inputs = [values[name] for name in item.input]
        new = ir.Node("", item.op_type, inputs, attributes=attributes, outputs=outputs, name=f"{node.name}/{number}")
        graph.insert_before(node, new)
        inserted.append(new)
    for name, old in results.items():
        if old.name:
            _take_over(node, old, values.get(name), inserted)
    graph.remove(node, safe=True)
    return inserted


def _take_over(node: ir.Node, old: ir.Value, new: ir.Value | None, inserted: list[ir.Node]) -> None:
    """Let the readers of an output read what the body computes; it takes the name over."""
    graph = node.graph
    assert graph is not None
    if new is None:
        raise UnsupportedError(f"{old.name!r} is not computed without an input that is absent", node=node.name)
    if new.producer() is None or new.producer() not in inserted:
        given, new = new, ir.Value(name=unique_name(graph, f"{old.name}_same"))
        same = ir.Node("", "Identity", [given], outputs=[new], name=f"{node.name}/{old.name}")
        graph.insert_before(node, same)
        inserted.append(same)
    name, old.name = old.name, None
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name, new.type, new.shape = name, old.type, old.shape


def _attributes(item: Any, node: ir.Node, body: Any, version: int) -> list[ir.Attr]:
    """The attributes of a node of the body; those that refer to the call take its value, or the default, or go."""
    import onnx

    schema = onnx.defs.get_schema(node.op_type, version, "")
    defaults = {attribute.name: attribute for attribute in body.attribute_proto}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name:
            defaults.setdefault(name, attribute.default_value)
    found = []
    for attribute in item.attribute:
        source = attribute.ref_attr_name
        if not source:
            found.append(ir.serde.deserialize_attribute(attribute))
        elif source in node.attributes:
            given = node.attributes[source]
            found.append(ir.Attr(attribute.name, given.type, given.value))
        elif source in defaults:
            given = ir.serde.deserialize_attribute(defaults[source])
            found.append(ir.Attr(attribute.name, given.type, given.value))
    return found
