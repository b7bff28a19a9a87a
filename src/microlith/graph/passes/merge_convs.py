"""Layers in a row without anything between, and layers side by side, are one layer where that computes less.

In a row, where nothing else reads the result between:

* A Conv of one group followed by a 1x1 Conv of one group, stride 1 and no padding:
  ``V (W x + b) + c = (V W) x + (V b + c)``, the product over the channels between.
* A 1x1 Conv like that followed by a Conv of one group without padding: at every tap ``V[k] (W x + b)``, summed.
* A Gemm followed by a Gemm, both with alpha and beta 1.

They are merged where that raises neither the number of weights nor that of multiply-accumulates: it does not pay
through a narrow layer between wide ones.

Side by side: Convs of one input with the same geometry and one group, whose results stand next to each other in a
Concat along channels, perhaps each behind the same activation: ``Concat(W x + b, V x + c) = [W; V] x + [b; c]``. Where
they do not meet in a Concat, the result would have to be split again, which costs a copy, and they stay.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import bias_of, fits_float32, own_pads, set_bias, set_weights, weights_of
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.patterns import remove_unused
from microlith.graph.values import (
    bypass,
    can_bypass,
    input_at,
    integer,
    ints,
    known_shape,
    new_value,
    real,
    replace_node,
    sole_consumer,
    static_shape,
    unique_name,
)

Float64 = NDArray[np.float64]
_ACTIVATIONS = frozenset(("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"))


class MergeConvs:
    """Merges two layers in a row, and Convs of one input whose results are concatenated, where that saves."""

    name = "MergeConvs"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-4, "weights are multiplied with each other and rounded to float32")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: layers removed."""
        changes = 0
        for node in list(model.graph):
            if node.graph is None:
                continue
            if node.op_type in ("Conv", "Gemm"):
                changes += _merge_in_a_row(node)
            elif node.op_type == "Concat":
                changes += _merge_side_by_side(node)
        return PassResult(changes)


# ---- in a row


def _merge_in_a_row(second: ir.Node) -> int:
    middle = second.inputs[0]
    first = None if middle is None else middle.producer()
    if middle is None or first is None or first.op_type != second.op_type or sole_consumer(middle) is not second:
        return 0
    parts = [weights_of(first), bias_of(first), weights_of(second), bias_of(second)]
    if any(part is None for part in parts):
        return 0
    before, bias, after, last = (np.asarray(part) for part in parts)
    product = _gemm_product(first, second, before, after) if second.op_type == "Gemm" else None
    if second.op_type == "Conv":
        product = _conv_product(first, second, before, after)
    if product is None or not _pays(first, second, before, after, product):
        return 0
    taps = after.reshape(*after.shape[:2], -1).sum(axis=2)
    total = (taps @ bias if second.op_type == "Conv" or integer(second, "transB", 0) else bias @ after) + last
    if not (fits_float32(product) and fits_float32(total)):
        return 0
    _replace_by(first, second, product, total)
    return 1


def _gemm_product(first: ir.Node, second: ir.Node, before: Float64, after: Float64) -> Float64 | None:
    """The product as the first Gemm stores its weights."""
    for node in (first, second):
        if integer(node, "transA", 0) or real(node, "alpha", 1.0) != 1 or real(node, "beta", 1.0) != 1:
            return None
    plain = [w.T if integer(node, "transB", 0) else w for node, w in ((first, before), (second, after))]
    product: Float64 = plain[0] @ plain[1]
    return product.T if integer(first, "transB", 0) else product


def _conv_product(first: ir.Node, second: ir.Node, before: Float64, after: Float64) -> Float64 | None:
    if integer(first, "group", 1) != 1 or integer(second, "group", 1) != 1:
        return None
    if _is_pointwise(second, after):
        return np.asarray(np.einsum("om,mi...->oi...", after.reshape(after.shape[:2]), before))
    pads = own_pads(second)
    if _is_pointwise(first, before) and pads is not None and not any(pads):
        return np.asarray(np.einsum("om...,mi->oi...", after, before.reshape(before.shape[:2])))
    return None


def _is_pointwise(node: ir.Node, weights: Float64) -> bool:
    pads = own_pads(node)
    plain = all(stride == 1 for stride in ints(node, "strides", ()))
    return all(size == 1 for size in weights.shape[2:]) and plain and pads is not None and not any(pads)


def _pays(first: ir.Node, second: ir.Node, before: Float64, after: Float64, product: Float64) -> bool:
    positions = [int(np.prod(static_shape(node.outputs[0])[2:], dtype=np.int64)) for node in (first, second)]
    separate = before.size * positions[0] + after.size * positions[1]
    return product.size <= before.size + after.size and product.size * positions[1] <= separate


