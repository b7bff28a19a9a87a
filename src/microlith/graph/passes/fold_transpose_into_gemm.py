"""A Transpose beside the flattening of an image goes into the weights of the layer that reads or writes the rows.

With P the permutation of elements that a Transpose is in each sample of a batch:

* ``Gemm(Flatten(T(x)), W, b) = x' (P W) + b``, where x' is x flattened: the rows of W are brought to the order of x.
* ``T(Reshape(Gemm(x, W, b)))``: the columns of W and b are brought to the order of the result.

The same for a MatMul by a constant matrix. Files of tools that keep channels last have the first form behind their last
convolution, generators of images the second.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.linear_layers import weights_of
from microlith.graph.pass_base import SHAPES_KNOWN, PassResult, Property, tolerance
from microlith.graph.passes.merge_reshapes import RESHAPES, reshape_to
from microlith.graph.passes.rewrite_transpose_as_reshape import permutation
from microlith.graph.patterns import made_by
from microlith.graph.values import add_initializer, constant, input_at, integer, sole_consumer, static_shape

_LAYERS = ("Gemm", "MatMul")
Order = NDArray[np.intp]


class FoldTransposeIntoGemm:
    """Folds a Transpose in front of the Reshape to the rows of a layer, or behind that of its rows, into the layer."""

    name = "FoldTransposeIntoGemm"
    requires = (SHAPES_KNOWN,)
    ensures: tuple[Property, ...] = ()
    preserves = tolerance(1e-5, "products are summed in another order")

    def apply(self, model: ir.Model) -> PassResult:
        """Changes: Transposes folded."""
        changes = 0
        for node in list(model.graph):
            if node.graph is not None and node.op_type in _LAYERS and weights_of(node) is not None:
                changes += _fold_before(node) + _fold_behind(node)
        return PassResult(changes)


def _fold_before(node: ir.Node) -> bool:
    rows = node.inputs[0]
    reshape = made_by(rows, *RESHAPES)
    moved = None if reshape is None else reshape.inputs[0]
    transpose = made_by(moved, "Transpose")
    if rows is None or reshape is None or moved is None or transpose is None or integer(node, "transA", 0):
        return False
    source = transpose.inputs[0]
    if source is None or sole_consumer(rows) is not node or sole_consumer(moved) is not reshape:
        return False
    shape, perm = static_shape(source), permutation(transpose)
    if not _flattens(static_shape(rows), shape) or perm[0] != 0:
        return False
    # Where each element of the source, in its order, stands behind the Transpose.
    places = _places(static_shape(moved)[1:], np.argsort(perm[1:]))
    _take_inputs(node, places)
    reshape_to(reshape, source)
    _remove(transpose)
    return True


def _fold_behind(node: ir.Node) -> bool:
    rows = node.outputs[0]
    reshape = sole_consumer(rows)
    transpose = sole_consumer(reshape.outputs[0]) if reshape is not None and reshape.op_type in RESHAPES else None
    if reshape is None or transpose is None or transpose.op_type != "Transpose":
        return False
    shape, perm = static_shape(reshape.outputs[0]), permutation(transpose)
    if not _flattens(static_shape(rows), shape) or perm[0] != 0 or not _has_row(node):
        return False
    _take_outputs(node, _places(shape[1:], np.asarray(perm[1:]) - 1))
    reshape_to(transpose, rows)
    _remove(reshape)
    return True


def _flattens(rows: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether rows are the samples of a batch of this shape, each flattened."""
    return len(rows) == 2 and len(shape) > 2 and rows == (shape[0], math.prod(shape[1:]))


def _places(shape: tuple[int, ...], order: Order) -> Order:
    """For each element of an array of this shape whose axes are brought to an order: where it stood before."""
    order = order - order.min()
    return np.arange(math.prod(shape)).reshape(shape).transpose(order).reshape(-1)


def _has_row(node: ir.Node) -> bool:
    """Whether what a layer adds is nothing, or a constant row."""
    value, columns = input_at(node, 2), static_shape(node.outputs[0])[1]
    row = constant(value)
    return value is None or (row is not None and row.size in (1, columns) and row.shape[:-1] in ((), (1,)))


def _take_inputs(node: ir.Node, places: Order) -> None:
    _take(node, 1, places, 1 if integer(node, "transB", 0) else 0)


def _take_outputs(node: ir.Node, places: Order) -> None:
    _take(node, 1, places, 0 if integer(node, "transB", 0) else 1)
    row = constant(input_at(node, 2))
    if row is not None and row.size > 1:
        _take(node, 2, places, row.ndim - 1)


def _take(node: ir.Node, index: int, places: Order, axis: int) -> None:
    value = node.inputs[index]
    array = constant(value)
    assert node.graph is not None and value is not None and array is not None, "checked before"
    node.replace_input_with(index, add_initializer(node.graph, f"{value.name}", np.take(array, places, axis)))


def _remove(node: ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)
