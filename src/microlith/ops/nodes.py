"""Reading what a node says, with an error that names the node where it says something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops.base import Array, Shape
from microlith.quant.types import as_held

T = TypeVar("T")

# Opset of a node that does not say which it belongs to.
_NEWEST = 1 << 16


def where(node: ir.Node) -> str:
    """Name and op of a node, for messages."""
    return f"{node.name or '(unnamed)'} ({node.op_type})"


def unsupported(node: ir.Node, what: str, hint: str | None = None) -> UnsupportedError:
    """The error that refuses a node."""
    return UnsupportedError(what, node=where(node), hint=hint)


def opset(node: ir.Node) -> int:
    """Version of the default operator set in which the node is written."""
    if node.version is not None:
        return node.version
    graph = node.graph
    return _NEWEST if graph is None else graph.opset_imports.get("", _NEWEST)


def integer(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return _attribute(node, name, "an integer", lambda item: int(item.as_int()), default)


def integers(node: ir.Node, name: str, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """An attribute that lists integers; ``default`` where it is absent."""
    absent = None if default is None else tuple(default)
    return _attribute(node, name, "integers", lambda item: tuple(int(i) for i in item.as_ints()), absent)


def real(node: ir.Node, name: str, default: float) -> float:
    """A float attribute."""
    return _attribute(node, name, "a float", lambda item: float(item.as_float()), default)


def text(node: ir.Node, name: str, default: str) -> str:
    """A string attribute."""
    return _attribute(node, name, "a string", lambda item: str(item.as_string()), default)


def has_input(node: ir.Node, index: int) -> bool:
    """Whether the optional input is there."""
    return len(node.inputs) > index and node.inputs[index] is not None


def constant(node: ir.Node, index: int, what: str) -> NDArray[np.generic] | None:
    """The values of an input that must be a constant, as they are held; None where it is absent."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        return None
    if value.const_value is None:
        raise unsupported(
            node, f"{what} is computed at run time, expected a constant", "Fold constants first, or fix its value."
        )
    return as_held(np.asarray(value.const_value.numpy()))


def constant_integers(node: ir.Node, index: int, what: str) -> tuple[int, ...] | None:
    """The integers of an input that must be a constant; None where it is absent."""
    values = constant(node, index, what)
    if values is None:
        return None
    if values.ndim > 1 or not np.issubdtype(values.dtype, np.integer):
        raise unsupported(node, f"{what} is {values.dtype} of shape {values.shape}, expected a list of integers")
    return tuple(int(item) for item in values.reshape(-1))


def required(node: ir.Node, value: T | None, what: str) -> T:
    """``value``, or an error where it is absent."""
    if value is None:
        raise ModelError(f"{what} is missing", node=where(node))
    return value


def attribute_or_input(node: ir.Node, name: str, index: int) -> tuple[int, ...] | None:
    """Integers that older operator sets keep in an attribute and newer ones in an input."""
    found = integers(node, name)
    return constant_integers(node, index, f"its {name}") if found is None else found


def input_shape(node: ir.Node, index: int) -> Shape:
    """The static shape of an input."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None:
        raise ModelError(f"input {index} is missing", node=where(node))
    if value.shape is None or not value.shape.is_static():
        raise unsupported(
            node, f"the shape of input {value.name!r} is not known", "Give the dynamic dimensions with --shape."
        )
    return tuple(int(item) for item in value.shape)  # type: ignore[arg-type]


# Elements around an image, for each of its own and for a small one, up to which padding is taken for meant.
_PADDED_PER_ELEMENT, _PADDED_LEAST = 16, 1 << 16


def check_padding(before: Sequence[int], after: Sequence[int], size: Sequence[int]) -> None:
    """Refuse padding of which an image would be but a small part."""
    padded = math.prod(sum(item) for item in zip(before, after, size, strict=True))
    if padded > max(_PADDED_LEAST, _PADDED_PER_ELEMENT * math.prod(size)):
        raise ModelError(f"an input of {tuple(size)} is padded by {tuple(before)} before and {tuple(after)} after it")


def f32(inputs: Sequence[Array | None], index: int = 0) -> NDArray[np.float32]:
    """The float32 array at ``index``, which must be there."""
    array = inputs[index]
    assert array is not None, "an operand that is never absent"
    return np.asarray(array, np.float32)


def axis_of(axis: int, rank: int, op: str) -> int:
    """``axis`` counted from the front."""
    if not -rank <= axis < rank:
        raise ModelError(f"{op} along axis {axis} of a tensor of rank {rank}")
    return axis % rank


def axes_of(axes: Sequence[int], rank: int, op: str) -> tuple[int, ...]:
    """``axes`` counted from the front, ascending."""
    found = tuple(sorted(axis_of(axis, rank, op) for axis in axes))
    if len(set(found)) != len(found):
        raise ModelError(f"{op} names an axis twice: {tuple(axes)}")
    return found


def _attribute(node: ir.Node, name: str, what: str, read: Callable[[ir.Attr], T], default: T) -> T:
    found = node.attributes.get(name)
    if found is None:
        return default
    try:
        return read(found)
    except (TypeError, ValueError) as error:
        raise ModelError(f"attribute {name} is {found.value!r}, expected {what}", node=where(node)) from error
