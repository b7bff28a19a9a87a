"""State of lowering: which view holds each graph value, and what every handler needs of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.builder import Builder
from microlith.compile.layout import (
    Layout,
    channels_last,
    gathered,
    graph_shape,
    identity,
    reshaped,
    same_bytes,
)
from microlith.core.errors import UnsupportedError
from microlith.graph.metadata import io_qparams, requantization
from microlith.graph.patterns import FUSED_NODES
from microlith.graph.units import Operand, Unit, activation_bounds, clamp_limits
from microlith.ops import op_of
from microlith.ops.base import Output
from microlith.program.attrs import Convert, Lut
from microlith.program.types import STATE_SPACE, DType, Epilogue, StateSlot, View
from microlith.quant.lut import identity_table
from microlith.quant.types import QParams, as_held, stored, stored_values

Array = NDArray[np.generic]

_DTYPES: dict[ir.DataType, DType] = {
    ir.DataType.FLOAT: "f32",
    ir.DataType.INT2: "s8",
    ir.DataType.UINT2: "u8",
    ir.DataType.INT4: "s8",
    ir.DataType.UINT4: "u8",
    ir.DataType.INT8: "s8",
    ir.DataType.UINT8: "u8",
    ir.DataType.INT16: "s16",
    ir.DataType.UINT16: "u16",
    ir.DataType.INT32: "s32",
    ir.DataType.UINT32: "u32",
    ir.DataType.INT64: "s64",
    ir.DataType.UINT64: "u64",
    ir.DataType.BOOL: "bool",
}
_QUANTIZED = ("int8", "uint8")


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The static shape of a graph value."""
    assert value.shape is not None, "loading gives every value a shape"
    return tuple(int(extent) for extent in value.shape.numpy())


def dtype_of(value: ir.Value) -> DType:
    """The element type of a graph value.

    Raises:
        UnsupportedError: the C kernels have no such type.
    """
    if value.dtype not in _DTYPES:
        raise UnsupportedError(
            f"{value.name} is {value.dtype}, and only float32, integers of 8 to 64 bits and booleans can be compiled"
        )
    return _DTYPES[value.dtype]


@dataclass(frozen=True, eq=False)
class Flattened:
    """A tensor whose bytes stand in another order than the one to read; a matrix product can move its weights."""

    view: View
    shape: tuple[int, ...]
    qparams: QParams | None


