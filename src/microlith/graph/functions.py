"""Functions that a model brings along: their calls are replaced by their bodies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from microlith.core.errors import ModelError, UnsupportedError

MAX_NODES = 100_000
"""Most nodes of a model after its functions are written out; nested calls can multiply without bound."""

_Id = tuple[str, str]


def inline_functions(proto: Any) -> None:
    """Replace the calls of the functions of a ModelProto by their bodies, in place; afterwards it has none.

    Raises:
        ModelError: a function calls itself, or one is defined twice.
        UnsupportedError: the bodies come to more than :data:`MAX_NODES` nodes, or cannot be put in place of the calls.
    """
    if not proto.functions:
        return
    functions = {(function.domain, function.name): function for function in proto.functions}
    if len(functions) != len(proto.functions):
        raise ModelError("a function is defined twice in the model")
    sizes = _sizes(functions)
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in all_nodes(proto.graph.node))
    if total > MAX_NODES:
        raise UnsupportedError(
            f"the functions of the model come to {total} nodes, and at most {MAX_NODES} are taken",
            hint="Export a smaller model, or one without functions.",
        )
    import onnx.inliner

    try:
        inlined = onnx.inliner.inline_local_functions(proto, True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise UnsupportedError(
            f"the functions of the model cannot be inlined: {' '.join(str(error).split())}"
        ) from error
    left = [node for node in all_nodes(inlined.graph.node) if (node.domain, node.op_type) in functions]
    if left:
        raise UnsupportedError(
            "a call of a function that the model defines cannot be inlined",
            node=f"{left[0].name!r} ({left[0].op_type})",
            hint="Export the model with its functions inlined.",
        )
    proto.CopyFrom(inlined)
    del proto.functions[:]


def all_nodes(nodes: Any) -> Iterator[Any]:
    """Nodes and, depth first, those of their subgraphs."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting.extend(attribute.g.node if attribute.HasField("g") else ())
            for graph in attribute.graphs:
                waiting.extend(graph.node)


def _sizes(functions: Mapping[_Id, Any]) -> dict[_Id, int]:
    """How many nodes each function comes to when the calls within it are written out."""
    calls = {
        key: [(node.domain, node.op_type) for node in all_nodes(function.node)] for key, function in functions.items()
    }
    sizes: dict[_Id, int] = {}
    while len(sizes) < len(functions):
        ready = [
            key
            for key, inner in calls.items()
            if key not in sizes and all(call in sizes for call in inner if call in functions)
        ]
        if not ready:
            name = next(key for key in functions if key not in sizes)[1]
            raise ModelError(f"the function {name!r} of the model calls itself, directly or through others")
        for key in ready:
            sizes[key] = sum(sizes.get(call, 1) for call in calls[key])
    return sizes