def _replace_by(first: ir.Node, second: ir.Node, weights: Float64, bias: Float64) -> None:
    """Let one node do the work of both; it has the geometry of the one that is not pointwise."""
    graph, result, geometry = second.graph, second.outputs[0], first
    assert graph is not None
    if second.op_type == "Conv" and any(size != 1 for size in (known_shape(second.inputs[1]) or ())[2:]):
        geometry = second
    inputs = [first.inputs[0], geometry.inputs[1], input_at(geometry, 2)]
    attributes = dict(geometry.attributes)
    if second.op_type == "Conv":
        attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", list(weights.shape[2:]))
    assert result.name is not None
    merged = replace_node(second, second.op_type, inputs, attributes)
    remove_unused(first)
    set_weights(merged, weights)
    set_bias(merged, bias)


# ---- side by side


def _merge_side_by_side(concat: ir.Node) -> int:
    if integer(concat, "axis", 0) not in (1, 1 - len(static_shape(concat.outputs[0]))):
        return 0
    branches = [_branch(value, concat) for value in concat.inputs]
    changes = 0
    for index in range(len(branches) - 1, 0, -1):
        left, right = branches[index - 1], branches[index]
        if left is not None and right is not None and _alike(left, right):
            _merge_pair(concat, index, left, right)
            branches[index - 1 : index + 1] = [_branch(concat.inputs[index - 1], concat)]
            changes += 1
    if changes and len(concat.inputs) == 1:
        source = concat.inputs[0]
        assert source is not None
        if can_bypass(concat, source):
            bypass(concat, source)
    return changes


def _branch(value: ir.Value | None, concat: ir.Node) -> tuple[ir.Node, ir.Node | None] | None:
    """The Conv behind an operand, and the activation between."""
    if value is None or sole_consumer(value) is not concat:
        return None
    node, activation = value.producer(), None
    if node is not None and node.op_type in _ACTIVATIONS:
        activation, source = node, node.inputs[0]
        node = source.producer() if source is not None and sole_consumer(source) is activation else None
    if node is None or node.op_type != "Conv" or integer(node, "group", 1) != 1 or bias_of(node) is None:
        return None
    return node, activation


def _alike(left: tuple[ir.Node, ir.Node | None], right: tuple[ir.Node, ir.Node | None]) -> bool:
    first, second = left[0], right[0]
    if first is second or first.inputs[0] is not second.inputs[0]:
        return False
    shapes = known_shape(first.inputs[1]), known_shape(second.inputs[1])
    if shapes[0] is None or shapes[1] is None or shapes[0][1:] != shapes[1][1:]:
        return False
    return _settings(first) == _settings(second) and _settings(left[1]) == _settings(right[1])


def _settings(node: ir.Node | None) -> tuple[object, ...]:
    if node is None:
        return ()
    listed = sorted((name, attribute.value) for name, attribute in node.attributes.items())
    return node.op_type, tuple((name, tuple(v) if isinstance(v, (list, tuple)) else v) for name, v in listed)


def _merge_pair(
    concat: ir.Node, index: int, left: tuple[ir.Node, ir.Node | None], right: tuple[ir.Node, ir.Node | None]
) -> None:
    """One Conv, and one activation, for the operands ``index - 1`` and ``index``."""
    graph, first, second = concat.graph, left[0], right[0]
    assert graph is not None
    weights = np.concatenate([np.asarray(weights_of(node)) for node in (first, second)])
    bias = np.concatenate([np.asarray(bias_of(node)) for node in (first, second)])
    later = max(first, second, key=list(graph).index)
    result = first.outputs[0]
    wide = (static_shape(result)[0], int(weights.shape[0]), *static_shape(result)[2:])
    merged = _insert(later, "Conv", first, [first.inputs[0], first.inputs[1], input_at(first, 2)], result, wide)
    set_weights(merged, weights)
    set_bias(merged, bias)
    value = merged.outputs[0]
    if left[1] is not None:
        value = _insert(merged, left[1].op_type, left[1], [value], left[1].outputs[0], wide).outputs[0]
    inputs = [*concat.inputs[: index - 1], value, *concat.inputs[index + 1 :]]
    dropped = concat.inputs[index - 1], concat.inputs[index]
    for place, item in enumerate(inputs):
        concat.replace_input_with(place, item)
    concat.resize_inputs(len(inputs))
    for item in dropped:
        remove_unused(None if item is None else item.producer())


def _insert(
    after: ir.Node, op_type: str, like: ir.Node, inputs: list[ir.Value | None], output: ir.Value, shape: tuple[int, ...]
) -> ir.Node:
    """A node with the attributes of another, behind a third."""
    graph = after.graph
    assert graph is not None
    value = new_value(unique_name(graph, f"{output.name}_merged"), output, shape)
    attributes = list(like.attributes.values())
    node = ir.Node("", op_type, inputs, attributes=attributes, outputs=[value], name=_free_name(graph, like))
    graph.insert_after(after, node)
    return node


def _free_name(graph: ir.Graph, like: ir.Node) -> str:
    taken = {node.name for node in graph}
    name = f"{like.name}_merged"
    while name in taken:
        name += "_"
    return name
