"""What quantization does to each value and each layer of a model, on data: the free check, with samples.

Values: how they are distributed, which range calibration chose, what it clips. Layers: how far the ranges of their
channels lie apart, and how much noise their integer weights alone, their integer activations alone, and both together
add, everything before them being float. A model that is quantized already shows which of its integers saturate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.device.profile import Device
from microlith.graph.layer_constants import rounded_constants, with_constants
from microlith.graph.linear_layers import LAYERS
from microlith.graph.passes.place_qdq import place_qdq
from microlith.graph.qdq_constants import output_axis
from microlith.graph.qdq_plan import Plan, make_plan
from microlith.graph.qdq_qparams import assign_qparams
from microlith.graph.reference import Reference
from microlith.graph.state import initial_values
from microlith.graph.units import Unit, units
from microlith.graph.values import constant
from microlith.ops import op_of
from microlith.quant.calibration import decibel, powers, sqnr_db
from microlith.quant.observers import Histogram
from microlith.quant.schemes import Scheme, quantize_array, representable
from microlith.quant.types import QParams
from microlith.search.prepare import Prepared
from microlith.techniques.ptq import observe

Array = NDArray[np.generic]
Progress = Callable[[str, int, int | None], None]

SAMPLES = 100
LAYER_SAMPLES = 32
CELLS = 64
DEAD = 1e-6
MARGIN = 0.25
"""How far a picture of a distribution reaches beyond the range at either end, as a share of the range."""


@dataclass(frozen=True, eq=False)
class ValueRange:
    """A value of the float model over all samples, and the range that its integers cover.

    Attributes:
        name: of the value.
        node: that computes it; empty for a graph input.
        minimum: least value.
        maximum: greatest value.
        mean: of all.
        deviation: standard deviation, to within a bin of the histogram.
        zeros: share of exact zeros.
        low: least value that the integers stand for.
        high: greatest.
        clipped: share of values beyond them, to within a bin of the histogram.
        density: share of values in each of 64 cells from ``low - range / 4`` to ``high + range / 4``; values further
            out count in the first or the last cell.
    """

    name: str
    node: str
    minimum: float
    maximum: float
    mean: float
    deviation: float
    zeros: float
    low: float
    high: float
    clipped: float
    density: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class LayerNoise:
    """A layer with constant weights; signal to quantization noise ratios of its result in dB, infinite without noise.

    Attributes:
        name: of the node.
        op: its type.
        channels: output channels.
        channel_ranges: greatest magnitude of the weights of each output channel.
        weights_db: of the weights themselves.
        weights_only_db: integer weights, float input and result.
        activations_only_db: integer input and result, float weights.
        both_db: both.
    """

    name: str
    op: str
    channels: int
    channel_ranges: tuple[float, ...]
    weights_db: float
    weights_only_db: float
    activations_only_db: float
    both_db: float

    @property
    def dead(self) -> int:
        """Channels whose weights are all below a millionth of the layer's greatest."""
        return int(np.count_nonzero(np.array(self.channel_ranges) <= DEAD * max(self.channel_ranges)))

    @property
    def spread(self) -> float:
        """The greatest channel's range as a multiple of the median one's, dead channels left out; 1 without others.

        Its logarithm to base 2 is the bits that the median channel loses to one scale for all.
        """
        ranges = np.array([item for item in self.channel_ranges if item > DEAD * max(self.channel_ranges)])
        return float(ranges.max() / np.median(ranges)) if ranges.size else 1.0


@dataclass(frozen=True)
class NetworkNoise:
    """The same for the first output of the whole network, with the share of samples whose greatest output stays.

    Attributes:
        what: ``weights``, ``activations`` or ``both``.
        output_db: signal to quantization noise ratio.
        agreement: share of samples with the float model's top-1; None for an output of one value.
    """

    what: str
    output_db: float
    agreement: float | None


@dataclass(frozen=True)
class Saturation:
    """A tensor of integers in a quantized model.

    Attributes:
        name: of the tensor.
        node: that computes it; empty for a graph input.
        dtype: integer type.
        scale: real step.
        least: least integer seen.
        greatest: greatest.
        at_low: share of integers at the low end of the type, where that is not the zero point.
        at_high: share at its high end.
    """

    name: str
    node: str
    dtype: str
    scale: float
    least: int
    greatest: int
    at_low: float
    at_high: float


@dataclass(frozen=True)
class RangeCheck:
    """What data shows of a model.

    Attributes:
        samples: that values were observed on.
        layer_samples: that noise was measured on.
        scheme: of the quantization looked at; None where the model is quantized already.
        values: of a float model.
        layers: of a float model.
        network: of a float model.
        saturation: of a quantized model.
    """

    samples: int
    layer_samples: int
    scheme: Scheme | None
    values: tuple[ValueRange, ...] = ()
    layers: tuple[LayerNoise, ...] = ()
    network: tuple[NetworkNoise, ...] = ()
    saturation: tuple[Saturation, ...] = ()


