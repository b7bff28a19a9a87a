"""A ``.tflite`` file as an ONNX model: the same graph, names and integers, in standard ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from microlith.core.errors import MicrolithError, ModelError, UnsupportedError
from microlith.graph.metadata import REQUANTIZATION_KEY, io_qparams_entry
from microlith.graph.opset import IR_VERSION, OPSET
from microlith.graph.tflite import batches, elementwise, linear, movement, pooling, reduction
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.model import Graph, parse_tflite

HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    **linear.HANDLERS,
    **pooling.HANDLERS,
    **elementwise.HANDLERS,
    **movement.HANDLERS,
    **reduction.HANDLERS,
    **batches.HANDLERS,
}
"""How each built-in operator becomes nodes, by its name."""

_ONNX_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10}


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
    graph = batches.with_dilations(parse_tflite(data, what))
    _check_operators(graph)
    imp = Importer(graph)
    for operator in graph.operators:
        imp.begin(operator)
        try:
            HANDLERS[operator.name](imp)
        except MicrolithError as error:
            error.node = error.node or imp.where
            raise
    return _model(imp)


def _check_operators(graph: Graph) -> None:
    unknown = dict.fromkeys(item.name for item in graph.operators if item.name not in HANDLERS)
    if unknown:
        raise UnsupportedError(
            f"the operators {', '.join(unknown)} of TensorFlow Lite cannot be imported",
            hint="Replace them in the model, or cut them off before it is converted.",
        )


def _model(imp: Importer) -> Any:
    from onnx import helper

    inputs: list[Any] = []
    outputs: list[Any] = []
    entries: dict[str, str] = {}
    for found, indices in ((inputs, imp.graph.inputs), (outputs, imp.graph.outputs)):
        for index in indices:
            tensor, name = imp.graph.tensors[index], imp.own_name(index)
            if tensor.dtype not in _ONNX_TYPES:
                raise UnsupportedError(f"{name!r} is {tensor.dtype}, which an input or output cannot be")
            if found is outputs and imp.stored(index) != name:
                raise ModelError(f"the output {name!r} is not computed")
            found.append(helper.make_tensor_value_info(name, _ONNX_TYPES[tensor.dtype], tensor.shape))
            if tensor.qparams is not None:
                if tensor.qparams.axis is not None:
                    raise UnsupportedError(f"{name!r} has a scale for each channel, expected one scale")
                entries |= dict([io_qparams_entry(name, tensor.qparams)])
    if any(node.op_type == "QuantizeLinear" for node in imp.nodes):
        entries[REQUANTIZATION_KEY] = "fixed"
    proto = helper.make_graph(imp.nodes, "tflite", inputs, outputs, imp.initializers)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    helper.set_model_props(model, entries)
    return model
