"""Moments of what layers compute before their activation, from BatchNormalization or from data."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.expose import expose
from microlith.graph.linear_layers import channel_axis
from microlith.graph.moments import Moments, moments_of
from microlith.graph.reference import Reference
from microlith.techniques.base import Feeds


def stated_moments(layers: Iterable[ir.Node]) -> dict[str, Moments]:
    """By the name of the result, the moments that a BatchNormalization stated; layers without are left out."""
    known = ((str(node.outputs[0].name), moments_of(node)) for node in layers)
    return {name: moments for name, moments in known if moments is not None}


def observed_moments(model: ir.Model, layers: Iterable[ir.Node], batches: Iterable[Feeds]) -> dict[str, Moments]:
    """By the name of the result, the moments over all samples and places.

    Args:
        model: float.
        layers: of the model, whose results are looked at before any activation.
        batches: see :class:`microlith.techniques.base.Context`.

    Raises:
        InputError: there is no batch.
    """
    axes = {str(node.outputs[0].name): channel_axis(node, node.outputs[0]) for node in layers}
    run = Reference(expose(model, axes)).run
    sums: dict[str, list[NDArray[np.float64] | float]] = {}
    for feeds in batches:
        for name, array in run(feeds, keep=tuple(axes)).items():
            rows = np.moveaxis(np.asarray(array, np.float64), axes[name], -1)
            rows = rows.reshape(-1, rows.shape[-1])
            count, first, second = sums.get(name, [0.0, 0.0, 0.0])
            sums[name] = [count + len(rows), first + rows.sum(axis=0), second + (rows**2).sum(axis=0)]
    if not sums:
        raise InputError("the calibration set is empty", hint="Give at least one sample; 100 are usual.")
    found = {}
    for name, (count, first, second) in sums.items():
        mean = np.asarray(first) / count
        found[name] = Moments(mean, np.sqrt(np.maximum(np.asarray(second) / count - mean**2, 0.0)))
    return found


def all_samples(batches: Iterable[Feeds]) -> dict[str, NDArray[np.generic]]:
    """All batches as one.

    Raises:
        InputError: there is no batch.
    """
    found = list(batches)
    if not found:
        raise InputError("the calibration set is empty", hint="Give at least one sample; 100 are usual.")
    return {name: np.concatenate([feeds[name] for feeds in found]) for name in found[0]}
