"""Writes out ops that are not implemented by themselves as the ops that ONNX defines them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.functions import all_nodes
from microlith.graph.inference import TypeInfo, infer_types
from microlith.graph.opset import OPSET, convert_node
from microlith.graph.pass_base import PassResult, Property, tolerance
from microlith.graph.subgraphs import inline, replace_outputs
from microlith.graph.values import constant
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
            # Bodies that depend on nothing go first: ONNX infers nothing through some of them.
            replaced = sum(expand(node, OPSET, None) for node in waiting)
            if not replaced:
                types = infer_types(model)
                replaced = sum(expand(node, OPSET, types) for node in waiting)
            changes += replaced
            if not replaced:
                break
        return PassResult(changes)


def expand_newer(model: ir.Model) -> int:
    """Write out the ops that :data:`OPSET` does not have yet, and return their number; the model has its own opset."""
    import onnx

    version = model.graph.opset_imports[""]
    for node in model.graph:
        _state_defaults(node, version)
    waiting = [node for node in model.graph if not node.domain and not onnx.defs.has(node.op_type, OPSET, "")]
    types = infer_types(model) if waiting else {}
    return sum(expand(node, version, types, convert=False) for node in waiting)


def _state_defaults(node: ir.Node, version: int) -> None:
    """Write the default attributes of a function into its call: without them ONNX infers nothing through its body."""
    import onnx

    if not onnx.defs.has(node.op_type, version, ""):
        return
    schema = onnx.defs.get_schema(node.op_type, version, "")
    if not schema.has_function:
        return
    for name, attribute in schema.attributes.items():
        if attribute.default_value.name and name not in node.attributes:
            node.attributes.add(ir.serde.deserialize_attribute(attribute.default_value))


def _is_waiting(node: ir.Node) -> bool:
    if node.op_type in FOLDED or node.domain:
        return False
    if node.op_type in OPS and not OPS[node.op_type].written_out(node):
        return False
    # What depends on constants alone is folded as one op.
    return any(constant(value) is None for value in node.inputs if value is not None)


def expand(node: ir.Node, version: int, types: Mapping[str, TypeInfo] | None, *, convert: bool = True) -> bool:
    """Put the body of the function that defines a node in its place; False where there is none that can be used.

    Args:
        node: of a graph in the opset ``version``.
        version: the body is the newest up to it.
        types: of the inputs, by name, for bodies that depend on them; None to leave these alone.
        convert: bring the body to :data:`OPSET`; otherwise its nodes state the opset that they are written in.
    """
    body = _body(node, version, types)
    if body is None or any(item.domain not in ("", "ai.onnx") for item in body.opset_import):
        return False
    graph, written = node.graph, next((item.version for item in body.opset_import), version)
    assert graph is not None
    used = [body.output[index] for index, value in enumerate(node.outputs) if value.name]
    content = _as_graph(node, body, version, used)
    for item in content.all_nodes():
        item.version = written
    results = inline(node, content, [value for value in node.inputs if value is not None], f"_{node.name}")
    places = iter(results)
    replace_outputs(node, [next(places) if value.name else None for value in node.outputs])
    if convert:
        for item in [item for item in graph.all_nodes() if item.version is not None]:
            convert_node(item, written, types or {})
    return True


def _body(node: ir.Node, version: int, types: Mapping[str, TypeInfo] | None) -> Any:
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    plain = [item for item in schema.function_opset_versions if item <= version]
    if plain:
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(plain)))
    built = [item for item in schema.context_dependent_function_opset_versions if item <= version]
    if not built or types is None:
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


def _as_graph(node: ir.Node, body: Any, version: int, outputs: Sequence[str]) -> ir.Graph:
    """The body as a graph of the inputs that are there, with the attributes of the call in place.

    Raises:
        UnsupportedError: an output that is used is not computed without an input that is absent.
    """
    import onnx

    present = [name for name, value in zip(body.input, node.inputs, strict=False) if value is not None]
    absent = set(body.input) - set(present)
    made = {name for item in body.node for name in item.output} | set(present)
    for name in outputs:
        if name not in made:
            raise UnsupportedError(
                f"its output {name!r} is not computed without an input that is absent", node=node.name
            )
    graph = onnx.GraphProto(name=node.op_type)
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in present)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    graph.node.extend(body.node)
    values = _values(node, body, version)
    for item in all_nodes(graph.node):
        kept = [_resolved(attribute, values) for attribute in item.attribute]
        del item.attribute[:]
        item.attribute.extend(attribute for attribute in kept if attribute is not None)
        names = ["" if name in absent else name for name in item.input]
        del item.input[:]
        item.input.extend(names)
    return ir.serde.deserialize_graph(graph)


def _values(node: ir.Node, body: Any, version: int) -> dict[str, Any]:
    """What the attributes of a call are: given, or the default of the function or of the op."""
    import onnx

    values = {
        name: attribute.default_value
        for name, attribute in onnx.defs.get_schema(node.op_type, version, "").attributes.items()
        if attribute.default_value.name
    }
    values |= {attribute.name: attribute for attribute in body.attribute_proto}
    return values | {name: ir.serde.serialize_attribute(attribute) for name, attribute in node.attributes.items()}


def _resolved(attribute: Any, values: Mapping[str, Any]) -> Any:
    """An attribute of a node of the body; one that refers to the call takes its value, or goes where it has none."""
    if not attribute.ref_attr_name:
        return attribute
    given = values.get(attribute.ref_attr_name)
    if given is None:
        return None
    copy = type(attribute)()
    copy.CopyFrom(given)
    copy.name = attribute.name
    return copy
