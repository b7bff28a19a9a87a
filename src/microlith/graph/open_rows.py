"""Values of which data decides how many rows count; the others hold -1, and nothing may take them for results."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.values import describe, known_shape
from microlith.ops.non_max_suppression import NON_MAX_SUPPRESSION

_OPEN = "NonMaxSuppression"
_PASSES_ON = frozenset({"Cast", "Identity"})
_KEEPS_UNUSED = frozenset(
    {ir.DataType.FLOAT, ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64}
)
"""Types in which -1 stays -1."""


def has_open_rows(value: ir.Value | None) -> bool:
    """Whether data decides how many rows of a value count."""
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _PASSES_ON:
        value = producer.inputs[0]
        producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == _OPEN


def check_open_rows(model: ir.Model) -> None:
    """Refuse a model that computes with rows of which data decides how many there are.

    Such rows may go to outputs of the graph, through a Cast to a signed type at most: any other op would take the -1 of
    an unused row for an index or a number, and Shape the room for the rows there are.

    Raises:
        UnsupportedError: naming the op that reads them.
    """
    for node in _all_nodes(model):
        if node.op_type == _OPEN and node.domain in ("", "ai.onnx"):
            if node.graph is not model.graph:
                raise UnsupportedError(
                    f"a {_OPEN} inside of a branch or a loop is not supported", node=describe(node), hint=_HINT
                )
            _check_readers(node.outputs[0], model)


def check_open_shapes(model: ir.Model) -> None:
    """Refuse boxes and scores that do not go together, and limits that leave nothing; constants are lifted."""
    for node in model.graph:
        if node.op_type == _OPEN:
            attrs = NON_MAX_SUPPRESSION.parse(node)
            shapes = [known_shape(value) for value in node.inputs[:2]]
            if None not in shapes:
                try:
                    NON_MAX_SUPPRESSION.infer(attrs, shapes)  # type: ignore[arg-type]
                except InputError as error:
                    error.node = describe(node)
                    raise


_HINT = (
    "End the graph there, or a Cast later, and do in the calling program what comes after: its output has room for "
    "every box that may be chosen, and the first row that holds -1 is the end."
)


def _all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from ir.traversal.RecursiveGraphIterator(model.graph)


def _check_readers(value: ir.Value, model: ir.Model) -> None:
    for use in value.uses():
        node = use.node
        if node.op_type not in _PASSES_ON or node.graph is not model.graph:
            raise UnsupportedError(
                f"how many rows of {value.name!r} count depends on data, and {node.op_type} would take the others for "
                "results",
                node=describe(node),
                hint=_HINT,
            )
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) not in _KEEPS_UNUSED:
            raise UnsupportedError(
                f"unused rows of {value.name!r} hold -1, which the type that this Cast makes does not have",
                node=describe(node),
                hint="Cast to a signed type.",
            )
        _check_readers(node.outputs[0], model)
