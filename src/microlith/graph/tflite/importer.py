"""The state of an import: which ONNX value holds each tensor of the file, in which layout.

A ``.tflite`` file keeps images as N,H,W,C, standard ONNX as N,C,H,W. A tensor of four dimensions therefore has up to
two values, its own and ``nchw``; the second one is made by a Transpose where an operator asks for it first.
Operators that work in either layout take the one in which their operands are, so that Transposes stay at the borders.

A quantized tensor is the integers of its QuantizeLinear; operators read it through a DequantizeLinear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import MicrolithError, ModelError, UnsupportedError
from microlith.graph.tflite.model import Graph, Operator, Tensor
from microlith.graph.tflite.schema import ACTIVATIONS
from microlith.graph.tflite.scope import Place, Scope, another
from microlith.quant.types import QArray, QParams

Layout = Literal["own", "nchw"]
Array = NDArray[Any]

TO_NCHW = (0, 3, 1, 2)
TO_OWN = (0, 2, 3, 1)
IMAGE_RANK = 4
NCHW_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}
"""Where an axis of an image in its own layout is in N,C,H,W."""

MAX_MADE_ELEMENTS = 1 << 22
"""Most elements of a constant that the file does not hold but describe, such as by FILL."""

WITHOUT_RESULTS = frozenset(("ASSIGN_VARIABLE", "CALL_ONCE"))

MAX_DEPTH = 16
"""Deepest nesting of subgraphs."""


class Importer:
    """Collects the nodes and constants of an ONNX graph; handlers add to it."""

    def __init__(self, graph: Graph, scope: Scope, place: Place | None = None) -> None:
        self.graph = graph
        self.scope = scope
        self.place = place or Place()
        self._tensors = list(graph.tensors)
        self.nodes = self.place.nodes
        self.operator = Operator("", (), (), {})
        self.source = -1
        self.handles: dict[int, str] = {}
        self._own_names = [self.unique(tensor.name or f"tensor_{i}") for i, tensor in enumerate(graph.tensors)]
        self._stored: dict[tuple[int, Layout], str] = {(index, "own"): self._own_names[index] for index in graph.inputs}
        self._real: dict[tuple[int, Layout], str] = {}
        self._parameters: dict[int, list[str]] = {}
        self._constants: set[int] = set()

    # ---- names and errors

    def unique(self, base: str) -> str:
        """A name that no other value has, made from this one."""
        return another(self.scope.names, self.scope.counts, base, "_")

    def node_name(self, base: str) -> str:
        """A name that no other node has, made from this one."""
        return another(self.scope.node_names, self.scope.counts, base, "_")

    @property
    def layer(self) -> str:
        """The name of the operator that is imported now: that of its first result, up to the first of fused names."""
        outputs = self.operator.outputs
        return self._own_names[outputs[0]].split(";")[0] if outputs else self.operator.name

    @property
    def where(self) -> str:
        """Name and kind of the operator that is imported now, for errors."""
        return f"{self.layer} ({self.operator.name})"

    def own_name(self, index: int) -> str:
        """The name of a tensor in the layout of the file."""
        return self._own_names[index]

    def refuse(self, what: str, hint: str | None = None) -> UnsupportedError:
        """An error about the operator that is imported now."""
        return UnsupportedError(what, node=self.where, hint=hint)

    # ---- the operator that is imported now

    def begin(self, operator: Operator) -> None:
        """Turn to the next operator."""
        self.operator = operator
        self.source = operator.inputs[0] if operator.inputs else -1
        if not operator.outputs and operator.name not in WITHOUT_RESULTS:
            raise ModelError("an operator without a result", node=self.where)

    def run(self) -> None:
        """Import every operator.

        Raises:
            ModelError: the graph is malformed.
            UnsupportedError: an operator, or a form of one, cannot be imported; it is named.
        """
        unknown = dict.fromkeys(item.name for item in self.graph.operators if item.name not in self.scope.handlers)
        if unknown:
            raise UnsupportedError(
                f"the operators {', '.join(unknown)} of TensorFlow Lite cannot be imported",
                hint="Replace them in the model, or cut them off before it is converted.",
            )
        self.scope.spend(len(self.graph.operators))
        for operator in self.graph.operators:
            self.begin(operator)
            try:
                self.scope.handlers[operator.name](self)
            except MicrolithError as error:
                error.node = error.node or self.where
                raise

    def inner(self, number: int, inputs: Sequence[int], place: Place) -> Importer:
        """An importer of a subgraph whose inputs are tensors of this one (-1 for one that is bound afterwards)."""
        if place.depth > MAX_DEPTH:
            raise self.refuse(f"subgraphs are nested more than {MAX_DEPTH} deep, or call themselves")
        graph = self.scope.file.graph(number)
        if len(graph.inputs) != len(inputs):
            raise ModelError(f"{len(inputs)} inputs for subgraph {number}, which takes {len(graph.inputs)}")
        child = Importer(graph, self.scope, place)
        child._stored.clear()
        for position, (mine, outer) in enumerate(zip(graph.inputs, inputs, strict=True)):
            if outer in self.handles:
                child.handles[mine] = self.handles[outer]
            elif outer >= 0:
                self.check_alike(outer, child, mine)
                values = self.tensor(outer).values if self.is_constant(outer) else None
                if values is None:
                    child.bind(position, self.stored(outer))
                else:
                    child._tensors[mine] = replace(child._tensors[mine], values=values)
        return child

    def bind(self, position: int, value: str) -> None:
        """State which value an input of the graph is."""
        self._stored[self.graph.inputs[position], "own"] = value

    def check_alike(self, index: int, other: Importer, theirs: int) -> None:
        """Refuse two tensors of which one cannot stand for the other as it is stored."""
        a, b = self.tensor(index), other.tensor(theirs)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ModelError(
                f"{a.name!r} is {a.dtype} {list(a.shape)}, and {b.name!r}, which it goes to or comes from, is "
                f"{b.dtype} {list(b.shape)}",
                node=self.where,
            )
        if (a.qparams is None) != (b.qparams is None) or (
            a.qparams is not None and b.qparams is not None and not a.qparams.same(b.qparams)
        ):
            raise self.refuse(f"{a.name!r} and {b.name!r} have different quantization parameters, expected the same")

    def tensor(self, index: int) -> Tensor:
        """A tensor of the file."""
        return self._tensors[index]

    def input(self, position: int) -> int:
        """The number of an input that must be there."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] < 0:
            raise ModelError(f"input {position} is missing", node=self.where)
        return inputs[position]

    def optional(self, position: int) -> int | None:
        """The number of an input that may be absent."""
        inputs = self.operator.inputs
        return inputs[position] if position < len(inputs) and inputs[position] >= 0 else None

    def output(self, position: int = 0) -> int:
        """The number of a result."""
        if position >= len(self.operator.outputs):
            raise ModelError(f"output {position} is missing", node=self.where)
        return self.operator.outputs[position]

    def shape(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        """The shape of a tensor, which must have this rank if one is given."""
        shape = self.tensor(index).shape
        if rank is not None and len(shape) != rank:
            raise self.refuse(f"{self.tensor(index).name!r} has {len(shape)} dimensions, expected {rank}")
        return shape

    def integers(self, position: int) -> tuple[int, ...]:
        """The values of an input that must be a constant list of integers."""
        tensor = self.tensor(self.input(position))
        if tensor.values is None:
            raise self.refuse(f"{tensor.name!r} is computed, and only a constant can be imported here")
        if not np.issubdtype(tensor.values.dtype, np.integer):
            raise ModelError(f"{tensor.name!r} is {tensor.dtype}, expected integers", node=self.where)
        return tuple(int(item) for item in tensor.values.reshape(-1))

    def integer(self, position: int) -> int:
        """The value of an input that must be one constant integer."""
        values = self.integers(position)
        if len(values) != 1:
            raise ModelError(f"input {position} holds {len(values)} values, expected one", node=self.where)
        return values[0]

    @property
    def quantized(self) -> bool:
        """Whether the first result is quantized; constants are dequantized ahead of time where it is not."""
        return self.tensor(self.output()).qparams is not None

    @property
    def moves_integers(self) -> bool:
        """Whether the results mean their elements as :attr:`source` does, so that they move as they are stored."""
        before = self.tensor(self.source)
        if self.is_constant(self.source) and before.qparams is not None and not self.quantized:
            return False
        results = [self.tensor(index) for index in self.operator.outputs]
        return all(
            before.dtype == after.dtype
            and (before.qparams is None) == (after.qparams is None)
            and (before.qparams is None or (after.qparams is not None and before.qparams.same(after.qparams)))
            for after in results
        )

    def float_only(self) -> None:
        """Refuse the operator on integers: it becomes several nodes, which would not round as one."""
        if self.quantized:
            raise self.refuse(
                f"{self.operator.name} of quantized tensors cannot be imported", "Leave it in float in the converter."
            )

    # ---- nodes and constants

    def constant(self, values: Array, base: str) -> str:
        """A new initializer."""
        from onnx import numpy_helper

        name = self.unique(base)
        self.scope.initializers.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def _constant_of(self, index: int, values: Array) -> str:
        """A new initializer with the name of a constant of the file, which the first one has as it is."""
        base = self._own_names[index]
        if index in self._constants:
            return self.constant(values, base)
        self._constants.add(index)
        self.scope.names.discard(base)
        return self.constant(values, base)

    def made(self, index: int) -> tuple[int, ...]:
        """The shape of a result that is made of nothing but its shape, of bounded size."""
        shape = self.shape(index)
        if math.prod(shape) > MAX_MADE_ELEMENTS:
            raise self.refuse(
                f"{math.prod(shape):,} elements are made from one, and at most {MAX_MADE_ELEMENTS:,} can be"
            )
        return shape

    def state(self, index: int, values: Array) -> None:
        """State that the values of a result are known, so that what reads it finds a constant."""
        tensor = self.tensor(index)
        if tensor.values is not None or (index, "own") in self._stored:
            raise ModelError(f"{tensor.name!r} is computed twice", node=self.where)
        if values.shape != tensor.shape or values.dtype != tensor.dtype:
            raise ModelError(
                f"{tensor.name!r} is {tensor.dtype} {tensor.shape}, and its values are {values.dtype} {values.shape}",
                node=self.where,
            )
        self._tensors[index] = replace(tensor, values=values)

    def ints(self, values: Sequence[int], what: str) -> str:
        """A new initializer of int64, named after the operator."""
        return self.constant(np.asarray(values, np.int64), f"{self.layer}/{what}")

    def node(self, op_type: str, inputs: Sequence[str], *, base: str = "", **attributes: Any) -> str:
        """Add a node, and return the provisional name of its one result."""
        return self.multi(op_type, inputs, 1, base=base, **attributes)[0]

    def multi(
        self, op_type: str, inputs: Sequence[str], results: int, *, base: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several results."""
        from onnx import helper

        base = base or self.layer
        names = [self.unique(f"{base}/{op_type}") for _ in range(results)]
        name = another(self.scope.node_names, self.scope.counts, base, f"/{op_type}_")
        made = helper.make_node(op_type, list(inputs), names, name=name, **attributes)
        self.nodes.append(made)
        self.scope.producers.update(dict.fromkeys(names, made))
        for item in inputs:
            self.scope.producers.pop(item, None)  # what is read keeps its name
        return names

    # ---- operands

    def is_constant(self, index: int) -> bool:
        """Whether a tensor is a constant of the file."""
        return self.tensor(index).values is not None and (index, "own") not in self._stored

    def has(self, index: int, layout: Layout) -> bool:
        """Whether a computed tensor is already there in that layout."""
        return (index, layout) in self._stored

    def stored(self, index: int, layout: Layout = "own") -> str:
        """The value that holds a tensor, integers where it is quantized."""
        found = self._stored.get((index, layout))
        if found is not None:
            return found
        tensor = self.tensor(index)
        if tensor.values is not None and (index, "nchw") not in self._stored:
            values = tensor.values if layout == "own" else tensor.values.transpose(TO_NCHW)
            name = self._constant_of(index, values)
        else:
            other: Layout = "nchw" if layout == "own" else "own"
            if (index, other) not in self._stored:
                raise ModelError(f"{tensor.name!r} is read before it is computed", node=self.where)
            perm = TO_OWN if layout == "own" else TO_NCHW
            name = self.node("Transpose", [self._stored[index, other]], base=f"{tensor.name}/{layout}", perm=perm)
            if layout == "own":
                name = self._rename(name, self._own_names[index])
        self._stored[index, layout] = name
        return name

    def real(self, index: int, layout: Layout = "own") -> str:
        """The value of a tensor to compute with: through a DequantizeLinear where it is quantized."""
        tensor = self.tensor(index)
        if tensor.qparams is None and self.is_constant(index) and tensor.dtype == "float16":
            return self._constant_in(index, layout)
        if tensor.qparams is None:
            return self.stored(index, layout)
        if self.is_constant(index):
            return self._constant_in(index, layout)
        found = self._real.get((index, layout))
        if found is None:
            stored = self.stored(index, layout)
            found = self._dequantize(stored, self.parameters(index), f"{tensor.name}/real", None)
            self._real[index, layout] = found
        return found

    def real_of(self, stored: str, index: int) -> str:
        """``stored``, elements of a tensor in another order, to compute with."""
        if self.tensor(index).qparams is None:
            return stored
        return self._dequantize(stored, self.parameters(index), f"{self.tensor(index).name}/real", None)

    def operand(self, index: int, layout: Layout) -> str:
        """As :meth:`real`, of an operand that is broadcast: one of lower rank is brought into N,C,H,W as well."""
        if layout == "own" or len(self.shape(index)) == IMAGE_RANK or math.prod(self.shape(index)) == 1:
            return self.real(index, layout if len(self.shape(index)) == IMAGE_RANK else "own")
        return self._constant_in(index, layout)

    def _constant_in(self, index: int, layout: Layout) -> str:
        tensor = self.tensor(index)
        values, axis = tensor.values, None if tensor.qparams is None else tensor.qparams.axis
        assert values is not None, "called for constants only"
        if layout == "nchw":
            missing = IMAGE_RANK - values.ndim
            values = values.reshape((1,) * missing + values.shape).transpose(TO_NCHW)
            axis = None if axis is None else NCHW_AXIS[axis + missing]
        return self.weights(index, values, axis)

    def weights(self, index: int, values: Array, axis: int | None) -> str:
        """A constant to compute with, in another order than in the file.

        Args:
            index: the tensor.
            values: its integers or floats as they shall stand.
            axis: along which its scales lie then.
        """
        tensor = self.tensor(index)
        base = tensor.name or f"tensor_{index}"
        if tensor.qparams is None:
            wide = values.astype(np.float32) if values.dtype in (np.float16, np.float64) else values
            return self._constant_of(index, wide)
        qparams = tensor.qparams
        if not self.quantized:
            qparams = QParams(qparams.scale, qparams.zero_point, qparams.dtype, None if qparams.axis is None else axis)
            return self._constant_of(index, QArray(values, qparams).dequantize())
        axis = None if qparams.axis is None else axis
        return self._dequantize(self._constant_of(index, values), self.parameters(index), f"{base}/real", axis)

    def bias(self, index: int, x: int, weights: int) -> str:
        """An int32 bias, whose scale is the product of those of the input and the weights, or a float one."""
        tensor, qx, qw = self.tensor(index), self.tensor(x).qparams, self.tensor(weights).qparams
        if not self.quantized or qx is None or qw is None:
            return self.real(index)
        values = tensor.values
        if values is None or values.dtype not in (np.int32, np.int64):
            raise self.refuse(f"the bias is {tensor.dtype}, expected constant integers of 32 bits")
        if (np.abs(values.astype(np.int64)) >= 2**31).any():
            raise self.refuse("the bias does not fit in 32 bits")
        product = np.asarray(qx.scale * qw.scale, np.float32)
        if tensor.qparams is not None and not np.allclose(tensor.qparams.scale, product, rtol=1e-3, atol=0.0):
            raise self.refuse("the scale of the bias is not the product of the scales of the input and the weights")
        base = tensor.name or f"tensor_{index}"
        stored = self._constant_of(index, values.astype(np.int32).reshape(-1))
        axis = None if product.ndim == 0 else 0
        return self._dequantize(stored, [self.constant(product, f"{base}/scale")], f"{base}/real", axis)

    def parameters(self, index: int) -> list[str]:
        """Scale and zero point of a quantized tensor, as initializers."""
        if index not in self._parameters:
            qparams = self.tensor(index).qparams
            assert qparams is not None, "only quantized tensors have parameters"
            if qparams.axis is not None and not self.is_constant(index):
                raise self.refuse(f"{self.tensor(index).name!r} is computed, and has a scale for each channel")
            base = self.tensor(index).name
            scale = self.constant(qparams.scale, f"{base}/scale")
            zero = self.constant(qparams.zero_point.astype(qparams.dtype), f"{base}/zero_point")
            self._parameters[index] = [scale, zero]
        return self._parameters[index]

    def _dequantize(self, stored: str, parameters: Sequence[str], base: str, axis: int | None) -> str:
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", [stored, *parameters], base=base, **attributes)

    def layout_of(self, inputs: Sequence[int], output: int) -> Layout:
        """The layout in which an operator that works in either shall work."""
        if len(self.shape(output)) != IMAGE_RANK:
            return "own"
        computed = [index for index in inputs if not self.is_constant(index)]
        images = [index for index in computed if len(self.shape(index)) == IMAGE_RANK]
        others = [index for index in computed if index not in images]
        if any(math.prod(self.shape(index)) != 1 for index in others):
            return "own"
        return "nchw" if images and all(self.has(index, "nchw") for index in images) else "own"

    # ---- results

    def finish(self, value: str, layout: Layout = "own", output: int | None = None, activation: int = 0) -> None:
        """State that ``value`` is a result of the operator, before its activation and its quantization."""
        index = self.output() if output is None else output
        self.keep(self._quantize(self._activated(value, activation), index), layout, index)

    def quantized_result(self, value: str, activation: int = 0) -> str:
        """``value`` after its activation and its quantization, before it is given the shape of the result."""
        value = self._activated(value, activation)
        return self._quantize(value, self.output())

    def same_parameters(self) -> None:
        """Refuse an operator whose result means its integers otherwise than its first input."""
        before, after = self.tensor(self.input(0)).qparams, self.tensor(self.output()).qparams
        if (before is None) != (after is None) or (before is not None and after is not None and not before.same(after)):
            raise self.refuse("the input and the result have different quantization parameters, expected the same")

    def keep(self, value: str, layout: Layout, index: int) -> None:
        """State that ``value`` holds a tensor as it is stored."""
        if (index, "own") in self._stored or (index, "nchw") in self._stored or self.tensor(index).values is not None:
            raise ModelError(f"{self.tensor(index).name!r} is computed twice", node=self.where)
        name = self._own_names[index] if layout == "own" else self.unique(f"{self._own_names[index]}/nchw")
        self._stored[index, layout] = self._rename(value, name)

    def _quantize(self, value: str, index: int) -> str:
        tensor = self.tensor(index)
        if tensor.qparams is None:
            return value
        if tensor.dtype not in ("int8", "int16") and self.operator.name != "QUANTIZE":
            raise self.refuse(
                f"a result of type {tensor.dtype} is quantized in a way that is not supported, expected int8",
                "Convert the model with int8 quantization.",
            )
        return self.node("QuantizeLinear", [value, *self.parameters(index)], base=f"{self.layer}/quantize")

    def _activated(self, value: str, activation: int) -> str:
        name = ACTIVATIONS[activation] if 0 <= activation < len(ACTIVATIONS) else str(activation)
        if name == "NONE":
            return value
        if name == "RELU":
            return self.node("Relu", [value])
        if name in ("RELU6", "RELU_N1_TO_1"):
            return self.clip(value, *((0.0, 6.0) if name == "RELU6" else (-1.0, 1.0)))
        if name == "TANH" and not self.quantized:
            return self.node("Tanh", [value])
        raise self.refuse(f"the activation {name} cannot be imported")

    def clip(self, value: str, low: float, high: float) -> str:
        """``value`` between two bounds."""
        bounds = [self.constant(np.asarray(bound, np.float32), f"{self.layer}/bound") for bound in (low, high)]
        return self.node("Clip", [value, *bounds])

    def _rename(self, value: str, name: str) -> str:
        producer = self.scope.producers.pop(value, None)
        if producer is None:
            value = self.node("Identity", [value])
            producer = self.scope.producers.pop(value)
        producer.output[list(producer.output).index(value)] = name
        return name
