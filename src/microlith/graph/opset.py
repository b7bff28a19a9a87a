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

from microlith.core.errors import ModelError, UnsupportedError
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

OPSET = 27
"""The internal opset: the newest in which ONNX Runtime executes every operator that is compiled.

In 28 it has no QuantizeLinear yet.
"""

IR_VERSION = 10
"""The ONNX IR version of what is written: the oldest that holds what is in use, so that most readers take it."""

Types = Mapping[str, TypeInfo]

SAME_FORM = (
    *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Attention"),
    *("AveragePool", "BitShift", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Compress", "Concat", "Constant"),
    *("ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DeformConv", "DepthToSpace"),
    *("DequantizeLinear", "Det", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten"),
    *("Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalLpPool"),
    *("GlobalMaxPool", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "If"),
    *("InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM", "LeakyRelu", "Less", "LessOrEqual", "Log", "Loop"),
    *("LpNormalization", "LpPool", "MatMul", "Max", "MaxPool", "MaxUnpool", "Mean", "MeanVarianceNormalization"),
    *("Min", "Mish", "Mod", "Mul", "Neg", "NegativeLogLikelihoodLoss", "NonMaxSuppression", "NonZero", "Not"),
    *("OneHot", "Or", "PRelu", "Pad", "Pow", "QLinearMatMul", "QuantizeLinear", "RNN", "Range", "Reciprocal"),
    *("Relu", "Reshape", "Resize", "ReverseSequence", "Round", "Scan", "ScatterElements", "ScatterND", "Selu", "Shape"),
    *("Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice", "SoftmaxCrossEntropyLoss", "Softplus"),
    *("Softsign", "SpaceToDepth", "Sqrt", "Sub", "Sum", "Tan", "Tanh", "ThresholdedRelu", "Tile", "TopK"),
    *("Scan", "Transpose", "Trilu", "Unique", "Where", "Xor"),
)
"""Operators of which a node of opset 11 or later means the same in :data:`OPSET` as it stands."""

SAME_FORM_FROM_7 = (
    *("ArgMax", "ArgMin", "AveragePool", "Compress", "Concat", "Constant", "Conv", "ConvTranspose", "Equal", "Flatten"),
    *("Gather", "Gemm", "GlobalLpPool", "Greater", "Less", "LpPool", "MatMul", "Max", "MaxPool", "MaxUnpool", "Mean"),
    *("Min", "NonMaxSuppression", "OneHot", "PRelu", "Sum"),
)
"""Of those that changed between opset 7 and 11, the ones of which a node of 7 or later means the same in 11."""


def to_internal_opset(model: ir.Model, types: Types) -> None:
    """Rewrite every node to :data:`OPSET`, in place; new values have no types yet.

    Args:
        model: of any opset; a node may state another one than the model's.
        types: types and ranks as far as they are known in the model's own opset.

    Raises:
        UnsupportedError: a node is of a kind whose older or newer form is not known, or uses an attribute that
            :data:`OPSET` does not have.
        ModelError: a node is malformed.
    """
    version = model.graph.opset_imports[""]
    for node in list(model.graph.all_nodes()):
        if not node.domain:
            convert_node(node, version if node.version is None else node.version, types)
    model.graph.opset_imports[""] = OPSET
    model.ir_version = IR_VERSION


def convert_node(node: ir.Node, version: int, types: Types) -> None:
    """Rewrite one node of a graph, written in an opset, to :data:`OPSET`; see :func:`to_internal_opset`."""
    _refuse_training(node, version)
    if node.op_type in RENAMED:
        version = RENAMED[node.op_type](node, version)
    if _since(node.op_type, version, node) != _since(node.op_type, OPSET, node):
        _convert(node, version, types)
    node.version = None


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


def oldest_opset(op_type: str) -> int:
    """The first opset of which a node of this op can be brought to :data:`OPSET`."""
    newest = _schema(op_type, OPSET)
    rewritten = op_type in REWRITES or op_type in RENAMED or op_type in OLD_REWRITES
    for version in range(1, OPSET):
        old = _schema(op_type, version)
        if old is not None and (rewritten or old.since_version == newest.since_version or _is_known(op_type, version)):
            return version
    return OPSET


def _is_known(op_type: str, version: int) -> bool:
    """Whether a node that stands as it is means the same in :data:`OPSET`."""
    if op_type not in SAME_FORM:
        return False
    old, new = _schema(op_type, version), _schema(op_type, 11)
    if version >= 11 or (old is not None and new is not None and old.since_version == new.since_version):
        return True
    return version >= 7 and op_type in SAME_FORM_FROM_7


def _convert(node: ir.Node, version: int, types: Types) -> None:
    rule = REWRITES.get(node.op_type)
    if rule is not None:
        rule(node, version, types)
    elif version < 11 and node.op_type in OLD_REWRITES:
        OLD_REWRITES[node.op_type](node, version)
    elif not _is_known(node.op_type, version):
        raise UnsupportedError(
            f"operator {node.op_type} changed between opset {version} and {OPSET}, and its conversion is not supported",
            node=describe(node),
            hint=f"Export the model with a newer opset, such as {min(OPSET, 21)}.",
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
        raise ModelError("the input of Softmax is missing", node=describe(node))
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


def _grid_sample(node: ir.Node, version: int, types: Types) -> None:
    """Two of the modes were called bilinear and bicubic until 20."""
    mode = node.attributes.pop("mode", None)
    name = "bilinear" if mode is None else mode.as_string()
    node.attributes.add(ir.AttrString("mode", {"bilinear": "linear", "bicubic": "cubic"}.get(name, name)))


def _roi_align(node: ir.Node, version: int, types: Types) -> None:
    """Until 16 no half pixel was subtracted."""
    if version < 16:
        node.attributes.add(ir.AttrString("coordinate_transformation_mode", "output_half_pixel"))


def _dft(node: ir.Node, version: int, types: Types) -> None:
    """The axis, an attribute of default 1 until 20, became the third input."""
    if version < 20:
        axis = node.attributes.pop("axis", None)
        _set_input(node, 2, "axis", 1 if axis is None else axis.as_int())


def _old_clip(node: ir.Node, version: int) -> None:
    """Bounds were attributes."""
    for index, name in ((1, "min"), (2, "max")):
        bound = node.attributes.pop(name, None)
        if bound is not None:
            _set_input(node, index, name, np.float32(bound.as_float()))


def _old_pad(node: ir.Node, version: int) -> None:
    """Pads and value were attributes."""
    pads, value = node.attributes.pop("pads", None), node.attributes.pop("value", None)
    if pads is None:
        raise ModelError("its pads are missing", node=describe(node))
    _set_input(node, 1, "pads", list(pads.as_ints()))
    if value is not None:
        _set_input(node, 2, "value", np.float32(value.as_float()))


def _old_slice(node: ir.Node, version: int) -> None:
    """Bounds and axes were attributes until 10."""
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        found = node.attributes.pop(name, None)
        if found is not None:
            _set_input(node, index, name, list(found.as_ints()))


def _old_top_k(node: ir.Node, version: int) -> None:
    """The number of elements was an attribute until 10."""
    count = node.attributes.pop("k", None)
    if count is not None:
        _set_input(node, 1, "k", [count.as_int()])


def _old_resize(node: ir.Node, version: int) -> None:
    """Opset 10 had no region of interest, and one way to find a coordinate: the place divided by the scale."""
    scales = input_at(node, 1)
    node.resize_inputs(3)
    node.replace_input_with(1, None)
    node.replace_input_with(2, scales)
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
    node.attributes.add(ir.AttrString("nearest_mode", "floor"))


def _old_scan(node: ir.Node, version: int) -> None:
    """Opset 8 ran over a batch as well; since 9 the form is the same."""
    if version < 9:
        raise UnsupportedError("Scan of opset 8 is not supported", node=describe(node), hint="Export a newer opset.")


def _upsample(node: ir.Node, version: int) -> int:
    """Deprecated since 10 in favour of Resize, with the coordinates that Resize of opset 10 had."""
    scales = node.attributes.pop("scales", None)
    if scales is not None:
        _set_input(node, 1, "scales", np.asarray(scales.as_floats(), np.float32))
    node.op_type = "Resize"
    return 10


def _scatter(node: ir.Node, version: int) -> int:
    """Deprecated since 11 in favour of a name that says the same."""
    node.op_type = "ScatterElements"
    return 11


def _set_input(node: ir.Node, index: int, what: str, values: Any) -> None:
    """Floats as they are, integers as int64."""
    assert node.graph is not None
    array = np.asarray(values)
    array = array if array.dtype == np.float32 else array.astype(np.int64)
    value = add_initializer(node.graph, f"{node.outputs[0].name}_{what}", array)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


REWRITES: Mapping[str, Callable[[ir.Node, int, Types], None]] = {
    **dict.fromkeys(
        (
            *("Squeeze", "Unsqueeze", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
            *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"),
        ),
        _axes_to_input,
    ),
    "Split": _split,
    "Dropout": _dropout,
    "BatchNormalization": _batch_norm,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Hardmax": _softmax,
    "GridSample": _grid_sample,
    "RoiAlign": _roi_align,
    "DFT": _dft,
}
"""How a node of an older opset becomes one of :data:`OPSET`."""

OLD_REWRITES: Mapping[str, Callable[[ir.Node, int], None]] = {
    "Clip": _old_clip,
    "Pad": _old_pad,
    "Slice": _old_slice,
    "TopK": _old_top_k,
    "Resize": _old_resize,
    "Scan": _old_scan,
}
"""How a node of an opset before 11 gets the form that :data:`SAME_FORM` starts from."""

RENAMED: Mapping[str, Callable[[ir.Node, int], int]] = {"Upsample": _upsample, "Scatter": _scatter}
"""Operators that another one replaced, and the opset in which the node then stands."""
