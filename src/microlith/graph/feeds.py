"""Samples in the types that a model takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from microlith.graph.metadata import io_qparams
from microlith.graph.state import caller_inputs
from microlith.graph.values import Array
from microlith.quant.integer_move import quantize

Feeds = Mapping[str, Array]


def as_inputs(model: ir.Model, feeds: Feeds) -> dict[str, Array]:
    """Samples in the type that each input of the model has."""
    return {str(value.name): _as_input(model, value, feeds[str(value.name)]) for value in caller_inputs(model)}


def _as_input(model: ir.Model, value: ir.Value, array: Array) -> Array:
    qparams = io_qparams(model, str(value.name))
    if qparams is None or not np.issubdtype(array.dtype, np.floating):
        return array
    return quantize(np.asarray(array, np.float32), qparams)
