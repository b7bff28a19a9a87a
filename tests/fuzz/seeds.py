"""What the fuzzers start from: the small models of the tests, in float and with Q/DQ."""

from __future__ import annotations

import functools

import onnx
import onnx_ir as ir

import models
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.graph.pipeline import run_passes
from microlith.quant.schemes import Scheme
from op_models import all_models

_LARGEST_BYTES = 40_000


@functools.cache
def onnx_seeds() -> tuple[bytes, ...]:
    """Serialized models, in a fixed order."""
    floats = {**all_models(), "mlp": models.tiny_mlp()}
    found = [model.SerializeToString() for model in floats.values()]
    found += [_quantized(model) for model in floats.values()]
    return tuple(data for data in found if len(data) < _LARGEST_BYTES)


def _quantized(proto: onnx.ModelProto) -> bytes:
    model = ir.from_proto(proto)
    run_passes(model, DEFAULT_PASSES)
    ranges = dict.fromkeys(values_to_observe(model), (-1.0, 1.0))
    return ir.to_proto(place_qdq(model, ranges, Scheme(), "float")).SerializeToString()
