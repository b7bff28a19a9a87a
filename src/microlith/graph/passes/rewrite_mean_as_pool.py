"""A mean over all of an image is a global average pool.

``ReduceMean(x, all axes after N and C) = GlobalAveragePool(x)``, followed by a Flatten where the axes are dropped.
``AveragePool(x) = GlobalAveragePool(x)`` where its one window is the whole image.
Tensors of three axes are left alone: what is (N, C, L) in a convolutional network is (N, tokens, features) in others.
Between DequantizeLinear and QuantizeLinear both stay: they are one operation on integers already. So does a mean that
rounds as LiteRT's mean over an image does.
"""

from __future__ import annotations

import onnx_ir as ir

from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import made_by
from microlith.graph.values import (
    constant_ints,
    input_at,
    insert_node,
    integer,
    new_value,
    replace_node,
    static_shape,
    unique_name,
)
from microlith.ops import op_of
from microlith.ops.average_pool import AveragePoolAttrs
from microlith.ops.reduce import is_image_mean


class RewriteMeanAsPool:
    """Replaces a ReduceMean or AveragePool over a whole image by GlobalAveragePool, Flatten behind dropped axes."""

    name = "RewriteMeanAsPool"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-6, "the mean may be summed in another order")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: means replaced."""
        changes = 0
        for node in list(model.graph):
            if made_by(node.inputs[0], "DequantizeLinear") is not None:
                continue
            if node.op_type == "ReduceMean" and not is_image_mean(node):
                changes += _rewrite(node)
            elif node.op_type == "AveragePool":
                changes += _rewrite_window(node)
        return PassResult(changes)


def _rewrite_window(node: ir.Node) -> int:
    source, attrs = node.inputs[0], op_of(node).parse(node)
    if source is None or not isinstance(attrs, AveragePoolAttrs) or len(static_shape(source)) != 4:
        return 0
    windows = attrs.spatial.geometry(static_shape(source))
    if windows.kernel != windows.size or windows.output != (1, 1) or any(windows.pad):
        return 0
    replace_node(node, "GlobalAveragePool", [source])
    return 1


def _rewrite(node: ir.Node) -> int:
    source, axes = node.inputs[0], constant_ints(input_at(node, 1))
    if source is None or axes is None:
        return 0
    shape = static_shape(source)
    if len(shape) < 4 or sorted(axis % len(shape) for axis in axes) != list(range(2, len(shape))):
        return 0
    if integer(node, "keepdims", 1):
        replace_node(node, "GlobalAveragePool", [source])
        return 1
    assert node.graph is not None
    name = unique_name(node.graph, f"{node.outputs[0].name}_pooled")
    pooled = new_value(name, node.outputs[0], (*shape[:2], *(1,) * (len(shape) - 2)))
    insert_node(node, "GlobalAveragePool", [source], pooled)
    replace_node(node, "Flatten", [pooled])
    return 1