def check_ranges(
    prepared: Prepared,
    device: Device,
    *,
    samples: int = SAMPLES,
    scheme: Scheme | None = None,
    progress: Progress = lambda what, done, total: None,
) -> RangeCheck:
    """Look at a model with data; the calibration part of the data alone is read.

    Args:
        prepared: model and data.
        device: whose arithmetic a float model is quantized for.
        samples: most to observe values on; noise is measured on at most 32 of them.
        scheme: of the quantization looked at; the default one without.
        progress: called with what is done, steps done, and their number.

    Raises:
        UnsupportedError: a node has no integer form.
    """
    indices = prepared.split.calibration[:samples]
    few = indices[:LAYER_SAMPLES]
    if any(node.op_type == "QuantizeLinear" for node in prepared.model.graph):
        found = _saturation(prepared.model, prepared.feeds(indices, batch=1), len(indices), progress)
        return RangeCheck(len(indices), 0, None, saturation=found)
    chosen = scheme or Scheme()
    model = prepared.model
    statistics = observe(
        model, prepared.feeds(indices, batch=1), progress=lambda done: progress("observe", done, len(indices))
    )
    ranges = statistics.ranges(chosen)
    plan = make_plan(model)
    qparams = assign_qparams(plan, ranges, chosen.grid, initial_values(model))
    quantized = place_qdq(model, ranges, chosen, device.requantization, io="float")
    values = tuple(
        _value_range(value, statistics.histograms[str(value.name)], parameters)
        for value, parameters in qparams.items()
        if str(value.name) in statistics.histograms
    )
    layers = _layers(model, plan, qparams, quantized)
    return RangeCheck(
        len(indices),
        len(few),
        chosen,
        values,
        _layer_noise(model, layers, prepared.feeds(few, batch=1), len(few), progress),
        _network_noise(model, layers, quantized, list(prepared.feeds(few, batch=1)), progress),
    )


