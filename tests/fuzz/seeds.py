"""What the fuzzers start from: the small models of the tests, in float and quantized."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir

import elementwise_models
import models
import neural_models
import qdq_models
import state_models
from graph.tflite.test_operators import MODELS, operator_file
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.graph.pipeline import run_passes
from microlith.quant.schemes import Scheme
from op_models import all_models
from tflite_networks import int8_network

_LARGEST_BYTES = 40_000


@functools.cache
def onnx_seeds() -> tuple[bytes, ...]:
    """Serialized models, in a fixed order."""
    floats = [*all_models().values(), models.tiny_mlp()]
    others = [
        *neural_models.float_models().values(),
        *neural_models.quantizable_models().values(),
        *elementwise_models.quantizable_models().values(),
        *elementwise_models.plain_models().values(),
        *(
            ir.to_proto(make())
            for make in (state_models.gru_cell, state_models.streaming_conv, state_models.delay_line)
        ),
        *(ir.to_proto(make()) for make in (qdq_models.residual, qdq_models.branches, qdq_models.attention)),
    ]
    found = [model.SerializeToString() for model in (*floats, *others)]
    found += [_quantized(model) for model in floats]
    return tuple(data for data in found if len(data) < _LARGEST_BYTES)


@functools.cache
def tflite_seeds() -> tuple[bytes, ...]:
    """Files of one operator each, and an int8 network, in a fixed order."""
    network = int8_network(np.random.default_rng(1))
    found = [network] * (len(MODELS) // 8) + [operator_file(model) for model in MODELS]
    return tuple(data for data in found if len(data) < _LARGEST_BYTES)


@functools.cache
def zoo_seeds() -> tuple[bytes, ...]:
    """The small variants of the zoo's networks, exported by torch, which takes a minute and is no part of the tests."""
    import torch

    import zoo_models
    from microlith.train.from_torch import load_module

    found = []
    for name, small in zoo_models.SMALL.items():
        model = load_module(zoo_models.small_module(name), torch.zeros(small.input_shape))
        found.append(ir.to_proto(model).SerializeToString())
    return tuple(found)


def _quantized(proto: onnx.ModelProto) -> bytes:
    model = ir.from_proto(proto)
    run_passes(model, DEFAULT_PASSES)
    ranges = dict.fromkeys(values_to_observe(model), (-1.0, 1.0))
    return ir.to_proto(place_qdq(model, ranges, Scheme(), "float")).SerializeToString()


SEEDS: Mapping[str, Callable[[], tuple[bytes, ...]]] = {"onnx": onnx_seeds, "tflite": tflite_seeds}
"""By the suffix of the file."""
