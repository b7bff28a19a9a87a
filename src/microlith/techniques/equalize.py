"""Cross-layer equalization: channels of neighbouring layers scaled so that their weights have like ranges.

One scale for a whole tensor of weights is as coarse as its widest channel needs. Between two layers the scale of each
channel is free: ``s = sqrt(r1 / r2)`` gives what the first writes of it and what the second reads of it the same range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from microlith.graph.layer_pairs import Float64, Pair, input_ranges, layer_pairs, output_ranges
from microlith.graph.linear_layers import by_input, by_output, scale_inputs, scale_outputs, weights_of
from microlith.graph.pass_base import CONSTANTS_LIFTED, FLOAT_WEIGHTS, SHAPES_KNOWN, Property
from microlith.graph.values import add_initializer, constant_scalar, input_at, insert_node, new_value, replace_node
from microlith.techniques.base import BATCH_NORM_FOLDED, Context, check_requires

_ROUNDS = 100
_SETTLED = 1e-4
# Of the greatest range of the layer: what a channel needs to count.
_LEAST = 2.0**-16


class Equalize(BaseModel):
    """Cross-layer equalization: what the model computes stays the same.

    Attributes:
        bounded: what is done where a Clip with an upper bound, such as ReLU6, stands between two layers. ``skip``:
            nothing. ``per_channel``: the bound becomes one a channel, by a Relu and a Min with a constant, which is
            exact and one more operation. ``drop``: the Clip becomes a Relu, which changes results where the bound was
            reached.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "equalize"
    paper: ClassVar[str] = (
        "Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.1"
    )
    requires: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, FLOAT_WEIGHTS, BATCH_NORM_FOLDED)
    ensures: ClassVar[tuple[Property, ...]] = requires

    bounded: Literal["skip", "per_channel", "drop"] = "skip"

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """Equalize all pairs of layers; needs no data."""
        check_requires(self, model)
        result = model.clone()
        pairs = [pair for pair in layer_pairs(result.graph) if pair.clip is None or self.bounded != "skip"]
        for pair, scale in zip(pairs, equalizing_scales(pairs), strict=True):
            if _scale(pair, scale) and pair.clip is not None:
                _replace_clip(pair.clip, scale if self.bounded == "per_channel" else None)
        return result


def equalizing_scales(pairs: Sequence[Pair]) -> list[Float64]:
    """For each pair what its channels are to be divided by, found by going round all pairs until nothing moves."""
    weights: dict[ir.Node, Float64] = {}
    for node in (node for pair in pairs for node in (pair.first, pair.second)):
        array = weights_of(node)
        assert array is not None, "layers of pairs have weights"
        weights[node] = array
    totals = [np.ones(pair.channels) for pair in pairs]
    used = [_used(pair, weights) for pair in pairs]
    for _ in range(_ROUNDS):
        furthest = 0.0
        for index, pair in enumerate(pairs):
            scale = _pair_scale(pair, weights, used[index])
            weights[pair.first] = weights[pair.first] * by_output(pair.first, weights[pair.first], 1 / scale)
            weights[pair.second] = by_input(pair.second, weights[pair.second], np.repeat(scale, pair.repeats))
            totals[index] = totals[index] * scale
            furthest = max(furthest, float(np.abs(np.log(scale)).max(initial=0.0)))
        if furthest < _SETTLED:
            break
    return totals


def _ranges(pair: Pair, weights: dict[ir.Node, Float64]) -> tuple[Float64, Float64]:
    """Greatest magnitudes of the weights that make each channel, and of those that read it."""
    read = input_ranges(pair.second, weights[pair.second]).reshape(pair.channels, pair.repeats).max(axis=1)
    return output_ranges(pair.first, weights[pair.first]), read


def _used(pair: Pair, weights: dict[ir.Node, Float64]) -> NDArray[np.bool_]:
    """Channels that are more than a constant: scaling up weights of almost nothing would scale up their bias too."""
    made, read = _ranges(pair, weights)
    return np.asarray((made > _LEAST * made.max(initial=0.0)) & (read > _LEAST * read.max(initial=0.0)))


def _pair_scale(pair: Pair, weights: dict[ir.Node, Float64], used: NDArray[np.bool_]) -> Float64:
    made, read = _ranges(pair, weights)
    return np.sqrt(np.where(used, made, 1.0) / np.where(used, read, 1.0))


def _scale(pair: Pair, scale: Float64) -> bool:
    """Divide the channels between the two layers; False, and no change, where numbers would leave float32."""
    zeros, inverse = np.zeros_like(scale), np.repeat(scale, pair.repeats)
    if not scale_outputs(pair.first, 1 / scale, zeros):
        return False
    if not scale_inputs(pair.second, inverse, np.zeros_like(inverse)):
        scale_outputs(pair.first, scale, zeros)
        return False
    return True


def _replace_clip(clip: ir.Node, scale: Float64 | None) -> None:
    """A Relu in the place of a Clip from 0; with scales, also a Min with its upper bound divided by them."""
    source, graph = clip.inputs[0], clip.graph
    assert source is not None and graph is not None
    if scale is None:
        replace_node(clip, "Relu", [source])
        return
    bound = constant_scalar(input_at(clip, 2))
    assert bound is not None and source.shape is not None, "pairs have constant bounds and known shapes"
    shape = (len(scale), *(1 for _ in source.shape.numpy()[2:]))
    limits = add_initializer(graph, f"{clip.name}_bounds", (bound / scale).reshape(shape).astype(np.float32))
    rectified = new_value(f"{clip.outputs[0].name}_rectified", source)
    insert_node(clip, "Relu", [source], rectified)
    replace_node(clip, "Min", [rectified, limits])
