"""A normalization in groups of channels is one operator again.

With x of shape (N, C, ...) and G groups of neighbouring channels,
``Reshape(Normalize(Reshape(x, (N, G, -1))))`` brings each group to mean 0 and variance 1, where Normalize is

* InstanceNormalization with its scale s and bias b, one number a group, or
* LayerNormalization over the last axis with scale 1 and without bias, which FuseNormalization makes of one that is
  written out.

That is GroupNormalization with each number of s and b for all channels of the group. A Mul and an Add of constants a
channel behind it are taken into its scale and bias: ``(s n + b) * a + c = (s a) n + (b a + c)``. Without such a Mul or
Add there is nothing to gain, and the three operators stay.

Source: Wu and He, Group Normalization, ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import fits_float32
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.passes.merge_reshapes import RESHAPES
from microlith.graph.patterns import in_both_orders, made_by, remove_unused
from microlith.graph.values import (
    add_initializer,
    constant,
    input_at,
    integer,
    real,
    replace_node,
    sole_consumer,
    static_shape,
)
from microlith.ops import OPS

Float64 = NDArray[np.float64]


class FuseGroupNormalization:
    """Recovers GroupNormalization with a scale and a bias for each channel, as far as it can be compiled."""

    name = "FuseGroupNormalization"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "scales are multiplied into one")

    def __init__(self, supported: Collection[str] = OPS) -> None:
        self._supported = supported

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: normalizations recovered."""
        changes = 0
        for node in list(model.graph) if "GroupNormalization" in self._supported else ():
            if node.graph is not None and node.op_type in ("InstanceNormalization", "LayerNormalization"):
                changes += _fuse(node)
        return PassResult(changes)


def _fuse(node: ir.Node) -> bool:
    apart, together = made_by(node.inputs[0], *RESHAPES), sole_consumer(node.outputs[0])
    source = None if apart is None else apart.inputs[0]
    if source is None or together is None or together.op_type not in RESHAPES:
        return False
    shape, groups = static_shape(source), static_shape(node.outputs[0])
    if len(shape) < 3 or len(groups) < 3 or static_shape(together.outputs[0]) != shape or groups[0] != shape[0]:
        return False
    own = _own(node, groups)
    if own is None or shape[1] % groups[1] or groups[1] == shape[1]:
        return False
    scale, bias = (np.repeat(values, shape[1] // groups[1]) for values in own)
    last = together
    while (taken := _taken(last, scale, bias)) is not None:
        last, scale, bias = taken
    if last is together:
        return False
    graph = last.graph
    assert graph is not None
    name = last.outputs[0].name
    parameters = [
        add_initializer(graph, f"{name}_{what}", values.astype(np.float32))
        for what, values in (("scale", scale), ("bias", bias))
    ]
    attributes = {
        "num_groups": ir.AttrInt64("num_groups", groups[1]),
        "epsilon": ir.AttrFloat32("epsilon", real(node, "epsilon", 1e-5)),
    }
    producers = [value.producer() for value in last.inputs if value is not None]
    replace_node(last, "GroupNormalization", [source, *parameters], attributes)
    for producer in producers:
        remove_unused(producer)
    return True


def _own(node: ir.Node, shape: tuple[int, ...]) -> tuple[Float64, Float64] | None:
    """Scale and bias of each group of channels."""
    scale, added = constant(node.inputs[1]), input_at(node, 2)
    bias = None if added is None else constant(added)
    if scale is None or (added is not None and bias is None):
        return None
    if node.op_type == "InstanceNormalization":
        return (np.asarray(scale, np.float64), np.asarray(bias, np.float64)) if bias is not None else None
    plain = len(shape) == 3 and integer(node, "axis", -1) in (-1, 2) and bool((scale == 1).all())
    if not plain or (bias is not None and bias.any()):
        return None
    return np.ones(shape[1]), np.zeros(shape[1])


def _taken(last: ir.Node, scale: Float64, bias: Float64) -> tuple[ir.Node, Float64, Float64] | None:
    """The Mul or Add behind a node with the scale and bias of both; None where there is none a channel."""
    value = last.outputs[0]
    follower, shape = sole_consumer(value), static_shape(value)
    if follower is None or follower.op_type not in ("Mul", "Add") or static_shape(follower.outputs[0]) != shape:
        return None
    for x, other in in_both_orders(follower):
        array = constant(other)
        if x is not value or array is None or array.ndim > len(shape):
            continue
        full = np.asarray(array, np.float64).reshape((1,) * (len(shape) - array.ndim) + array.shape)
        if any(size != 1 for axis, size in enumerate(full.shape) if axis != 1):
            continue
        row = np.broadcast_to(full.reshape(-1), (shape[1],))
        scaled, shifted = (scale * row, bias * row) if follower.op_type == "Mul" else (scale, bias + row)
        if fits_float32(scaled) and fits_float32(shifted):
            return follower, scaled, shifted
    return None
