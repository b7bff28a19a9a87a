"""What older opsets and runtimes do not have, in terms of what they have: one function each.

A rule puts nodes of the internal opset in the place of another; a form is how a node of the internal opset is written
in an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.values import (
    WIDER,
    add_initializer,
    constant,
    constant_ints,
    constant_scalar,
    input_at,
    insert_node,
    integer,
    ints,
    known_shape,
    replace_node,
    unique_name,
)

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Form:
    """How a node is written in an opset in which its op had another form.

    Attributes:
        obstacle: why it cannot be; None where it can.
        apply: writes it, in place.
    """

    obstacle: Callable[[ir.Node, int], str | None]
    apply: Callable[[ir.Node, int], None]


def _axes_obstacle(node: ir.Node, opset: int) -> str | None:
    axes = input_at(node, 1)
    if opset < 18 and axes is not None and constant_ints(axes) is None:
        return "its axes are computed, and were an attribute"
    if opset < 18 and integer(node, "noop_with_empty_axes", 0) and not constant_ints(axes):
        return "noop_with_empty_axes came with opset 18"
    return None


def _axes_to_attribute(node: ir.Node, opset: int) -> None:
    if opset >= 18:
        return
    axes = constant_ints(input_at(node, 1))
    node.resize_inputs(1)
    node.attributes.pop("noop_with_empty_axes", None)
    if axes:
        node.attributes.add(ir.AttrInt64s("axes", axes))


def _grid_obstacle(node: ir.Node, opset: int) -> str | None:
    shape = known_shape(input_at(node, 0))
    return f"of rank 4 only, and this is {shape}" if opset < 20 and (shape is None or len(shape) != 4) else None


def _old_grid_modes(node: ir.Node, opset: int) -> None:
    if opset < 20:
        mode = node.attributes.get_string("mode", "linear")
        node.attributes.add(ir.AttrString("mode", {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)))


def _region_obstacle(node: ir.Node, opset: int) -> str | None:
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return "half_pixel came with opset 16" if opset < 16 and mode != "output_half_pixel" else None


def _old_region(node: ir.Node, opset: int) -> None:
    if opset < 16:
        node.attributes.pop("coordinate_transformation_mode", None)


_REDUCED = (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum"),
    *("ReduceLogSumExp", "ReduceSumSquare"),
)

FORMS: Mapping[str, Form] = {
    **dict.fromkeys(_REDUCED, Form(_axes_obstacle, _axes_to_attribute)),
    "GridSample": Form(_grid_obstacle, _old_grid_modes),
    "RoiAlign": Form(_region_obstacle, _old_region),
}
"""Ops whose form changed after opset 13 otherwise than by what may be left out."""

NEW_VALUES: Mapping[tuple[str, str, Any], int] = {
    ("Pad", "mode", "wrap"): 19,
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"): 19,
    ("ScatterElements", "reduction", "max"): 18,
    ("ScatterElements", "reduction", "min"): 18,
    ("ScatterND", "reduction", "max"): 18,
    ("ScatterND", "reduction", "min"): 18,
}
"""The opset with which an attribute that there was before could take a value."""


def _before(
    node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], like: ir.Value, **attributes: Any
) -> ir.Value:
    """The result of a new node in front of another; it has the type of ``like``, and its shape is inferred later."""
    assert node.graph is not None
    name = unique_name(node.graph, f"{node.outputs[0].name}_{op_type.lower()}")
    value = ir.Value(name=name, type=like.type, shape=like.shape)
    insert_node(node, op_type, inputs, value, _attributes(attributes))
    return value


def _cast(node: ir.Node, source: ir.Value, dtype: ir.DataType) -> ir.Value:
    like = ir.Value(type=ir.TensorType(dtype), shape=source.shape)
    return _before(node, "Cast", [source], like, to=int(dtype))


def _attributes(values: Mapping[str, Any]) -> dict[str, ir.Attr]:
    return {name: ir.convenience.convert_attribute(name, value) for name, value in values.items()}


def _constant(node: ir.Node, what: str, array: Array) -> ir.Value:
    assert node.graph is not None
    return add_initializer(node.graph, f"{node.outputs[0].name}_{what}", array)


def _swish(node: ir.Node, opset: int) -> bool:
    """``x * Sigmoid(alpha * x)``, which FuseSwish recovers."""
    source, alpha = node.inputs[0], node.attributes.get_float("alpha", 1.0)
    assert source is not None
    scaled = source
    if alpha != 1.0:
        scaled = _before(node, "Mul", [source, _constant(node, "alpha", np.array(alpha, np.float32))], source)
    gate = _before(node, "Sigmoid", [scaled], source)
    replace_node(node, "Mul", [source, gate])
    return True


def _global_lp_pool(node: ir.Node, opset: int) -> bool:
    """LpPool over all places."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return False
    attributes = _attributes({"kernel_shape": list(shape[2:]), "p": integer(node, "p", 2)})
    replace_node(node, "LpPool", node.inputs, attributes)
    return True


