"""Normalizations that are written out are one operator again.

With the mean m and the variance v of x over some axes, ``(x - m) / sqrt(v + epsilon)`` is

* InstanceNormalization with scale 1 where the axes are all after N and C,
* LayerNormalization with scale 1 where they are the last ones.

``x / sqrt(mean(x^2) + epsilon)`` over the last axes is RMSNormalization with scale 1, an operator since opset 23. A Mul
and an Add of constants behind a normalization, in the shape that it takes, are its scale and bias:
``(n(x) * s + b) * a + c = n(x) * (s a) + (b a + c)``. RMSNormalization has no bias.

A normalization in groups is Reshape, one of these, Reshape; see
:mod:`microlith.graph.passes.fuse_group_normalization`.

Source: Ba et al., Layer Normalization, arXiv 1607.06450; Zhang and Sennrich, Root Mean Square Layer Normalization,
NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import fits_float32
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import in_both_orders, made_by, reduced_axes, remove_unused
from microlith.graph.values import (
    Array,
    add_initializer,
    bypass,
    can_bypass,
    constant,
    constant_scalar,
    input_at,
    integer,
    replace_node,
    sole_consumer,
    static_shape,
)
from microlith.ops import OPS

Float64 = NDArray[np.float64]
_NORMALIZATIONS = ("InstanceNormalization", "LayerNormalization", "RMSNormalization")
_RMS_OPSET = 23


class FuseNormalization:
    """Recovers LayerNormalization, InstanceNormalization and RMSNormalization, as far as they can be compiled."""

    name = "FuseNormalization"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "the variance is computed in another order")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: normalizations recovered and operators taken into their scale and bias."""
        changes = 0
        for node in list(model.graph):
            if node.graph is None:
                continue
            if node.op_type in ("Div", "Mul") and (self._normalize(node) or self._scale_by_rms(node, model)):
                changes += 1
            elif node.op_type in ("Mul", "Add"):
                changes += _absorb(node)
        return PassResult(changes)

    def _normalize(self, node: ir.Node) -> bool:
        found = _normalized(node)
        if found is None:
            return False
        source, axes, epsilon = found
        shape = static_shape(source)
        assert node.graph is not None
        name = node.outputs[0].name
        attributes: dict[str, ir.Attr] = {"epsilon": ir.AttrFloat32("epsilon", epsilon)}
        if axes == tuple(range(2, len(shape))) and self._is_instance(node, len(shape)):
            op_type, scale = "InstanceNormalization", np.ones(shape[1], np.float32)
        elif axes == tuple(range(axes[0], len(shape))) and "LayerNormalization" in self._supported:
            op_type, scale = "LayerNormalization", np.ones(shape[axes[0] :], np.float32)
            attributes["axis"] = ir.AttrInt64("axis", axes[0] - len(shape))
        else:
            return False
        inputs = [source, add_initializer(node.graph, f"{name}_scale", scale)]
        if op_type == "InstanceNormalization":
            inputs.append(add_initializer(node.graph, f"{name}_bias", np.zeros_like(scale)))
        _replace(node, op_type, inputs, attributes)
        return True

    def _scale_by_rms(self, node: ir.Node, model: ir.Model) -> bool:
        found = _divided_by_spread(node) if "RMSNormalization" in self._supported else None
        if found is None or model.graph.opset_imports[""] < _RMS_OPSET:
            return False
        source, axes, epsilon = found
        shape = static_shape(source)
        if axes != tuple(range(axes[0], len(shape))):
            return False
        assert node.graph is not None
        scale = add_initializer(node.graph, f"{node.outputs[0].name}_scale", np.ones(shape[axes[0] :], np.float32))
        attributes = {
            "axis": ir.AttrInt64("axis", axes[0] - len(shape)),
            "epsilon": ir.AttrFloat32("epsilon", epsilon),
        }
        _replace(node, "RMSNormalization", [source, scale], attributes)
        return True

    def _is_instance(self, node: ir.Node, rank: int) -> bool:
        """Whether a normalization over all axes after N and C is meant a channel: as the constant behind it says."""
        if "LayerNormalization" not in self._supported or "InstanceNormalization" not in self._supported:
            return "InstanceNormalization" in self._supported
        follower = sole_consumer(node.outputs[0])
        for _, other in in_both_orders(follower) if follower is not None and follower.op_type == "Mul" else ():
            array = constant(other)
            if array is not None and array.size > 1:
                return array.ndim >= rank - 1 and array.size == array.shape[array.ndim + 1 - rank]
        return rank > 3


