"""A model as the installed ONNX Runtime can run it: it is asked which kernels it has, no version is assumed."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

import onnx_ir as ir

from microlith.core.errors import UnsupportedError
from microlith.graph.export import OLDEST_OPSET, export_model
from microlith.graph.opset import OPSET
from microlith.graph.values import describe

_PROBED_BYTES = 8192
"""Constants up to this size are part of the question, since some kernels look at them; larger ones by type only."""


def runnable(model: ir.Model) -> ir.Model:
    """A copy in the newest opset in which ONNX Runtime has a kernel for every node.

    What it lacks is written out as far as that is possible without changing a value; see
    :func:`microlith.graph.export.export_model`.

    Raises:
        UnsupportedError: there is no such opset.
    """
    first: UnsupportedError | None = None
    for opset in range(OPSET, OLDEST_OPSET - 1, -1):
        try:
            found, missing = _with_kernels(model, opset)
        except UnsupportedError as error:
            raise first or error from error  # an opset that cannot hold the model: no older one can
        if not missing:
            return found
        first = first or UnsupportedError(
            f"ONNX Runtime has no kernel for {describe(missing[0])}", node=describe(missing[0])
        )
    assert first is not None, "there is an opset"
    raise first


def _with_kernels(model: ir.Model, opset: int) -> tuple[ir.Model, list[ir.Node]]:
    """The model in an opset, with what has no kernel written out, and the nodes that still have none."""
    lacking: set[Hashable] = set()

    def is_lacking(node: ir.Node) -> bool:
        return _kind(node) in lacking

    while True:
        exported = export_model(model, opset, is_lacking)
        missing = [node for node in exported.graph if not has_kernel(_alone(node, opset, exported.ir_version))]
        new = {_kind(node) for node in missing} - lacking
        if not new:
            return exported, missing
        lacking |= new


def _kind(node: ir.Node) -> Hashable:
    """What decides whether there is a kernel: operator, types, and attributes."""
    types = tuple(None if value is None else value.dtype for value in (*node.inputs, *node.outputs))
    return node.op_type, types, tuple(sorted((name, repr(item.value)) for name, item in node.attributes.items()))


def _alone(node: ir.Node, opset: int, ir_version: int) -> bytes:
    """A model of this node alone, under names that are the same for every node like it."""
    import onnx

    names: dict[ir.Value, str] = {}
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.name:
            names.setdefault(value, f"v{len(names)}")
    graph = onnx.GraphProto(name="probe")
    proto = ir.serde.serialize_node(node)
    proto.name, proto.doc_string = "node", ""
    del proto.input[:], proto.output[:], proto.metadata_props[:]
    proto.input.extend("" if value is None else names[value] for value in node.inputs)
    proto.output.extend(names.get(value, "") for value in node.outputs)
    graph.node.append(proto)
    for value, name in names.items():
        typed = ir.serde.serialize_value(ir.Value(name=name, type=value.type, shape=value.shape))
        if value.producer() is node:
            graph.output.append(typed)
        elif value.const_value is not None and value.const_value.nbytes <= _PROBED_BYTES:
            tensor = ir.serde.serialize_tensor(value.const_value)
            tensor.name = name
            graph.initializer.append(tensor)
        else:
            graph.input.append(typed)
    imports = [onnx.helper.make_opsetid("", opset)]
    made = onnx.helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


@lru_cache(maxsize=4096)
def has_kernel(probe: bytes) -> bool:
    """Whether ONNX Runtime takes the bytes of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(probe, options, providers=["CPUExecutionProvider"])
    except refusals():
        return False
    return True


def refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a model that it cannot run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return state.NotImplemented, state.Fail, state.InvalidGraph, state.InvalidArgument, state.RuntimeException
