"""Scale and zero point of a QuantizeLinear or DequantizeLinear, blocks included."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import UnsupportedError
from microlith.graph.metadata import weight_kind
from microlith.graph.units import node_qparams
from microlith.graph.values import constant, input_at, integer, static_shape
from microlith.ops.nodes import where
from microlith.quant.schemes import weight_grid
from microlith.quant.types import LIMITS, QParams, as_held, held


@dataclass(frozen=True, eq=False)
class Linear:
    """What integers stand for.

    Attributes:
        scale: float32, shape (), (C,), or of the tensor's rank for blocks.
        zero_point: int32 of the same shape.
        dtype: quantized type.
        axis: of channels or blocks; None for per tensor.
        block: elements that share a scale along the axis; 0 without blocks.
        low: least integer in use.
        high: greatest integer in use.
        binary: whether 0 is left out, as of weights that are -1 and 1.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    dtype: str
    axis: int | None = None
    block: int = 0
    low: int = 0
    high: int = 0
    binary: bool = False

    def __post_init__(self) -> None:
        if self.low == self.high == 0:
            low, high = LIMITS[self.dtype]
            object.__setattr__(self, "low", low)
            object.__setattr__(self, "high", high)

    def same(self, other: Linear) -> bool:
        """Whether both give every integer the same meaning."""
        return (
            (self.dtype, self.axis, self.block) == (other.dtype, other.axis, other.block)
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def spread(self, values: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """``scale`` or ``zero_point`` as it broadcasts against a tensor of this shape."""
        if self.axis is None:
            return values
        if self.block:
            return np.take(np.repeat(values, self.block, self.axis), range(shape[self.axis]), self.axis)
        wide = [1] * len(shape)
        wide[self.axis] = -1
        return values.reshape(wide)

    def quantize(self, real: NDArray[np.float32]) -> NDArray[np.integer]:
        """The integers that QuantizeLinear makes of real numbers, of the type that holds them."""
        zero = self.spread(self.zero_point, real.shape)
        scale = self.spread(self.scale, real.shape).astype(np.float32)
        if self.binary:
            return np.where(real < 0, -1, 1).astype(held(self.dtype))
        integers = np.rint(real / scale).astype(np.float64) + zero
        return np.asarray(np.clip(integers, self.low, self.high).astype(held(self.dtype)))

    def dequantize(self, integers: NDArray[np.generic]) -> NDArray[np.float32]:
        """What the integers stand for, as DequantizeLinear computes it."""
        zero = self.spread(self.zero_point, integers.shape)
        scale = self.spread(self.scale, integers.shape).astype(np.float32)
        return np.asarray((integers.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale)


def stated(qparams: QParams) -> Linear:
    """As the model's metadata states it."""
    return Linear(qparams.scale, qparams.zero_point, qparams.dtype, qparams.axis)


def linear_of(node: ir.Node) -> Linear:
    """Of a node.

    Raises:
        UnsupportedError: scale or zero point are computed, or the type is not known.
    """
    block = integer(node, "block_size", 0)
    if not block:
        return stated(node_qparams(node))
    scale, zero = constant(input_at(node, 1)), constant(input_at(node, 2))
    data = node.inputs[0]
    stored = data if node.op_type == "DequantizeLinear" else node.outputs[0]
    if scale is None or data is None or stored is None or stored.dtype is None:
        raise UnsupportedError("the scale is not a constant", node=where(node))
    dtype = stored.dtype.name.lower()
    if dtype not in LIMITS:
        raise UnsupportedError(f"quantized type {dtype} is not one of {', '.join(LIMITS)}", node=where(node))
    zeros = np.zeros(scale.shape, np.int32) if zero is None else zero.astype(np.int32)
    axis = integer(node, "axis", 1) % len(static_shape(data))
    return Linear(scale.astype(np.float32), zeros, dtype, axis, block)


def weights_of(node: ir.Node) -> Linear:
    """Of a DequantizeLinear of constants, with the integers that weights of its kind use.

    Symmetric int8 weights leave out -128, unless they have it.
    """
    linear, values = linear_of(node), constant(node.inputs[0])
    assert values is not None, "asked of constants"
    kind = weight_kind(node)
    if kind is None and linear.dtype != "int8":
        return linear
    grid = weight_grid(kind or "int8", symmetric=not linear.zero_point.any())
    integers = as_held(values)
    low, high = min(grid.low, int(integers.min(initial=0))), max(grid.high, int(integers.max(initial=0)))
    return replace(linear, low=low, high=high, binary=kind == "binary")
