"""How real numbers become integers: the settings of a quantization, and scale and zero point from a range.

Affine parameters cover ``[low, high]`` with all integers of the type; symmetric ones fix the zero point in the middle.
Zero is always representable, because padding and rectified activations are full of it.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(2018), section 3; Krishnamoorthi, Quantizing deep convolutional networks for efficient inference (2018), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from microlith.core.errors import ModelError
from microlith.quant.types import LIMITS, QArray, QParams

ActivationType = Literal["int8", "uint8"]
CalibrationMethod = Literal["minmax", "percentile", "mse"]

# The product of two scales, which is the scale of a bias, must stay a normal float32.
MIN_SCALE = 2.0**-60
MAX_SCALE = 2.0**60
# A tensor that was zero throughout: fine enough for the biases whose scale it becomes a factor of.
_ZERO_TENSOR_SCALE = 2.0**-10


@dataclass(frozen=True)
class Grid:
    """The integers available to one tensor.

    Attributes:
        dtype: integer type.
        symmetric: whether the zero point stands in the middle.
    """

    dtype: ActivationType = "int8"
    symmetric: bool = False

    @property
    def levels(self) -> int:
        """Steps between the least and the greatest integer in use."""
        return 254 if self.symmetric else 255


class Scheme(BaseModel):
    """The settings of a static quantization.

    Attributes:
        activations: integer type of activations, one scale a tensor.
        symmetric: whether the zero point of activations is fixed in the middle.
        weights: integer type of weights.
        per_channel: one weight scale for each output channel of Conv and Gemm instead of one for the tensor.
        weights_symmetric: whether the zero point of weights is 0.
        calibration: how the range of an activation is chosen from what was observed.
        percentile: share of the observed values, in percent, below the upper end of the range and above its lower end;
            used by ``calibration = "percentile"``.
        weights_calibration: how the range of weights is chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    activations: ActivationType = "int8"
    symmetric: bool = False
    weights: Literal["int8"] = "int8"
    per_channel: bool = True
    weights_symmetric: bool = True
    calibration: CalibrationMethod = "mse"
    percentile: float = Field(default=99.99, gt=50.0, le=100.0)
    weights_calibration: Literal["minmax", "mse"] = "minmax"

    @property
    def grid(self) -> Grid:
        """The integers of activations."""
        return Grid(self.activations, self.symmetric)


def widen_to_zero(low: float, high: float) -> tuple[float, float]:
    """The range ``[low, high]`` widened to contain 0.

    Raises:
        ModelError: an end is not finite, or the ends are in the wrong order.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ModelError(
            f"a range of [{low}, {high}] cannot be quantized", hint="Look for NaN or infinity in model and data."
        )
    if low > high:
        raise ModelError(f"the range [{low}, {high}] has its ends in the wrong order")
    return min(float(low), 0.0), max(float(high), 0.0)


def qparams_from_range(low: float, high: float, grid: Grid, minimum_scale: float = MIN_SCALE) -> QParams:
    """Scale and zero point for values in ``[low, high]``.

    The range is widened to contain 0. The scale is rounded to float32, the zero point to the nearest integer with ties
    to even. A range of zeros alone gets a scale of 2**-10.

    Args:
        low: least value.
        high: greatest value.
        grid: integers to use.
        minimum_scale: the scale is raised to this where the range would give less.

    Raises:
        ModelError: the range is not finite or too wide for a scale below 2**60.
    """
    low, high = widen_to_zero(low, high)
    limit_low, limit_high = LIMITS[grid.dtype]
    scale = (2 * max(-low, high) if grid.symmetric else high - low) / grid.levels
    if low == high:
        scale = _ZERO_TENSOR_SCALE
    scale = float(np.float32(max(scale, minimum_scale, MIN_SCALE)))
    if scale > MAX_SCALE:
        raise ModelError(f"a range of [{low:g}, {high:g}] is too wide to be quantized")
    if grid.symmetric:
        zero_point = (limit_low + limit_high + 1) // 2
    else:
        zero_point = int(np.clip(np.rint(limit_low - low / scale), limit_low, limit_high))
    return QParams.per_tensor(scale, zero_point, grid.dtype)


def representable(qparams: QParams) -> tuple[float, float]:
    """The least and the greatest real value of a tensor with these parameters (per tensor)."""
    scale, zero = float(qparams.scale), int(qparams.zero_point)
    return scale * (qparams.low - zero), scale * (qparams.high - zero)


def quantize_array(values: NDArray[np.floating], qparams: QParams) -> QArray:
    """Integers nearest to the values, ties to even, saturated: what QuantizeLinear computes on float32."""
    scale = qparams.broadcast(qparams.scale, values.ndim).astype(np.float32)
    zero = qparams.broadcast(qparams.zero_point, values.ndim).astype(np.float64)
    scaled = np.rint((values.astype(np.float32) / scale).astype(np.float64)) + zero
    return QArray(np.clip(scaled, qparams.low, qparams.high).astype(qparams.dtype), qparams)