def _cast_like(node: ir.Node, opset: int) -> bool:
    """The type is known."""
    dtype = node.outputs[0].dtype
    if dtype is None:
        return False
    kept = {name: value for name, value in node.attributes.items() if name != "to"}
    replace_node(node, "Cast", node.inputs[:1], kept | _attributes({"to": int(dtype)}))
    return True


def _trilu(node: ir.Node, opset: int) -> bool:
    """A choice between x and 0 by a constant mask."""
    source, shape = node.inputs[0], known_shape(node.inputs[0])
    given = input_at(node, 1)
    diagonal = 0 if given is None else constant_scalar(given)
    if source is None or shape is None or diagonal is None or source.dtype is None:
        return False
    upper, ones = integer(node, "upper", 1), np.ones(shape[-2:], np.bool_)
    mask = _constant(node, "mask", np.triu(ones, int(diagonal)) if upper else np.tril(ones, int(diagonal)))
    zero = _constant(node, "zero", np.zeros((), source.dtype.numpy()))
    replace_node(node, "Where", [mask, source, zero])
    return True


def _split(node: ir.Node, opset: int) -> bool:
    """Sizes instead of their number."""
    if "num_outputs" not in node.attributes:
        return False
    axis = integer(node, "axis", 0)
    shapes = [known_shape(value) for value in node.outputs]
    sizes = [shape[axis] for shape in shapes if shape is not None]
    if len(sizes) != len(node.outputs):
        return False
    del node.attributes["num_outputs"]
    node.resize_inputs(2)
    node.replace_input_with(1, _constant(node, "sizes", np.array(sizes, np.int64)))
    return True


def _pad(node: ir.Node, opset: int) -> bool:
    """Pads of all axes instead of some."""
    axes, pads, shape = constant_ints(input_at(node, 3)), constant_ints(input_at(node, 1)), known_shape(node.inputs[0])
    if axes is None or pads is None or shape is None:
        return False
    full = np.zeros((2, len(shape)), np.int64)
    full[:, list(axes)] = np.reshape(pads, (2, -1))
    node.replace_input_with(1, _constant(node, "pads", full.reshape(-1)))
    node.resize_inputs(3)
    return True


def _resize(node: ir.Node, opset: int) -> bool:
    """Region, scales or sizes of all axes instead of some."""
    if "axes" not in node.attributes or node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    shape = known_shape(node.inputs[0])
    given = [input_at(node, index) for index in (1, 2, 3)]
    if shape is None or any(value is not None and constant(value) is None for value in given):
        return False
    axes, rank = list(ints(node, "axes", ())), len(shape)
    region = np.concatenate([np.zeros(rank, np.float32), np.ones(rank, np.float32)]).reshape(2, rank)
    whole: tuple[Array, ...] = (region, np.ones(rank, np.float32), np.array(shape, np.int64))
    for index, (value, full) in enumerate(zip(given, whole, strict=True), 1):
        array = constant(value)
        if array is not None and array.size:
            full[..., axes] = array.reshape(*full.shape[:-1], -1)
            node.replace_input_with(index, _constant(node, f"all{index}", full.reshape(-1)))
    del node.attributes["axes"]
    return True


def _reshape(node: ir.Node, opset: int) -> bool:
    """``allowzero`` says nothing where no size is 0."""
    sizes = constant_ints(input_at(node, 1))
    if "allowzero" not in node.attributes or sizes is None or 0 in sizes:
        return False
    del node.attributes["allowzero"]
    return True


