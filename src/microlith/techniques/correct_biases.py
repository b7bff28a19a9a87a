"""Bias correction: what quantization adds to the mean of each channel is taken off the bias.

Rounding errors of the weights of a channel do not cancel where inputs have a mean, as rectified ones have: with
``W~ = W + e``, ``E[W~ x] = E[W x] + e E[x]``. A layer is linear, so that the mean of what it computes is what it
computes of the mean input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.feeds import as_inputs
from microlith.graph.linear_layers import channel_axis
from microlith.graph.moments import Moments
from microlith.graph.pass_base import CONSTANTS_LIFTED, SHAPES_KNOWN, Property
from microlith.graph.passes.eliminate_dead_nodes import EliminateDeadNodes
from microlith.graph.qdq_constants import add_qparams, dequantize
from microlith.graph.reference import Arrays, Reference, sweep_through
from microlith.graph.state import read_states
from microlith.graph.units import Unit, activation_bounds, node_qparams
from microlith.graph.values import Names, constant, describe, input_at, real, static_shape
from microlith.ops import op_of
from microlith.ops.base import Array
from microlith.quant.types import QArray, QParams, as_held
from microlith.techniques.base import INTEGER_WEIGHTS, Context, check_requires
from microlith.techniques.statistics import all_samples, observed_moments, stated_moments

Float64 = NDArray[np.float64]

_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_BIAS_LIMIT = 2**31 - 1
_KEEP_MEANS = ("AveragePool", "GlobalAveragePool", "Identity", "Flatten", "Reshape", "Relu", "Clip")


class CorrectBiases(BaseModel):
    """Bias correction of a quantized model; it needs the float one.

    Attributes:
        method: ``empirical`` compares the means of the float and of the quantized model on data, layer by layer, each
            one after those before it were corrected, so that the errors of activations are corrected too. ``analytic``
            corrects what the weights alone add, in layers behind another layer: its moments come from
            BatchNormalization, or else from data, and go through the activation as those of a normal distribution.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "correct_biases"
    paper: ClassVar[str] = (
        "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2 "
        "and appendices C and D"
    )
    requires: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, INTEGER_WEIGHTS)
    ensures: ClassVar[tuple[Property, ...]] = requires

    method: Literal["empirical", "analytic"] = "empirical"

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """Correct the biases of all layers.

        Raises:
            InputError: the float model is not known or has other layers, or there is no data where it is needed.
        """
        check_requires(self, model)
        if context.original is None:
            raise InputError(
                f"{self.name} compares with the float model, and none is given",
                hint="Make it a step after ptq in a recipe, or give --original.",
            )
        if read_states(model):
            raise InputError(f"{self.name} takes samples apart from each other, and the model keeps state")
        result = model.clone()
        layers = _layers(context.original, result)
        if self.method == "empirical":
            _correct_by_data(result, layers, context)
        else:
            _correct_by_moments(layers, context)
        for layer in layers.values():
            layer.store()
        EliminateDeadNodes().apply(result)
        return result


@dataclass(eq=False)
class _Layer:
    """A layer in both models, with a bias of its own in the quantized one.

    Attributes:
        float_node: of the float model.
        node: of the quantized model.
        weights: what the integer weights stand for.
        stored: initializer of the bias.
        qparams: what the integers of the bias stand for; None for floats.
        bias: the values of ``stored``.
    """

    float_node: ir.Node
    node: ir.Node
    weights: Array
    stored: ir.Value
    qparams: QParams | None
    bias: Array = field(init=False)

    def __post_init__(self) -> None:
        found = constant(self.stored)
        assert found is not None, "it was made as a constant"
        self.bias = found

    def correct(self, float_mean: Array, quantized_mean: Array) -> None:
        """Choose the bias with which the means of both layers' results agree, given the means of their inputs."""
        weights, bias = (constant(input_at(self.float_node, index)) for index in (1, 2))
        target = _mean_result(self.float_node, [float_mean, weights, bias])
        reached = _mean_result(self.node, [quantized_mean, self.weights, None])
        wanted = (target - reached) / (real(self.node, "beta", 1.0) if self.node.op_type == "Gemm" else 1.0)
        if self.qparams is None:
            self.bias = wanted.astype(np.float32)
            return
        integers = np.rint(wanted / self.qparams.scale.astype(np.float64))
        self.bias = np.clip(integers, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)

    def store(self) -> None:
        """Write the bias into the graph."""
        self.stored.const_value = ir.tensor(self.bias, name=self.stored.name)


