"""Activation balancing: channels with large values are scaled down, and the weights that read them up.

Activations have one scale a tensor, so a few channels of large values take the resolution from all others, while the
weights that read them are mostly no smaller than others. With ``s = max|x|^a / max|w|^(1 - a)`` a channel, ``x / s``
and ``s w`` share that out; ``1 / s`` goes into what makes the channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from pydantic import BaseModel, ConfigDict, Field

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.layer_pairs import Float64, input_ranges, layer_pairs
from microlith.graph.linear_layers import bias_of, channel_axis, scale_inputs, scale_outputs, weights_of
from microlith.graph.pass_base import CONSTANTS_LIFTED, FLOAT_WEIGHTS, SHAPES_KNOWN, Property
from microlith.graph.reference import Reference
from microlith.graph.values import add_initializer, constant, input_at, integer, known_shape
from microlith.techniques.base import BATCH_NORM_FOLDED, Context, Feeds, check_requires


class BalanceActivations(BaseModel):
    """Activation balancing between neighbouring layers, and behind LayerNormalization; results stay the same.

    Attributes:
        strength: the exponent a: 0 looks at weights alone, 1 gives all channels of activations the same range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "balance_activations"
    paper: ClassVar[str] = (
        "Xiao et al., SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models, "
        "ICML 2023, section 4"
    )
    requires: ClassVar[tuple[Property, ...]] = (SHAPES_KNOWN, CONSTANTS_LIFTED, FLOAT_WEIGHTS, BATCH_NORM_FOLDED)
    ensures: ClassVar[tuple[Property, ...]] = requires

    strength: float = Field(default=0.5, ge=0.0, le=1.0)

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """Balance what can be.

        Raises:
            InputError: there is no data.
        """
        check_requires(self, model)
        if context.data is None:
            raise InputError(f"{self.name} needs data", hint="Give --data with about 100 samples.")
        result = model.clone()
        junctions = _junctions(result.graph)
        seen = _channel_ranges(model, junctions, context.data())
        for junction in junctions:
            junction.scale(self._scales(junction, seen[junction.name]))
        return result

    def _scales(self, junction: _Junction, values: Float64) -> Float64:
        values = values.reshape(-1, junction.repeats).max(axis=1)
        weights = np.max([junction.weight_ranges(reader) for reader in junction.readers], axis=0)
        used = (values > 0) & (weights > 0)
        ratio = np.where(used, values, 1.0) ** self.strength / np.where(used, weights, 1.0) ** (1 - self.strength)
        return np.where(used, ratio, 1.0)


@dataclass(frozen=True, eq=False)
class _Junction:
    """Channels that one node makes and layers alone read.

    Attributes:
        maker: a layer or a LayerNormalization.
        value: what the layers read.
        readers: the layers.
        repeats: inputs of a layer for each channel, side by side.
    """

    maker: ir.Node
    value: ir.Value
    readers: tuple[ir.Node, ...]
    repeats: int

    @property
    def name(self) -> str:
        """Of the value."""
        return str(self.value.name)

    @property
    def axis(self) -> int:
        """Of the channels in the value."""
        return channel_axis(self.readers[0], self.value)

    def weight_ranges(self, reader: ir.Node) -> Float64:
        """Greatest magnitude of a reader's weights for each channel."""
        weights = weights_of(reader)
        assert weights is not None, "junctions have layers with constant weights"
        return np.asarray(input_ranges(reader, weights).reshape(-1, self.repeats).max(axis=1))

    def scale(self, scale: Float64) -> None:
        """Divide the channels, and multiply what reads them."""
        wide = np.repeat(scale, self.repeats)
        if self.maker.op_type == "LayerNormalization":
            for index in (1, 2):
                array = constant(input_at(self.maker, index))
                if array is not None:
                    assert self.maker.graph is not None
                    divided = (array.astype(np.float64) / scale).astype(np.float32)
                    base = f"{self.maker.name}_balanced"
                    self.maker.replace_input_with(index, add_initializer(self.maker.graph, base, divided))
        elif not scale_outputs(self.maker, 1 / scale, np.zeros_like(scale)):
            return
        for reader in self.readers:
            done = scale_inputs(reader, wide, np.zeros_like(wide))
            assert done, "the square roots of what float32 holds stay far within it"


def _junctions(graph: ir.Graph) -> list[_Junction]:
    found = []
    for pair in layer_pairs(graph):
        value = pair.second.inputs[0]
        if pair.clip is None and value is not None:
            found.append(_Junction(pair.first, value, (pair.second,), pair.repeats))
    for node in graph:
        if node.op_type == "LayerNormalization" and (junction := _normalized(node)) is not None:
            found.append(junction)
    return found


def _normalized(node: ir.Node) -> _Junction | None:
    value, shape = node.outputs[0], known_shape(node.outputs[0])
    scale, bias = constant(input_at(node, 1)), input_at(node, 2)
    uses = tuple(value.uses())
    if shape is None or value.is_graph_output() or not uses or integer(node, "axis", -1) % len(shape) != len(shape) - 1:
        return None
    if scale is None or scale.shape != shape[-1:] or (bias is not None and constant(bias) is None):
        return None
    for use in uses:
        reader = use.node
        weighted = weights_of(reader) is not None and bias_of(reader) is not None
        if use.idx != 0 or not weighted or channel_axis(reader, value) != len(shape) - 1:
            return None
    return _Junction(node, value, tuple(dict.fromkeys(use.node for use in uses)), 1)


def _channel_ranges(model: ir.Model, junctions: list[_Junction], batches: Iterable[Feeds]) -> dict[str, Float64]:
    axes = {junction.name: junction.axis for junction in junctions}
    run = Reference(expose(model, axes)).run
    found: dict[str, Float64] = {}
    for feeds in batches:
        for name, array in run(feeds, keep=tuple(axes)).items():
            moved = np.moveaxis(np.abs(np.asarray(array, np.float64)), axes[name], 0)
            most = moved.reshape(len(moved), -1).max(axis=1)
            found[name] = np.maximum(found[name], most) if name in found else most
    if len(found) < len(axes):
        raise InputError("the calibration set is empty", hint="Give at least one sample; 100 are usual.")
    return found
