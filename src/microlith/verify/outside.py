"""ONNX Runtime as the outside check: the same graph, layer by layer on the same inputs, and from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.details import CheckRow
from microlith.core.errors import ToolchainError, UnsupportedError
from microlith.graph.export import export_model
from microlith.graph.open_rows import has_open_rows
from microlith.graph.save import model_bytes
from microlith.graph.stepper import Stepper
from microlith.verify.runnable import refusals, runnable

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]

_CUT, _COPY = "__cut", "__copy"
FLOAT_BOUND = 1e-4
ONE_QUANTUM = 1.0


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolchainError(
            "the outside check needs ONNX Runtime", hint='Install it with: pip install "microlith[verify]"'
        ) from error
    return onnxruntime


def raw_session(content: bytes, *, fused: bool = True) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on one thread whose int8 kernels do not saturate in between.

    Args:
        content: of an ``.onnx`` file.
        fused: whether it may make kernels of its own out of several nodes, integer ones out of Q/DQ among them.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 4  # what it refuses is in the exception
    options.intra_op_num_threads = 1
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def session(model: ir.Model) -> tuple[onnxruntime.InferenceSession, str]:
    """A session of a graph, and what is to be said of it.

    The graph is given as it is written to files. Where ONNX Runtime does not take that, it gets the newest opset of
    which it has all kernels.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
        UnsupportedError: there is no such opset.
    """
    _onnxruntime()
    own = next((f"{node.domain}::{node.op_type}" for node in model.graph if node.domain), None)
    if own is not None:
        raise UnsupportedError(f"ONNX Runtime does not know the operator {own}")
    try:
        return _session(export_model(model))
    except refusals():
        older = runnable(model)
    try:
        found, remark = _session(older)
    except refusals() as error:
        raise UnsupportedError(f"ONNX Runtime cannot run the graph: {error}") from error
    return found, f" at opset {older.graph.opset_imports['']}{remark}"


def _session(model: ir.Model) -> tuple[onnxruntime.InferenceSession, str]:
    """Some graphs make ONNX Runtime's own fusions of Q/DQ fail; they run without these."""
    content = model_bytes(_unshared(model))
    try:
        return raw_session(content), ""
    except _onnxruntime().capi.onnxruntime_pybind11_state.Fail:
        return raw_session(content, fused=False), " without its fusions of Q/DQ"


def _unshared(model: ir.Model) -> ir.Model:
    """A copy in which no two DequantizeLinear share a constant.

    Where ONNX Runtime turns int8 weights to uint8 for kernels that do not saturate, it adds a zero point under a name
    that it makes from the old one, and fails where it has added that name before.
    """
    copy: ir.Model = ir.from_proto(ir.to_proto(model))
    seen: set[ir.Value] = set()
    for node in [node for node in copy.graph if node.op_type == "DequantizeLinear"]:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.is_graph_input():
                continue
            if value in seen:
                tensor = ir.tensor(value.const_value.numpy(), name=f"{value.name}{_COPY}{len(seen)}")
                value = ir.Value(name=tensor.name, shape=value.shape, type=value.type, const_value=tensor)
                copy.graph.initializers[tensor.name or ""] = value
                node.replace_input_with(index, value)
            seen.add(value)
    return copy


@dataclass
class _Tally:
    """Differences seen so far: in quanta for integers, relative to the largest magnitude for floats."""

    elements: int = 0
    differing: int = 0
    worst: float = 0.0

    def add(self, found: Array, wanted: Array) -> None:
        difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        if found.dtype == np.float32:
            difference = difference / max(float(np.abs(wanted).max(initial=0)), 1e-6)
        self.elements += difference.size
        self.differing += int((difference > 0).sum())
        self.worst = max(self.worst, float(difference.max(initial=0)))

    def row(self, what: str, samples: int, bound: float) -> CheckRow:
        return CheckRow(
            what=what,
            samples=samples,
            elements=self.elements,
            differing=self.differing,
            worst=self.worst,
            bound=bound,
            passed=self.worst <= bound,
        )


def layers_against_outside(model: ir.Model, samples: Sequence[Feeds]) -> CheckRow:
    """Every quantized layer by itself, fed with the very integers that the reference computed.

    Args:
        model: quantized.
        samples: inputs, batch 1.
    """
    cut, inputs = _cut_at_quantized(model)
    compiled, remark = session(cut)
    outputs = [item.name for item in compiled.get_outputs()]
    given_names = {item.name for item in compiled.get_inputs()}
    stepper = Stepper(model)
    open_rows = _open_rows(model)
    tally = _Tally()
    for feeds in samples:
        given = {name: array for name, array in (*feeds.items(), *stepper.state.items()) if name in given_names}
        values = stepper.step(feeds, keep=[*outputs, *inputs])
        given |= {name + _CUT: values[name] for name in inputs}
        for name, found in zip(outputs, compiled.run(outputs, given), strict=True):
            if found.dtype != np.float32:
                tally.add(_with_unused(found, values[name], name in open_rows), values[name])
    what = f"integer specification against ONNX Runtime{remark}, each layer on the same inputs"
    return tally.row(what, len(samples), ONE_QUANTUM)


def _open_rows(model: ir.Model) -> set[str]:
    """Names of the outputs of which ONNX Runtime gives only the rows that count."""
    return {value.name or "" for value in model.graph.outputs if has_open_rows(value)}


def _with_unused(found: Array, wanted: Array, is_open: bool) -> Array:
    """What was found, and the -1 of the rows that it has not."""
    if not is_open or len(found) >= len(wanted):
        return found
    unused = np.full((len(wanted) - len(found), *found.shape[1:]), -1, found.dtype)
    return np.concatenate([found, unused])


def _cut_at_quantized(model: ir.Model) -> tuple[ir.Model, list[str]]:
    """A copy in which every computed integer tensor is both an output and, under another name, an input."""
    cut = ir.from_proto(ir.to_proto(model))
    graph = cut.graph
    names = []
    for node in list(graph):
        if node.op_type != "QuantizeLinear" or node.inputs[0] is None or node.inputs[0].const_value is not None:
            continue
        value = node.outputs[0]
        if value.uses():
            fresh = ir.Value(name=f"{value.name}{_CUT}", shape=value.shape, type=value.type)
            for use in tuple(value.uses()):
                use.node.replace_input_with(use.idx, fresh)
            graph.inputs.append(fresh)
            names.append(value.name or "")
        if not value.is_graph_output():
            graph.outputs.append(value)
    return cut, names


def whole_against_outside(model: ir.Model, samples: Sequence[Feeds]) -> CheckRow:
    """The whole graph: integers differ by so many quanta, floats relative to the largest magnitude.

    For a quantized graph nothing is required from end to end, because a layer may turn one quantum into several: the
    bound is infinite and the difference is only reported. A float graph must stay within ``FLOAT_BOUND``. Each step of
    a model with state starts from what the reference holds, and its next state is compared too.
    """
    compiled, remark = session(model)
    outputs = [item.name for item in compiled.get_outputs()]
    stepper = Stepper(model)
    open_rows = _open_rows(model)
    tally = _Tally()
    for feeds in samples:
        given = {**feeds, **stepper.state}
        values = stepper.step(feeds, keep=outputs)
        for name, found in zip(outputs, compiled.run(outputs, given), strict=True):
            tally.add(_with_unused(found, values[name], name in open_rows), values[name])
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph)
    bound = float("inf") if quantized else FLOAT_BOUND
    return tally.row(f"reference against ONNX Runtime{remark}, from end to end", len(samples), bound)
