"""The state of an export: which tensor of the file holds each value of the graph; handlers add operators.

The graph has images as N,H,W,C already (:mod:`microlith.graph.tflite.channels_last`). uint8 tensors are computed with
as the int8 of :func:`microlith.quant.types.stored`, since the operators of ``.tflite`` files are defined for those; a
QUANTIZE that changes no meaning stands where the graph itself takes or gives uint8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import MicrolithError, UnsupportedError
from microlith.graph.metadata import io_qparams
from microlith.graph.tflite.model import Graph, Operator, Tensor
from microlith.graph.tflite.schema import ACTIVATIONS, INT16_OPERATORS, OPTIONS
from microlith.graph.tflite.types import ONNX_TYPES
from microlith.graph.units import Operand, Unit, activation_bounds, clamp_limits, node_qparams
from microlith.graph.values import constant, describe, static_shape
from microlith.ops import op_of
from microlith.quant.types import QArray, QParams, as_held, stored, stored_values

Array = NDArray[np.generic]
Bounds = tuple[float, float]
Handler = Callable[["Exporter", Unit], None]
Step = Callable[[int, int], None]

BOUNDS: Mapping[str, Bounds] = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}
"""What the operators that clamp let through."""

_NARROW = ("int2", "uint2", "int4", "uint4")
_READ_AS = "/nchw"  # what the reader adds to the names of images
_FREE: Bounds = (-math.inf, math.inf)
_FUSED = {name: number for number, name in enumerate(ACTIVATIONS) if name in BOUNDS}


class Exporter:
    """Collects the tensors and operators of a file.

    Attributes:
        model: in N,H,W,C, its requantization ``fixed``.
        tensors: of the file.
        operators: of the file, in order.
        remarks: what the file does otherwise than the graph, for the user.
    """

    def __init__(self, model: ir.Model, handlers: Mapping[str, Handler], meanings: Mapping[ir.Value, QParams]) -> None:
        self.model = model
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.remarks: list[str] = []
        self._handlers = handlers
        self._meanings = meanings
        self._index: dict[tuple[ir.Value, bool], int] = {}
        self._names: set[str] = set()

    # ---- the whole

    def run(self, units: Sequence[Unit]) -> Graph:
        """Export every unit.

        Raises:
            UnsupportedError: one cannot be expressed; it is named.
        """
        inputs = [self._tensor_of(value) for value in self.model.graph.inputs]
        for unit in units:
            try:
                self._export(unit)
            except MicrolithError as error:
                error.node = error.node or describe(unit.node)
                raise
        outputs = [self._output(value) for value in self.model.graph.outputs]
        return Graph(tuple(self.tensors), tuple(inputs), tuple(outputs), tuple(self.operators))

    def _export(self, unit: Unit) -> None:
        if unit.kind == "dequantize" and constant(unit.inputs[0].value if unit.inputs[0] else None) is not None:
            return  # made where it is read, in the order that the reader wants
        if unit.node.op_type not in self._handlers or any(item is not None for item in unit.others):
            what = "quantized tensors" if unit.kind == "integer" else "such tensors"
            raise self.refuse(unit, f"{unit.node.op_type} of {what} cannot be written to a .tflite file")
        self._handlers[unit.node.op_type](self, unit)

    def _output(self, value: ir.Value) -> int:
        index = self.own(value)
        if value.is_graph_input() or constant(value) is not None:
            raise UnsupportedError(f"the output {value.name!r} is an input or a constant, which no operator computes")
        return index

    def refuse(self, unit: Unit, what: str, hint: str | None = None) -> UnsupportedError:
        """An error about a unit."""
        return UnsupportedError(what, node=describe(unit.node), hint=hint)

    def remark(self, unit: Unit, what: str) -> None:
        """Say what the file does otherwise than the graph."""
        self.remarks.append(f"{unit.node.name}: {what}")

    def attrs(self, unit: Unit) -> Any:
        """The parsed attributes of the op."""
        return op_of(unit.node).parse(unit.node)

    # ---- tensors

    def add(
        self, base: str, shape: Sequence[int], dtype: str, qparams: QParams | None = None, values: Array | None = None
    ) -> int:
        """A new tensor; its name starts with ``base``."""
        base = base.removesuffix(_READ_AS)  # the name that the file had for it
        name, count = base, 0
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        self.tensors.append(Tensor(name, tuple(shape), dtype, values, qparams))
        return len(self.tensors) - 1

    def like(self, index: int, base: str, shape: Sequence[int] | None = None) -> int:
        """A new computed tensor of the type and meaning of another."""
        tensor = self.tensors[index]
        return self.add(base, tensor.shape if shape is None else shape, tensor.dtype, tensor.qparams)

    def constant(self, values: Array, base: str, qparams: QParams | None = None) -> int:
        """A new constant."""
        return self.add(base, values.shape, values.dtype.name, qparams, values)

    def ints(self, values: Any, unit: Unit, what: str) -> int:
        """A new constant of int32, named after the node."""
        return self.constant(np.asarray(values, np.int32), f"{unit.node.name}/{what}")

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self.tensors[index].shape

    def _tensor_of(self, value: ir.Value) -> int:
        """A new tensor for a value as it is in the graph."""
        assert value.dtype is not None, "loading types every value"
        dtype = value.dtype.name.lower()
        dtype = {"float": "float32"}.get(dtype, dtype)
        if dtype not in ONNX_TYPES:
            raise UnsupportedError(f"{value.name!r} is {dtype}, which a .tflite file cannot hold")
        qparams = self._meanings.get(value) or io_qparams(self.model, value.name or "")
        index = self.add(value.name or "tensor", static_shape(value), dtype, qparams)
        self._index[value, False] = index
        return index

    def own(self, value: ir.Value) -> int:
        """The tensor that holds a value as it is in the graph."""
        found = self._index.get((value, False))
        if found is not None:
            return found
        values = constant(value)
        if values is not None:
            found = self.constant(_wide(values), value.name or "constant")
        elif (value, True) in self._index:
            source = self._index[value, True]
            tensor = self.tensors[source]
            assert tensor.qparams is not None, "integers that are held as int8 have a meaning"
            meaning = replace(tensor.qparams, zero_point=tensor.qparams.zero_point + 128, dtype="uint8")
            found = self.add(value.name or "tensor", tensor.shape, "uint8", meaning)
            self.emit("QUANTIZE", [source], [found])
        elif (producer := value.producer()) is not None and producer.op_type == "DequantizeLinear":
            found = self._dequantized(producer, None)
        else:
            raise UnsupportedError(f"{value.name!r} is read before it is computed")
        self._index[value, False] = found
        return found

    def real(self, value: ir.Value, perm: Sequence[int] | None = None) -> int:
        """The tensor of a float, weights in another order of axes; a constant that is integers stays so in the file."""
        if perm is None:
            return self.own(value)
        values, producer = constant(value), value.producer()
        if values is not None:
            return self.constant(np.ascontiguousarray(values.transpose(perm)), value.name or "weights")
        if producer is not None and producer.op_type == "DequantizeLinear" and constant(producer.inputs[0]) is not None:
            return self._dequantized(producer, perm)
        raise UnsupportedError(f"the weights {value.name!r} are computed, expected constants")

    def _dequantized(self, node: ir.Node, perm: Sequence[int] | None) -> int:
        """The result of a DequantizeLinear of a constant."""
        value, qparams = node.inputs[0], node_qparams(node)
        values = constant(value)
        assert value is not None and values is not None, "asked before"
        order = tuple(range(values.ndim)) if perm is None else tuple(perm)
        if qparams.dtype not in ("int8", "uint8", *_NARROW):
            known = QArray(as_held(values), qparams).dequantize().transpose(order)  # type: ignore[arg-type]
            return self.constant(np.ascontiguousarray(known), node.outputs[0].name or "constant")
        source = self._stored_constant(Operand(value, qparams), order)
        result = self.add(node.outputs[0].name or "real", self.shape(source), "float32")
        self.emit("DEQUANTIZE", [source], [result])
        return result

    def _stored_constant(self, operand: Operand, order: Sequence[int] | None = None) -> int:
        """A constant of integers as int8 (or as wider ones), in another order of axes."""
        values, qparams = constant(operand.value), operand.qparams
        assert values is not None and qparams is not None, "asked before"
        narrow = qparams.dtype in _NARROW
        held = as_held(values).astype(np.int8) if narrow else stored_values(values)
        order = tuple(range(held.ndim)) if order is None else tuple(order)
        meaning = replace(qparams, dtype="int8") if narrow else stored(qparams)
        if meaning.axis is not None:
            meaning = replace(meaning, axis=order.index(meaning.axis))
        return self.constant(np.ascontiguousarray(held.transpose(order)), operand.value.name or "constant", meaning)

    def operand(self, unit: Unit, position: int) -> int:
        """The tensor that a unit reads: int8 where it is quantized to 8 bits."""
        found = self.given(unit, position)
        if found.qparams is None:
            return self.own(found.value)
        if constant(found.value) is not None:
            return self._stored_constant(found)
        return self.integers(found.value, found.qparams)

    def given(self, unit: Unit, position: int) -> Operand:
        """An operand that must be there."""
        found = unit.inputs[position] if position < len(unit.inputs) else None
        if found is None:
            raise self.refuse(unit, f"input {position} is missing")
        return found

    def integers(self, value: ir.Value, qparams: QParams) -> int:
        """The tensor of quantized integers, int8 instead of uint8."""
        if qparams.dtype != "uint8":
            index = self.own(value)
            known = self.tensors[index].qparams
            if known is None:
                self.tensors[index] = replace(self.tensors[index], qparams=qparams)
            elif not known.same(qparams):
                raise UnsupportedError(f"the integers of {value.name!r} are read with different scales or zero points")
            return index
        found = self._index.get((value, True))
        if found is None:
            source = self.own(value)
            self.tensors[source] = replace(self.tensors[source], qparams=qparams)
            found = self.add(f"{value.name}/int8", self.shape(source), "int8", stored(qparams))
            self.emit("QUANTIZE", [source], [found])
            self._index[value, True] = found
        return found

    def weights(self, unit: Unit, position: int, perm: Sequence[int]) -> int:
        """Constant weights in another order of axes, of which the zero points are 0 where they are integers."""
        found = self.given(unit, position)
        if unit.kind != "integer":
            return self.real(found.value, perm)
        if constant(found.value) is None or found.qparams is None:
            raise self.refuse(unit, f"the weights {found.value.name!r} are computed, expected constants")
        index = self._stored_constant(found, perm)
        meaning = self.tensors[index].qparams
        assert meaning is not None, "stored constants have one"
        if meaning.dtype != "int8" or meaning.zero_point.any():
            raise self.refuse(
                unit,
                f"the weights are {meaning.dtype} with zero points other than 0, which the operators do not have",
                "Quantize the weights symmetrically to int8.",
            )
        return index

    def bias(self, unit: Unit, x: int, weights: int, count: int) -> int:
        """The bias as a vector (zeros without one), whose scale is the product of those of input and weights."""
        found = unit.inputs[2] if len(unit.inputs) > 2 else None
        values: Array | None = np.zeros(count, np.float32)
        base = f"{unit.node.name}/bias"
        if found is not None:
            values, base = constant(found.value), found.value.name or base
        if values is None or values.size not in (1, count):
            raise self.refuse(unit, f"the bias {base!r} is no constant vector of {count}")
        values = np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (count,)))
        if unit.kind != "integer":
            return self.constant(values, base)
        qx, qw = self.tensors[x].qparams, self.tensors[weights].qparams
        assert qx is not None and qw is not None, "an integer unit has quantized operands"
        scale = np.asarray(qx.scale * qw.scale, np.float32)
        meaning = QParams(scale, np.zeros(scale.shape, np.int32), "int32", None if scale.ndim == 0 else 0)
        wide = values.astype(np.int64) if qx.dtype == "int16" else values.astype(np.int32)
        return self.constant(wide, base, meaning)

    # ---- results

    def result(self, unit: Unit) -> int:
        """The tensor that a unit writes; of 8 bits, int8."""
        value, qparams = unit.output.value, unit.output.qparams
        if qparams is None:
            return self._tensor_of(value)
        if qparams.dtype not in ("int8", "uint8", "int16") or qparams.axis is not None:
            raise self.refuse(unit, f"the result is quantized to {qparams.dtype}, expected int8 with one scale")
        unsigned = qparams.dtype == "uint8"
        meaning = stored(qparams)
        base = f"{value.name}/int8" if unsigned else str(value.name)
        index = self.add(base, static_shape(value), meaning.dtype, meaning)
        self._index[value, unsigned] = index
        return index

    def emit(self, name: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Add an operator.

        Raises:
            UnsupportedError: its operands are int16, and it has no form for those.
        """
        self._check_widths(name, [self.tensors[index] for index in (*inputs, *outputs)])
        self.operators.append(Operator(name, tuple(inputs), tuple(outputs), options))

    def _check_widths(self, name: str, tensors: Sequence[Tensor]) -> None:
        """Refuse what operators do not do with int16: other zero points than 0, and int8 beside it."""
        computed = [item for item in tensors if item.values is None and item.qparams is not None]
        wide = [item for item in computed if item.dtype == "int16"]
        if not wide:
            return
        if name not in INT16_OPERATORS:
            raise UnsupportedError(f"{name} of int16 does not exist", hint="Quantize this layer to int8.")
        if any(item.qparams is not None and item.qparams.zero_point.any() for item in wide):
            raise UnsupportedError(
                f"{name} of int16 has zero points of 0, and there are others",
                hint="Quantize activations symmetrically: --symmetric.",
            )
        if len(wide) < len(computed) and name != "QUANTIZE":
            raise UnsupportedError(f"{name} of int8 and int16 at once does not exist", hint="Quantize both alike.")

    def finish(
        self,
        unit: Unit,
        name: str,
        inputs: Sequence[int],
        *,
        shape: Sequence[int] | None = None,
        meaning: QParams | None = None,
        last: Step | None = None,
        **options: Any,
    ) -> int:
        """Add the operator that gives the result of a unit, and what its activation, shape and meaning need behind it.

        Args:
            unit: to be finished.
            name: of the operator.
            inputs: of the operator.
            shape: of what the operator writes, where that is not the shape of the result.
            meaning: of the integers that the operator writes, where it cannot write those of the result.
            last: what makes the result of what has another shape, from tensor to tensor; a RESHAPE by default.
            options: of the operator.
        """
        result = self.result(unit)
        fused, bounds = self._activation(unit, result, "activation" in OPTIONS.get(name, {}))
        if fused:
            options["activation"] = fused
        steps: list[Step] = []
        if bounds is not None:
            steps += self._clamps(unit, result, bounds)
        kept = self.tensors[result].qparams
        if meaning is not None and kept is not None and not meaning.same(kept):
            steps.insert(0, lambda x, y: self.emit("QUANTIZE", [x], [y]))
        else:
            meaning = None
        if shape is not None and tuple(shape) != self.shape(result):
            steps.append(last or (lambda x, y: self.reshape(unit, x, y)))
        first = self.shape(result) if shape is None else shape
        places = [self.like(result, f"{unit.node.name}/{name.lower()}", first) for _ in steps]
        if places and meaning is not None:
            self.tensors[places[0]] = replace(self.tensors[places[0]], qparams=meaning)
        places.append(result)
        self.emit(name, inputs, [places[0]], **options)
        for step, x, y in zip(steps, places, places[1:], strict=False):
            step(x, y)
        return result

    def _activation(self, unit: Unit, result: int, can_fuse: bool) -> tuple[int, Bounds | None]:
        """The number of the fused activation, and the bounds that something behind the operator must see to."""
        bounds = activation_bounds(unit.activation)
        if bounds == _FREE:
            return 0, None
        qparams = self.tensors[result].qparams
        if can_fuse:
            for name, number in _FUSED.items():
                if BOUNDS[name] == bounds:
                    return number, None
        if qparams is None:
            return 0, bounds
        wanted = clamp_limits(bounds, qparams, "fixed")
        if wanted == (qparams.low, qparams.high):
            return 0, None
        for name, number in _FUSED.items() if can_fuse else ():
            if clamp_limits(BOUNDS[name], qparams, "fixed") == wanted:
                return number, None
        return 0, bounds

    def _clamps(self, unit: Unit, result: int, bounds: Bounds) -> list[Step]:
        """Operators that keep a tensor between bounds, each from one tensor to another like it."""
        name = next((name for name, known in BOUNDS.items() if known == bounds), None)
        if name is not None:
            return [lambda x, y, name=name: self.emit(name, [x], [y])]  # type: ignore[misc]
        qparams = self.tensors[result].qparams
        steps: list[Step] = []
        limits = bounds if qparams is None else clamp_limits(bounds, qparams, "fixed")
        free = _FREE if qparams is None else (qparams.low, qparams.high)
        for operator, limit, none in zip(("MAXIMUM", "MINIMUM"), limits, free, strict=True):
            if limit != none:
                values = np.asarray(limit, self.tensors[result].dtype)
                bound = self.constant(values, f"{unit.node.name}/bound", qparams)
                steps.append(lambda x, y, op=operator, b=bound: self.emit(op, [x, b], [y]))  # type: ignore[misc]
        return steps

    def clamped(self, unit: Unit, x: int, bounds: Bounds) -> None:
        """The result of a unit that only clamps a tensor of the same meaning."""
        result = self.result(unit)
        steps = self._clamps(unit, result, bounds)
        places = [x, *(self.like(result, f"{unit.node.name}/clamped") for _ in steps[1:]), result]
        if not steps:
            self.reshape(unit, x, result)
        for step, before, after in zip(steps, places, places[1:], strict=False):
            step(before, after)

    def reshape(self, unit: Unit, x: int, y: int) -> None:
        """The elements of a tensor in another shape."""
        self.emit("RESHAPE", [x, self.ints(self.shape(y), unit, "shape")], [y])

    def reshaped(self, unit: Unit, x: int, shape: Sequence[int]) -> int:
        """A tensor in another shape; itself where it has that."""
        if self.shape(x) == tuple(shape):
            return x
        y = self.like(x, f"{unit.node.name}/reshaped", shape)
        self.reshape(unit, x, y)
        return y

    def transposed(self, unit: Unit, x: int, perm: Sequence[int]) -> int:
        """A tensor with its axes in another order."""
        y = self.like(x, f"{unit.node.name}/transposed", [self.shape(x)[axis] for axis in perm])
        self.emit("TRANSPOSE", [x, self.ints(perm, unit, "perm")], [y])
        return y

    def means(self, unit: Unit, x: int) -> int:
        """A tensor of integers with the meaning of the unit's result."""
        meaning = unit.output.qparams
        known = self.tensors[x].qparams
        if unit.kind != "integer" or meaning is None or known is None or known.same(stored(meaning)):
            return x
        self.remark(unit, "an operand is brought to the scale of the result by a QUANTIZE, whose rounding is its own")
        y = self.add(f"{unit.node.name}/requantized", self.shape(x), stored(meaning).dtype, stored(meaning))
        self.emit("QUANTIZE", [x], [y])
        return y


def _wide(values: Array) -> Array:
    return as_held(np.asarray(values))
