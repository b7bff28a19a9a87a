"""How real numbers become integers: the settings of a quantization, and scale and zero point from a range.

Affine parameters cover ``[low, high]`` with all integers of the type; symmetric ones fix the zero point in the middle.
Zero is always representable, because padding and rectified activations are full of it.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference
(2018), section 3; Krishnamoorthi, Quantizing deep convolutional networks for efficient inference (2018), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from microlith.core.errors import ModelError
from microlith.quant.types import LIMITS, QArray, QParams, held

IntegerType = Literal["int8", "uint8", "int16", "int4"]
ActivationType = Literal["int8", "uint8", "int16", "int4", "float"]
WeightType = Literal["int8", "int4", "int3", "int2", "ternary", "binary"]
CalibrationMethod = Literal["minmax", "moving_average", "percentile", "entropy", "mse", "cosine"]
WeightsCalibration = Literal["auto", "minmax", "mse"]

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
        power_of_two: whether scales are powers of two.
    """

    dtype: IntegerType = "int8"
    symmetric: bool = False
    power_of_two: bool = False

    @property
    def levels(self) -> int:
        """Steps between the least and the greatest integer in use."""
        low, high = LIMITS[self.dtype]
        return high - low - 1 if self.symmetric else high - low


@dataclass(frozen=True)
class WeightGrid:
    """The integers that weights of a kind use.

    Attributes:
        kind: as in a scheme.
        dtype: ONNX's type that stores them: the next wider one where there is none of that width.
        low: least integer.
        high: greatest integer.
        values: how many different integers there are; the bits of one weight are its logarithm.
    """

    kind: WeightType
    dtype: str
    low: int
    high: int

    @property
    def values(self) -> int:
        """Number of different integers."""
        return 2 if self.kind == "binary" else self.high - self.low + 1

    def narrower_than(self, dtype: str) -> bool:
        """Whether a type that stores them does not say how many integers there are."""
        return self.kind != "int8" and self.values < LIMITS[dtype][1] - LIMITS[dtype][0] + 1


def weight_grid(kind: WeightType, *, symmetric: bool = True) -> WeightGrid:
    """The integers of a kind of weights; symmetric int8 leaves out -128, so that products of two fit 15 bits."""
    if kind == "int8":
        return WeightGrid(kind, "int8", -127 if symmetric else -128, 127)
    if kind == "int3":
        return WeightGrid(kind, "int4", -4, 3)
    if kind in ("ternary", "binary"):
        return WeightGrid(kind, "int2", -1, 1)
    return WeightGrid(kind, kind, *LIMITS[kind])