def _value_range(value: ir.Value, histogram: Histogram, qparams: QParams) -> ValueRange:
    low, high = representable(qparams)
    half = float(qparams.scale) / 2
    means, counts = histogram.nonzero()
    total = max(histogram.count, 1)
    mean = float(np.sum(means * counts)) / total
    square = float(np.sum(means**2 * counts)) / total
    clipped = float(counts[(means < low - half) | (means > high + half)].sum()) / total
    edges = np.linspace(low - MARGIN * (high - low), high + MARGIN * (high - low), CELLS + 1)
    places = np.append(means, 0.0), np.append(counts, histogram.zeros)
    density = np.histogram(np.clip(places[0], edges[0], edges[-1]), edges, weights=places[1])[0] / total
    producer = value.producer()
    return ValueRange(
        str(value.name),
        "" if producer is None else str(producer.name),
        histogram.minimum,
        histogram.maximum,
        mean,
        float(np.sqrt(max(square - mean**2, 0.0))),
        histogram.zeros / total,
        low,
        high,
        clipped,
        tuple(float(share) for share in density),
    )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer, what it reads and delivers in the float model, and its real weights before and after quantization.

    ``exact`` and ``rounded`` are the inputs of the node behind its data, None for an absent one.
    """

    node: ir.Node
    result: ir.Value
    activation: ir.Node | None
    inputs: QParams
    outputs: QParams
    exact: tuple[Array | None, ...]
    rounded: tuple[Array | None, ...]

    def compute(self, data: Array, constants: Sequence[Array | None]) -> Array:
        """The result for one sample."""
        op = op_of(self.node)
        result = op.reference(op.parse(self.node), [data, *constants])
        if self.activation is None:
            return result
        op = op_of(self.activation)
        return op.reference(op.parse(self.activation), [result])


def _layers(model: ir.Model, plan: Plan, qparams: Mapping[ir.Value, QParams], quantized: ir.Model) -> list[_Layer]:
    rounded = rounded_constants(quantized)
    found = []
    for node in plan.integer_nodes():
        name, data = str(node.name), node.inputs[0]
        if node.op_type not in LAYERS or name not in rounded or data is None or constant(node.inputs[1]) is None:
            continue
        exact = tuple(constant(value) for value in node.inputs[1:])
        result = plan.result(node)
        found.append(_Layer(node, result, plan.fused.get(node), qparams[data], qparams[result], exact, rounded[name]))
    return found


def _layer_noise(
    model: ir.Model, layers: Sequence[_Layer], feeds: Iterable[Mapping[str, Array]], count: int, progress: Progress
) -> tuple[LayerNoise, ...]:
    sums = np.zeros((len(layers), 3, 2))
    wanted = sorted({str(value.name) for layer in layers for value in (layer.node.inputs[0], layer.result) if value})
    reference = Reference(model)
    for done, feed in enumerate(feeds, 1):
        arrays = reference.run(feed, keep=wanted)
        for index, layer in enumerate(layers):
            assert layer.node.inputs[0] is not None
            data, signal = arrays[str(layer.node.inputs[0].name)], arrays[str(layer.result.name)]
            rounded = _requantized(data, layer.inputs)
            results = (
                layer.compute(data, layer.rounded),
                _requantized(layer.compute(rounded, layer.exact), layer.outputs),
                _requantized(layer.compute(rounded, layer.rounded), layer.outputs),
            )
            sums[index] += [powers(signal, result) for result in results]
        progress("layers", done, count)
    return tuple(_noise_row(layer, both) for layer, both in zip(layers, sums, strict=True))


def _noise_row(layer: _Layer, sums: NDArray[np.float64]) -> LayerNoise:
    exact, rounded = layer.exact[0], layer.rounded[0]
    assert exact is not None and rounded is not None
    axis = output_axis(layer.node, 1, exact.ndim)
    magnitudes = np.abs(np.moveaxis(exact.astype(np.float64), axis, 0)).reshape(exact.shape[axis], -1).max(axis=1)
    return LayerNoise(
        str(layer.node.name),
        layer.node.op_type,
        len(magnitudes),
        tuple(float(item) for item in magnitudes),
        sqnr_db(exact, rounded),
        *(decibel(float(signal), float(noise)) for signal, noise in sums),
    )


def _requantized(array: Array, qparams: QParams) -> Array:
    return quantize_array(array.astype(np.float32), qparams).dequantize()


def _network_noise(
    model: ir.Model,
    layers: Sequence[_Layer],
    quantized: ir.Model,
    feeds: Sequence[Mapping[str, Array]],
    progress: Progress,
) -> tuple[NetworkNoise, ...]:
    forms = {
        "weights": with_constants(model, {str(layer.node.name): layer.rounded for layer in layers}),
        "activations": with_constants(quantized, {str(layer.node.name): layer.exact for layer in layers}),
        "both": quantized,
    }
    exact = _outputs(model, feeds)
    found = []
    for done, (what, form) in enumerate(forms.items(), 1):
        outputs = _outputs(form, feeds)
        agreement = None
        if exact[0].size > 1:
            agreement = float(np.mean([np.argmax(a) == np.argmax(b) for a, b in zip(exact, outputs, strict=True)]))
        signal, noise = np.sum([powers(a, b) for a, b in zip(exact, outputs, strict=True)], axis=0)
        found.append(NetworkNoise(what, decibel(float(signal), float(noise)), agreement))
        progress("network", done, len(forms))
    return tuple(found)


def _outputs(model: ir.Model, feeds: Sequence[Mapping[str, Array]]) -> list[Array]:
    reference = Reference(model)
    return [reference.run(feed)[reference.outputs[0]] for feed in feeds]


def _saturation(
    model: ir.Model, feeds: Iterable[Mapping[str, Array]], count: int, progress: Progress
) -> tuple[Saturation, ...]:
    outputs = {
        str(unit.output.value.name): unit
        for unit in units(model)
        if unit.output.qparams is not None and unit.kind in ("integer", "quantize")
    }
    if not outputs:
        raise InputError("no value of the model is quantized")
    reference = Reference(model)
    seen = {name: [np.iinfo(np.int32).max, np.iinfo(np.int32).min, 0, 0, 0] for name in outputs}
    for done, feed in enumerate(feeds, 1):
        for name, array in reference.run(feed, keep=list(outputs)).items():
            qparams = outputs[name].output.qparams
            assert qparams is not None
            row = seen[name]
            row[0], row[1] = min(row[0], int(array.min())), max(row[1], int(array.max()))
            row[2] += int(np.count_nonzero(array == qparams.low))
            row[3] += int(np.count_nonzero(array == qparams.high))
            row[4] += array.size
        progress("observe", done, count)
    return tuple(_saturation_row(name, unit, seen[name]) for name, unit in outputs.items())


def _saturation_row(name: str, unit: Unit, seen: Sequence[int]) -> Saturation:
    qparams = unit.output.qparams
    assert qparams is not None
    least, greatest, at_low, at_high, total = seen
    # At the low end stand the zeros of a rectified value: these are not clipped.
    at_low = 0 if bool(np.all(qparams.zero_point == qparams.low)) else at_low
    node = str(unit.node.name)
    return Saturation(
        name, node, qparams.dtype, float(qparams.scale.max()), least, greatest, at_low / total, at_high / total
    )
