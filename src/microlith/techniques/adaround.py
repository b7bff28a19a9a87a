"""AdaRound: whether each weight is rounded up or down is learned from what its layer computes.

Of a weight ``w`` in steps of its scale, ``floor(w) + h(v)`` is kept, with h between 0 and 1 and driven to either end.
The error of the layer's results is quadratic in the weights, and known from sums of products of its inputs alone:
``|| W X - Q X~ ||^2 = tr(Q G Q^T) - 2 tr(Q (W C)^T) + constant`` with ``G = X~ X~^T`` and ``C = X X~^T``, X being what
the layer reads in the float model and X~ what it reads when the layers before are rounded. So every step of the
optimizer has the gradient of all data at the cost of one product by G.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import Field, model_validator

from microlith.core.errors import InputError
from microlith.graph.layer_windows import as_matrices, from_matrices, is_matrix_product, windows
from microlith.graph.linear_layers import bias_of, set_bias
from microlith.graph.qdq_constants import Roundings, output_axis
from microlith.graph.qdq_schemes import node_schemes
from microlith.graph.reference import Arrays, Reference, Sweep
from microlith.graph.state import read_states
from microlith.graph.units import Unit
from microlith.graph.values import Array, input_at, real
from microlith.quant.schemes import WeightGrid
from microlith.quant.types import QArray, QParams
from microlith.quant.weights import Rounding, quantize_weights, weight_qparams, weight_settings
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.techniques.statistics import all_samples

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

# h reaches beyond 0 and 1 before it is cut off: equation 23 of the paper.
_STRETCH_LOW, _STRETCH_HIGH = -0.1, 1.1
# The exponent of the penalty falls from the first to the second, after a share of the steps without a penalty.
_SOFT, _HARD, _FREE = 20.0, 2.0, 0.2
_MOMENTUM, _SPREAD, _TINY = 0.9, 0.999, 1e-8


class AdaRound(PTQ):
    """Post-training quantization with learned rounding of weights; all settings of ``ptq`` hold.

    Conv, also with groups, Gemm and MatMul by a constant matrix have their weights chosen so, layer by layer, each one
    with the inputs that the rounded layers before it give; others have theirs rounded to nearest.

    Attributes:
        iterations: steps of the optimizer (Adam) for each layer.
        learning_rate: its step size.
        penalty: weight of what drives h to 0 and 1, relative to the error that rounding is expected to make.
        centered: whether the mean of each channel is left out, since ``correct_biases`` follows and takes care of it.
    """

    name: ClassVar[str] = "adaround"
    paper: ClassVar[str] = "Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, ICML 2020"

    iterations: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=0.03, gt=0.0)
    penalty: float = Field(default=3.0, ge=0.0)
    centered: bool = False

    @model_validator(mode="after")
    def _rounds(self) -> AdaRound:
        if self.group_size is not None or any(item.group_size is not None for item in self.overrides):
            raise ValueError("adaround has no scale for each group of weights; use ptq")
        if self.weights == "binary" or any(item.weights == "binary" for item in self.overrides):
            raise ValueError("binary weights are not rounded up or down; use gptq")
        return self

    def rounding(self, model: ir.Model, context: Context) -> Roundings:
        """The integers of each layer, learned in the order of the graph.

        Raises:
            InputError: there is no data, or the model keeps state.
        """
        if context.data is None:
            raise InputError(f"{self.name} needs data", hint="Give --data with about 100 samples.")
        if read_states(model):
            raise InputError(f"{self.name} takes samples apart from each other, and the model keeps state")
        learned = _Learner(model, self, context).layers()

        def of(node: ir.Node) -> Rounding:
            layer = learned.get(str(node.name))
            return quantize_weights if layer is None else layer.integers

        return of


class _Learner:
    """Goes through the float model, and beside it through one whose layers are rounded as soon as they are reached."""

    def __init__(self, model: ir.Model, settings: AdaRound, context: Context) -> None:
        model = _with_biases(model) if settings.centered else model
        self._model, self._settings, self._context = model, settings, context
        self._schemes = node_schemes(model.graph, settings)
        kept = set(settings.float_ops)
        self._nodes = {n for n in model.graph if is_matrix_product(n) and not {n.name, n.op_type} & kept}

    def layers(self) -> dict[str, _Layer]:
        """By the name of a node, its rounded layer."""
        assert self._context.data is not None, "checked before"
        feeds, found = all_samples(self._context.data()), {}
        exact, rounded = (Reference(self._model).sweep(feeds) for _ in range(2))
        item, other = next(exact, None), next(rounded, None)
        while item is not None and other is not None:
            (unit, arrays), (_, changed) = item, other
            if unit.node in self._nodes:
                layer = found[str(unit.node.name)] = self._layer(unit.node, arrays[0], changed[0])
                changed = self._changed(layer, changed)
                self._context.progress("learn rounding", len(found), len(self._nodes))
            item, other = _send(exact, arrays), _send(rounded, changed)
        return found

    def _layer(self, node: ir.Node, x: Array | None, rounded: Array | None) -> _Layer:
        assert x is not None and rounded is not None, "layers read something"
        places = (windows(node, item.reshape(-1, *item.shape[2:])) for item in (x, rounded))
        sums = [_sums(plain, changed) for plain, changed in zip(*places, strict=True)]
        gram, cross, mean, other, count = (np.sum(item, axis=0) for item in zip(*sums, strict=True))
        mean, other = mean / count, other / count
        if self._settings.centered:
            gram = gram - count * other[:, :, None] * other[:, None, :]
            cross = cross - count * mean[:, :, None] * other[:, None, :]
        size = max(float(np.einsum("gkk->gk", gram).mean()), _TINY)
        return _Layer(node, _f32(gram / size), _f32(cross / size), mean, other, self._settings)

    def _changed(self, layer: _Layer, arrays: Arrays) -> Arrays:
        """What a rounded layer is computed from; the graph gets the same weights, unless scales must be wider there."""
        node, scheme = layer.node, self._schemes[layer.node]
        weights, factor = _f32(arrays[1]), np.float32(1.0)
        whole = self._settings.activations != "float"
        if whole and node.op_type == "Gemm":
            factor = np.float32(real(node, "alpha", 1.0))
        per_channel = scheme.per_channel and not (whole and node.op_type == "MatMul")
        axis = output_axis(node, 1, weights.ndim) if per_channel else None
        qparams = weight_qparams(weights * factor, axis, **weight_settings(scheme))
        rounded = layer.integers(weights * factor, qparams, scheme.weight_grid).dequantize() / factor
        if not self._settings.centered or node.op_type == "MatMul":
            return [arrays[0], rounded, *arrays[2:]]
        bias = arrays[2]
        shift = layer.shift(weights, rounded)
        if node.op_type == "Gemm":
            shift = shift * real(node, "alpha", 1.0) / real(node, "beta", 1.0)
        return [arrays[0], rounded, _f32(shift + _f32(bias))]


def _with_biases(model: ir.Model) -> ir.Model:
    """A copy in which every Conv and Gemm has a bias to correct."""
    result = model.clone()
    for node in result.graph:
        if node.op_type in ("Conv", "Gemm") and input_at(node, 2) is None and (bias := bias_of(node)) is not None:
            set_bias(node, bias)
    return result


def _sums(plain: Float32, changed: Float32) -> tuple[Float64, Float64, Float64, Float64, float]:
    """Products of the changed inputs with each other and with the plain ones, sums of both, and how many there are."""
    across = changed.swapaxes(1, 2)
    products = (np.matmul(item, across).astype(np.float64) for item in (changed, plain))
    totals = (item.sum(axis=2, dtype=np.float64) for item in (plain, changed))
    return (*products, *totals, float(plain.shape[2]))


def _f32(array: Array | None) -> Float32:
    assert array is not None, "operands of layers are there"
    return np.asarray(array, np.float32)


def _send(sweep: Sweep, arrays: Arrays) -> tuple[Unit, Arrays] | None:
    try:
        return sweep.send(arrays)
    except StopIteration:
        return None


@dataclass(eq=False)
class _Layer:
    """A layer with the products of its inputs, both divided by the same number.

    Attributes:
        node: the layer.
        gram: of the inputs in the rounded model, (groups, K, K).
        cross: of those in the float model with those.
        mean: input in the float model, (groups, K).
        changed_mean: in the rounded one.
        settings: of the optimizer.
    """

    node: ir.Node
    gram: Float32
    cross: Float32
    mean: Float64
    changed_mean: Float64
    settings: AdaRound
    _known: tuple[QParams, QArray] | None = None

    def integers(self, weights: NDArray[np.floating], qparams: QParams, grid: WeightGrid) -> QArray:
        """The integers learned for weights with these parameters."""
        if self._known is None or not self._known[0].same(qparams):
            self._known = qparams, self._learn(weights, qparams, grid)
        return self._known[1]

    def shift(self, weights: Float32, rounded: Float32) -> Float64:
        """What the bias must have more so that the mean of each result stays, one number a channel."""
        plain, changed = (np.asarray(as_matrices(self.node, item), np.float64) for item in (weights, rounded))
        wanted = np.einsum("gok,gk->go", plain, self.mean) - np.einsum("gok,gk->go", changed, self.changed_mean)
        return np.asarray(wanted.reshape(-1), np.float64)

    def _learn(self, weights: NDArray[np.floating], qparams: QParams, grid: WeightGrid) -> QArray:
        shape = weights.shape
        scale, zero = (
            np.asarray(as_matrices(self.node, np.broadcast_to(qparams.broadcast(item, len(shape)), shape)), np.float32)
            for item in (qparams.scale, qparams.zero_point)
        )
        matrices = np.asarray(as_matrices(self.node, weights), np.float32)
        steps, low, high = matrices / scale, grid.low - zero, grid.high - zero
        floor = np.clip(np.floor(steps), low, high - 1)
        target = np.matmul(matrices, self.cross)
        up = learn_rounding(floor, np.clip(steps - floor, 0, 1), scale, self.gram, target, self.settings)
        values = floor + up + zero
        return QArray(from_matrices(self.node, values, shape).astype(np.int8), qparams)


def learn_rounding(
    floor: Float32, rest: Float32, scale: Float32, gram: Float32, target: Float32, settings: AdaRound
) -> NDArray[np.bool_]:
    """Which weights are rounded up, all arrays (groups, outputs, K) but the products of the inputs.

    Args:
        floor: integers below the weights.
        rest: what is missing to the weights, 0 to 1.
        scale: of each weight.
        gram: products of the inputs, (groups, K, K).
        target: products of the float results with the inputs.
        settings: of the optimizer.
    """
    share = np.clip((rest - _STRETCH_LOW) / (_STRETCH_HIGH - _STRETCH_LOW), 1e-4, 1 - 1e-4)
    v = np.log(share / (1 - share)).astype(np.float32)
    first, second = np.zeros_like(v), np.zeros_like(v)
    # The error that rounding to nearest is expected to make, a twelfth of a squared step, counts as 1 a weight.
    expected = np.maximum(np.mean(scale**2 * np.einsum("gkk->gk", gram)[:, None, :]) / 12, _TINY)
    free = int(_FREE * settings.iterations)
    for step in range(settings.iterations):
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (_STRETCH_HIGH - _STRETCH_LOW) + _STRETCH_LOW
        h = np.clip(stretched, 0, 1)
        gradient = 2 * scale * (np.matmul((floor + h) * scale, gram) - target) / expected
        if step >= free:
            gradient += settings.penalty * _penalty_slope(h, (step - free) / max(1, settings.iterations - free))
        gradient *= (stretched > 0) & (stretched < 1)
        gradient *= sigmoid * (1 - sigmoid) * (_STRETCH_HIGH - _STRETCH_LOW)
        first += (1 - _MOMENTUM) * (gradient - first)
        second += (1 - _SPREAD) * (gradient**2 - second)
        corrected = second / (1 - _SPREAD ** (step + 1))
        v -= settings.learning_rate / (1 - _MOMENTUM ** (step + 1)) * first / (np.sqrt(corrected) + _TINY)
    return np.asarray(v >= np.log((0.5 - _STRETCH_LOW) / (_STRETCH_HIGH - 0.5)))


def _penalty_slope(h: Float32, done: float) -> Float32:
    """Derivative of ``1 - |2 h - 1|^b`` by h, for the exponent b of this share of the steps (a cosine)."""
    exponent = _HARD + 0.5 * (_SOFT - _HARD) * (1 + np.cos(np.pi * done))
    away = 2 * h - 1
    return np.asarray(-2 * exponent * np.sign(away) * np.abs(away) ** (exponent - 1), np.float32)