class LayerSettings(BaseModel):
    """Settings that may differ from layer to layer; None keeps what holds without.

    Attributes:
        weights: see :class:`Scheme`, as the others.
        activations: integer type of the layer's result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: WeightType | None = None
    per_channel: bool | None = None
    group_size: int | None = Field(default=None, ge=1)
    weights_symmetric: bool | None = None
    weights_power_of_two: bool | None = None
    weights_calibration: WeightsCalibration | None = None
    activations: IntegerType | None = None
    symmetric: bool | None = None
    power_of_two: bool | None = None
    calibration: CalibrationMethod | None = None
    percentile: float | None = Field(default=None, gt=50.0, le=100.0)


class Override(LayerSettings):
    """Settings of some layers; all of ``match``, ``op`` and ``layers`` that are given must hold.

    Attributes:
        match: pattern of node names, as of files: ``*``, ``?``, ``[abc]``.
        op: type of the node.
        layers: the first or the last layer of the graph that has weights.
    """

    match: str | None = None
    op: str | None = None
    layers: Literal["first", "last"] | None = None

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if self.match is None and self.op is None and self.layers is None:
            raise ValueError("an override needs match, op or layers")
        if not self.changes():
            raise ValueError("an override changes no setting")
        return self

    def changes(self) -> dict[str, Any]:
        """The settings given, by name."""
        found = self.model_dump(exclude_none=True)
        return {name: value for name, value in found.items() if name in LayerSettings.model_fields}

    def selects(self, name: str, op_type: str, place: str | None) -> bool:
        """Whether a node is meant.

        Args:
            name: of the node.
            op_type: of the node.
            place: ``first`` or ``last`` among the layers with weights, ``both`` for the only one, or None.
        """
        return (
            (self.match is None or fnmatchcase(name, self.match))
            and (self.op is None or op_type == self.op)
            and (self.layers is None or place in (self.layers, "both"))
        )

    def described(self) -> str:
        """What selects, for messages."""
        given = {"match": self.match, "op": self.op, "layers": self.layers}
        return ", ".join(f"{key} {value!r}" for key, value in given.items() if value is not None)


class Scheme(BaseModel):
    """The settings of a static quantization.

    Attributes:
        activations: integer type of activations, one scale a tensor; ``float`` leaves them alone and quantizes weights
            only. int16 is symmetric always.
        symmetric: whether the zero point of activations is fixed in the middle.
        power_of_two: whether scales of activations are powers of two.
        weights: kind of weights: ``ternary`` is -1, 0 and 1, ``binary`` -1 and 1, each times a scale.
        per_channel: one weight scale for each output channel of Conv and Gemm instead of one for the tensor.
        group_size: one weight scale for so many weights of an output channel instead of one for all; only where
            activations are float.
        weights_symmetric: whether the zero point of weights is 0.
        weights_power_of_two: whether scales of weights are powers of two.
        weights_calibration: how the range of weights is chosen; ``auto`` is minmax at 8 and 4 bits, where the
            largest weights matter more than the squared error says, and mse below.
        calibration: how the range of an activation is chosen from what was observed.
        percentile: share of the observed values, in percent, below the upper end of the range and above its lower end;
            used by ``calibration = "percentile"``.
        overrides: settings of some layers; of several that select a layer the later one holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    activations: ActivationType = "int8"
    symmetric: bool = False
    power_of_two: bool = False
    weights: WeightType = "int8"
    per_channel: bool = True
    group_size: int | None = Field(default=None, ge=1)
    weights_symmetric: bool = True
    weights_power_of_two: bool = False
    weights_calibration: WeightsCalibration = "auto"
    calibration: CalibrationMethod = "mse"
    percentile: float = Field(default=99.99, gt=50.0, le=100.0)
    overrides: tuple[Override, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.weights in ("ternary", "binary") and not self.weights_symmetric:
            raise ValueError(f"{self.weights} weights are symmetric")
        if self.group_size is not None and self.activations != "float":
            raise ValueError("a scale for each group of weights has no integer arithmetic; set activations: float")
        if self.activations == "float" and any(item.activations for item in self.overrides):
            raise ValueError("an override gives activations a type, and without it they are float")
        return self

    @property
    def grid(self) -> Grid:
        """The integers of activations."""
        assert self.activations != "float", "there are none"
        return Grid(self.activations, self.symmetric or self.activations == "int16", self.power_of_two)

    @property
    def weight_grid(self) -> WeightGrid:
        """The integers of weights."""
        return weight_grid(self.weights, symmetric=self.weights_symmetric)

    @property
    def searches_weights(self) -> bool:
        """Whether the range of weights is the one of least squared error."""
        return self.weights_calibration == "mse" or (
            self.weights_calibration == "auto" and self.weights not in ("int8", "int4")
        )

    def with_changes(self, changes: dict[str, Any]) -> Scheme:
        """The settings of one layer: these with others in their place, and no overrides."""
        own = {name: getattr(self, name) for name in Scheme.model_fields if name != "overrides"}
        return Scheme.model_validate(own | changes)


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

    The range is widened to contain 0. The scale is rounded to float32, or up to a power of two where the grid says so,
    the zero point to the nearest integer with ties to even. A range of zeros alone gets a scale of 2**-10.

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
    if grid.power_of_two:
        scale = float(next_power_of_two(np.asarray(scale)))
    if scale > MAX_SCALE:
        raise ModelError(f"a range of [{low:g}, {high:g}] is too wide to be quantized")
    if grid.symmetric:
        zero_point = (limit_low + limit_high + 1) // 2
    else:
        zero_point = int(np.clip(np.rint(limit_low - low / scale), limit_low, limit_high))
    return QParams.per_tensor(scale, zero_point, grid.dtype)


def next_power_of_two(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least powers of two that are not below positive numbers."""
    mantissa, exponent = np.frexp(scale)
    return np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))


def representable(qparams: QParams) -> tuple[float, float]:
    """The least and the greatest real value of a tensor with these parameters (per tensor)."""
    scale, zero = float(qparams.scale), int(qparams.zero_point)
    return scale * (qparams.low - zero), scale * (qparams.high - zero)


def quantize_array(values: NDArray[np.floating], qparams: QParams) -> QArray:
    """Integers nearest to the values, ties to even, saturated: what QuantizeLinear computes on float32."""
    scale = qparams.broadcast(qparams.scale, values.ndim).astype(np.float32)
    zero = qparams.broadcast(qparams.zero_point, values.ndim).astype(np.float64)
    scaled = np.rint((values.astype(np.float32) / scale).astype(np.float64)) + zero
    return QArray(np.clip(scaled, qparams.low, qparams.high).astype(held(qparams.dtype)), qparams)
