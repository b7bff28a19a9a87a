"""Which ONNX graphs can be taken in: a refusal for what cannot, one fixed form for what can be written in several."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Any

from microlith.core.errors import InputError, ModelError, UnsupportedError
from microlith.graph.functions import all_nodes
from microlith.graph.metadata import OWN_PREFIX
from microlith.ops import op_at

_TYPES = (
    *(
        "FLOAT",
        "INT2",
        "UINT2",
        "INT4",
        "UINT4",
        "INT8",
        "UINT8",
        "INT16",
        "UINT16",
        "INT32",
        "UINT32",
        "INT64",
        "UINT64",
        "BOOL",
    ),
)
_DEFAULT_DOMAINS = ("", "ai.onnx")


def admit(proto: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Check and normalize a ModelProto in place, and return its opset.

    Afterwards: only the default domain and ops of our own; no functions or sequences; value names unique; nodes
    named and in topological order; no initializer is also an input; every input has a type and a known shape, with a
    batch of 1 where the first dimension was left open; no documentation strings and no metadata but this project's.

    Args:
        proto: of an ONNX file.
        shapes: full shapes of inputs with dynamic dimensions, by input name.

    Raises:
        InputError: a shape that is given does not fit the model.
        ModelError: the graph is malformed, or a dimension is missing.
        UnsupportedError: it uses what cannot be compiled; node, domain or input are named.
    """
    opset = _opset(proto)
    graph = proto.graph
    _refuse_nodes(proto, opset)
    _drop_shadowed_inputs(graph)
    _check_names(graph)
    _sort(graph)
    _name_nodes(graph)
    _fix_inputs(graph, shapes)
    _strip(proto, opset)
    return opset


def _opset(proto: Any) -> int:
    import onnx

    versions = [item.version for item in proto.opset_import if item.domain in _DEFAULT_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1:
        raise ModelError(f"the model imports the default operator set {len(versions)} times, expected once")
    if versions[0] < 1:
        raise ModelError(f"the model uses opset {versions[0]}, expected 1 to {newest}")
    if versions[0] > newest:
        raise UnsupportedError(
            f"the model uses opset {versions[0]}, and the installed onnx knows 1 to {newest}",
            hint="Update the onnx package, or export the model with an older opset.",
        )
    return int(versions[0])


def _refuse_nodes(proto: Any, opset: int) -> None:
    import onnx

    for node in all_nodes(proto.graph.node):
        where = f"{node.name!r} ({node.op_type})"
        if node.domain not in _DEFAULT_DOMAINS:
            if op_at(node.domain, node.op_type) is None:
                raise UnsupportedError(
                    f"operator domain {node.domain!r} is not supported, expected the default domain",
                    node=where,
                    hint="Export the model with standard ONNX operators only.",
                )
        elif not onnx.defs.has(node.op_type, opset, ""):
            raise UnsupportedError(f"opset {opset} has no operator {node.op_type!r}", node=where)
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                raise ModelError(f"attribute {attribute.name!r} refers to a function, outside of one", node=where)


def _drop_shadowed_inputs(graph: Any) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def _check_names(graph: Any) -> None:
    if not graph.input:
        raise ModelError("the model has no input that is not a constant, expected at least one")
    if not graph.output:
        raise ModelError("the model has no output")
    made = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    if "" in made:
        raise ModelError("an input or a constant of the model has no name")
    made += [name for node in graph.node for name in node.output if name]
    repeated = [name for name, count in Counter(made).items() if count > 1]
    if repeated:
        raise ModelError(f"the name {repeated[0]!r} is given to more than one value, expected unique names")
    outputs = [value.name for value in graph.output]
    for name in outputs:
        if name not in made:
            raise ModelError(f"the graph output {name!r} is not produced by any node")
        if outputs.count(name) > 1:
            raise ModelError(f"the graph output {name!r} is listed twice")
    _check_reads(graph, frozenset(made))


def _check_reads(graph: Any, known: frozenset[str]) -> None:
    """Every name that is read is one of ``known``; subgraphs may read these and give no name a second time."""
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise ModelError(f"{name!r} is read but never produced", node=f"{node.name!r} ({node.op_type})")
        for inner in _subgraphs(node):
            made = [value.name for value in inner.input] + [tensor.name for tensor in inner.initializer]
            made += [name for item in inner.node for name in item.output if name]
            repeated = [name for name, count in Counter(made).items() if count > 1 or name in known]
            if repeated:
                raise ModelError(
                    f"the name {repeated[0]!r} is given to more than one value, expected unique names",
                    node=f"{node.name!r} ({node.op_type})",
                )
            _check_reads(inner, known | frozenset(made))


def _subgraphs(node: Any) -> list[Any]:
    return [
        graph
        for attribute in node.attribute
        for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs)
    ]


def _reads(node: Any) -> set[str]:
    """Names that a node reads, those that only its subgraphs read included."""
    return {name for item in all_nodes([node]) for name in item.input} | {
        value.name for item in all_nodes([node]) for graph in _subgraphs(item) for value in graph.output
    }


