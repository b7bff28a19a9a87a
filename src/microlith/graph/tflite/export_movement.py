"""Operators that move elements, and those at the border between floats and integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from microlith.graph.tflite.exporter import Exporter
from microlith.graph.tflite.types import ONNX_TYPES
from microlith.graph.units import Unit
from microlith.graph.values import static_shape
from microlith.quant.types import stored

_MOST_SHRUNK = 5  # dimensions of SLICE and STRIDED_SLICE


def _source(exp: Exporter, unit: Unit) -> int:
    """The operand, with the meaning of the result: integers are requantized before they move."""
    return exp.means(unit, exp.operand(unit, 0))


def _reshape(exp: Exporter, unit: Unit) -> None:
    shape = exp.ints(static_shape(unit.output.value), unit, "shape")
    exp.finish(unit, "RESHAPE", [_source(exp, unit), shape])


def _transpose(exp: Exporter, unit: Unit) -> None:
    x = _source(exp, unit)
    rank = len(exp.shape(x))
    order = exp.attrs(unit).order or tuple(reversed(range(rank)))
    exp.finish(unit, "TRANSPOSE", [x, exp.ints(order, unit, "perm")])


def _concat(exp: Exporter, unit: Unit) -> None:
    """Concat: parts with other scales than the result's are requantized before."""
    inputs = [exp.means(unit, exp.operand(unit, position)) for position in range(len(unit.inputs))]
    rank = len(static_shape(unit.output.value))
    exp.finish(unit, "CONCATENATION", inputs, axis=exp.attrs(unit).axis % rank)


def _slice(exp: Exporter, unit: Unit) -> None:
    x = _source(exp, unit)
    taken = exp.attrs(unit).ranges(exp.shape(x))
    if len(taken) > _MOST_SHRUNK:
        raise exp.refuse(unit, f"Slice of {len(taken)} dimensions cannot be written, only of {_MOST_SHRUNK}")
    begin = exp.ints([item.start for item in taken], unit, "begin")
    if all(item.step == 1 for item in taken):
        exp.finish(unit, "SLICE", [x, begin, exp.ints([len(item) for item in taken], unit, "size")])
        return
    # An end in front of the first element is one below zero, which would count from the back: it is masked.
    masked = sum(1 << axis for axis, item in enumerate(taken) if item.stop < 0)
    ends = exp.ints([max(item.stop, 0) for item in taken], unit, "end")
    steps = exp.ints([item.step for item in taken], unit, "strides")
    exp.finish(unit, "STRIDED_SLICE", [x, begin, ends, steps], end_mask=masked)


def _pad(exp: Exporter, unit: Unit) -> None:
    attrs, x = exp.attrs(unit), _source(exp, unit)
    widths = attrs.widths(len(exp.shape(x)))
    if attrs.mode not in ("constant", "reflect") or min(min(item) for item in widths) < 0:
        raise exp.refuse(unit, f"Pad in mode {attrs.mode} by {attrs.pads} cannot be written")
    inputs = [x, exp.ints(widths, unit, "paddings")]
    if attrs.mode == "reflect":
        exp.finish(unit, "MIRROR_PAD", inputs, mode=0)
        return
    tensor = exp.tensors[x]
    if attrs.value == 0:
        exp.finish(unit, "PAD", inputs)
        return
    value = np.asarray(attrs.value, np.float32 if tensor.qparams is not None else tensor.dtype)
    if tensor.qparams is not None:
        qparams = tensor.qparams
        rounded = np.rint(np.float64(value / qparams.scale)) + int(qparams.zero_point)
        value = np.asarray(np.clip(rounded, qparams.low, qparams.high), tensor.dtype)
    inputs.append(exp.constant(value, f"{unit.node.name}/value", tensor.qparams))
    exp.finish(unit, "PADV2", inputs)


def _tile(exp: Exporter, unit: Unit) -> None:
    repeats = np.asarray(static_shape(unit.output.value)) // np.asarray(static_shape(exp.given(unit, 0).value))
    exp.finish(unit, "TILE", [_source(exp, unit), exp.ints(repeats, unit, "multiples")])


def _expand(exp: Exporter, unit: Unit) -> None:
    exp.finish(unit, "BROADCAST_TO", [_source(exp, unit), exp.ints(static_shape(unit.output.value), unit, "shape")])


def _gather(exp: Exporter, unit: Unit) -> None:
    x = _source(exp, unit)
    axis = exp.attrs(unit).axis % len(exp.shape(x))
    exp.finish(unit, "GATHER", [x, exp.operand(unit, 1)], axis=axis)


def _cast(exp: Exporter, unit: Unit) -> None:
    value = unit.output.value
    source = exp.given(unit, 0).value
    for item in (value, source):
        dtype = "" if item.dtype is None else item.dtype.name.lower()
        if dtype not in (*ONNX_TYPES, "float"):
            raise exp.refuse(unit, f"Cast of or to {dtype} cannot be written")
    exp.finish(unit, "CAST", [exp.operand(unit, 0)])


def _identity(exp: Exporter, unit: Unit) -> None:
    exp.reshape(unit, exp.operand(unit, 0), exp.result(unit))


def _quantize(exp: Exporter, unit: Unit) -> None:
    """QUANTIZE of floats, or from one set of parameters to another."""
    x = exp.operand(unit, 0)
    qparams = unit.output.qparams
    assert qparams is not None, "the result of a QuantizeLinear has parameters"
    exp.emit("QUANTIZE", [x], [exp.result(unit)])


def _dequantize(exp: Exporter, unit: Unit) -> None:
    found = exp.given(unit, 0)
    assert found.qparams is not None, "the operand of a DequantizeLinear has parameters"
    if found.qparams.axis is not None or stored(found.qparams).dtype not in ("int8", "int16"):
        raise exp.refuse(
            unit, f"a computed tensor of {found.qparams.dtype} with scales of its own cannot be written as it is"
        )
    exp.emit("DEQUANTIZE", [exp.operand(unit, 0)], [exp.result(unit)])


HANDLERS: Mapping[str, Callable[[Exporter, Unit], None]] = {
    "Cast": _cast,
    "Concat": _concat,
    "DequantizeLinear": _dequantize,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
