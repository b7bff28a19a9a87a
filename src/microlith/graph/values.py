"""Small helpers on graph values and nodes that every pass needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.quant.types import LIMITS

Array = NDArray[np.generic]
Shape = tuple[int, ...]


WIDER = {
    ir.DataType.INT2: ir.DataType.INT8,
    ir.DataType.UINT2: ir.DataType.UINT8,
    ir.DataType.INT4: ir.DataType.INT8,
    ir.DataType.UINT4: ir.DataType.UINT8,
}
"""The type that holds integers of 2 and 4 bits, one a byte, wherever they are computed with."""


def held_type(dtype: ir.DataType) -> np.dtype[np.generic]:
    """NumPy's type of the arrays that hold values of a type."""
    return WIDER.get(dtype, dtype).numpy()


def as_stored(values: Array, dtype: str) -> Array:
    """Held integers in the type that a graph stores them in."""
    return values.astype(ir.DataType[dtype.upper()].numpy())


def integer_limits(dtype: ir.DataType) -> tuple[int, int]:
    """Least and greatest number of an integer type."""
    if dtype in WIDER:
        return LIMITS[dtype.name.lower()]
    info = np.iinfo(dtype.numpy())
    return int(info.min), int(info.max)


def describe(node: ir.Node) -> str:
    """Name and op of a node, for error messages."""
    return f"{node.name or '(unnamed)'!r} ({node.op_type})"


def constant(value: ir.Value | None) -> Array | None:
    """The array of an initializer; None for an absent input and for a value that is computed."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def constant_scalar(value: ir.Value | None) -> float | None:
    """The number of an initializer with one element; None otherwise."""
    array = constant(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def constant_ints(value: ir.Value | None) -> tuple[int, ...] | None:
    """The integers of an integer initializer of rank 0 or 1; None otherwise."""
    array = constant(value)
    if array is None or array.ndim > 1 or not np.issubdtype(array.dtype, np.integer):
        return None
    return tuple(int(item) for item in array.reshape(-1))


def static_shape(value: ir.Value) -> Shape:
    """The shape of a value, all dimensions known.

    Raises:
        ModelError: a dimension is not known.
    """
    if value.shape is None or not value.shape.is_static():
        raise ModelError(f"the shape of {value.name!r} is {value.shape}, expected known sizes")
    return tuple(int(size) for size in value.shape.numpy())


def known_shape(value: ir.Value | None) -> Shape | None:
    """Like :func:`static_shape`; None where it is not known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(size) for size in value.shape.numpy())


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """An input, None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def ints(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """A list-of-integers attribute."""
    return tuple(node.attributes.get_ints(name, tuple(default)))


def integer(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return int(node.attributes.get_int(name, default))


def real(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    return float(node.attributes.get_float(name, default))


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads this value, once, when nothing else does and it is no graph output."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def value_names(graph: ir.Graph) -> set[str]:
    """Every name that a value of the graph has."""
    names = {value.name for value in graph.inputs} | set(graph.initializers)
    names.update(output.name for node in graph for output in node.outputs)
    return {name for name in names if name}


def unique_name(graph: ir.Graph, base: str) -> str:
    """``base``, or the first of ``base_1``, ``base_2`` ... that no value has."""
    return _free(base, value_names(graph))


def add_initializer(graph: ir.Graph, base: str, array: Array) -> ir.Value:
    """A new initializer whose name starts with ``base``."""
    return _initializer(graph, unique_name(graph, base), array)


class Names:
    """The names that are taken in a graph, for whoever adds so many that looking through the graph for each is slow.

    Names given here count as taken from then on; names that others give do not.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._values = value_names(graph)
        self._nodes = {str(node.name) for node in graph}

    def value(self, base: str) -> str:
        """Like :func:`unique_name`."""
        name = _free(base, self._values)
        self._values.add(name)
        return name

    def node(self, base: str) -> str:
        """``base``, or the first of ``base_1``, ``base_2`` ... that no node has."""
        name = _free(base, self._nodes)
        self._nodes.add(name)
        return name

    def release(self, name: str) -> None:
        """No value has this name any more."""
        self._values.discard(name)

    def initializer(self, base: str, array: Array) -> ir.Value:
        """Like :func:`add_initializer`."""
        return _initializer(self._graph, self.value(base), array)


def _free(base: str, taken: set[str]) -> str:
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def new_value(name: str, like: ir.Value, shape: Iterable[int] | None = None) -> ir.Value:
    """A value of the same type as another, and its shape unless one is given."""
    assert like.dtype is not None, f"{like.name} has no type"
    return ir.Value(
        name=name, type=ir.TensorType(like.dtype), shape=ir.Shape(static_shape(like) if shape is None else shape)
    )


def can_bypass(node: ir.Node, source: ir.Value) -> bool:
    """Whether every reader of the first output of ``node`` can read ``source`` instead.

    It cannot where the output is one of the graph and ``source`` must keep its own name: a graph input, a graph output,
    or a constant.
    """
    output = node.outputs[0]
    pinned = source.is_graph_input() or source.is_graph_output() or source.is_initializer()
    return not (output.is_graph_output() and pinned)


def bypass(node: ir.Node, source: ir.Value) -> None:
    """Let every reader of the first output of ``node`` read ``source``, and remove the node.

    A graph output keeps its name: ``source`` takes it over.
    """
    assert can_bypass(node, source), f"{describe(node)} cannot be bypassed"
    graph, output = node.graph, node.outputs[0]
    assert graph is not None
    name = output.name if output.is_graph_output() else None
    output.replace_all_uses_with(source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if name is not None:
        output.name = None
        source.name = name


def replace_node(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, ir.Attr] | None = None,
) -> ir.Node:
    """Put another node in the place of a node with one output in use; the output's name, type and shape stay."""
    graph, old = node.graph, node.outputs[0]
    assert graph is not None
    value = ir.Value(name=old.name, type=old.type, shape=old.shape)
    new = ir.Node("", op_type, inputs, attributes=list((attributes or {}).values()), outputs=[value], name=node.name)
    graph.insert_before(node, new)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return new


def insert_node(
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    output: ir.Value,
    attributes: Mapping[str, ir.Attr] | None = None,
) -> ir.Node:
    """A new node, named after its output, in front of another."""
    graph = before.graph
    assert graph is not None
    taken = {node.name for node in graph}
    name, count = output.name, 0
    while name in taken:
        count += 1
        name = f"{output.name}_{count}"
    new = ir.Node("", op_type, inputs, attributes=list((attributes or {}).values()), outputs=[output], name=name)
    graph.insert_before(before, new)
    return new


def set_ints(node: ir.Node, name: str, values: Sequence[int]) -> None:
    """Set a list-of-integers attribute."""
    node.attributes.add(ir.AttrInt64s(name, list(values)))
