"""GPTQ: weights are rounded one input after the other, and those still to come make up for the error so far.

With the inputs X of a layer, the error of its results is ``|| (W - Q) X ||^2 = tr((W - Q) H (W - Q)^T)``, where
``H = X X^T``. Once a column of W is rounded, the best change of the columns that are left is a multiple of a row of the
inverse of H, which a Cholesky factor of that inverse holds for all columns at once.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import Field, model_validator

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.layer_windows import Float64, as_matrices, from_matrices, is_matrix_product, windows
from microlith.graph.qdq_constants import Roundings
from microlith.graph.reference import Reference
from microlith.quant.schemes import WeightGrid
from microlith.quant.types import QArray, QParams
from microlith.quant.weights import Rounding, quantize_weights
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ


class GPTQ(PTQ):
    """Post-training quantization with weights by GPTQ; all settings of ``ptq`` hold.

    Conv, also with groups, Gemm and MatMul by a constant matrix have their weights chosen so; ConvTranspose and Conv
    over three axes have theirs rounded to nearest. Inputs are those of the float model.

    Attributes:
        damping: added to the diagonal of H, as a share of its mean: keeps the inverse from following noise.
        by_size: columns with the largest inputs come first, while most others are left to make up for them.
    """

    name: ClassVar[str] = "gptq"
    paper: ClassVar[str] = (
        "Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, ICLR 2023"
    )

    damping: float = Field(default=0.01, gt=0.0)
    by_size: bool = True

    @model_validator(mode="after")
    def _without_groups(self) -> GPTQ:
        if self.group_size is not None or any(item.group_size is not None for item in self.overrides):
            raise ValueError("gptq has no scale for each group of weights; use ptq")
        return self

    def rounding(self, model: ir.Model, context: Context) -> Roundings:
        """The integers of each layer, from the products of its inputs.

        Raises:
            InputError: there is no data.
        """
        if context.data is None:
            raise InputError(f"{self.name} needs data", hint="Give --data with about 100 samples.")
        products = input_products(model, context)

        def of(node: ir.Node) -> Rounding:
            product = products.get(str(node.name))
            if product is None:
                return quantize_weights

            def choose(weights: NDArray[np.floating], qparams: QParams, grid: WeightGrid) -> QArray:
                return gptq_integers(node, weights, qparams, grid, product, self.damping, by_size=self.by_size)

            return choose

        return of


def input_products(model: ir.Model, context: Context) -> dict[str, Float64]:
    """By the name of a layer, the sum over all places of its inputs' products with each other, (groups, K, K)."""
    assert context.data is not None, "checked by the caller"
    layers = [node for node in model.graph if is_matrix_product(node)]
    read = {str(node.inputs[0].name) for node in layers if node.inputs[0] is not None}
    run = Reference(expose(model, read)).run
    found: dict[str, Float64] = {}
    for done, feeds in enumerate(context.data(), 1):
        values = run(feeds, keep=read)
        for node in layers:
            assert node.inputs[0] is not None, "layers read something"
            for part in windows(node, values[str(node.inputs[0].name)]):
                product = np.matmul(part, part.swapaxes(1, 2), dtype=np.float32).astype(np.float64)
                found[str(node.name)] = found.get(str(node.name), 0.0) + product
        context.progress("inputs of layers", done, context.batches)
    return found


def gptq_integers(
    node: ir.Node,
    weights: NDArray[np.floating],
    qparams: QParams,
    grid: WeightGrid,
    product: Float64,
    damping: float = 0.01,
    *,
    by_size: bool = True,
) -> QArray:
    """The integers of a layer's weights.

    Args:
        node: the layer.
        weights: in the layer's shape.
        qparams: their parameters.
        grid: integers to use.
        product: H, (groups, K, K).
        damping: share of the mean of H's diagonal that is added to it.
        by_size: see :class:`GPTQ`.
    """
    shape = weights.shape
    matrices = np.asarray(as_matrices(node, weights), np.float64)
    scale, zero = (
        np.asarray(as_matrices(node, np.broadcast_to(qparams.broadcast(item, len(shape)), shape))[..., 0], np.float64)
        for item in (qparams.scale, qparams.zero_point)
    )
    rest, order, factor = _ordered(matrices, product, damping, by_size=by_size)
    integers = np.empty_like(rest)
    for column in range(rest.shape[2]):
        rounded = _nearest(rest[:, :, column], scale, zero, grid)
        integers[:, :, column] = rounded
        error = rest[:, :, column] - (rounded - zero) * scale
        row = factor[:, column, column:] / factor[:, column, column][:, None]
        rest[:, :, column:] -= error[:, :, None] * row[:, None, :]
    back = np.argsort(order, axis=1)
    values = np.take_along_axis(integers, back[:, None, :], axis=2)
    return QArray(from_matrices(node, values, shape).astype(np.int8), qparams)


def _ordered(
    matrices: Float64, product: Float64, damping: float, *, by_size: bool
) -> tuple[Float64, NDArray[np.intp], Float64]:
    """Weights with columns in the order of rounding, that order, and the Cholesky factor of the inverse, upper."""
    diagonal = np.einsum("gkk->gk", product)
    size = diagonal.mean(axis=1, keepdims=True)
    order = np.argsort(-diagonal, axis=1, kind="stable") if by_size else np.zeros_like(diagonal, np.intp)
    if not by_size:
        order[:] = np.arange(diagonal.shape[1])
    damped = product + np.eye(diagonal.shape[1]) * np.where(size > 0, damping * size, 1.0)[:, :, None]
    damped = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], 1), order[:, None, :], 2)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)
    return np.take_along_axis(matrices, order[:, None, :], axis=2), order, factor


def _nearest(values: Float64, scale: Float64, zero: Float64, grid: WeightGrid) -> Float64:
    if grid.kind == "binary":
        return np.where(values < 0, -1.0, 1.0)
    return np.clip(np.rint(values / scale) + zero, grid.low, grid.high)