def _dequantize(node: ir.Node, opset: int) -> bool:
    """Constants of 4 bits as the same numbers in 8 bits."""
    wide = WIDER.get(node.inputs[0].dtype) if node.inputs[0] is not None and node.inputs[0].dtype else None
    arrays = {index: constant(input_at(node, index)) for index in (0, 2) if input_at(node, index) is not None}
    if wide is None or any(array is None for array in arrays.values()):
        return False
    for index, array in arrays.items():
        assert array is not None
        node.replace_input_with(index, _constant(node, f"bytes{index}", array.astype(wide.numpy())))
    return True


def _quantize(node: ir.Node, opset: int) -> bool:
    """A zero point of 0 says the type that ``output_dtype`` says."""
    dtype, scale = node.outputs[0].dtype, known_shape(node.inputs[1])
    if "output_dtype" not in node.attributes or input_at(node, 2) is not None or dtype is None or scale is None:
        return False
    node.resize_inputs(3)
    node.replace_input_with(2, _constant(node, "zero", np.zeros(scale, dtype.numpy())))
    del node.attributes["output_dtype"]
    return True


def _widen(node: ir.Node, opset: int) -> bool:
    """Integers of 16 bits are chosen among, or compared, as the same numbers in 32 bits."""
    narrow = node.outputs[0].dtype
    if narrow not in (ir.DataType.INT16, ir.DataType.UINT16):
        return False
    wide = [
        value if value is None or value.dtype != narrow else _cast(node, value, ir.DataType.INT32)
        for value in node.inputs
    ]
    like = ir.Value(type=ir.TensorType(ir.DataType.INT32), shape=node.outputs[0].shape)
    result = _before(node, node.op_type, wide, like, **{name: item.value for name, item in node.attributes.items()})
    replace_node(node, "Cast", [result], _attributes({"to": int(narrow)}))
    return True


def _pow(node: ir.Node, opset: int) -> bool:
    """Unsigned exponents as the same numbers in int64."""
    exponent = node.inputs[1]
    if exponent is None or exponent.dtype not in (ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32):
        return False
    node.replace_input_with(1, _cast(node, exponent, ir.DataType.INT64))
    return True


def _recurrent(node: ir.Node, opset: int) -> bool:
    """The batch first: transposed before and after."""
    if not integer(node, "layout", 0):
        return False
    node.attributes.pop("layout")
    for index in (0, 5, 6):
        value = input_at(node, index)
        if value is not None:
            node.replace_input_with(index, _transposed(node, value, (1, 0, 2)))
    for index, perm in enumerate(((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))):
        if index < len(node.outputs) and node.outputs[index].name:
            _transpose_output(node, index, perm)
    return True


def _transposed(node: ir.Node, value: ir.Value, perm: Sequence[int]) -> ir.Value:
    shape = known_shape(value)
    like = ir.Value(type=value.type, shape=None if shape is None else ir.Shape([shape[axis] for axis in perm]))
    return _before(node, "Transpose", [value], like, perm=list(perm))


def _transpose_output(node: ir.Node, index: int, perm: Sequence[int]) -> None:
    """Let the readers of an output read it through a Transpose, which takes over its name."""
    graph, old = node.graph, node.outputs[index]
    assert graph is not None
    shape, name = known_shape(old), old.name
    new = ir.Value(name=name, type=old.type, shape=old.shape)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = unique_name(graph, f"{name}_time_first")
    inverse = np.argsort(perm)
    old.shape = None if shape is None else ir.Shape([shape[axis] for axis in inverse])
    turn = ir.Node("", "Transpose", [old], attributes=list(_attributes({"perm": list(perm)}).values()), outputs=[new])
    turn.name = name
    graph.insert_after(node, turn)


RULES: Mapping[str, Callable[[ir.Node, int], bool]] = {
    "Swish": _swish,
    "GlobalLpPool": _global_lp_pool,
    "CastLike": _cast_like,
    "Trilu": _trilu,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "Reshape": _reshape,
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
    **dict.fromkeys(("Max", "Min", "Where"), _widen),
    "Pow": _pow,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _recurrent),
}
"""Puts what means the same in the place of a node; false, and nothing is changed, where it does not know how."""
