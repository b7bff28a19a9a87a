"""A graph whose images lie as N,H,W,C where ``.tflite`` operators want them so, with as few Transposes as can be.

Each operator over images is put between a Transpose to N,H,W,C and one back, at the integers where it is quantized;
its node is marked, since it is then no ONNX operator any more, and the graph is for the writer's eyes only. The pass
that moves Transposes by a minimum cut does the rest. A Transpose that stays in front of the rows of a layer goes into
the layer's weights.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from microlith.graph.pass_base import Pass
from microlith.graph.passes.cancel_transposes import CancelTransposes
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.passes.fold_transpose_into_gemm import FoldTransposeIntoGemm
from microlith.graph.passes.merge_reshapes import RESHAPES, MergeReshapes, reshape_to
from microlith.graph.passes.rewrite_transpose_as_reshape import RewriteTransposeAsReshape, permutation
from microlith.graph.patterns import made_by
from microlith.graph.permutable import BROADCAST, inverse_of, reduce_along
from microlith.graph.pipeline import run_passes
from microlith.graph.units import Unit, node_qparams, units
from microlith.graph.values import (
    Names,
    add_initializer,
    bypass,
    constant,
    constant_ints,
    input_at,
    integer,
    known_shape,
    new_value,
    sole_consumer,
    static_shape,
)
from microlith.ops.reduce import is_image_mean

_MARK = "channels_last"
_IMAGES = frozenset(
    (
        *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize"),
        *("DepthToSpace", "SpaceToDepth", "BatchNormalization"),
    )
)
_TIDY: tuple[Pass, ...] = (
    CancelTransposes(),
    RewriteTransposeAsReshape(),
    MergeReshapes(),
    FoldTransposeIntoGemm(),
    EliminateDeadNodes(),
)


def is_channels_last(node: ir.Node) -> bool:
    """Whether a node computes on N,H,W,C (N,L,C) and is therefore none of ONNX."""
    return _MARK in node.meta


def bring_channels_last(model: ir.Model) -> None:
    """Change the layout of images, in place; integers stay what they are.

    Types and shapes of all values are known before and after.
    """
    _unshare(model)
    _full_rank(model)
    for unit in units(model):
        _move_integers(unit)
    names = Names(model.graph)
    for unit in units(model):
        if unit.node.op_type in _IMAGES or is_image_mean(unit.node):
            _surround(model, unit, names)
    for _ in range(2):
        run_passes(model, _TIDY)
        if not sum(_into_layer(node) for node in list(model.graph)):
            return


def _unshare(model: ir.Model) -> None:
    """Give each reader a DequantizeLinear of its own, so that layouts change at the integers in front of it."""
    graph, names = model.graph, Names(model.graph)
    for node in [node for node in graph if node.op_type == "DequantizeLinear"]:
        value = node.outputs[0]
        for use in tuple(value.uses())[0 if value.is_graph_output() else 1 :]:
            copy = new_value(names.value(f"{value.name}_again"), value)
            again = ir.Node(
                "",
                node.op_type,
                list(node.inputs),
                attributes=list(node.attributes.values()),
                outputs=[copy],
                name=names.node(f"{node.name}_again"),
            )
            graph.insert_after(node, again)
            use.node.replace_input_with(use.idx, copy)


def _move_integers(unit: Unit) -> None:
    """Let an op that moves elements move the integers themselves, where they mean the same before and after."""
    node, source, result = unit.node, unit.inputs[0], unit.output
    if unit.kind != "integer" or node.op_type not in (*RESHAPES, "Transpose") or source is None:
        return
    if source.qparams is None or result.qparams is None or not source.qparams.same(result.qparams):
        return
    value, quantize = node.outputs[0], unit.nodes[-1]
    name, dtype = result.value.name, result.value.dtype
    assert dtype is not None, "loading types every value"
    node.replace_input_with(0, source.value)
    bypass(quantize, value)
    value.type, value.name = ir.TensorType(dtype), name


def _full_rank(model: ir.Model) -> None:
    """Write constants of lower rank, which are dequantized before they are broadcast, with all axes."""
    for node in list(model.graph):
        rank = len(known_shape(node.outputs[0]) or ()) if node.outputs else 0
        for value in node.inputs if node.op_type in BROADCAST else ():
            dequantize = made_by(value, "DequantizeLinear")
            stored = None if dequantize is None else dequantize.inputs[0]
            array = constant(stored)
            if value is None or dequantize is None or stored is None or array is None or not 0 < array.ndim < rank:
                continue
            qparams = node_qparams(dequantize)
            if qparams.axis is not None:
                continue
            full = array.reshape((1,) * (rank - array.ndim) + array.shape)
            dequantize.replace_input_with(0, add_initializer(model.graph, f"{stored.name}_full", full))
            value.shape = ir.Shape(full.shape)


def _surround(model: ir.Model, unit: Unit, names: Names) -> None:
    """Put a unit over images between two Transposes."""
    graph, node = model.graph, unit.node
    if is_image_mean(node) and set(constant_ints(input_at(node, 1)) or ()) in ({1, 2}, {-3, -2}):
        return  # as it should be
    rank = len(static_shape(node.outputs[0]))
    if rank not in (3, 4) or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return  # refused where it is written
    last = (0, *range(2, rank), 1)
    source = node.inputs[0]
    assert source is not None, "checked by the op"
    before = made_by(source, "DequantizeLinear") if unit.kind == "integer" else None
    reader, value = (node, source) if before is None else (before, before.inputs[0])
    assert value is not None, "a DequantizeLinear reads something"
    moved = new_value(names.value(f"{value.name}_nhwc"), value, [static_shape(value)[axis] for axis in last])
    _insert(graph, reader, True, value, moved, last, names)
    reader.replace_input_with(0, moved)
    if before is not None:
        source.shape = moved.shape
    for inner in unit.nodes:
        shape = static_shape(inner.outputs[0])
        inner.outputs[0].shape = ir.Shape([shape[axis] for axis in last])
    node.meta[_MARK] = True
    if is_image_mean(node):
        reduce_along(node, (1, 2))
    _transposed_back(graph, unit.nodes[-1], inverse_of(last), names)


def _transposed_back(graph: ir.Graph, node: ir.Node, perm: tuple[int, ...], names: Names) -> None:
    value = node.outputs[0]
    shape = static_shape(value)
    back = new_value(names.value(f"{value.name}_nchw"), value, [shape[axis] for axis in perm])
    value.replace_all_uses_with(back, replace_graph_outputs=True)
    _insert(graph, node, False, value, back, perm, names)
    if back.is_graph_output():
        value.name, back.name = back.name, value.name


def _insert(
    graph: ir.Graph,
    place: ir.Node,
    before: bool,
    value: ir.Value,
    result: ir.Value,
    perm: tuple[int, ...],
    names: Names,
) -> None:
    attributes = [ir.AttrInt64s("perm", list(perm))]
    name = names.node(f"{result.name}/Transpose")
    made = ir.Node("", "Transpose", [value], attributes=attributes, outputs=[result], name=name)
    (graph.insert_before if before else graph.insert_after)(place, made)


def _into_layer(node: ir.Node) -> bool:
    """Fold a Transpose in front of the rows of a quantized layer into its weights."""
    if node.op_type not in ("Gemm", "MatMul") or integer(node, "transA", 0):
        return False
    rows = made_by(input_at(node, 0), "DequantizeLinear")
    reshape = None if rows is None else made_by(rows.inputs[0], *RESHAPES)
    transpose = None if reshape is None else made_by(reshape.inputs[0], "Transpose")
    weights = made_by(input_at(node, 1), "DequantizeLinear")
    array = None if weights is None else constant(weights.inputs[0])
    if rows is None or reshape is None or transpose is None or weights is None or array is None:
        return False
    flat, moved, source = reshape.outputs[0], transpose.outputs[0], transpose.inputs[0]
    inputs = 1 if integer(node, "transB", 0) else 0
    shape, perm = static_shape(moved), permutation(transpose)
    fits = static_shape(flat) == (shape[0], math.prod(shape[1:])) and perm[0] == 0 and array.ndim == 2
    if not fits or node_qparams(weights).axis == inputs or source is None:
        return False
    if sole_consumer(flat) is not rows or sole_consumer(moved) is not reshape:
        return False
    order = inverse_of(tuple(axis - 1 for axis in perm[1:]))
    places = np.arange(math.prod(shape[1:])).reshape(shape[1:]).transpose(order).reshape(-1)
    stored, graph = weights.inputs[0], node.graph
    assert stored is not None and graph is not None, "checked before"
    weights.replace_input_with(0, add_initializer(graph, str(stored.name), np.take(array, places, inputs)))
    reshape_to(reshape, source)
    graph.remove(transpose, safe=True)
    return True
