"""A quantized graph in torch with the integer arithmetic of the device: the exact mode of :mod:`.to_module`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from microlith.core.errors import UnsupportedError
from microlith.graph.metadata import requantization
from microlith.graph.reference import required_output
from microlith.graph.units import Unit, units
from microlith.ops import op_of
from microlith.ops.base import Array, Op, Output
from microlith.ops.nodes import where
from microlith.quant.types import QArray, QParams, held
from microlith.train.builder import GraphBuilder, array
from microlith.train.exact_forms import Integers, exact_function
from microlith.train.forms import FORMS
from microlith.train.forms.base import Form, Function, Site, like, plain
from microlith.train.integers import carried, centered

_STORED = {"int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32}

# BatchNormalization and QuantizeLinear, which have no form.
_OF_ITSELF = Form("", plain(len))


def to_exact(model: ir.Model) -> torch.fx.GraphModule:
    """A module that computes, bit for bit, the integers of the reference executor; for evaluation, without gradients.

    Inputs and outputs are those of the graph, stacked along its axis of size 1. Units of integers are equal to the
    reference in every bit; what the model leaves in float is computed in float32, where sums may round differently.

    Raises:
        UnsupportedError: an op has no form in torch, or its integers do not fit the arithmetic.
    """
    return _Exact(model).build()


class _Exact(GraphBuilder):
    def build(self) -> torch.fx.GraphModule:
        mode = requantization(self.model)
        for value in self.model.graph.inputs:
            if value.const_value is None:
                self.held[value] = self.placeholder(value)
        for unit in units(self.model):
            self._unit(unit, required_output(unit, mode))
        return self.finish(self._output)

    def _output(self, value: ir.Value) -> Any:
        if value not in self.held:
            return self.constant(value)
        kind = "" if value.dtype is None else held(value.dtype.name.lower())
        if kind not in _STORED:
            return self.held[value]
        return self.graph.call_function(_stored, (self.held[value], _STORED[kind]))

    def _unit(self, unit: Unit, output: Output | None) -> None:
        node, op = unit.node, op_of(unit.node)
        if unit.kind in ("quantize", "dequantize"):
            self._border(unit)
            return
        if op.op_type not in (*FORMS, "BatchNormalization", "QuantizeLinear"):
            raise UnsupportedError(f"{op.op_type} has no form in torch", node=where(node))
        values = [None if item is None else item.value for item in unit.inputs]
        while values and values[-1] is None:
            values.pop()
        for value in values:
            if value is not None and value not in self.held:
                self.constant(value)
        attrs = op.parse(node)
        results = op.infer(attrs, [() if value is None else self.shapes[value] for value in values])
        form = FORMS.get(op.op_type, _OF_ITSELF)
        site = self.site(node, values, results, lambda seen: form.takes_stacked(op, attrs, seen, results))
        outputs = [unit.output.value, *(None if item is None else item.value for item in unit.others)]
        for value, shape in zip(outputs, results, strict=False):
            if value is not None:
                self.know(value, shape, values, node)
        several = form.several
        if output is None:
            function = _float_function(unit, op, attrs, site, several)
        else:
            qparams = [None if item is None else item.qparams for item in unit.inputs][: len(values)]
            self._refuse(op, attrs, values, qparams, output, node)
            function = exact_function(Integers(op, attrs, site, qparams, output))
        self.compute(site, values, outputs if several else outputs[:1], function, several)

    def _border(self, unit: Unit) -> None:
        operand, output = unit.inputs[0], unit.output
        assert operand is not None, "checked by units"
        if operand.value not in self.held:
            self.constant(operand.value)
        shape = self.shapes[operand.value]
        self.know(output.value, shape, [operand.value], unit.node)
        lead = operand.value in self.varying and shape[:1] != (1,)
        rank = len(shape) + lead
        qparams = output.qparams if unit.kind == "quantize" else operand.qparams
        assert qparams is not None, "a border has them"
        moved = qparams if qparams.axis is None else QParams(qparams.scale, qparams.zero_point, qparams.dtype,
                                                             qparams.axis + lead)  # fmt: skip
        function = _quantize(moved, rank) if unit.kind == "quantize" else _dequantize(moved, rank)
        site = Site(unit.node, [shape], [shape], True)
        self.compute(site, [operand.value], [output.value], function, False)

    def _refuse(
        self,
        op: Op[Any],
        attrs: Any,
        values: Sequence[ir.Value | None],
        qparams: Sequence[QParams | None],
        output: Output,
        node: ir.Node,
    ) -> None:
        """Refuse what the reference refuses: one evaluation of it, on constants as they are and zeros."""
        operands = [
            None if value is None else _operand(self._sample(value), q)
            for value, q in zip(values, qparams, strict=True)
        ]
        assert op.quantized is not None, "an integer unit"
        try:
            op.quantized(attrs, operands, output)
        except UnsupportedError as error:
            error.node = error.node or where(node)
            raise

    def _sample(self, value: ir.Value) -> Array:
        if value.const_value is not None:
            return array(value)
        assert value.dtype is not None, "typed by the loader"
        return np.zeros(self.shapes[value], held(value.dtype.name.lower()))


def _operand(values: Array, qparams: QParams | None) -> QArray:
    return QArray.itself(values) if qparams is None else QArray(values, qparams)  # type: ignore[arg-type]


def _stored(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


def _quantize(qparams: QParams, rank: int) -> Function:
    scale = torch.from_numpy(np.asarray(qparams.broadcast(qparams.scale, rank), np.float32))
    zero = torch.from_numpy(np.asarray(qparams.broadcast(qparams.zero_point, rank), np.float64))
    return lambda x: (carried(torch.round(x / scale)) + zero).clamp(qparams.low, qparams.high)


def _dequantize(qparams: QParams, rank: int) -> Function:
    scale = torch.from_numpy(np.asarray(qparams.broadcast(qparams.scale, rank), np.float32))
    of_x = centered(qparams, rank)
    return lambda x: of_x(x).to(torch.float32) * scale


def _float_function(unit: Unit, op: Op[Any], attrs: Any, site: Site, several: bool) -> Function:
    if op.op_type == "BatchNormalization":
        shape = (-1, *[1] * (len(site.shapes[0]) - 2))
        gain, offset = (item.astype(np.float32).reshape(shape) for item in (attrs.scale, attrs.offset))
        function: Function = lambda x: x * like(gain, x) + like(offset, x)  # noqa: E731
    elif op.op_type == "PRelu":
        function = lambda x: torch.where(x < 0, x * like(attrs.slope, x), x)  # noqa: E731
    else:
        function = FORMS[op.op_type].build(attrs, site)
    if unit.activation is None:
        return function
    after = FORMS[unit.activation.op_type].build(op_of(unit.activation).parse(unit.activation), site)
    if several:
        return lambda *operands: (after(function(*operands)[0]),)
    return lambda *operands: after(function(*operands))
