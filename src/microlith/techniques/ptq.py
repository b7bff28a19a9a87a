"""Post-training quantization: ranges from a little data, then integers throughout; or integer weights alone.

The float model runs once over the calibration set while one histogram an activation is kept; every calibration method
reads its range from that histogram, so that trying other settings costs no second pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.pass_base import CONSTANTS_LIFTED, FLOAT_WEIGHTS, SHAPES_KNOWN, Property
from microlith.graph.passes.place_qdq import Interface, place_qdq, values_to_observe
from microlith.graph.passes.place_weight_qdq import place_weight_qdq
from microlith.graph.qdq_constants import Roundings, to_nearest
from microlith.graph.qdq_schemes import value_schemes
from microlith.graph.reference import Reference
from microlith.graph.state import read_states
from microlith.graph.stepper import Stepper
from microlith.quant.calibration import range_of
from microlith.quant.observers import Histogram
from microlith.quant.schemes import CalibrationMethod, Scheme
from microlith.quant.types import Requantization
from microlith.techniques.base import (
    BATCH_NORM_FOLDED,
    INTEGER_WEIGHTS,
    Context,
    Feeds,
    check_requires,
)

Execute = Callable[[Feeds], Mapping[str, NDArray[np.generic]]]


@dataclass(frozen=True)
class Statistics:
    """What one pass over the calibration set has shown.

    Attributes:
        histograms: by value name, for every value that quantization needs a range of.
        samples: samples seen.
    """

    histograms: Mapping[str, Histogram]
    samples: int
    _known: dict[object, dict[str, tuple[float, float]]] = field(default_factory=dict, repr=False, compare=False)

    def ranges(self, scheme: Scheme, others: Mapping[str, Scheme] | None = None) -> dict[str, tuple[float, float]]:
        """The range of every value by the scheme's calibration method; found once for settings that share it.

        Args:
            scheme: of all values.
            others: by the name of a value, settings that take their place.
        """
        key = scheme.calibration, scheme.percentile, scheme.grid
        if key not in self._known:
            self._known[key] = {name: range_of(histogram, scheme) for name, histogram in self.histograms.items()}
        own = {name: range_of(self.histograms[name], special) for name, special in (others or {}).items()}
        return self._known[key] | own


def observe(
    model: ir.Model,
    batches: Iterable[Feeds],
    *,
    float_ops: Sequence[str] = (),
    execute: Execute | None = None,
    progress: Callable[[int], None] = lambda batches: None,
) -> Statistics:
    """Run the float model over the calibration set and keep a histogram of every activation to be quantized.

    The samples of a model with state are the steps of one sequence, in their order.

    Args:
        model: float.
        batches: from input name to array, batch first; gone through once.
        float_ops: what will be kept in float; see :func:`place_qdq`.
        execute: gives the values of :func:`values_to_observe`, graph inputs included, for one batch; the NumPy
            reference by default.
        progress: called after each batch with the number of batches done.

    Raises:
        UnsupportedError: a node cannot be quantized; found before anything runs.
        InputError: there is no batch, or a value is NaN or infinite.
    """
    names = values_to_observe(model, float_ops)
    run = execute or _reference(model, names)
    histograms = {name: Histogram() for name in names}
    samples = 0
    for done, feeds in enumerate(batches, 1):
        values = run(feeds)
        for name, histogram in histograms.items():
            _update(histogram, name, values[name])
        samples += max((len(array) for array in feeds.values()), default=0)
        progress(done)
    if not samples:
        raise InputError("the calibration set is empty", hint="Give at least one sample; 100 are usual.")
    return Statistics(histograms, samples)


def _update(histogram: Histogram, name: str, values: NDArray[np.generic]) -> None:
    try:
        histogram.update(values.astype(np.float32))
    except InputError as error:
        raise InputError(f"the value {name!r} became NaN or infinite during calibration", hint=error.hint) from error


def _reference(model: ir.Model, names: Sequence[str]) -> Execute:
    if read_states(model):
        return partial(_steps, Stepper(expose(model, names)), names)
    return partial(Reference(expose(model, names)).run, keep=names)


def quantize(
    model: ir.Model,
    statistics: Statistics,
    scheme: Scheme,
    requantization: Requantization,
    *,
    float_ops: Sequence[str] = (),
    io: Interface = "int",
    rounding: Roundings = to_nearest,
) -> ir.Model:
    """A quantized copy of the model with ranges from statistics; see :func:`place_qdq`."""
    ranges = statistics.ranges(scheme, value_schemes(model, scheme, float_ops))
    return place_qdq(model, ranges, scheme, requantization, float_ops=float_ops, io=io, rounding=rounding)


def _steps(stepper: Stepper, names: Sequence[str], feeds: Feeds) -> dict[str, NDArray[np.generic]]:
    """The samples of a batch as steps that follow those of the batch before; all values with an axis of steps."""
    count = max(len(array) for array in feeds.values())
    found = [
        stepper.step({name: array[index : index + 1] for name, array in feeds.items()}, keep=names)
        for index in range(count)
    ]
    return {name: np.stack([values[name] for values in found]) for name in names}


class PTQ(Scheme):
    """Static post-training quantization, or of weights alone where ``activations`` is ``float``.

    Attributes:
        requantization: how accumulators become integers; None takes the device's default, and ``float`` without one.
        float_ops: names of nodes, or op types, to keep in float.
        io: whether graph inputs and outputs become integer tensors.
    """

    name: ClassVar[str] = "ptq"
    paper: ClassVar[str] = (
        "Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, "
        "CVPR 2018"
    )
    requires: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, FLOAT_WEIGHTS, BATCH_NORM_FOLDED)
    ensures: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, INTEGER_WEIGHTS)

    requantization: Requantization | None = None
    float_ops: tuple[str, ...] = ()
    io: Literal["int", "float"] = "int"

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """Calibrate on the context's data and quantize.

        Raises:
            InputError: there is no data.
            UnsupportedError: a node cannot be quantized.
        """
        check_requires(self, model)
        if self.activations == "float":
            return self.quantize_weights(model, context)
        return self.quantize(model, self.calibrate(model, context), context)

    def calibrate(self, model: ir.Model, context: Context) -> Statistics:
        """What the context's data shows.

        Raises:
            InputError: there is no data.
        """
        if context.data is None:
            raise InputError(f"{self.name} needs calibration data", hint="Give --data with about 100 samples.")

        def progress(done: int) -> None:
            context.progress("calibrate", done, context.batches)

        return observe(model, context.data(), float_ops=self.float_ops, progress=progress)

    def quantize(self, model: ir.Model, statistics: Statistics, context: Context) -> ir.Model:
        """Like :meth:`apply`, with statistics that are there already."""
        if self.activations == "float":
            return self.quantize_weights(model, context)
        default: Requantization = "float" if context.device is None else context.device.requantization
        return quantize(
            model,
            statistics,
            self,
            self.requantization or default,
            float_ops=self.float_ops,
            io=self.io,
            rounding=self.rounding(model, context),
        )

    def quantize_weights(self, model: ir.Model, context: Context) -> ir.Model:
        """The model with integer weights and float activations; needs no statistics."""
        return place_weight_qdq(model, self, float_ops=self.float_ops, rounding=self.rounding(model, context))

    def rounding(self, model: ir.Model, context: Context) -> Roundings:
        """How weights become integers: the nearest ones."""
        return to_nearest


_METHODS: tuple[CalibrationMethod, ...] = ("mse", "minmax", "percentile")


def ptq_search_space(base: PTQ | None = None) -> tuple[PTQ, ...]:
    """The settings that a search tries: calibration method, per channel or not, affine or symmetric; likeliest first.

    Args:
        base: gives all other settings.
    """
    start = base or PTQ()
    return tuple(
        start.model_copy(update={"per_channel": per_channel, "symmetric": symmetric, "calibration": calibration})
        for per_channel in (True, False)
        for symmetric in (False, True)
        for calibration in _METHODS
    )
