"""A ``.tflite`` file as an ONNX model: the same graph, names and integers, in standard ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from microlith.core.errors import ModelError, UnsupportedError
from microlith.graph.functions import all_nodes
from microlith.graph.metadata import REQUANTIZATION_KEY, io_qparams_entry
from microlith.graph.opset import IR_VERSION, OPSET
from microlith.graph.state import State, state_entries
from microlith.graph.tflite import batches, control, elementwise, linear, movement, pooling, recurrent, reduction
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.model import parse_tflite
from microlith.graph.tflite.scope import Scope
from microlith.graph.tflite.types import ONNX_TYPES

HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    **linear.HANDLERS,
    **pooling.HANDLERS,
    **elementwise.HANDLERS,
    **movement.HANDLERS,
    **reduction.HANDLERS,
    **batches.HANDLERS,
    **control.HANDLERS,
    **recurrent.HANDLERS,
}
"""How each built-in operator becomes nodes, by its name."""


def onnx_of_tflite(data: bytes, what: str) -> Any:
    """The ModelProto of a ``.tflite`` file.

    Integers are those of the file, around QuantizeLinear and DequantizeLinear, with ``fixed`` requantization stated in
    the metadata; inputs and outputs keep their names, types and layout.

    Args:
        data: the file, which need not be trusted.
        what: how errors call it.

    Raises:
        ModelError: it is malformed.
        UnsupportedError: an operator, or a form of one, cannot be imported; it is named.
    """
    file = parse_tflite(data, what)
    imp = Importer(batches.with_dilations(file.graph(0)), Scope(file, HANDLERS))
    imp.run()
    return _model(imp)


def _model(imp: Importer) -> Any:
    from onnx import helper

    inputs: list[Any] = []
    outputs: list[Any] = []
    entries: dict[str, str] = {}
    for found, indices in ((inputs, imp.graph.inputs), (outputs, imp.graph.outputs)):
        for index in indices:
            tensor, name = imp.graph.tensors[index], imp.own_name(index)
            if tensor.dtype not in ONNX_TYPES:
                raise UnsupportedError(f"{name!r} is {tensor.dtype}, which an input or output cannot be")
            if found is outputs and imp.stored(index) != name:
                raise ModelError(f"the output {name!r} is not computed")
            found.append(helper.make_tensor_value_info(name, ONNX_TYPES[tensor.dtype], tensor.shape))
            if tensor.qparams is not None:
                if tensor.qparams.axis is not None:
                    raise UnsupportedError(f"{name!r} has a scale for each channel, expected one scale")
                entries |= dict([io_qparams_entry(name, tensor.qparams)])
    entries |= _states(imp, inputs, outputs)
    if any(node.op_type == "QuantizeLinear" for node in all_nodes(imp.nodes)):
        entries[REQUANTIZATION_KEY] = "fixed"
    proto = helper.make_graph(imp.nodes, "tflite", inputs, outputs, imp.scope.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, entries)
    return model


def _states(imp: Importer, inputs: list[Any], outputs: list[Any]) -> dict[str, str]:
    """The metadata of what is kept from one inference to the next, which becomes inputs and outputs."""
    from onnx import helper, numpy_helper

    states: list[State] = []
    entries: dict[str, str] = {}
    for item in imp.scope.variables:
        tensor, kind = item.tensor, ONNX_TYPES[item.tensor.dtype]
        if item.source and not item.is_state:
            imp.scope.initializers.append(numpy_helper.from_array(item.first(), item.source))
        if not item.is_state:
            continue
        result = imp.unique(f"{item.source}/next")
        imp.nodes.append(helper.make_node("Identity", [item.value], [result], name=imp.node_name(result)))
        inputs.append(helper.make_tensor_value_info(item.source, kind, tensor.shape))
        outputs.append(helper.make_tensor_value_info(result, kind, tensor.shape))
        states.append(State(item.source, result, item.initial))
        if tensor.qparams is not None:
            entries |= dict(io_qparams_entry(name, tensor.qparams) for name in (item.source, result))
    return entries | state_entries(states)
