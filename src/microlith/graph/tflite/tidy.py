"""A file without operators that do nothing and tensors that nothing uses."""

from __future__ import annotations

from dataclasses import replace

from microlith.graph.tflite.model import Graph, Operator


def tidied(graph: Graph) -> Graph:
    """The graph with one RESHAPE for several in a row, none to the shape that is there, and no unused tensor."""
    return _used(replace(graph, operators=_without_needless(graph)))


def _without_needless(graph: Graph) -> tuple[Operator, ...]:
    outputs = set(graph.outputs)
    source: dict[int, int] = {}  # of what a RESHAPE made: what it reads
    same: dict[int, int] = {}  # of what is left out: what is read instead
    kept: list[Operator] = []
    for item in graph.operators:
        item = replace(item, inputs=tuple(same.get(index, index) for index in item.inputs))
        if item.name == "RESHAPE":
            first, made = item.inputs[0], item.outputs[0]
            first = source.get(first, first)
            if graph.tensors[first].shape == graph.tensors[made].shape and made not in outputs:
                same[made] = first
                continue
            source[made] = first
            item = replace(item, inputs=(first, *item.inputs[1:]))
        kept.append(item)
    return _live(kept, outputs)


def _live(operators: list[Operator], outputs: set[int]) -> tuple[Operator, ...]:
    """The operators of which something is read."""
    needed, kept = set(outputs), []
    for item in reversed(operators):
        if needed & set(item.outputs):
            needed |= set(item.inputs)
            kept.append(item)
    return tuple(reversed(kept))


def _used(graph: Graph) -> Graph:
    used = {index for item in graph.operators for index in (*item.inputs, *item.outputs)}
    used |= {*graph.inputs, *graph.outputs}
    order = [index for index in range(len(graph.tensors)) if index in used]
    place = {old: new for new, old in enumerate(order)} | {-1: -1}
    return Graph(
        tuple(graph.tensors[index] for index in order),
        tuple(place[index] for index in graph.inputs),
        tuple(place[index] for index in graph.outputs),
        tuple(
            replace(
                item,
                inputs=tuple(place[index] for index in item.inputs),
                outputs=tuple(place[index] for index in item.outputs),
            )
            for item in graph.operators
        ),
    )
