"""Computes what depends on constants alone, and the shapes that are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.graph.pass_base import CONSTANTS_LIFTED, EXACT, PassResult, Property
from microlith.graph.values import Array, constant, describe, input_at, integer, known_shape, replace_node

MAX_GROWTH_BYTES = 16384
"""A result larger than its constant inputs is folded up to this size, so that no node makes the model much larger."""

FOLDABLE = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal"),
        *("Expand", "Flatten", "Floor", "Gather", "GatherND", "Greater", "Identity", "Less", "Max", "Min", "Mul"),
        *("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "GreaterOrEqual", "IsInf", "IsNaN"),
        *("LessOrEqual", "Round", "Sign", "Xor"),
        *("Neg", "Not", "Or", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMin", "Relu", "Reshape"),
        *("Shape", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    )
)
FOLDABLE_ON_INTEGERS = frozenset(("ReduceProd", "ReduceSum", "Mod", "Pow", "Sum"))
_FROM_SHAPE = frozenset(("EyeLike", "Shape", "Size"))


class FoldConstants:
    """Replaces nodes whose inputs are constants, and Shape, Size and EyeLike of known shapes, by their results.

    Only operators whose result does not depend on an order of summation or on a library function take part, so that a
    model folds to the same bits everywhere. DequantizeLinear is kept: it says how a weight is stored.
    """

    name = "FoldConstants"
    requires: tuple[Property, ...] = ()
    ensures = (CONSTANTS_LIFTED,)
    preserves = EXACT

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: nodes replaced."""
        changes = lift_constants(model.graph)
        changes += sum(_settle_type(node) for node in list(model.graph) if node.op_type == "CastLike")
        for node in list(model.graph):
            if _is_foldable(node):
                _replace(node, _evaluate(node, model))
                changes += 1
        return PassResult(changes)


def lift_constants(graph: ir.Graph) -> int:
    """Turn every Constant node but those that are graph outputs into an initializer, and return their number."""
    count = 0
    for node in list(graph):
        if node.op_type == "Constant" and not node.outputs[0].is_graph_output():
            _replace(node, (_constant_array(node),))
            count += 1
    return count


def _constant_array(node: ir.Node) -> Array:
    (attribute,) = node.attributes.values() if len(node.attributes) == 1 else (None,)
    if attribute is None:
        raise ModelError(f"a Constant has {len(node.attributes)} attributes, expected one", node=describe(node))
    if attribute.name == "value":
        return attribute.as_tensor().numpy()
    if attribute.name == "value_float":
        return np.asarray(attribute.as_float(), np.float32)
    if attribute.name == "value_floats":
        return np.asarray(attribute.as_floats(), np.float32)
    if attribute.name == "value_int":
        return np.asarray(attribute.as_int(), np.int64)
    if attribute.name == "value_ints":
        return np.asarray(attribute.as_ints(), np.int64)
    raise ModelError(f"a Constant of kind {attribute.name!r} is not supported", node=describe(node))


def _settle_type(node: ir.Node) -> bool:
    """Make a CastLike of a constant a Cast, which depends on nothing else."""
    like = input_at(node, 1)
    if constant(node.inputs[0]) is None or like is None or like.dtype is None:
        return False
    replace_node(node, "Cast", [node.inputs[0]], {"to": ir.AttrInt64("to", int(like.dtype))})
    return True


def _is_foldable(node: ir.Node) -> bool:
    if any(value.is_graph_output() for value in node.outputs):
        return False
    if node.op_type in _FROM_SHAPE:
        return known_shape(node.inputs[0]) is not None and _result_bytes(node) <= MAX_GROWTH_BYTES
    arrays = [constant(value) for value in node.inputs if value is not None]
    if any(array is None for array in arrays):
        return False
    integers = all(array is not None and np.issubdtype(array.dtype, np.integer) for array in arrays)
    if node.op_type not in FOLDABLE and not (integers and node.op_type in FOLDABLE_ON_INTEGERS):
        return False
    limit = max(MAX_GROWTH_BYTES, sum(array.nbytes for array in arrays if array is not None))
    return _result_bytes(node) <= limit


def _result_bytes(node: ir.Node) -> float:
    total = 0.0
    for value in node.outputs:
        shape = known_shape(value)
        if shape is None or value.dtype is None:
            return math.inf
        total += math.prod(shape) * value.dtype.itemsize
    return total


def _evaluate(node: ir.Node, model: ir.Model) -> tuple[Array, ...]:
    if node.op_type in _FROM_SHAPE:
        return (_shape_result(node),)
    from onnx.reference import ReferenceEvaluator

    proto = _one_node_model(node, model)
    feeds = {value.name: constant(value) for value in node.inputs if value is not None}
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(proto).run(None, feeds)
    except Exception as error:
        # The evaluator states no errors of its own: what it raises on constants of a file is the fault of the file.
        raise ModelError(f"cannot be computed from its constants: {error}", node=describe(node)) from error
    arrays = tuple(np.asarray(result) for result in results)
    for value, array in zip(node.outputs, arrays, strict=True):
        assert value.dtype is not None
        if array.shape != known_shape(value) or array.dtype != value.dtype.numpy():
            raise ModelError(
                f"its constant result is {array.dtype} {array.shape}, inference gives {value.dtype} {value.shape}",
                node=describe(node),
            )
    return arrays


def _shape_result(node: ir.Node) -> Array:
    shape = known_shape(node.inputs[0])
    assert shape is not None
    if node.op_type == "EyeLike":
        dtype = node.outputs[0].dtype
        assert dtype is not None, "its size is known"
        return np.eye(shape[0], shape[1], integer(node, "k", 0)).astype(dtype.numpy())
    if node.op_type == "Size":
        return np.asarray(math.prod(shape), np.int64)
    start = integer(node, "start", 0)
    end = integer(node, "end", len(shape))
    return np.asarray(shape[slice(start, end)], np.int64)


def _one_node_model(node: ir.Node, model: ir.Model) -> Any:
    import onnx

    proto = onnx.ModelProto(ir_version=model.ir_version)
    proto.opset_import.add(domain="", version=model.graph.opset_imports[""])
    proto.graph.name = "node"
    proto.graph.node.append(ir.serde.serialize_node(node))
    for name in dict.fromkeys(value.name for value in node.inputs if value is not None):
        proto.graph.input.add(name=name)
    for value in node.outputs:
        proto.graph.output.add(name=value.name)
    return proto


def _replace(node: ir.Node, arrays: tuple[Array, ...]) -> None:
    graph = node.graph
    assert graph is not None
    for old, array in zip(node.outputs, arrays, strict=True):
        if not old.name:
            continue
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=old.name)
        value = ir.Value(
            name=old.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
        )
        old.replace_all_uses_with(value)
        graph.register_initializer(value)
    graph.remove(node, safe=True)
