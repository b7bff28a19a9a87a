"""A graph as a generated ``torch.fx.GraphModule``: what the training techniques run and differentiate.

Each node is a submodule and each initializer a parameter or buffer, under their ONNX names; ``node.meta`` of the
generated graph holds the ONNX names as they are. Pairs of QuantizeLinear and DequantizeLinear are fake-quantized, so
that the graph which is trained is the one which is deployed. Samples are stacked along the graph's axis of size 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.metadata import io_qparams
from microlith.graph.values import static_shape
from microlith.ops import op_of
from microlith.ops.base import Array
from microlith.ops.nodes import real, where
from microlith.train.batch_norm import with_batch_norm
from microlith.train.builder import GraphBuilder, array, read
from microlith.train.fake_quant import CarriedEntry, Dequantize, Entry, FakeBinary, FakeQuant, Quantize, Quantizer
from microlith.train.forms import FORMS, REFUSED
from microlith.train.forms.base import Form
from microlith.train.layers import BatchNorm, BatchNormMode
from microlith.train.linear import Linear, linear_of, stated, weights_of
from microlith.train.origin import ORIGIN, Origin, Scaled, Stored
from microlith.train.original import original_weights


def to_module(
    model: ir.Model,
    *,
    original: ir.Model | None = None,
    float_weights: Mapping[str, Array] | None = None,
    real_io: bool = True,
    batch_norm: BatchNormMode | Literal["inserted"] = "train",
    statistics: Iterable[Mapping[str, Array]] | None = None,
    dropout: Mapping[str, float] | None = None,
) -> torch.fx.GraphModule:
    """The graph of a model as a module; the model stays as it is.

    Args:
        model: float or quantized, of batch 1.
        original: the float model that was quantized; training starts at its weights instead of at what the integers
            stand for.
        float_weights: by the name of an initializer of integers, floats to start at; they come before ``original``.
        real_io: integer inputs and outputs whose meaning the model states are real numbers, so that a quantized model
            takes and gives what its float model does; such an input may be given as its integers as well. Otherwise
            inputs are the integers, and outputs are integers carried in floats.
        batch_norm: ``train`` normalizes by the batch in training mode; ``frozen`` never does; ``inserted`` puts a
            BatchNormalization behind each layer of float weights that has none, and normalizes by the batch; see
            :func:`microlith.train.batch_norm.with_batch_norm`.
        statistics: for ``inserted``, data by input name, batch by batch.
        dropout: by the name of a value, the share of its elements that is set to 0 in training mode.

    Raises:
        UnsupportedError: an op cannot be trained through; the message says why.
        InputError: a name is not in the graph.
    """
    if (batch_norm == "inserted") != (statistics is not None):
        raise InputError("batch_norm='inserted' and data for its statistics go together")
    start: dict[str, Array] = {} if original is None else dict(original_weights(model, original))
    start.update(float_weights or {})
    if batch_norm != "inserted":
        return _Builder(model, start, real_io, batch_norm, dropout or {}).build()
    folded = _Builder(model, {}, real_io, "frozen", {}).build()
    unfolded = with_batch_norm(model, folded, statistics or ())
    return _Builder(unfolded, start, real_io, "train", dropout or {}).build()


class _Builder(GraphBuilder):
    def __init__(
        self,
        model: ir.Model,
        float_weights: Mapping[str, Array],
        real_io: bool,
        batch_norm: BatchNormMode,
        dropout: Mapping[str, float],
    ) -> None:
        super().__init__(model)
        self._float_weights, self._real_io = float_weights, real_io
        self._batch_norm, self._dropout = batch_norm, dropout
        self._learned = _learned(model)
        # What a quantized tensor stands for, and tensors whose integers are carried in floats.
        self._meant: dict[ir.Value, Any] = {}
        self._carried: set[ir.Value] = set()
        self._stored: list[Stored] = []
        self._scaled: list[Scaled] = []

    def build(self) -> torch.fx.GraphModule:
        self._check()
        for value in self.model.graph.inputs:
            if value.const_value is None:
                self._input(value)
        for node in self.model.graph:
            self._node(node)
            self._drop(node)
        module = self.finish(self._output)
        module.meta[ORIGIN] = Origin.of(self.model, tuple(self._stored), tuple(self._scaled))
        return module

    def _check(self) -> None:
        names = {value.name for node in self.model.graph for value in node.outputs}
        for name in self._dropout:
            if name not in names:
                raise InputError(f"dropout is asked for after {name!r}, which no node computes")
        for name in self._float_weights:
            if name not in self.model.graph.initializers:
                raise InputError(f"weights are given for {name!r}, which is no initializer")

    # ---- borders

    def _input(self, value: ir.Value) -> None:
        found = self.placeholder(value)
        qparams = io_qparams(self.model, str(value.name)) if self._real_io else None
        if qparams is not None and value.dtype != ir.DataType.FLOAT:
            self._quantize(value, found, stated(qparams), f"{value.name}_quantize", ())
        else:
            self.held[value] = found

    def _output(self, value: ir.Value) -> Any:
        if value in self._meant and self._real_io:
            return self._meant[value]
        qparams = io_qparams(self.model, str(value.name)) if self._real_io else None
        if value in self._carried and qparams is not None:
            module = self._quantizer(Dequantize, value, stated(qparams))
            return self.add(f"{value.name}_dequantize", module, [self.held[value]], None)
        return self._of(value)

    # ---- nodes

    def _node(self, node: ir.Node) -> None:
        if node.op_type == "QuantizeLinear":
            source, result = node.inputs[0], node.outputs[0]
            assert source is not None, "the loader checks it"
            operand = self._of(source)
            self.know(result, self.shapes[source], [source], node)
            self._quantize(result, operand, linear_of(node), str(node.name), (node,))
        elif node.op_type == "DequantizeLinear":
            self._dequantize(node)
        elif node.op_type == "BatchNormalization":
            self._normalize(node)
        else:
            op_of(node)
            if node.op_type not in FORMS:
                why = REFUSED.get(node.op_type, "it has no form in torch")
                raise UnsupportedError(f"{node.op_type} cannot be trained through: {why}", node=where(node))
            self._layer(node, FORMS[node.op_type])

    def _layer(self, node: ir.Node, form: Form) -> None:
        op = op_of(node)
        chosen = op.data_inputs if form.inputs is None else form.inputs
        positions = range(len(node.inputs)) if chosen is None else [i for i in chosen if i < len(node.inputs)]
        values = [node.inputs[index] for index in positions]
        while values and values[-1] is None:
            values.pop()
        for value in values:
            if value is not None:
                self._of(value)
        attrs = op.parse(node) if form.parses else None
        shapes = [() if value is None else self.shapes[value] for value in values]
        results = op.infer(attrs, shapes) if form.parses else [static_shape(value) for value in node.outputs]
        site = self.site(node, values, results, lambda seen: form.takes_stacked(op, attrs, seen, results))
        for value, shape in zip(node.outputs, results, strict=False):
            self.know(value, shape, values, node)
            if value.dtype != ir.DataType.FLOAT and any(item in self._carried for item in values):
                self._carried.add(value)
        outputs = [read(value) for value in node.outputs] if len(node.outputs) > 1 else list(node.outputs)
        self.compute(site, values, outputs, form.build(attrs, site), form.several)

    def _normalize(self, node: ir.Node) -> None:
        op_of(node).parse(node)  # refuses what the reference does
        operands = []
        for value in node.inputs:
            assert value is not None, "checked by the op"
            operands.append(self._of(value))
        momentum = 1.0 - real(node, "momentum", 0.9)
        module = BatchNorm(real(node, "epsilon", 1e-5), momentum, self._batch_norm)
        result, source = node.outputs[0], node.inputs[0]
        assert source is not None, "checked by the op"
        self.know(result, self.shapes[source], [source], node)
        self.held[result] = self.add(str(node.name), module, operands, node)

    def _drop(self, node: ir.Node) -> None:
        for value in node.outputs:
            if value.name in self._dropout and value in self.held:
                share = self._dropout[str(value.name)]
                self.held[value] = self.add(f"{value.name}_dropout", nn.Dropout(share), [self.held[value]], None)

    def _of(self, value: ir.Value) -> Any:
        if value not in self.held:
            found = self.constant(value, value in self._learned)
            if value.dtype == ir.DataType.FLOAT:
                self._stored.append(Stored(str(value.name), self.places[value], None))
            return found
        return self.held[value]

    # ---- quantization

    def _quantize(self, value: ir.Value, source: Any, linear: Linear, name: str, nodes: tuple[ir.Node, ...]) -> None:
        """What stands for an integer tensor: its real values alone where nothing reads the integers."""
        readers = [use.node for use in value.uses()]
        alike = [n for n in readers if n.op_type == "DequantizeLinear" and linear_of(n).same(linear)]
        leaves_as_integers = value.is_graph_output() and not self._real_io
        if len(alike) < len(readers) or leaves_as_integers or not (readers or value.is_graph_output()):
            module = self._quantizer(Quantize if nodes else CarriedEntry, value, linear)
            self.held[value] = self.add(name, module, [source], nodes[0] if nodes else None)
            self._carried.add(value)
            return
        module = self._quantizer(FakeQuant if nodes else Entry, value, linear)
        self._meant[value] = self.add(name, module, [source], nodes[0] if nodes else None)
        self._scaled.append(Scaled(self._meant[value].target, tuple(str(n.name) for n in (*nodes, *alike))))

    def _dequantize(self, node: ir.Node) -> None:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None, "the loader checks it"
        if source in self._meant:
            self.know(result, self.shapes[source], [source], node)
            self.held[result] = self._meant[source]
            return
        constant = source.const_value is not None
        linear = weights_of(node) if constant else linear_of(node)
        if constant:
            self._weight(source, linear)
        self.know(result, self.shapes[source], [source], node)
        kind = (FakeBinary if linear.binary else FakeQuant) if constant else Dequantize
        self.held[result] = self.add(str(node.name), self._quantizer(kind, source, linear), [self.held[source]], node)
        if constant:
            path = self.held[result].target
            self._scaled.append(Scaled(path, (str(node.name),)))
            self._stored.append(Stored(str(source.name), self.held[source].target, path))

    def _weight(self, value: ir.Value, linear: Linear) -> None:
        """Constant integers as a parameter: the floats that they were made from, or what they stand for."""
        if value in self.held:
            return
        name = str(value.name)
        start, integers = self._float_weights.get(name), array(value)
        if start is not None and start.shape != integers.shape:
            raise InputError(f"the weights given for {name!r} have shape {start.shape}, expected {integers.shape}")
        floats = linear.dequantize(integers) if start is None else np.asarray(start, np.float32)
        self.put(value, nn.Parameter(torch.from_numpy(np.array(floats, np.float32))))
        self.shapes[value] = integers.shape

    def _quantizer(self, kind: type[Quantizer], value: ir.Value, linear: Linear) -> Quantizer:
        shape = self.shapes[value]
        lead = int(value in self.varying and shape[:1] != (1,))
        axis = None if linear.axis is None else linear.axis + lead
        limits = linear.low, linear.high
        return kind(linear.scale, linear.zero_point, *limits, axis=axis, block=linear.block, rank=len(shape) + lead)


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
