"""What is known of the results of a layer before its activation: mean and standard deviation of each channel.

A BatchNormalization states them: its results have the mean beta and the standard deviation |gamma|. They stand beside
the layer that it was folded into while a model is in memory, and not in files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_KEY = "moments"


@dataclass(frozen=True, eq=False)
class Moments:
    """Of a layer's results, one number a channel.

    Attributes:
        mean: of each channel.
        deviation: standard deviation of each channel.
    """

    mean: Float64
    deviation: Float64

    def scaled(self, scale: Float64, offset: Float64) -> Moments:
        """Those of ``scale * y + offset``."""
        return Moments(self.mean * scale + offset, self.deviation * np.abs(scale))


def set_moments(layer: ir.Node, moments: Moments) -> None:
    """State the moments of a layer's results."""
    layer.meta[_KEY] = moments


def moments_of(layer: ir.Node) -> Moments | None:
    """The moments stated; None where nothing is known."""
    return cast("Moments | None", layer.meta.get(_KEY))


def scale_moments(layer: ir.Node, scale: Float64, offset: Float64) -> None:
    """The results of a layer have become ``scale * y + offset`` a channel."""
    known = moments_of(layer)
    if known is not None:
        set_moments(layer, known.scaled(scale, offset))