def _sort(graph: Any) -> None:
    """Order nodes topologically; of those that are ready, the one that stood first comes first."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    waiting = [{producer[name] for name in _reads(node) if name in producer} for node in graph.node]
    readers: dict[int, list[int]] = {}
    for index, needs in enumerate(waiting):
        for need in needs:
            readers.setdefault(need, []).append(index)
    ready = [index for index, needs in enumerate(waiting) if not needs]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waiting[reader].discard(index)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        node = graph.node[min(set(range(len(graph.node))) - set(order))]
        raise ModelError("the graph has a cycle, expected none", node=f"{node.name!r} ({node.op_type})")
    if order != sorted(order):
        copies = [type(graph.node[index]).FromString(graph.node[index].SerializeToString()) for index in order]
        del graph.node[:]
        graph.node.extend(copies)


def _name_nodes(graph: Any) -> None:
    """Give every node a name of its own: its own where it has one first, else one made from op and output."""
    given = {node.name for node in graph.node}
    seen: set[str] = set()
    for node in graph.node:
        base = node.name or f"{node.op_type}_{next((name for name in node.output if name), '')}"
        name, count = base, 0
        while name in seen or (name in given and name != node.name):
            count += 1
            name = f"{base}_{count}"
        seen.add(name)
        node.name = name


def _fix_inputs(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    names = [value.name for value in graph.input]
    for name in shapes:
        if name not in names:
            raise InputError(f"a shape is given for {name!r}, and the inputs are {', '.join(map(repr, names))}")
    for value in graph.input:
        _check_input_type(value)
        _fix_shape(value, shapes.get(value.name))


def _check_input_type(value: Any) -> None:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"the input {value.name!r} is {kind or 'without a type'}, expected a tensor")
    number = value.type.tensor_type.elem_type
    names = onnx.TensorProto.DataType.DESCRIPTOR.values_by_number
    name = names[number].name if number in names else f"number {number}"
    if name not in _TYPES:
        raise UnsupportedError(
            f"the input {value.name!r} has type {name}, expected one of {', '.join(_TYPES)}",
            hint="Export the model with a float32 input.",
        )


def _fix_shape(value: Any, given: tuple[int, ...] | None) -> None:
    tensor = value.type.tensor_type
    if given is not None:
        _apply_shape(value, given)
    if not tensor.HasField("shape"):
        raise ModelError(
            f"the input {value.name!r} has no shape", hint=f"Give it, for instance --shape {value.name}=1,3,32,32."
        )
    dims = tensor.shape.dim
    if dims and not (dims[0].HasField("dim_value") and dims[0].dim_value > 0):
        dims[0].dim_value = 1
    for index, dim in enumerate(dims):
        if not dim.HasField("dim_value") or dim.dim_value <= 0:
            what = repr(dim.dim_param) if dim.HasField("dim_param") else str(dim.dim_value or "not given")
            sizes = ",".join(str(d.dim_value) if d.HasField("dim_value") and d.dim_value > 0 else "32" for d in dims)
            raise ModelError(
                f"dimension {index} of the input {value.name!r} is dynamic ({what}), expected a size",
                hint=f"Give the whole shape, for instance --shape {value.name}={sizes}.",
            )


def _apply_shape(value: Any, given: tuple[int, ...]) -> None:
    text = ",".join(map(str, given))
    if any(size <= 0 for size in given):
        raise InputError(f"the shape given for {value.name!r} is {text}, expected positive sizes")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        for size in given:
            tensor.shape.dim.add(dim_value=size)
    dims = tensor.shape.dim
    if len(dims) != len(given):
        raise InputError(f"the shape given for {value.name!r} is {text}, and the model takes {len(dims)} dimensions")
    for index, (dim, size) in enumerate(zip(dims, given, strict=True)):
        if dim.HasField("dim_value") and dim.dim_value > 0 and dim.dim_value != size:
            raise InputError(
                f"the shape given for {value.name!r} is {text}, and dimension {index} of the model is {dim.dim_value}"
            )
        dim.dim_value = size


def _strip(proto: Any, opset: int) -> None:
    """Drop what carries no meaning: other opset imports, documentation, producer, stale intermediate shapes."""
    _keep_own_metadata(proto)
    used = {node.domain for node in all_nodes(proto.graph.node)} - set(_DEFAULT_DOMAINS)
    own = {item.domain: item.version for item in proto.opset_import if item.domain in used}
    _clear(proto, "opset_import", "functions", "training_info", "doc_string", "domain")
    _clear(proto, "producer_name", "producer_version", "model_version", "configuration")
    for domain, version in {"": opset, **own}.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    nodes = list(all_nodes(graph.node))
    for item in (graph, *(inner for node in nodes for inner in _subgraphs(node))):
        _clear(item, "value_info", "doc_string", "metadata_props", "quantization_annotation")
    for item in (*nodes, *graph.input, *graph.output, *graph.initializer):
        _keep_own_metadata(item)
        _clear(item, "doc_string", "device_configurations")
    for node in nodes:
        node.domain = "" if node.domain in _DEFAULT_DOMAINS else node.domain
        for attribute in node.attribute:
            _clear(attribute, "doc_string")


def _keep_own_metadata(message: Any) -> None:
    if "metadata_props" not in message.DESCRIPTOR.fields_by_name:
        return
    kept = [(entry.key, entry.value) for entry in message.metadata_props if entry.key.startswith(OWN_PREFIX)]
    if len(dict(kept)) != len(kept):
        raise ModelError("a metadata key of the model is given twice")
    message.ClearField("metadata_props")
    for key, value in kept:
        message.metadata_props.add(key=key, value=value)


def _clear(message: Any, *fields: str) -> None:
    for field in fields:
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
