"""QuantizeLinear and DequantizeLinear in torch: integers carried in floats, with straight-through gradients.

A pair of both, and a DequantizeLinear of constant integers, is one :class:`FakeQuant`: a submodule that a technique may
replace by another with the same call, such as one that learns its scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class _Rounded(torch.autograd.Function):
    """``clamp(round_half_even(x / scale) + zero, low, high)`` less ``zero``, times ``scale``; see :meth:`backward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
        """The quotient is rounded as QuantizeLinear does: it is not the product with a reciprocal."""
        quotient = x / scale
        if x.dtype == torch.float32 and scale.dim() == 0:
            # One pass for rounding, clamping and the mask.
            one = torch.ones((), dtype=torch.float32, device=x.device)
            found, inside = torch.ops.aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(
                quotient, one, zero.to(torch.int32), torch.ones((1,), dtype=torch.int64, device=x.device), low, high
            )
        else:
            shifted = quotient.round_() + zero
            inside = (shifted >= low) & (shifted <= high)
            found = shifted.clamp_(low, high) - zero
        ctx.save_for_backward(inside)
        return found.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """That of the identity where the integer is within its limits, else 0: the straight-through estimator.

        Source: Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
        Computation, arXiv:1308.3432; the mask as in Jacob et al., CVPR 2018.
        """
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None, None


class Quantizer(nn.Module):
    """Scale and zero point of a tensor.

    Args:
        scale: float32, shape () for per tensor, (C,) for per channel, of the tensor's rank for blocks.
        zero_point: integers of the same shape.
        low: least integer.
        high: greatest integer.
        axis: of channels or blocks, in the tensor as it comes.
        block: elements of the axis that share a scale; 0 without blocks.
        rank: of the tensor as it comes.
    """

    def __init__(
        self,
        scale: NDArray[np.generic],
        zero_point: NDArray[np.generic],
        low: int,
        high: int,
        *,
        axis: int | None = None,
        block: int = 0,
        rank: int = 0,
    ) -> None:
        super().__init__()
        self.scale: Tensor
        self.zero_point: Tensor
        self.register_buffer("scale", torch.from_numpy(np.array(scale, np.float32)))
        self.register_buffer("zero_point", torch.from_numpy(np.array(zero_point, np.float32)))
        self.low, self.high = low, high
        self.axis, self.block, self.rank = axis, block, rank

    def extra_repr(self) -> str:
        """Limits, and along what there are several scales."""
        along = "" if self.axis is None else f", axis={self.axis}"
        return f"low={self.low}, high={self.high}{along}{f', block={self.block}' if self.block else ''}"

    def spread(self, values: Tensor, size: int) -> Tensor:
        """``scale`` or ``zero_point`` as it broadcasts against a tensor with ``size`` elements along the axis."""
        if self.axis is None:
            return values
        if self.block:
            repeated = values.repeat_interleave(self.block, self.axis - (self.rank - values.dim()))
            return repeated.narrow(self.axis - (self.rank - values.dim()), 0, size)
        shape = [1] * self.rank
        shape[self.axis] = -1
        return values.reshape(shape)

    def parameters_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point as they broadcast against ``x``."""
        size = 1 if self.axis is None else x.shape[self.axis]
        return self.spread(self.scale, size), self.spread(self.zero_point, size)


class FakeQuant(Quantizer):
    """Floats to the nearest that the integers stand for: QuantizeLinear, then DequantizeLinear."""

    def integers(self, x: Tensor) -> Tensor:
        """The integers, in floats: what is stored of weights."""
        scale, zero = self.parameters_for(x)
        return torch.clamp(torch.round(x / scale) + zero, self.low, self.high)

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        scale, zero = self.parameters_for(x)
        found: Tensor = _Rounded.apply(x, scale, zero, self.low, self.high)
        return found


class _Sign(torch.autograd.Function):
    """``scale`` with the sign of ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        """0 is positive."""
        ctx.save_for_backward(x.abs() <= scale)
        return torch.where(x < 0, -scale, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """That of the identity between both values, else 0.

        Source: Courbariaux et al., Binarized Neural Networks, arXiv:1602.02830, section 1.3.
        """
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None


class FakeBinary(FakeQuant):
    """Floats to the scale or its negative."""

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        found: Tensor = _Sign.apply(x, self.parameters_for(x)[0].to(x.dtype))
        return found

    def integers(self, x: Tensor) -> Tensor:
        """-1 or 1, in floats."""
        return torch.where(x < 0, -torch.ones_like(x), torch.ones_like(x))


class Quantize(Quantizer):
    """Floats to integers that are carried in floats: a QuantizeLinear whose integers something reads."""

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape; the gradient is that of a division by the scale."""
        scale, zero = self.parameters_for(x)
        one = torch.ones((), dtype=x.dtype, device=x.device)
        found: Tensor = _Rounded.apply(x / scale, one, zero, self.low, self.high)
        return found + zero


class Entry(FakeQuant):
    """A quantized input of the model: real values, or the integers themselves."""

    def forward(self, x: Tensor) -> Tensor:
        """Real values."""
        if x.is_floating_point():
            return super().forward(x)
        scale, zero = self.parameters_for(x)
        return (x.to(scale.dtype) - zero) * scale


class CarriedEntry(Quantize):
    """A quantized input whose integers something reads: real values, or the integers themselves."""

    def forward(self, x: Tensor) -> Tensor:
        """Integers, carried in floats."""
        return super().forward(x) if x.is_floating_point() else x.to(self.scale.dtype)


class Dequantize(Quantizer):
    """Integers, or floats that carry integers, to what they stand for."""

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        scale, zero = self.parameters_for(x)
        carried = x if x.is_floating_point() else x.to(scale.dtype)
        return (carried - zero) * scale
