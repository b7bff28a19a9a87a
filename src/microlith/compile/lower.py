"""Lowering: from units of the graph to kernel calls. It changes no bit; it decides layout and what is fused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pkgutil import resolve_name

import onnx_ir as ir

from microlith.compile.join import join_copies
from microlith.compile.layout import Layout, channels_last, identity
from microlith.compile.lower_elementwise import lower_border, lower_requantize, lower_unary
from microlith.compile.lowering import Lowering, shape_of
from microlith.core.errors import MicrolithError, ModelError, UnsupportedError
from microlith.graph.passes import LOWERING_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.state import caller_outputs, initial_values, read_states
from microlith.graph.units import Unit, units
from microlith.ops import ALL
from microlith.ops.base import Pointwise
from microlith.program.attrs import Copy
from microlith.program.types import ITEM_BYTES, Call, Entry, Program, calls

Handler = Callable[[Lowering, Unit], None]


def _handler_of(lowering: Pointwise | str) -> Handler:
    if isinstance(lowering, Pointwise):
        return lower_unary
    handler: Handler = resolve_name(f"microlith.compile.{lowering.replace('.', ':')}")
    return handler


HANDLERS: Mapping[str, Handler] = {op.op_type: _handler_of(op.lowering) for op in ALL if op.lowering is not None}
"""What makes the kernel calls of each op, as the op states it."""

_NOT_RAW = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "Hardmax",
        "LogSoftmax",
        "LRN",
        "LpNormalization",
        "MeanVarianceNormalization",
        "GlobalAveragePool",
        "GlobalLpPool",
        "GlobalMaxPool",
        "LpPool",
        "MatMul",
        "MaxPool",
        "ReduceMean",
        "Softmax",
    }
)
"""Ops whose handlers know floats and quantized integers, and not integers that stand for themselves."""


def lower(model: ir.Model, name: str) -> Program:
    """The Program of a graph, without kernels, storage and offsets.

    Args:
        model: after the graph passes; static shapes.
        name: prefix of every C symbol.

    Raises:
        UnsupportedError: a node cannot be compiled; the message names it and says why.
    """
    model = model.clone()
    run_passes(model, LOWERING_PASSES)
    pairs = {state.input: state.output for state in read_states(model)}
    if not any(len(shape_of(value)) >= 3 for value in model.graph.inputs if value.name in pairs):
        return _lower(model, name, pairs, identity)
    # What is kept has no order that anyone sees: the better of two for all states together.
    forms = (_lower(model, name, pairs, layout) for layout in (identity, channels_last))
    return min(forms, key=_copied_bytes)


def _copied_bytes(program: Program) -> int:
    """Bytes that calls move which compute nothing."""
    copies = [call for entry in program.entries for call in calls(entry.body) if isinstance(call.attrs, Copy)]
    sizes = ((math.prod(call.attrs.shape), call) for call in copies if isinstance(call.attrs, Copy))
    return sum(size * ITEM_BYTES[program.view(call.writes[0]).dtype] for size, call in sizes)


def _lower(model: ir.Model, name: str, pairs: Mapping[str, str], state_layout: Callable[[int], Layout]) -> Program:
    low = Lowering(model)
    initial = initial_values(model)
    for value in model.graph.inputs:
        into = value.name or ""
        if into in pairs:
            low.add_state(value, pairs[into], state_layout(len(shape_of(value))), initial[into])
        else:
            low.add_input(value)
    for unit in units(model):
        if unit.kind == "raw" and unit.node.op_type in _NOT_RAW:
            raise UnsupportedError(f"{unit.node.op_type} of integers cannot be compiled", node=low.where(unit))
        handler = lower_requantize if _is_requantize(unit) else _handler(low, unit)
        try:
            handler(low, unit)
        except MicrolithError as error:
            error.node = error.node or low.where(unit)
            raise
    kept = {low.builder.views[slot.view].buffer for slot in low.states.values()}
    outputs, taken = [], {view.buffer for view in low.inputs} | kept
    for value in caller_outputs(model):
        view = low.output(value, taken)
        taken.add(view.buffer)
        outputs.append(view.id)
    results = {str(value.name): value for value in model.graph.outputs}
    low.update_states({into: results[out] for into, out in pairs.items()})
    if not low.builder.calls:
        raise ModelError("the graph computes nothing", hint="Give a model with at least one op.")
    body = tuple(Call(call) for call in low.builder.calls)
    entry = Entry("run", tuple(view.id for view in low.inputs), tuple(outputs), body)
    builder = low.builder
    made = Program(
        name,
        (entry,),
        builder.buffers,
        builder.views,
        builder.consts,
        requantization=low.mode,
        states=tuple(low.states.values()),
    )
    return join_copies(made)


def _is_requantize(unit: Unit) -> bool:
    return unit.kind == "integer" and unit.node.op_type == "QuantizeLinear"


def _handler(low: Lowering, unit: Unit) -> Handler:
    if unit.kind == "quantize":
        return lower_border
    found = HANDLERS.get(unit.node.op_type)
    if found is None:
        raise UnsupportedError(f"{unit.node.op_type} cannot be compiled", node=low.where(unit))
    return found
