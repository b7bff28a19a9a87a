"""Taking the nodes of a subgraph into the graph around it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from microlith.graph.values import unique_name

MAX_NODES = 4096
"""Most nodes that one loop is unrolled to."""


def subgraph(node: ir.Node, name: str) -> ir.Graph | None:
    """The subgraph that an attribute holds; None where it has none of that name."""
    attribute = node.attributes.get(name)
    if attribute is None or attribute.type != ir.AttributeType.GRAPH:
        return None
    return attribute.as_graph()


def has_subgraph(node: ir.Node) -> bool:
    """Whether control flow hides nodes in this one."""
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def node_count(graph: ir.Graph) -> int:
    """Nodes, those of inner subgraphs included."""
    return sum(1 for _ in graph.all_nodes())


def inline(before: ir.Node, body: ir.Graph, inputs: Sequence[ir.Value], suffix: str) -> list[ir.Value]:
    """A copy of the nodes of ``body`` in front of a node, and the values that stand for the outputs of ``body``.

    Args:
        before: a node of the graph that takes them.
        body: a subgraph; it may read values of the graphs around it.
        inputs: what its inputs are.
        suffix: of the names of what is inserted; names that are taken get a number.
    """
    graph = before.graph
    assert graph is not None
    copy = body.clone(allow_outer_scope_values=True)
    for inner, given in zip(copy.inputs, inputs, strict=True):
        inner.replace_all_uses_with(given, replace_graph_outputs=True)
    outputs = list(copy.outputs)
    copy.outputs.clear()
    for name, value in list(copy.initializers.items()):
        del copy.initializers[name]
        value.name = unique_name(graph, f"{name}{suffix}")
        graph.register_initializer(value)
    taken = {node.name for node in graph}
    for node in list(copy):
        copy.remove(node)
        for value in node.outputs:
            value.name = unique_name(graph, f"{value.name}{suffix}") if value.name else value.name
        node.name = _free(f"{node.name or node.op_type}{suffix}", taken)
        graph.insert_before(before, node)
    return outputs


def _free(base: str, taken: set[str | None]) -> str:
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name)
    return name


def replace_outputs(node: ir.Node, values: Sequence[ir.Value | None]) -> None:
    """Let the readers of the outputs of ``node`` read these values, and remove it; graph outputs keep their names.

    An output that has no name has no reader, and None stands for it.
    """
    graph = node.graph
    assert graph is not None
    for old, value in zip(node.outputs, values, strict=True):
        if value is None:
            continue
        if old.is_graph_output():
            name, old.name = old.name, None
            same = ir.Value(name=name, type=old.type or value.type, shape=old.shape)
            identity = ir.Node("", "Identity", [value], outputs=[same], name=_free(f"{name}_same", _names(graph)))
            graph.insert_before(node, identity)
            value = same  # a value of its own, since an output is no input, no constant, and is not listed twice
        old.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _names(graph: ir.Graph) -> set[str | None]:
    return {node.name for node in graph}
