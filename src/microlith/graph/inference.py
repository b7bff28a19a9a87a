"""Types and shapes of all values, as the ONNX operator definitions give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from microlith.core.errors import ModelError
from microlith.ops import op_of
from microlith.ops.non_max_suppression import most_rows

_PROPAGATED_BYTES = 8192
"""Constants up to this size take part in inference by value (shapes, axes, pads); larger ones by type only."""

_FOLLOWED_ELEMENTS = 1 << 16
"""Longest vector with which the values of vectors are followed through the graph."""

_SHAPED_LIKE_INPUT = frozenset({"GroupNormalization"})
"""Ops whose definitions in ONNX do not say that their result has the type and shape of their first input."""


@dataclass(frozen=True)
class TypeInfo:
    """Element type and shape; a dimension is None, or the shape is, where it cannot be known."""

    dtype: ir.DataType
    shape: tuple[int | None, ...] | None

    @property
    def static(self) -> bool:
        """Whether every dimension is known."""
        return self.shape is not None and all(size is not None for size in self.shape)


def infer_types(model: ir.Model) -> dict[str, TypeInfo]:
    """Type and shape of every graph input and of the output of every node, from inputs and constants alone.

    Raises:
        ModelError: the operators contradict each other, such as a Conv on the wrong number of channels.
    """
    proto = _skeleton(model)
    found = _infer(proto)
    own = [node for node in model.graph if node.domain]
    while _supply(proto, found) or _supply_own(own, proto, found):
        found = _infer(proto)
    return found


def _infer(proto: Any) -> dict[str, TypeInfo]:
    found = _infer_once(proto, follow_values=False)
    # Following the values of a vector, which may be a shape, takes a message for each element, known or not.
    vectors = [info.shape[0] or 0 for info in found.values() if info.shape is not None and len(info.shape) == 1]
    if max(vectors, default=0) > _FOLLOWED_ELEMENTS:
        return found
    return _infer_once(proto, follow_values=True)


def _infer_once(proto: Any, *, follow_values: bool) -> dict[str, TypeInfo]:
    import onnx
    import onnx.shape_inference

    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=follow_values)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"the types and shapes of the model do not fit together: {_one_line(error)}") from error
    except MemoryError as error:
        raise ModelError("the shapes that the model computes are too large to be followed") from error
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    return {value.name: info for value in values if (info := _type_info(value.type)) is not None}


def _supply(proto: Any, found: dict[str, TypeInfo]) -> bool:
    """State the results of ops whose definitions do not; whether there was a new one."""
    import onnx

    stated = {value.name for value in proto.graph.value_info}
    new = False
    for node in proto.graph.node:
        if node.op_type == "NonMaxSuppression":
            new |= _supply_rows(node, proto, found)
        if node.op_type not in _SHAPED_LIKE_INPUT or node.output[0] in stated or node.input[0] not in found:
            continue
        source = found[node.input[0]]
        if source.static and (node.output[0] not in found or not found[node.output[0]].static):
            info = onnx.helper.make_tensor_value_info(node.output[0], int(source.dtype), source.shape)
            proto.graph.value_info.append(info)
            new = True
    return new


def _supply_rows(node: Any, proto: Any, found: dict[str, TypeInfo]) -> bool:
    """State the shape of a NonMaxSuppression, with a row for each box that may be chosen; whether that is new."""
    import onnx

    limits = [item for item in proto.graph.initializer if len(node.input) > 2 and item.name == node.input[2]]
    boxes, scores = (found.get(name) for name in node.input[:2])
    name = node.output[0]
    if not limits or not name or boxes is None or scores is None or (name in found and found[name].static):
        return False
    limit = onnx.numpy_helper.to_array(limits[0])
    rows = most_rows(int(limit.reshape(())), boxes.shape or (), scores.shape or ()) if limit.size == 1 else None
    if rows is None or rows < 1:
        return False
    _state(proto, onnx.helper.make_tensor_value_info(name, int(ir.DataType.INT64), [rows, 3]))
    return True


def _state(proto: Any, stated: Any) -> None:
    """Write type and shape of a value where inference reads them."""
    places = [item for item in proto.graph.output if item.name == stated.name]
    (places[0] if places else proto.graph.value_info.add()).CopyFrom(stated)


def _supply_own(nodes: Sequence[ir.Node], proto: Any, found: dict[str, TypeInfo]) -> bool:
    """State the results of ops that ONNX does not define; whether there was a new one."""
    import onnx

    stated = {value.name for value in proto.graph.value_info}
    new = False
    for node in nodes:
        op = op_of(node)
        read = node.inputs if op.data_inputs is None else [node.inputs[index] for index in op.data_inputs]
        known = [found.get(value.name or "") for value in read if value is not None]
        shapes = [info.shape for info in known if info is not None and info.static]
        if node.outputs[0].name in stated or len(shapes) != len(known):
            continue
        for value, shape in zip(node.outputs, op.infer(op.parse(node), shapes), strict=True):  # type: ignore[arg-type]
            info = onnx.helper.make_tensor_value_info(value.name or "", onnx.TensorProto.FLOAT, shape)
            proto.graph.value_info.append(info)
        new = True
    return new


def _skeleton(model: ir.Model) -> Any:
    import onnx

    proto = onnx.ModelProto(ir_version=model.ir_version)
    proto.graph.name = "inference"
    for domain, version in model.graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    for value in model.graph.inputs:
        proto.graph.input.append(ir.serde.serialize_value(value))
    for value in model.graph.initializers.values():
        assert value.const_value is not None and value.name is not None
        if value.const_value.nbytes <= _PROPAGATED_BYTES:
            tensor = ir.serde.serialize_tensor(_whole(value))
            tensor.name = value.name
            proto.graph.initializer.append(tensor)
        else:
            proto.graph.input.append(_typed(value.name, value.const_value))
    for node in model.graph:
        proto.graph.node.append(ir.serde.serialize_node(node))
    for value in model.graph.outputs:
        proto.graph.output.add(name=value.name)
    for node in model.graph:
        _state_unpooled(node, proto)
    return proto


def _whole(value: ir.Value) -> ir.TensorProtocol:
    """A constant; a float that is the depth of a OneHot as an integer, of which alone ONNX infers the shape."""
    tensor = value.const_value
    assert tensor is not None
    if tensor.dtype == ir.DataType.INT64 or not any(u.node.op_type == "OneHot" and u.idx == 1 for u in value.uses()):
        return tensor
    return ir.tensor(tensor.numpy().astype("int64"), name=value.name)


def _state_unpooled(node: ir.Node, proto: Any) -> None:
    """The shape of a MaxUnpool whose third input gives it, which ONNX does not infer."""
    import onnx

    given = node.inputs[2] if node.op_type == "MaxUnpool" and len(node.inputs) > 2 else None
    source = node.inputs[0] if node.inputs else None
    if given is None or given.const_value is None or source is None or source.dtype is None:
        return
    shape = [int(size) for size in given.const_value.numpy().reshape(-1)]
    stated = onnx.helper.make_tensor_value_info(node.outputs[0].name or "", int(source.dtype), shape)
    _state(proto, stated)


def _typed(name: str, tensor: ir.TensorProtocol) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, int(tensor.dtype), [int(size) for size in tensor.shape.numpy()])


def _type_info(proto: Any) -> TypeInfo | None:
    if not proto.HasField("tensor_type") or not proto.tensor_type.elem_type:
        return None
    tensor = proto.tensor_type
    dtype = ir.DataType(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TypeInfo(dtype, None)
    return TypeInfo(dtype, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
