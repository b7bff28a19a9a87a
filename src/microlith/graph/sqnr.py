"""How much of each value survives quantization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.metadata import io_qparams
from microlith.graph.reference import Reference
from microlith.graph.units import units
from microlith.quant.calibration import decibel, powers
from microlith.quant.schemes import quantize_array
from microlith.quant.types import QArray, QParams

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]


def layer_sqnr(float_model: ir.Model, quantized_model: ir.Model, batches: Iterable[Feeds]) -> dict[str, float]:
    """Signal to quantization noise ratio in dB of the result of every operation, over all samples.

    Both models run from their own inputs, so the noise of a layer includes what it inherits.

    Args:
        float_model: the one that was quantized, after the passes.
        quantized_model: what :func:`microlith.graph.passes.place_qdq.place_qdq` made of it.
        batches: inputs of the float model; they are quantized for integer inputs. Gone through once.

    Returns:
        By name of the stored value in the quantized model, in its order.

    Raises:
        InputError: there is no batch.
    """
    pairs = _pairs(float_model, quantized_model)
    power = {name: np.zeros(2) for name in pairs}
    sources = sorted({source for source, _ in pairs.values()})
    real = Reference(expose(float_model, sources))
    integer = Reference(quantized_model)
    inputs = {str(value.name): value for value in quantized_model.graph.inputs}
    batch = None
    for batch in batches:
        expected = real.run(batch, keep=sources)
        given = {name: _as_input(quantized_model, inputs[name], array) for name, array in batch.items()}
        found = integer.run(given, keep=list(pairs))
        for name, (source, qparams) in pairs.items():
            power[name] += _powers(expected[source], found[name], qparams)
    if batch is None:
        raise InputError("there is no data to measure the quantization noise on")
    return {name: decibel(float(signal), float(noise)) for name, (signal, noise) in power.items()}


def _powers(expected: Array, found: Array, qparams: QParams | None) -> NDArray[np.float64]:
    stored = QArray(found, qparams).dequantize() if qparams is not None else found  # type: ignore[arg-type]
    return np.array(powers(expected, stored))


def _pairs(float_model: ir.Model, quantized_model: ir.Model) -> dict[str, tuple[str, QParams | None]]:
    """Stored value of the quantized model -> value of the float model that it stands for, and its parameters."""
    known = {value.name for node in float_model.graph for value in node.outputs}
    pairs: dict[str, tuple[str, QParams | None]] = {}
    for unit in units(quantized_model):
        stored, last = unit.output.value, unit.nodes[-1]
        names = [stored.name]
        if last.op_type == "QuantizeLinear" and last.inputs[0] is not None:
            readers = [use.node for use in stored.uses() if use.node.op_type == "DequantizeLinear"]
            names = [last.inputs[0].name, stored.name, *(node.outputs[0].name for node in readers)]
        source = next((name for name in names if name in known), None)
        if source is not None and unit.kind in ("integer", "float"):
            pairs[str(stored.name)] = source, unit.output.qparams
    return pairs


def _as_input(model: ir.Model, value: ir.Value, array: Array) -> Array:
    qparams = io_qparams(model, str(value.name))
    if value.dtype == ir.DataType.FLOAT or qparams is None or not np.issubdtype(array.dtype, np.floating):
        return array
    return quantize_array(array.astype(np.float32), qparams).values