def _mean_result(node: ir.Node, inputs: Sequence[Array | None]) -> Float64:
    op = op_of(node)
    result = op.reference(op.parse(node), inputs)
    axis = channel_axis(node, node.outputs[0])
    others = tuple(index for index in range(result.ndim) if index != axis)
    return np.asarray(np.mean(np.asarray(result, np.float64), axis=others))


# ---- the layers of both models


def _layers(original: ir.Model, quantized: ir.Model) -> dict[str, _Layer]:
    by_name = {str(node.name): node for node in original.graph}
    names, found = Names(quantized.graph), {}
    for node in list(quantized.graph):
        weights = _dequantized(node.inputs[1]) if node.op_type in _LAYERS else None
        if weights is None:
            continue
        float_node = by_name.get(str(node.name))
        if float_node is None or float_node.op_type != node.op_type or constant(float_node.inputs[1]) is None:
            raise InputError(
                f"the float model has no layer {describe(node)}", hint="Give the very model that was quantized."
            )
        found[str(node.name)] = _Layer(float_node, node, weights, *_own_bias(node, weights, names))
    return found


def _dequantized(value: ir.Value | None) -> Array | None:
    """The floats that integer weights stand for, also behind a Reshape; None for other values."""
    producer = None if value is None else value.producer()
    if producer is None:
        return None
    if producer.op_type == "Reshape":
        source = _dequantized(producer.inputs[0])
        return None if source is None or value is None else source.reshape(static_shape(value))
    if producer.op_type != "DequantizeLinear":
        return None
    integers = constant(producer.inputs[0])
    if integers is None:
        return None
    return QArray(as_held(integers), node_qparams(producer)).dequantize()  # type: ignore[arg-type]


def _own_bias(node: ir.Node, weights: Array, names: Names) -> tuple[ir.Value, QParams | None]:
    """Give a layer a bias that no other node reads: its initializer, and what its integers stand for."""
    channels = static_shape(node.outputs[0])[channel_axis(node, node.outputs[0])]
    qparams, name = _bias_qparams(node), f"{node.name}_bias"
    if qparams is None:
        stored = names.initializer(name, np.zeros(channels, np.float32))
        read = stored
    else:
        stored = names.initializer(name, np.zeros(channels, np.int32))
        read = dequantize(names, stored, *add_qparams(names, name, qparams), names.value(f"{name}_dequantized"))
        producer, graph = read.producer(), node.graph
        assert producer is not None and graph is not None
        if qparams.axis is not None:
            producer.attributes.add(ir.AttrInt64("axis", 0))
        graph.insert_before(node, producer)
    node.resize_inputs(3)
    node.replace_input_with(2, read)
    return stored, qparams


def _bias_qparams(node: ir.Node) -> QParams | None:
    inputs, weights = (None if value is None else value.producer() for value in node.inputs[:2])
    if inputs is None or inputs.op_type != "DequantizeLinear" or weights is None:
        return None
    x, w = node_qparams(inputs), node_qparams(weights)
    scale = np.asarray(x.scale * w.scale, np.float32)
    return QParams(scale, np.zeros(scale.shape, np.int32), "int32", None if w.axis is None else 0)


# ---- means from data


