"""Reductions, searches along an axis, and what the shapes of the file already say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import IMAGE_RANK, NCHW_AXIS, Importer
from microlith.graph.tflite.types import ONNX_TYPES
from microlith.ops.reduce import IMAGE_MEAN_KEY
from microlith.quant.types import QArray

Handler = Callable[[Importer], None]


def _axes(imp: Importer, rank: int) -> list[int]:
    axes = sorted({axis % rank if rank and -rank <= axis < rank else -1 for axis in imp.integers(1)})
    if axes[:1] == [-1]:
        raise ModelError(f"axes {list(imp.integers(1))} of a tensor of {rank} dimensions", node=imp.where)
    return axes


def _is_image_mean(imp: Importer, index: int, keep: bool) -> bool:
    """Whether LiteRT computes a mean by its kernel for rows and columns, which rounds otherwise than the other one."""
    x = imp.tensor(index)
    image = len(imp.shape(index)) == IMAGE_RANK and _axes(imp, IMAGE_RANK) == [1, 2]
    return keep and image and x.dtype == "int8" and x.qparams is not None


def _reduce(imp: Importer, op_type: str) -> None:
    index = imp.input(0)
    axes = _axes(imp, len(imp.shape(index)))
    keep = bool(imp.operator.options["keep_dims"])
    # Rows and columns go together: what is left of N,C,H,W is then in the order of N,H,W,C.
    image = len(imp.shape(index)) == 4 and imp.has(index, "nchw") and {1, 2} <= set(axes)
    layout = "nchw" if image and keep else "own"
    x = imp.real(index, "nchw" if image else "own")
    if image:
        axes = sorted(NCHW_AXIS[axis] for axis in axes)
    y = imp.node(op_type, [x, imp.ints(axes, "axes")], keepdims=int(keep))
    if op_type == "ReduceMean" and _is_image_mean(imp, index, keep):
        imp.nodes[-1].metadata_props.add(key=IMAGE_MEAN_KEY, value="1")
    imp.finish(y, "nchw" if layout == "nchw" else "own")


def _reduce_logic(imp: Importer, op_type: str) -> None:
    """REDUCE_ANY and REDUCE_ALL, as the greatest or the least of 0 and 1."""
    index = imp.input(0)
    axes = _axes(imp, len(imp.shape(index)))
    numbers = imp.node("Cast", [imp.stored(index)], to=ONNX_TYPES["int32"])
    keep = int(imp.operator.options["keep_dims"])
    y = imp.node(op_type, [numbers, imp.ints(axes, "axes")], keepdims=keep)
    imp.finish(imp.node("Cast", [y], to=ONNX_TYPES["bool"]))


def _arg(imp: Importer, op_type: str) -> None:
    index = imp.input(0)
    axes = _axes(imp, len(imp.shape(index)))
    if len(axes) != 1:
        raise ModelError(f"{len(axes)} axes, expected one", node=imp.where)
    y = imp.node(op_type, [imp.stored(index)], axis=axes[0], keepdims=0)
    imp.finish(imp.node("Cast", [y], to=_type_of(imp, imp.output())))


def _cumsum(imp: Importer) -> None:
    imp.float_only()
    axis = _axes(imp, len(imp.shape(imp.input(0))))
    options = imp.operator.options
    y = imp.node(
        "CumSum",
        [imp.real(imp.input(0)), imp.constant(np.asarray(axis[0], np.int64), f"{imp.layer}/axis")],
        exclusive=int(options["exclusive"]),
        reverse=int(options["reverse"]),
    )
    imp.finish(y)


def _top_k(imp: Importer) -> None:
    """TOPK_V2 along the last axis."""
    index = imp.input(0)
    values, places = imp.multi("TopK", [imp.real(index), imp.ints(imp.integers(1), "k")], 2, axis=-1)
    imp.finish(values, output=imp.output(0))
    imp.finish(imp.node("Cast", [places], to=_type_of(imp, imp.output(1))), output=imp.output(1))


def _cast(imp: Importer) -> None:
    imp.finish(imp.node("Cast", [imp.stored(imp.input(0))], to=_type_of(imp, imp.output())))


def _one_hot(imp: Importer) -> None:
    """ONE_HOT: an index below zero stands for no place, where ONNX counts it from the end."""
    imp.float_only()
    values = imp.constant(np.stack([_scalar(imp, 3), _scalar(imp, 2)]), f"{imp.layer}/values")
    indices, kind = imp.stored(imp.input(0)), np.dtype(imp.tensor(imp.input(0)).dtype)
    zero, beyond = (imp.constant(np.asarray(item, kind), f"{imp.layer}/index") for item in (0, imp.integer(1)))
    indices = imp.node("Where", [imp.node("Less", [indices, zero]), beyond, indices])
    y = imp.node(
        "OneHot",
        [indices, imp.ints([imp.integer(1)], "depth"), values],
        axis=imp.operator.options["axis"],
    )
    imp.finish(y)


def _type_of(imp: Importer, index: int) -> int:
    dtype = imp.tensor(index).dtype
    if dtype not in ONNX_TYPES:
        raise imp.refuse(f"a result of type {dtype} cannot be imported")
    return ONNX_TYPES[dtype]


def _quantize(imp: Importer) -> None:
    """QUANTIZE: of floats, or from one set of parameters to another."""
    index = imp.input(0)
    layout = imp.layout_of([index], imp.output())
    if not imp.quantized:
        raise ModelError(f"{imp.tensor(imp.output()).name!r} has no quantization parameters", node=imp.where)
    imp.finish(imp.real(index, layout), layout)


def _dequantize(imp: Importer) -> None:
    """DEQUANTIZE: of integers, or of half-precision constants."""
    index = imp.input(0)
    layout = imp.layout_of([index], imp.output())
    tensor = imp.tensor(index)
    if imp.is_constant(index) and tensor.values is not None:
        known = tensor.values if tensor.qparams is None else QArray(tensor.values, tensor.qparams).dequantize()
        imp.state(imp.output(), known.astype(np.float32))
        return
    value = imp.real(index, layout)
    if tensor.dtype == "float16":
        value = imp.node("Cast", [value], to=ONNX_TYPES["float32"])
    imp.finish(value, layout)


def _scalar(imp: Importer, position: int) -> Any:
    values = imp.tensor(imp.input(position)).values
    if values is None or values.size != 1:
        raise imp.refuse(f"{imp.operator.name} of computed values cannot be imported")
    return values.reshape(())[()]


def _known(imp: Importer) -> None:
    """SHAPE, RANK, FILL and RANGE, where all that decides the result is in the file."""
    out = imp.tensor(imp.output())
    kind = np.dtype(out.dtype)
    if imp.operator.name in ("SHAPE", "RANK"):
        shape = imp.shape(imp.input(0))
        values = np.asarray(shape if imp.operator.name == "SHAPE" else len(shape), kind)
    else:
        imp.float_only()
        if imp.operator.name == "FILL":
            values = np.full(imp.made(imp.output()), _scalar(imp, 1), kind)
        else:
            steps = np.arange(math.prod(imp.made(imp.output())), dtype=kind)
            values = np.asarray(_scalar(imp, 0) + _scalar(imp, 2) * steps, kind).reshape(out.shape)
    imp.state(imp.output(), np.asarray(values, kind))


HANDLERS: Mapping[str, Handler] = {
    "ARG_MAX": partial(_arg, op_type="ArgMax"),
    "ARG_MIN": partial(_arg, op_type="ArgMin"),
    "CAST": _cast,
    "CUMSUM": _cumsum,
    "DEQUANTIZE": _dequantize,
    "FILL": _known,
    "MEAN": partial(_reduce, op_type="ReduceMean"),
    "ONE_HOT": _one_hot,
    "QUANTIZE": _quantize,
    "RANGE": _known,
    "RANK": _known,
    "REDUCE_ALL": partial(_reduce_logic, op_type="ReduceMin"),
    "REDUCE_ANY": partial(_reduce_logic, op_type="ReduceMax"),
    "REDUCE_MAX": partial(_reduce, op_type="ReduceMax"),
    "REDUCE_MIN": partial(_reduce, op_type="ReduceMin"),
    "REDUCE_PROD": partial(_reduce, op_type="ReduceProd"),
    "SHAPE": _known,
    "SUM": partial(_reduce, op_type="ReduceSum"),
    "TOPK_V2": _top_k,
}
