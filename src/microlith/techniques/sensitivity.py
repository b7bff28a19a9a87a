"""What quantizing one layer alone costs the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.layer_constants import with_constants
from microlith.graph.reference import Reference
from microlith.graph.values import Array
from microlith.techniques.base import Feeds

Measure = Literal["sqnr", "loss"]
Floats = NDArray[np.float64]

# Below this a probability counts as this much.
_LEAST = 1e-9


def outputs_of(model: ir.Model, batches: Sequence[Feeds]) -> Floats:
    """The first output for all samples, (samples, elements)."""
    reference = Reference(model)
    found = [reference.run(feeds)[reference.outputs[0]] for feeds in batches]
    return np.concatenate([item.reshape(len(item), -1) for item in found]).astype(np.float64)


def noise_ratio(exact: Floats, found: Floats) -> float:
    """Power of the difference over power of the signal: what a ratio in dB is the logarithm of."""
    return float(np.sum((exact - found) ** 2) / max(float(np.sum(exact**2)), 1e-30))


def divergence(exact: Floats, found: Floats) -> float:
    """Mean Kullback-Leibler divergence of the classes' probabilities in nats.

    It is the increase of the cross entropy where the targets are the original's own probabilities.
    """
    p, q = _probabilities(exact), _probabilities(found)
    return float(np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1)))


def _probabilities(outputs: Floats) -> Floats:
    """The rows themselves where they are probabilities, else their softmax."""
    sums = outputs.sum(axis=1)
    if (outputs >= -1e-6).all() and np.allclose(sums, 1.0, atol=0.05):
        rows = np.maximum(outputs, _LEAST)
    else:
        rows = np.maximum(np.exp(outputs - outputs.max(axis=1, keepdims=True)), _LEAST)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


MEASURES: Mapping[Measure, Callable[[Floats, Floats], float]] = {"sqnr": noise_ratio, "loss": divergence}


def sensitivities(
    model: ir.Model,
    layers: Sequence[str],
    rounded: Mapping[str, Mapping[str, Sequence[Array | None]]],
    batches: Sequence[Feeds],
    measure: Measure,
    progress: Callable[[int, int], None],
) -> list[dict[str, float]]:
    """The loss of the network with the weights of one layer quantized, everything else being float.

    Args:
        model: float.
        layers: names of nodes.
        rounded: by kind of weights and by name of a node, the real numbers that its integers stand for.
        batches: inputs.
        measure: how outputs are compared.
        progress: called with runs done and their number.

    Returns:
        By kind, for each layer.
    """
    exact = outputs_of(model, batches)
    compare = MEASURES[measure]
    found: list[dict[str, float]] = []
    for index, name in enumerate(layers):
        row = {}
        for kind, constants in rounded.items():
            changed = with_constants(model, {name: constants[name]})
            row[kind] = compare(exact, outputs_of(changed, batches))
            progress(index * len(rounded) + len(row), len(layers) * len(rounded))
        found.append(row)
    return found
