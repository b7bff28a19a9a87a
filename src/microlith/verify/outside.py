"""ONNX Runtime as the outside check: the same graph, layer by layer on the same inputs, and from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.details import CheckRow
from microlith.core.errors import ToolchainError, UnsupportedError
from microlith.graph.export import export_model
from microlith.graph.reference import Reference
from microlith.graph.save import model_bytes
from microlith.verify.runnable import refusals, runnable

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]

_CUT = "__cut"
FLOAT_BOUND = 1e-4
ONE_QUANTUM = 1.0


def session(model: ir.Model) -> tuple[onnxruntime.InferenceSession, str]:
    """An ONNX Runtime session whose int8 kernels do not saturate in between, and what is to be said of it.

    The graph is given as it is written to files. Where ONNX Runtime does not take that, it gets the newest opset of
    which it has all kernels.

    Raises:
        ToolchainError: ONNX Runtime is not installed.
        UnsupportedError: there is no such opset.
    """
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ToolchainError(
            "the outside check needs ONNX Runtime", hint='Install it with: pip install "microlith[verify]"'
        ) from error
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
    """Some graphs that are part float make ONNX Runtime's own fusions of Q/DQ fail; they run without these."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 4  # what it refuses is in the exception
    options.intra_op_num_threads = 1
    content, providers = model_bytes(model), ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers), ""
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        return onnxruntime.InferenceSession(content, options, providers=providers), " without its fusions of Q/DQ"


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
    reference = Reference(model)
    tally = _Tally()
    for feeds in samples:
        values = reference.run(feeds, keep=[*outputs, *inputs])
        given = {name: array for name, array in feeds.items() if name in given_names}
        given |= {name + _CUT: values[name] for name in inputs}
        for name, found in zip(outputs, compiled.run(outputs, given), strict=True):
            if found.dtype != np.float32:
                tally.add(found, values[name])
    what = f"integer specification against ONNX Runtime{remark}, each layer on the same inputs"
    return tally.row(what, len(samples), ONE_QUANTUM)


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
            value.replace_all_uses_with(fresh)
            graph.inputs.append(fresh)
            names.append(value.name or "")
        if not value.is_graph_output():
            graph.outputs.append(value)
    return cut, names


def whole_against_outside(model: ir.Model, samples: Sequence[Feeds]) -> CheckRow:
    """The whole graph: integers differ by so many quanta, floats relative to the largest magnitude.

    For a quantized graph nothing is required from end to end, because a layer may turn one quantum into several: the
    bound is infinite and the difference is only reported. A float graph must stay within ``FLOAT_BOUND``.
    """
    compiled, remark = session(model)
    outputs = [item.name for item in compiled.get_outputs()]
    reference = Reference(model)
    tally = _Tally()
    for feeds in samples:
        values = reference.run(feeds)
        for name, found in zip(outputs, compiled.run(outputs, dict(feeds)), strict=True):
            tally.add(found, values[name])
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph)
    bound = float("inf") if quantized else FLOAT_BOUND
    return tally.row(f"reference against ONNX Runtime{remark}, from end to end", len(samples), bound)
