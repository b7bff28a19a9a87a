"""ArgMax, ArgMin and TopK: where the greatest or least elements along an axis are, and which they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.movement import operand
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray


@dataclass(frozen=True)
class ArgExtremeAttrs:
    """Attributes of ArgMax and ArgMin.

    Attributes:
        axis: as written, negative from the back.
        keep: the axis stays, with a size of 1.
        last: of equal elements the last counts.
        largest: ArgMax.
    """

    axis: int
    keep: bool
    last: bool
    largest: bool


@dataclass(frozen=True)
class TopKAttrs:
    """Attributes of TopK.

    Attributes:
        axis: as written, negative from the back.
        k: elements wanted; they are sorted always.
        largest: the greatest, or the least.
    """

    axis: int
    k: int
    largest: bool


def select(x: Array, axis: int, k: int, *, largest: bool, last: bool = False) -> NDArray[np.int64]:
    """Places of the ``k`` greatest or least elements along an axis, in order; of equal ones the first or last first."""
    count = x.shape[axis]
    ordered = np.flip(x, axis) if last != largest else x
    # A stable sort keeps equal elements in order; the greatest are read from its end, which turns that order around.
    places = np.argsort(ordered, axis=axis, kind="stable")
    if last != largest:
        places = count - 1 - places
    chosen = np.flip(places, axis) if largest else places
    return np.ascontiguousarray(np.take(chosen, np.arange(k), axis=axis)).astype(np.int64)


def parse_arg(node: ir.Node) -> ArgExtremeAttrs:
    """Attributes of an ArgMax or ArgMin node."""
    keep, last = nodes.integer(node, "keepdims", 1), nodes.integer(node, "select_last_index", 0)
    return ArgExtremeAttrs(nodes.integer(node, "axis", 0), bool(keep), bool(last), node.op_type == "ArgMax")


def infer_arg(attrs: ArgExtremeAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The axis goes, or has a size of 1."""
    axis = nodes.axis_of(attrs.axis, len(inputs[0]), "ArgMax or ArgMin")
    return ((*inputs[0][:axis], *((1,) if attrs.keep else ()), *inputs[0][axis + 1 :]),)


def reference_arg(attrs: ArgExtremeAttrs, inputs: Sequence[Array | None]) -> Array:
    """Places as int64."""
    x = operand(inputs)
    axis = nodes.axis_of(attrs.axis, x.ndim, "ArgMax or ArgMin")
    return select(x, axis, 1, largest=attrs.largest, last=attrs.last).reshape(infer_arg(attrs, (x.shape,))[0])


def parse_top_k(node: ir.Node) -> TopKAttrs:
    """Attributes of a TopK node."""
    k = nodes.required(node, nodes.constant_integers(node, 1, "its k"), "its k")
    if len(k) != 1 or k[0] < 1:
        raise ModelError(f"its k is {k}, expected one integer of 1 or more", node=nodes.where(node))
    return TopKAttrs(nodes.integer(node, "axis", -1), k[0], bool(nodes.integer(node, "largest", 1)))


def infer_top_k(attrs: TopKAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """``k`` elements along the axis, twice."""
    axis = nodes.axis_of(attrs.axis, len(inputs[0]), "TopK")
    if attrs.k > inputs[0][axis]:
        raise ModelError(f"TopK wants {attrs.k} of the {inputs[0][axis]} elements along axis {axis}")
    shape = (*inputs[0][:axis], attrs.k, *inputs[0][axis + 1 :])
    return shape, shape


def results_top_k(attrs: TopKAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """The elements and their places."""
    x = operand(inputs)
    infer_top_k(attrs, (x.shape,))
    axis = attrs.axis % x.ndim
    places = select(x, axis, attrs.k, largest=attrs.largest)
    return np.take_along_axis(x, places, axis), places


def quantized_top_k(attrs: TopKAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """Integers are in the order of what they stand for."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    values, _ = results_top_k(attrs, [x.values])
    return requantize(QArray(values, x.qparams), output.qparams, output.low, output.high)  # type: ignore[arg-type]


def _arg_batches(attrs: ArgExtremeAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return inputs[0] is not None and attrs.axis % len(inputs[0]) != 0


def _top_k_batches(attrs: TopKAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.axis % len(output) != 0


ARG_MAX = Op(
    "ArgMax",
    parse_arg,
    infer_arg,
    reference_arg,
    data_inputs=(0,),
    batches=_arg_batches,
    rule=Rule("order"),
    lowering="lower_indexing.lower_arg_extreme",
)
ARG_MIN = Op(
    "ArgMin",
    parse_arg,
    infer_arg,
    reference_arg,
    data_inputs=(0,),
    batches=_arg_batches,
    rule=Rule("order"),
    lowering="lower_indexing.lower_arg_extreme",
)
TOP_K = Op(
    "TopK",
    parse_top_k,
    infer_top_k,
    lambda attrs, inputs: results_top_k(attrs, inputs)[0],
    quantized_top_k,
    data_inputs=(0,),
    batches=_top_k_batches,
    results=results_top_k,
    rule=Rule("movement"),
    lowering="lower_indexing.lower_top_k",
)
