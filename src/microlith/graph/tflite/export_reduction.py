"""Reductions, and searches along an axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from microlith.graph.tflite.exporter import Exporter
from microlith.graph.units import Unit
from microlith.graph.values import integer, static_shape
from microlith.ops.reduce import is_image_mean


def _reduce(exp: Exporter, unit: Unit, name: str) -> None:
    """MEAN and SUM. Of integers they drop the axes, which a RESHAPE brings back: one that keeps those of images rounds
    in its own way, and stands for nodes that are marked so."""
    _written(exp, unit, name, keeps=unit.kind != "integer" or is_image_mean(unit.node))


def _extreme(exp: Exporter, unit: Unit, name: str) -> None:
    """REDUCE_MAX and REDUCE_MIN, whose integers keep their meaning."""
    _written(exp, unit, name, keeps=True, same=True)


def _product(exp: Exporter, unit: Unit) -> None:
    if unit.kind == "integer":
        raise exp.refuse(unit, "ReduceProd of quantized tensors cannot be written")
    _written(exp, unit, "REDUCE_PROD", keeps=True)


def _written(exp: Exporter, unit: Unit, name: str, *, keeps: bool, same: bool = False) -> None:
    x, attrs = exp.operand(unit, 0), exp.attrs(unit)
    shape = exp.shape(x)
    reduced = attrs.reduced(len(shape))
    keep = bool(attrs.keepdims) and keeps
    written = [1 if axis in reduced else size for axis, size in enumerate(shape) if keep or axis not in reduced]
    meaning = exp.tensors[x].qparams if same else None
    axes = exp.ints(reduced, unit, "axes")
    exp.finish(unit, name, [x, axes], shape=written, meaning=meaning, keep_dims=keep)


def _arg(exp: Exporter, unit: Unit, name: str) -> None:
    """ArgMax and ArgMin, the first of equal elements; int64 as in the graph."""
    node, rank = unit.node, len(static_shape(exp.given(unit, 0).value))
    if integer(node, "select_last_index", 0):
        raise exp.refuse(unit, f"{node.op_type} of the last of equal elements cannot be written")
    shape = static_shape(exp.given(unit, 0).value)
    axis = integer(node, "axis", 0) % rank
    written = (*shape[:axis], *shape[axis + 1 :])
    exp.finish(unit, name, [exp.operand(unit, 0), exp.ints(axis, unit, "axis")], shape=written)


HANDLERS: Mapping[str, Callable[[Exporter, Unit], None]] = {
    "ArgMax": partial(_arg, name="ARG_MAX"),
    "ArgMin": partial(_arg, name="ARG_MIN"),
    "ReduceMax": partial(_extreme, name="REDUCE_MAX"),
    "ReduceMean": partial(_reduce, name="MEAN"),
    "ReduceMin": partial(_extreme, name="REDUCE_MIN"),
    "ReduceProd": _product,
    "ReduceSum": partial(_reduce, name="SUM"),
}