def _correct_by_data(result: ir.Model, layers: dict[str, _Layer], context: Context) -> None:
    if context.data is None or context.original is None:
        raise InputError("correct_biases needs data", hint="Give --data with about 100 samples.")
    feeds = all_samples(context.data())
    read = {name: str(layer.float_node.inputs[0].name) for name, layer in layers.items() if layer.float_node.inputs[0]}
    run = Reference(expose(context.original, read.values())).run
    means = {name: array.mean(axis=0, keepdims=True) for name, array in run(feeds, keep=set(read.values())).items()}
    done = 0

    def visit(unit: Unit, arrays: Arrays) -> Arrays:
        nonlocal done
        layer = layers.get(str(unit.node.name))
        if layer is None or unit.node.name not in read:
            return arrays
        operand, x = unit.inputs[0], arrays[0]
        assert operand is not None and x is not None
        mean = x.mean(axis=0)
        if operand.qparams is not None:
            mean = (mean - float(operand.qparams.zero_point)) * float(operand.qparams.scale)
        layer.correct(means[read[str(unit.node.name)]], mean.astype(np.float32))
        done += 1
        context.progress("correct biases", done, len(layers))
        return [*arrays[:2], layer.bias]

    sweep_through(Reference(result).sweep(as_inputs(result, feeds)), visit)


# ---- means from moments


def _correct_by_moments(layers: dict[str, _Layer], context: Context) -> None:
    assert context.original is not None, "checked before"
    sources = {name: _source(layer.float_node) for name, layer in layers.items()}
    behind = {name: source for name, source in sources.items() if source is not None}
    nodes = {str(source.layer.outputs[0].name): source.layer for source in behind.values()}
    moments = stated_moments(nodes.values())
    missing = [node for name, node in nodes.items() if name not in moments]
    if missing:
        if context.data is None:
            raise InputError(
                f"correct_biases needs data: no BatchNormalization told how {missing[0].name!r} is distributed",
                hint="Give --data with about 100 samples.",
            )
        moments |= observed_moments(context.original, missing, context.data())
    for name, layer in layers.items():
        value = layer.float_node.inputs[0]
        assert value is not None
        if name in behind:
            source = behind[name]
            expected = rectified_mean(moments[str(source.layer.outputs[0].name)], source.bounds)
            mean = _constant_image(expected, static_shape(value))
        else:
            mean = np.zeros(static_shape(value), np.float32)
        layer.correct(mean, mean)


@dataclass(frozen=True, eq=False)
class _Source:
    """The layer whose results a layer reads, and the bounds between which they are clamped on the way."""

    layer: ir.Node
    bounds: tuple[float, float]


def _source(node: ir.Node) -> _Source | None:
    value, bounds = node.inputs[0], (-math.inf, math.inf)
    while value is not None and (producer := value.producer()) is not None:
        if producer.op_type in _LAYERS:
            shape = static_shape(value)
            fits = static_shape(node.inputs[0])[1] % shape[1] == 0 if node.inputs[0] is not None else False
            return _Source(producer, bounds) if fits else None
        if producer.op_type not in _KEEP_MEANS:
            return None
        if producer.op_type in ("Relu", "Clip"):
            if bounds != (-math.inf, math.inf):
                return None
            bounds = activation_bounds(producer)
        value = producer.inputs[0]
    return None


def rectified_mean(moments: Moments, bounds: tuple[float, float]) -> Float64:
    """Mean of normal variables that are clamped to bounds.

    Source: Nagel et al. (2019), appendix C.
    """
    low, high = bounds
    deviation = np.maximum(moments.deviation, 1e-12)
    a, b = (low - moments.mean) / deviation, (high - moments.mean) / deviation
    inside = moments.mean * (_cumulative(b) - _cumulative(a)) + deviation * (_density(a) - _density(b))
    below = low * _cumulative(a) if np.isfinite(low) else 0.0
    above = high * (1 - _cumulative(b)) if np.isfinite(high) else 0.0
    return np.asarray(inside + below + above)


def _density(z: Float64) -> Float64:
    return np.exp(-np.minimum(z**2, 1e4) / 2) / math.sqrt(2 * math.pi)


def _cumulative(z: Float64) -> Float64:
    return np.array([0.5 * (1 + math.erf(item / math.sqrt(2))) for item in z.ravel()]).reshape(z.shape)


def _constant_image(channels: Float64, shape: Sequence[int]) -> NDArray[np.float32]:
    wide = np.repeat(channels, shape[1] // channels.size).reshape(1, -1, *(1,) * (len(shape) - 2))
    return np.ascontiguousarray(np.broadcast_to(wide, shape), dtype=np.float32)