def _replace(node: ir.Node, op_type: str, inputs: list[ir.Value], attributes: dict[str, ir.Attr]) -> None:
    producers = [value.producer() for value in node.inputs if value is not None]
    replace_node(node, op_type, inputs, attributes)
    for producer in producers:
        remove_unused(producer)


def _normalized(node: ir.Node) -> tuple[ir.Value, tuple[int, ...], float] | None:
    """x, axes and epsilon of ``(x - m) / sqrt(v + epsilon)``."""
    found = _divided_by_spread(node)
    if found is None:
        return None
    centred, axes, epsilon = found
    subtraction = made_by(centred, "Sub")
    source = None if subtraction is None else subtraction.inputs[0]
    mean = None if subtraction is None else made_by(subtraction.inputs[1], "ReduceMean")
    if mean is None or source is None or mean.inputs[0] is not source or reduced_axes(mean) != axes:
        return None
    return source, axes, epsilon


def _divided_by_spread(node: ir.Node) -> tuple[ir.Value, tuple[int, ...], float] | None:
    """d, axes and epsilon of ``d / sqrt(mean(d^2) + epsilon)``."""
    first, second = input_at(node, 0), input_at(node, 1)
    if first is None or second is None:
        return None
    for value, other in in_both_orders(node) if node.op_type == "Mul" else ((first, second),):
        inverse = made_by(other, "Reciprocal")
        under = other if node.op_type == "Div" else None if inverse is None else inverse.inputs[0]
        root = made_by(under, "Sqrt")
        total = made_by(None if root is None else root.inputs[0], "Add")
        for spread, added in in_both_orders(total) if total is not None else ():
            epsilon, mean = constant_scalar(added), made_by(spread, "ReduceMean")
            axes = reduced_axes(mean)
            if mean is not None and epsilon is not None and axes is not None and _is_square_of(mean.inputs[0], value):
                return value, axes, epsilon
    return None


def _is_square_of(value: ir.Value | None, root: ir.Value) -> bool:
    node = made_by(value, "Mul", "Pow")
    if node is None or node.inputs[0] is not root:
        return False
    return node.inputs[1] is root if node.op_type == "Mul" else constant_scalar(node.inputs[1]) == 2


def _absorb(node: ir.Node) -> int:
    """Take a constant factor or summand into the normalization in front of it."""
    for value, other in in_both_orders(node):
        normalization = made_by(value, *_NORMALIZATIONS)
        array = constant(other)
        if normalization is None or array is None or sole_consumer(value) is not node or not can_bypass(node, value):
            continue
        if static_shape(value) != static_shape(node.outputs[0]):
            continue
        parameter = _as_parameter(normalization, array, static_shape(value))
        if parameter is None or not _combine(normalization, node.op_type, parameter):
            continue
        bypass(node, value)
        return 1
    return 0


def _as_parameter(node: ir.Node, array: Array, shape: tuple[int, ...]) -> Float64 | None:
    """A constant in the shape of the normalization's scale; None where it varies along other axes."""
    if array.ndim > len(shape):
        return None
    full = np.asarray(array, np.float64).reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if node.op_type != "InstanceNormalization":
        axis = integer(node, "axis", -1) % len(shape)
        kept = range(axis, len(shape))
    else:
        kept = range(1, 2)
    if any(size != 1 for index, size in enumerate(full.shape) if index not in kept):
        return None
    wanted = tuple(shape[index] for index in kept)
    return np.broadcast_to(full.reshape([full.shape[index] for index in kept]), wanted)


def _combine(node: ir.Node, op_type: str, parameter: Float64) -> bool:
    value = input_at(node, 2)
    if node.op_type == "RMSNormalization" and op_type == "Add":
        return False
    arrays = constant(node.inputs[1]), np.zeros(parameter.shape) if value is None else constant(value)
    if any(array is None or array.shape != parameter.shape for array in arrays):
        return False
    scale, bias = (np.asarray(array, np.float64) for array in arrays)
    scaled = scale * parameter if op_type == "Mul" else scale
    shifted = bias * parameter if op_type == "Mul" else bias + parameter
    if not (fits_float32(scaled) and fits_float32(shifted)):
        return False
    if op_type == "Mul":
        _set(node, 1, "scale", scaled)
    if op_type == "Add" or bias.any():
        _set(node, 2, "bias", shifted)
    return True


def _set(node: ir.Node, index: int, what: str, array: Float64) -> None:
    assert node.graph is not None
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    name = f"{node.outputs[0].name}_{what}"
    node.replace_input_with(index, add_initializer(node.graph, name, array.astype(np.float32)))
