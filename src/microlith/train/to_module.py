"""A graph as a generated ``torch.fx.GraphModule``: what the training techniques run and differentiate.

Each node is a submodule and each initializer a parameter or buffer, under their ONNX names; ``node.meta`` of the
generated graph holds the ONNX names as they are. Pairs of QuantizeLinear and DequantizeLinear are fake-quantized, so
that the graph which is trained is the one which is deployed. Samples are stacked along the graph's axis of size 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.metadata import io_qparams
from microlith.graph.values import static_shape
from microlith.ops import op_of
from microlith.ops.base import Array, Shape
from microlith.ops.nodes import real, where
from microlith.quant.types import LIMITS, as_held
from microlith.train.fake_quant import CarriedEntry, Dequantize, Entry, FakeQuant, Quantize, Quantizer
from microlith.train.forms import FORMS, REFUSED
from microlith.train.forms.base import Form, Function, Site
from microlith.train.layers import BatchNorm, BatchNormMode, Layer, each_sample, only_sample
from microlith.train.linear import Linear, linear_of, stated
from microlith.train.names import Paths, holder, identifier
from microlith.train.origin import ORIGIN, Origin, Scaled, Stored

_NO_ARITHMETIC = frozenset({ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64})
_BATCH_NORM_DATA = (0, 1, 2, 3, 4)


def to_module(
    model: ir.Model,
    *,
    float_weights: Mapping[str, Array] | None = None,
    real_io: bool = True,
    batch_norm: BatchNormMode = "train",
    dropout: Mapping[str, float] | None = None,
) -> torch.fx.GraphModule:
    """The graph of a model as a module; the model stays as it is.

    Args:
        model: float or quantized, of batch 1.
        float_weights: by the name of an initializer of integers, the floats that they were made from, to start training
            there; what the integers stand for by default.
        real_io: integer inputs and outputs whose meaning the model states are real numbers, so that a quantized model
            takes and gives what its float model does; such an input may be given as its integers as well. Otherwise
            inputs are the integers, and outputs are integers carried in floats.
        batch_norm: ``train`` normalizes by the batch in training mode; ``frozen`` never does.
        dropout: by the name of a value, the share of its elements that is set to 0 in training mode.

    Raises:
        UnsupportedError: an op cannot be trained through; the message says why.
        InputError: a name is not in the graph.
    """
    return _Builder(model, float_weights or {}, real_io, batch_norm, dropout or {}).build()


@dataclass(eq=False)
class _Builder:
    model: ir.Model
    float_weights: Mapping[str, Array]
    real_io: bool
    batch_norm: BatchNormMode
    dropout: Mapping[str, float]
    root: nn.Module = field(default_factory=nn.Module)
    graph: Any = field(default_factory=torch.fx.Graph)
    paths: Paths = field(default_factory=Paths)
    # What of the generated graph holds each value; what a QuantizeLinear stands for, beside; constants as buffers.
    held: dict[ir.Value, Any] = field(default_factory=dict)
    meant: dict[ir.Value, tuple[Any, Linear]] = field(default_factory=dict)
    shapes: dict[ir.Value, Shape] = field(default_factory=dict)
    varying: set[ir.Value] = field(default_factory=set)
    carried: set[ir.Value] = field(default_factory=set)
    places: dict[ir.Value, str] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)
    scaled: list[Scaled] = field(default_factory=list)

    def build(self) -> torch.fx.GraphModule:
        self._check()
        learned = _learned(self.model)
        for value in self.model.graph.initializers.values():
            self.places[value] = self.paths.leaf(str(value.name))
        for value in self.model.graph.inputs:
            if value.const_value is None:
                self._input(value)
        for node in self.model.graph:
            self._node(node, learned)
            self._drop(node)
        self.graph.output(self._outputs())
        module = torch.fx.GraphModule(self.root, self.graph, identifier(self.model.graph.name or "model"))
        self.graph.lint()
        module.meta[ORIGIN] = Origin.of(self.model, tuple(self.stored), tuple(self.scaled))
        return module.eval()

    def _check(self) -> None:
        names = {value.name for node in self.model.graph for value in node.outputs}
        for name in self.dropout:
            if name not in names:
                raise InputError(f"dropout is asked for after {name!r}, which no node computes")
        for name in self.float_weights:
            if name not in self.model.graph.initializers:
                raise InputError(f"weights are given for {name!r}, which is no initializer")

    # ---- borders

    def _input(self, value: ir.Value) -> None:
        name = str(value.name)
        _refuse_type(value, f"input {name!r}")
        found = self.graph.placeholder(identifier(name))
        found.meta["onnx_name"] = name
        if value.shape is None or not value.shape.is_static():
            raise UnsupportedError(f"the shape of input {name!r} is not known", hint="Give the dynamic dimensions.")
        shape = tuple(int(size) for size in value.shape.numpy())
        self.shapes[value] = shape
        self.varying.add(value)
        if shape[:1] != (1,):
            found = self.graph.call_function(torch.unsqueeze, (found, 0))
        qparams = io_qparams(self.model, name) if self.real_io else None
        if qparams is not None and value.dtype != ir.DataType.FLOAT:
            self._quantize(value, found, stated(qparams), f"{name}_quantize", ())
        else:
            self.held[value] = found

    def _outputs(self) -> Any:
        found = []
        for value in self.model.graph.outputs:
            result = self._output(value)
            if value in self.varying and self.shapes[value][:1] != (1,):
                result = self.graph.call_function(only_sample, (result,))
            found.append(result)
        return found[0] if len(found) == 1 else tuple(found)

    def _output(self, value: ir.Value) -> Any:
        if value in self.meant and self.real_io:
            return self.meant[value][0]
        qparams = io_qparams(self.model, str(value.name)) if self.real_io else None
        if value in self.carried and qparams is not None:
            return self._call(f"{value.name}_dequantize", self._quantizer(Dequantize, value, stated(qparams)), value)
        if value not in self.held:
            return self._constant(value, learned=False)
        return self.held[value]

    # ---- nodes

    def _node(self, node: ir.Node, learned: set[ir.Value]) -> None:
        if node.op_type == "QuantizeLinear":
            source = node.inputs[0]
            assert source is not None, "the loader checks it"
            self._of(source, learned)
            self._know(node, node.outputs[0], self.shapes[source], [source])
            self._quantize(node.outputs[0], self.held[source], linear_of(node), str(node.name), (node,))
        elif node.op_type == "DequantizeLinear":
            self._dequantize(node)
        elif node.op_type == "BatchNormalization":
            self._layer(node, Form("BatchNormalization", lambda attrs, site: len, _BATCH_NORM_DATA), learned)
        else:
            op_of(node)
            if node.op_type not in FORMS:
                why = REFUSED.get(node.op_type, "it has no form in torch")
                raise UnsupportedError(f"{node.op_type} cannot be trained through: {why}", node=where(node))
            self._layer(node, FORMS[node.op_type], learned)

    def _layer(self, node: ir.Node, form: Form, learned: set[ir.Value]) -> None:
        op = op_of(node)
        chosen = op.data_inputs if form.inputs is None else form.inputs
        positions = range(len(node.inputs)) if chosen is None else [i for i in chosen if i < len(node.inputs)]
        values = [node.inputs[index] for index in positions]
        while values and values[-1] is None:
            values.pop()
        operands = [None if value is None else self._of(value, learned) for value in values]
        attrs = op.parse(node) if form.parses else None
        shapes = [() if value is None else self.shapes[value] for value in values]
        results = op.infer(attrs, shapes) if form.parses else [static_shape(value) for value in node.outputs]
        varying = [value is not None and value in self.varying for value in values]
        seen = [shape if varies else None for shape, varies in zip(shapes, varying, strict=True)]
        stacked = (
            any(varying)
            and all(shape is None or shape[:1] == (1,) for shape in seen)
            and all(shape[:1] == (1,) for shape in results)
            and (form.stacks if form.stacks is not None else _batches(op, attrs, seen, results, form))
        )
        for value, shape in zip(node.outputs, results, strict=False):
            self._know(node, value, shape, [item for item in values if item is not None])
        site = Site(node, shapes, results, stacked)
        module = self._module(node, form, attrs, site, varying)
        wraps = isinstance(module, Layer) and (form.several or (any(varying) and not stacked))
        found = self._add(str(node.name), module, operands, node)
        if not wraps:
            self.held[node.outputs[0]] = found
            return
        for index, value in enumerate(node.outputs):
            if value.name and (value.uses() or value.is_graph_output()) and index < len(results):
                item = self.graph.call_function(_item, (found, index))
                item.meta.update(found.meta, onnx_name=value.name)
                self.held[value] = item

    def _module(self, node: ir.Node, form: Form, attrs: Any, site: Site, varying: Sequence[bool]) -> nn.Module:
        if node.op_type == "BatchNormalization":
            momentum = 1.0 - real(node, "momentum", 0.9)
            return BatchNorm(real(node, "epsilon", 1e-5), momentum, self.batch_norm)
        function: Function = form.build(attrs, site)
        if any(varying) and not site.stacked:
            several = function if form.several else _as_tuple(function)
            led = [shape[:1] == (1,) for shape in site.shapes]
            function = each_sample(several, varying, led, [shape[:1] == (1,) for shape in site.results])
        text = ", ".join(f"{item.name}={item.value}" for item in node.attributes.values())
        return Layer(node.op_type, function, text)

    def _drop(self, node: ir.Node) -> None:
        for value in node.outputs:
            if value.name in self.dropout and value in self.held:
                share = self.dropout[str(value.name)]
                self.held[value] = self._add(f"{value.name}_dropout", nn.Dropout(share), [self.held[value]], None)

    # ---- quantization

    def _quantize(self, value: ir.Value, source: Any, linear: Linear, name: str, nodes: tuple[ir.Node, ...]) -> None:
        """What stands for an integer tensor: its real values alone where nothing reads the integers."""
        readers = [use.node for use in value.uses()]
        alike = [n for n in readers if n.op_type == "DequantizeLinear" and linear_of(n).same(linear)]
        integers = len(alike) < len(readers) or (value.is_graph_output() and not self.real_io) or not readers
        if value.is_graph_output() and self.real_io and len(alike) == len(readers):
            integers = False
        if integers:
            module = self._quantizer(Quantize if nodes else CarriedEntry, value, linear)
            self.held[value] = self._add(name, module, [source], nodes[0] if nodes else None)
            self.carried.add(value)
        else:
            module = self._quantizer(FakeQuant if nodes else Entry, value, linear)
            found = self._add(name, module, [source], nodes[0] if nodes else None)
            self.meant[value] = found, linear
            self.scaled.append(Scaled(found.target, tuple(str(n.name) for n in (*nodes, *alike))))

    def _dequantize(self, node: ir.Node) -> None:
        source, result, linear = node.inputs[0], node.outputs[0], linear_of(node)
        assert source is not None, "the loader checks it"
        if source in self.meant and source not in self.held:
            found, _ = self.meant[source]
            self._know(node, result, self.shapes[source], [source])
            self.held[result] = found
            return
        constant = source.const_value is not None
        if constant:
            self._weight(source, linear)
        self._know(node, result, self.shapes[source], [source])
        module = self._quantizer(FakeQuant if constant else Dequantize, source, linear)
        self.held[result] = self._add(str(node.name), module, [self.held[source]], node)
        if constant:
            path = self.held[result].target
            self.scaled.append(Scaled(path, (str(node.name),)))
            self.stored.append(Stored(str(source.name), self.held[source].target, path))

    def _weight(self, value: ir.Value, linear: Linear) -> None:
        """Constant integers as a parameter: the floats that they were made from, or what they stand for."""
        if value in self.held:
            return
        name = str(value.name)
        start = self.float_weights.get(name)
        integers = _array(value)
        if start is not None and start.shape != integers.shape:
            raise InputError(f"the weights given for {name!r} have shape {start.shape}, expected {integers.shape}")
        real = linear.dequantize(integers) if start is None else np.asarray(start, np.float32)
        self._put(value, nn.Parameter(torch.from_numpy(np.array(real, np.float32))))
        self.shapes[value] = integers.shape

    def _quantizer(self, kind: type[Quantizer], value: ir.Value, linear: Linear) -> Quantizer:
        shape = self.shapes[value]
        lead = int(value in self.varying and shape[:1] != (1,))
        low, high = LIMITS[linear.dtype]
        axis = None if linear.axis is None else linear.axis + lead
        return kind(linear.scale, linear.zero_point, low, high, axis=axis, block=linear.block, rank=len(shape) + lead)

    # ---- parts

    def _of(self, value: ir.Value, learned: set[ir.Value]) -> Any:
        if value not in self.held and value in self.meant:
            raise AssertionError("integers are kept where something reads them")
        if value not in self.held:
            return self._constant(value, value in learned)
        return self.held[value]

    def _constant(self, value: ir.Value, learned: bool) -> Any:
        if value.const_value is None:
            raise UnsupportedError(f"{value.name!r} is read before it is computed")
        _refuse_type(value, f"constant {value.name!r}")
        array = _array(value)
        tensor = torch.from_numpy(np.array(array))
        self.shapes[value] = array.shape
        if tensor.is_floating_point():
            self.stored.append(Stored(str(value.name), self.places[value], None))
        return self._put(value, nn.Parameter(tensor) if learned and tensor.is_floating_point() else tensor)

    def _put(self, value: ir.Value, tensor: Any) -> Any:
        module, last = holder(self.root, self.places[value])
        if isinstance(tensor, nn.Parameter):
            module.register_parameter(last, tensor)
        else:
            module.register_buffer(last, tensor)
        found = self.graph.get_attr(self.places[value])
        found.meta["onnx_name"] = str(value.name)
        self.held[value] = found
        return found

    def _call(self, name: str, module: nn.Module, value: ir.Value) -> Any:
        return self._add(name, module, [self.held[value]], None)

    def _add(self, name: str, module: nn.Module, operands: Sequence[Any], node: ir.Node | None) -> Any:
        path = self.paths.module(name or (node.outputs[0].name if node is not None else "") or "node")
        parent, last = holder(self.root, path)
        held = parent._modules.get(last)
        if held is not None:  # A module that was made for the weights below it.
            for key, item in held._modules.items():
                module.add_module(key, item)
            for key, item in held._parameters.items():
                module.register_parameter(key, item)
            for key, item in held._buffers.items():
                module.register_buffer(key, item)
        parent.add_module(last, module)
        found = self.graph.call_module(path, tuple(operands))
        if node is not None:
            found.meta.update(onnx_name=node.outputs[0].name, onnx_node=node.name, onnx_op=node.op_type)
        return found

    def _know(self, node: ir.Node, value: ir.Value, shape: Shape, inputs: Sequence[ir.Value]) -> None:
        if value.name:
            _refuse_type(value, f"the result of {where(node)}")
        self.shapes[value] = tuple(shape)
        if any(item in self.varying for item in inputs):
            self.varying.add(value)
        is_integer = node.op_type != "DequantizeLinear" and value.dtype != ir.DataType.FLOAT
        if is_integer and any(item in self.carried for item in inputs):
            self.carried.add(value)


def _batches(op: Any, attrs: Any, seen: Sequence[Shape | None], results: Sequence[Shape], form: Form) -> bool:
    if form.op_type == "PRelu":
        return len(seen) < 2 or seen[1] is None
    return bool(op.batches(attrs, seen, results[0]))


def _item(found: Sequence[Any], index: int) -> Any:
    return found[index]


def _as_tuple(function: Function) -> Function:
    return lambda *operands: (function(*operands),)


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None, "a constant"
    return as_held(np.asarray(value.const_value.numpy()))


def _refuse_type(value: ir.Value, what: str) -> None:
    if value.dtype in _NO_ARITHMETIC:
        raise UnsupportedError(f"{what} is {value.dtype}, and torch computes nothing with it")


def _learned(model: ir.Model) -> set[ir.Value]:
    """Float constants that are weights: named so by the op that reads them, or of more than one element."""
    found: set[ir.Value] = set()
    fixed: set[ir.Value] = set()
    for node in model.graph:
        form = FORMS.get(node.op_type)
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None:
                continue
            if node.op_type == "BatchNormalization":
                (found if index in (1, 2) else fixed).add(value)
            elif form is None or index in form.fixed:
                fixed.add(value)
            elif index in form.learned or value.const_value.size > 1:
                found.add(value)
    return found - fixed
