"""Brings a model of any accepted opset to the one opset that everything behind the loader sees.

Operators whose form never changed between the oldest and the newest opset, or only grew optional attributes and inputs
whose defaults keep the old meaning, are carried over as they are. The others are rewritten here, one function each.
An operator of which neither is known is refused: its meaning might have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.inference import TypeInfo
from microlith.graph.values import (
    add_initializer,
    constant_scalar,
    describe,
    input_at,
    insert_node,
    integer,
    unique_name,
)

OPSET = 21
"""The internal opset: the first with 16-bit Q/DQ, and one that every current runtime executes."""

IR_VERSION = 10
"""The ONNX IR version that goes with :data:`OPSET`."""

Types = Mapping[str, TypeInfo]

SAME_FORM = (
    *("Abs", "Add", "And", "AveragePool", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape"),
    *("Conv", "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather"),
    *("GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "HardSigmoid", "HardSwish", "Identity"),
    *("LeakyRelu", "Less", "Log", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "Not", "Or", "PRelu"),
    *("Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "Relu", "Reshape", "Shape", "Sigmoid", "Size", "Slice"),
    *("Sqrt", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Where"),
)
"""Operators of which a node of opset 11 or later means the same in :data:`OPSET` as it stands."""


def to_internal_opset(model: ir.Model, types: Types) -> None:
    """Rewrite every node to :data:`OPSET`, in place; new values have no types yet.

    Args:
        model: of an opset from 11 on.
        types: types and ranks as far as they are known in the model's own opset.

    Raises:
        UnsupportedError: a node is of a kind whose older or newer form is not known, or uses an attribute that
            :data:`OPSET` does not have.
        InputError: a node is malformed.
    """
    version = model.graph.opset_imports[""]
    for node in list(model.graph):
        _refuse_training(node, version)
        if _since(node.op_type, version, node) != _since(node.op_type, OPSET, node):
            _convert(node, version, types)
    model.graph.opset_imports.clear()
    model.graph.opset_imports[""] = OPSET
    model.ir_version = IR_VERSION


def _schema(op_type: str, version: int) -> Any:
    import onnx

    try:
        return onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None


def _since(op_type: str, version: int, node: ir.Node) -> int:
    schema = _schema(op_type, version)
    if schema is None or schema.deprecated:
        raise UnsupportedError(f"opset {version} has no operator {op_type}", node=describe(node))
    return int(schema.since_version)


def _convert(node: ir.Node, version: int, types: Types) -> None:
    rule = REWRITES.get(node.op_type)
    if rule is not None:
        rule(node, version, types)
    elif node.op_type not in SAME_FORM:
        raise UnsupportedError(
            f"operator {node.op_type} changed between opset {version} and {OPSET}, and its conversion is not supported",
            node=describe(node),
            hint=f"Export the model with opset {OPSET}.",
        )
    _drop_newer_defaults(node, version)
    schema = _schema(node.op_type, OPSET)
    unknown = [name for name in node.attributes if name not in schema.attributes]
    if unknown:
        raise UnsupportedError(
            f"attribute {unknown[0]!r} of opset {version} has no counterpart in opset {OPSET}", node=describe(node)
        )
    if len(node.inputs) > schema.max_input:
        raise UnsupportedError(
            f"{len(node.inputs)} inputs of opset {version} do not fit {OPSET}, expected at most {schema.max_input}",
            node=describe(node),
        )


def _drop_newer_defaults(node: ir.Node, version: int) -> None:
    """Drop attributes that :data:`OPSET` does not have where they say what is meant without them."""
    import onnx

    old, new = _schema(node.op_type, version), _schema(node.op_type, OPSET)
    for name, attribute in list(node.attributes.items()):
        if old is None or name not in old.attributes or name in new.attributes:
            continue
        default = old.attributes[name].default_value
        if default.name and onnx.helper.get_attribute_value(default) == attribute.value:
            del node.attributes[name]


def _refuse_training(node: ir.Node, version: int) -> None:
    """Refuse BatchNormalization and Dropout that compute what they compute in training."""
    hint = "Export the model in inference mode (model.eval() in PyTorch)."
    if node.op_type == "BatchNormalization":
        extra = any(output.name for output in node.outputs[1:])
        if integer(node, "training_mode", 0) or extra:
            what = "BatchNormalization in training mode is not supported"
            raise UnsupportedError(what, node=describe(node), hint=hint)
    if node.op_type == "Dropout" and version >= 12:
        mode = input_at(node, 2)
        if mode is not None and constant_scalar(mode) != 0:
            raise UnsupportedError("Dropout in training mode is not supported", node=describe(node), hint=hint)


def _axes_to_input(node: ir.Node, version: int, types: Types) -> None:
    """Axes moved from an attribute to the second input."""
    axes = node.attributes.pop("axes", None)
    if axes is not None:
        _set_input(node, 1, "axes", list(axes.as_ints()))


def _split(node: ir.Node, version: int, types: Types) -> None:
    """Sizes moved from an attribute to the second input (13); without sizes, the number of parts is stated (18)."""
    sizes = node.attributes.pop("split", None)
    if sizes is not None:
        _set_input(node, 1, "split", list(sizes.as_ints()))
    elif input_at(node, 1) is None and "num_outputs" not in node.attributes:
        node.attributes.add(ir.AttrInt64("num_outputs", len(node.outputs)))


def _dropout(node: ir.Node, version: int, types: Types) -> None:
    """The ratio, an attribute until 12, has no effect in inference."""
    node.attributes.pop("ratio", None)


def _batch_norm(node: ir.Node, version: int, types: Types) -> None:
    """Training was stated by the number of outputs until 14; trailing outputs without a name are dropped."""
    node.resize_outputs(1)


def _softmax(node: ir.Node, version: int, types: Types) -> None:
    """Until 13 the input was seen as a matrix, split at ``axis`` (default 1): softmax over all axes from it on.

    Over the last axis that is what it means today; elsewhere: Flatten, Softmax over the columns, Reshape back.
    """
    if version >= 13:
        return
    axis = integer(node, "axis", 1)
    source = node.inputs[0]
    if source is None or source.name is None:
        raise InputError("the input of Softmax is missing", node=describe(node))
    info = types.get(source.name)
    shape = source.shape if info is None else info.shape
    rank = None if shape is None else len(tuple(shape))
    if axis == -1 or (rank is not None and axis == rank - 1):
        return
    graph, dtype = node.graph, source.dtype if info is None else info.dtype
    assert graph is not None
    output = node.outputs[0]
    names = [f"{output.name}_{part}" for part in ("matrix", "softmax", "shape")]
    kind = None if dtype is None else ir.TensorType(dtype)
    matrix = ir.Value(name=unique_name(graph, names[0]), type=kind)
    insert_node(node, "Flatten", [source], matrix, {"axis": ir.AttrInt64("axis", axis)})
    columns = ir.Value(name=unique_name(graph, names[1]), type=kind)
    insert_node(node, node.op_type, [matrix], columns, {"axis": ir.AttrInt64("axis", -1)})
    sizes = ir.Value(name=unique_name(graph, names[2]), type=ir.TensorType(ir.DataType.INT64))
    insert_node(node, "Shape", [source], sizes)
    node.op_type = "Reshape"
    node.attributes.clear()
    node.resize_inputs(2)
    node.replace_input_with(0, columns)
    node.replace_input_with(1, sizes)


def _set_input(node: ir.Node, index: int, what: str, values: list[int]) -> None:
    assert node.graph is not None
    value = add_initializer(node.graph, f"{node.outputs[0].name}_{what}", np.asarray(values, np.int64))
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


REWRITES: Mapping[str, Callable[[ir.Node, int, Types], None]] = {
    **dict.fromkeys(
        ("Squeeze", "Unsqueeze", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"),
        _axes_to_input,
    ),
    "Split": _split,
    "Dropout": _dropout,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
"""How a node of an older opset becomes one of :data:`OPSET`."""