class Lowering:
    """Lowers one graph; handlers add calls through :attr:`builder`."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.mode = requantization(model)
        self.builder = Builder()
        self.views: dict[ir.Value, View] = {}
        self.flattened: dict[ir.Value, Flattened] = {}
        self.inputs: list[View] = []
        self.states: dict[str, StateSlot] = {}
        self.dequantized: dict[ir.Value, Array] = {}
        self._flips: dict[tuple[str, int, int], View] = {}

    # ---- borders of the graph

    def add_input(self, value: ir.Value) -> None:
        """A view that the caller fills."""
        dtype, shape, name = dtype_of(value), shape_of(value), value.name or ""
        view = self.builder.tensor(shape, dtype, io_qparams(self.model, name), name)
        self.inputs.append(view)
        self.views[value] = view

    def add_state(self, value: ir.Value, output: str, layout: Layout, initial: Array) -> None:
        """A view of what the run before has left; nobody outside sees it, so that its layout is free."""
        name, dtype = value.name or "", dtype_of(value)
        qparams = io_qparams(self.model, name)
        if dtype == "u8" and qparams is not None:
            dtype, qparams, initial = "s8", stored(qparams), stored_values(initial)
        view = self.builder.tensor(shape_of(value), dtype, qparams, name, layout, STATE_SPACE)
        self.views[value] = view
        self.states[name] = StateSlot(view.id, output, np.ascontiguousarray(initial.transpose(layout)))

    def update_states(self, results: Mapping[str, ir.Value]) -> None:
        """Write what the next run is to find, once nothing reads what this run has found.

        Args:
            results: by the name of the state's input, the graph output that it becomes.
        """
        kept = {self.builder.views[slot.view].buffer for slot in self.states.values()}
        pending = []
        for name, value in results.items():
            target = self.builder.views[self.states[name].view]
            nodes = (value.name or "",)
            as_stored = target.dtype == "s8" and value.dtype == ir.DataType.UINT8
            source = self.read_value(value, target.layout, nodes, as_stored=as_stored)
            if (source.buffer, source.offset, source.bytes) == (target.buffer, 0, target.bytes):
                continue
            if source.buffer in kept:
                moved = self.builder.tensor(shape_of(value), target.dtype, target.qparams, name, target.layout)
                self.builder.copy(source, moved, nodes)
                source = moved
            pending.append((name, source, target, nodes))
        for name, source, target, nodes in pending:
            shape = graph_shape(target.shape, target.layout)
            update = self.builder.alias(target, shape, target.layout, nodes[0], target.qparams)
            self.builder.copy(source, update, nodes)
            self.states[name] = replace(self.states[name], update=update.id)

    def output(self, value: ir.Value, taken: set[str]) -> View:
        """A view of a graph output in the graph's own order and type, in a buffer of its own."""
        view = self.read_value(value, identity(len(shape_of(value))), (value.name or "",))
        qparams = view.qparams if view.dtype == "s8" else io_qparams(self.model, value.name or "")
        if view.buffer in taken:
            copy = self.builder.tensor(shape_of(value), view.dtype, qparams, value.name or "")
            self.builder.copy(view, copy, [value.name or ""])
            return copy
        return self.builder.alias(view, shape_of(value), view.layout, value.name or "", qparams)

    # ---- operands

    def attrs(self, unit: Unit) -> Any:
        """Typed attributes of the unit's op."""
        return op_of(unit.node).parse(unit.node)

    def names(self, unit: Unit) -> tuple[str, ...]:
        """Names of the ops that a unit computes, without the QuantizeLinear that closes it."""
        nodes = (unit.node,) if unit.activation is None else (unit.node, unit.activation)
        return tuple(name for node in nodes for name in node.meta.get(FUSED_NODES, (node.name or node.op_type,)))

    def where(self, unit: Unit) -> str:
        """Name and op, for errors."""
        return f"{unit.node.name} ({unit.node.op_type})"

    def operand(self, unit: Unit, index: int) -> Operand:
        """A data input that must be there."""
        item = unit.inputs[index] if index < len(unit.inputs) else None
        if item is None:
            raise UnsupportedError(f"input {index} is missing", node=self.where(unit))
        return item

    def constant(self, operand: Operand) -> Array | None:
        """The values of a constant operand in graph order, quantized ones as stored; None where it is computed."""
        if operand.value in self.dequantized:
            return self.dequantized[operand.value]
        if operand.value.const_value is None:
            return None
        values = as_held(np.asarray(operand.value.const_value.numpy()))
        if operand.qparams is None:
            return values
        return values.astype(np.int8) if operand.qparams.dtype in ("uint2", "uint4") else stored_values(values)

    def read(self, unit: Unit, index: int, layout: Layout | None = None) -> View:
        """The view of a computed operand, in that layout or in the one that it has.

        Quantized uint8 is read as the int8 of :func:`stored`, any other data as it is.
        """
        operand = self.operand(unit, index)
        if operand.qparams is None:
            return self.read_value(operand.value, layout, self.names(unit))
        if operand.qparams.dtype not in _QUANTIZED:
            raise UnsupportedError(
                f"{operand.value.name} is quantized to {operand.qparams.dtype}, only 8-bit integers can be compiled",
                node=self.where(unit),
            )
        if operand.qparams.axis is not None:
            raise UnsupportedError(
                f"{operand.value.name} has a scale for each channel, and integer ops read tensors with one scale",
                node=self.where(unit),
            )
        view = self.read_value(operand.value, layout, self.names(unit), as_stored=True)
        if view.qparams is not None and view.qparams.same(stored(operand.qparams)):
            return view
        shape = shape_of(operand.value)
        return self.builder.alias(view, shape, view.layout, view.source, stored(operand.qparams))

    def read_value(
        self, value: ir.Value, layout: Layout | None = None, nodes: tuple[str, ...] = (), *, as_stored: bool = False
    ) -> View:
        """The view of a computed graph value: uint8 as int8 of :func:`stored`, or everything as it is."""
        if value in self.flattened:
            waiting = self.flattened.pop(value)
            before = graph_shape(waiting.view.shape, waiting.view.layout)
            order = gathered(before, waiting.shape, waiting.view.layout)
            moved = self.builder.in_layout(waiting.view, order, nodes)
            made = reshaped(before, waiting.shape, order)
            meant = identity(len(waiting.shape)) if made is None else made
            self.views[value] = self.builder.alias(moved, waiting.shape, meant, value.name or "", waiting.qparams)
        if value not in self.views:
            raise UnsupportedError(f"{value.name} is a constant where a computed tensor is needed")
        view = self.views[value]
        if value.dtype == ir.DataType.UINT8 and (view.dtype == "s8") != as_stored:
            view = self._flipped(view, nodes)
        return view if layout is None else self.builder.in_layout(view, layout, nodes)

    def as_stored(self, view: View, nodes: tuple[str, ...]) -> View:
        """An 8-bit view as the int8 of :func:`stored`."""
        return self._flipped(view, nodes) if view.dtype == "u8" else view

    def _flipped(self, view: View, nodes: tuple[str, ...]) -> View:
        """The other of uint8 and the int8 that stands for it; made once for the same bytes."""
        key = (view.buffer, view.offset, view.bytes)
        meaning = None if view.qparams is None or view.dtype == "s8" else stored(view.qparams)
        shape = graph_shape(view.shape, view.layout)
        if key not in self._flips:
            dtype: DType = "u8" if view.dtype == "s8" else "s8"
            self._flips[key] = self.builder.tensor(shape, dtype, meaning, view.source, view.layout)
            self.builder.call("flip_sign", Convert(), [view], self._flips[key], nodes)
        return self.builder.alias(self._flips[key], shape, view.layout, view.source, meaning)

    # ---- results

    def result(self, unit: Unit, layout: Layout | None = None) -> View:
        """A new tensor for what the unit computes."""
        value, qparams = unit.output.value, unit.output.qparams
        if qparams is not None and qparams.dtype not in _QUANTIZED:
            raise UnsupportedError(
                f"the result is quantized to {qparams.dtype}, only 8-bit integers can be compiled",
                node=self.where(unit),
            )
        if qparams is not None and qparams.axis is not None:
            raise UnsupportedError(
                "the result has a scale for each channel, and integer ops make tensors with one scale",
                node=self.where(unit),
            )
        dtype = dtype_of(value) if qparams is None else "s8"
        meaning = None if qparams is None else stored(qparams)
        view = self.builder.tensor(shape_of(value), dtype, meaning, value.name or "", layout)
        self.views[value] = view
        return view

    def result_dtype(self, unit: Unit) -> DType:
        """The element type of what the unit computes, as it is stored."""
        return "s8" if unit.output.qparams is not None else dtype_of(unit.output.value)

    def quantized_output(self, unit: Unit) -> Output:
        """What an integer unit must deliver, as it is stored (int8)."""
        assert unit.output.qparams is not None, "only integer units have quantized outputs"
        qparams = stored(unit.output.qparams)
        low, high = clamp_limits(activation_bounds(unit.activation), qparams, self.mode)
        return Output(qparams, self.mode, low, high)

    def epilogue(self, unit: Unit) -> Epilogue:
        """The clamp of the results: integers as stored, or the bounds of a fused activation."""
        if unit.kind == "integer":
            output = self.quantized_output(unit)
            return Epilogue(output.low, output.high)
        low, high = activation_bounds(unit.activation)
        return Epilogue(None if np.isinf(low) else low, None if np.isinf(high) else high)

    def same_meaning(self, unit: Unit, view: View, operand: Operand) -> View:
        """``view`` with the meaning of the unit's output: itself, or passed through the table of the identity."""
        if unit.kind != "integer":
            return view
        assert operand.qparams is not None, "an integer unit has quantized operands"
        output = self.quantized_output(unit)
        source = stored(operand.qparams)
        limits = (output.low, output.high) == (output.qparams.low, output.qparams.high)
        if source.same(output.qparams) and limits:
            return view
        table = identity_table(source, output.qparams, output.low, output.high).reshape(1, -1)
        shape = tuple(view.shape[view.layout.index(axis)] for axis in range(len(view.shape)))
        changed = self.builder.tensor(shape, "s8", output.qparams, view.source, view.layout)
        consts = {"table": self.builder.const("table", table)}
        self.builder.call("lut", Lut(1), [view], changed, self.names(unit), consts=consts)
        return changed

    def image(self, unit: Unit, index: int) -> View:
        """A computed operand as N,H,W,C; a sequence N,C,L is an image of one row."""
        view = self.read(unit, index, channels_last(len(shape_of(self.operand(unit, index).value))))
        return self.as_image(view)

    def as_image(self, view: View) -> View:
        """N,L,C as N,1,L,C; N,H,W,C as it is."""
        if len(view.shape) == 4:
            return view
        n, length, channels = view.shape
        return self.builder.alias(view, (n, channels, 1, length), (0, 2, 3, 1), view.source, view.qparams)

    def is_plain(self, view: View) -> bool:
        """Whether the bytes of a view already stand in the graph's own order."""
        shape = tuple(view.shape[view.layout.index(axis)] for axis in range(len(view.shape)))
        return same_bytes(shape, view.layout, identity(len(shape)))
