"""Layers that several networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]


def round_channels(channels: float, divisor: int = 8) -> int:
    """Channels as a multiple of ``divisor``, at most a tenth below what was asked for.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381; the rule stands in the authors' published code.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: Activation | None = None,
    epsilon: float = 1e-5,
) -> nn.Sequential:
    """Convolution without bias, batch normalization and, if given, an activation; padded to keep the size."""
    padding = kernel // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs, eps=epsilon)]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate that is computed from the means of all channels.

    Source: Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """The input with scaled channels."""
        scale: Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))
        return x * scale


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a skip connection where input and output have one shape.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381, section 3.3.

    Args:
        inputs: channels in.
        expanded: channels of the depthwise convolution; equal to ``inputs``: no expansion.
        outputs: channels out.
        kernel: of the depthwise convolution.
        stride: of the depthwise convolution.
        activation: after expansion and depthwise convolution.
        excite: makes what stands before the projection, from the number of channels.
        epsilon: of the batch normalizations.
    """

    def __init__(
        self,
        inputs: int,
        expanded: int,
        outputs: int,
        kernel: int,
        stride: int,
        activation: Activation,
        excite: Callable[[int], nn.Module] | None = None,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.skip = stride == 1 and inputs == outputs
        self.expand = (
            nn.Identity()
            if expanded == inputs
            else conv_norm(inputs, expanded, 1, activation=activation, epsilon=epsilon)
        )
        self.depthwise = conv_norm(expanded, expanded, kernel, stride, expanded, activation, epsilon)
        self.excite = nn.Identity() if excite is None else excite(expanded)
        self.project = conv_norm(expanded, outputs, 1, epsilon=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.skip else y


class Classifier(nn.Module):
    """Means over the image, dropout, one linear layer."""

    def __init__(self, channels: int, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (N, classes)."""
        logits: Tensor = self.linear(self.dropout(torch.flatten(self.pool(x), 1)))
        return logits
