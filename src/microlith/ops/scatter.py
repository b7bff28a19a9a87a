"""ScatterElements and ScatterND: elements written, or combined with what is there, where indices say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError, UnsupportedError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output, Rule, Shape
from microlith.ops.gather_elements import along
from microlith.ops.gather_nd import places
from microlith.quant.integer_move import requantize
from microlith.quant.types import QArray

_COMBINE: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
REDUCTIONS = ("none", *_COMBINE)


@dataclass(frozen=True)
class ScatterAttrs:
    """Attributes of both.

    Attributes:
        reduction: one of :data:`REDUCTIONS`; of ``none`` the last update of a place stays.
        axis: of ScatterElements, as written, negative from the back.
    """

    reduction: str
    axis: int = 0


def parse(node: ir.Node) -> ScatterAttrs:
    """Attributes of a ScatterElements or ScatterND node."""
    reduction = nodes.text(node, "reduction", "none")
    if reduction not in REDUCTIONS:
        raise nodes.unsupported(node, f"reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}")
    return ScatterAttrs(reduction, nodes.integer(node, "axis", 0) if node.op_type == "ScatterElements" else 0)


def infer_elements(attrs: ScatterAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the data; updates are as large as indices, and nowhere larger than the data, the axis apart."""
    data, indices, updates = inputs
    axis = nodes.axis_of(attrs.axis, len(data), "ScatterElements")
    if (
        indices != updates
        or len(data) != len(indices)
        or any(index > data[place] for place, index in enumerate(indices) if place != axis)
    ):
        raise ModelError(f"ScatterElements got data {data}, indices {indices} and updates {updates}")
    return (data,)


def infer_nd(attrs: ScatterAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """The shape of the data; the updates are one slice of it for each tuple of indices."""
    data, indices, updates = inputs
    if not indices or not 1 <= indices[-1] <= len(data) or updates != (*indices[:-1], *data[indices[-1] :]):
        raise ModelError(f"ScatterND got data {data}, indices {indices} and updates {updates}")
    return (data,)


def _put(attrs: ScatterAttrs, data: Array, where: tuple[Array, ...], updates: Array) -> Array:
    result = data.copy()
    if attrs.reduction == "none":
        # One by one: of several updates of one place, which one NumPy keeps is not promised.
        full = np.broadcast_arrays(*where)
        slices = updates.reshape(full[0].size, *data.shape[len(where) :])
        for index, update in zip(zip(*(item.reshape(-1) for item in full), strict=True), slices, strict=True):
            result[index] = update
    else:
        _COMBINE[attrs.reduction].at(result, where, updates)  # type: ignore[arg-type]
    return result


def _elements(attrs: ScatterAttrs, inputs: Sequence[Array]) -> Array:
    data, indices, updates = inputs
    infer_elements(attrs, [item.shape for item in inputs])
    axis = attrs.axis % data.ndim
    return _put(attrs, data, along(indices, axis, data.shape[axis]), updates)


def _nd(attrs: ScatterAttrs, inputs: Sequence[Array]) -> Array:
    data, indices, updates = inputs
    infer_nd(attrs, [item.shape for item in inputs])
    return _put(attrs, data, places(indices, data.shape), updates)


def _op(
    op_type: str,
    infer: Callable[[ScatterAttrs, Sequence[Shape]], tuple[Shape, ...]],
    scatter: Callable[[ScatterAttrs, Sequence[Array]], Array],
) -> Op[ScatterAttrs]:
    def reference(attrs: ScatterAttrs, inputs: Sequence[Array | None]) -> Array:
        return scatter(attrs, [item for item in inputs if item is not None])

    def quantized(attrs: ScatterAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
        if attrs.reduction != "none":
            raise UnsupportedError(f"{op_type} that combines by {attrs.reduction!r} has no integer form")
        data, indices, updates = (item for item in inputs if item is not None)
        moved = [requantize(item, output.qparams, output.low, output.high) for item in (data, updates)]
        return scatter(attrs, [moved[0], indices.values, moved[1]])

    return Op(
        op_type,
        parse,
        infer,
        reference,
        quantized,
        rule=Rule("concat", data=None),
        lowering="lower_indexing.lower_scatter",
    )


SCATTER_ELEMENTS = _op("ScatterElements", infer_elements, _elements)
SCATTER_ND = _op("ScatterND", infer_nd, _nd)
