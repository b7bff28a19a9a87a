"""MobileNetV3-Small: inverted residuals found by search, with squeeze-and-excite and hard swish."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from microlith.zoo.layers import InvertedResidual, SqueezeExcite, conv_norm, round_channels

_EPSILON = 1e-3

_BLOCKS = (
    (3, 16, 16, True, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 2),
    (3, 88, 24, False, nn.ReLU, 1),
    (5, 96, 40, True, nn.Hardswish, 2),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 120, 48, True, nn.Hardswish, 1),
    (5, 144, 48, True, nn.Hardswish, 1),
    (5, 288, 96, True, nn.Hardswish, 2),
    (5, 576, 96, True, nn.Hardswish, 1),
    (5, 576, 96, True, nn.Hardswish, 1),
)
"""Kernel, expanded channels, channels, squeeze-and-excite, activation, stride: Table 2 of the paper."""


def _excite(channels: int) -> nn.Module:
    return SqueezeExcite(channels, round_channels(channels / 4), nn.ReLU, nn.Hardsigmoid)


class MobileNetV3Small(nn.Module):
    """Classifier of images.

    Source: Howard et al., Searching for MobileNetV3, arXiv:1905.02244, Table 2.

    Args:
        width: factor on all channels but the hidden ones of the head.
        classes: number of logits.
        in_channels: of the image.
        hidden: channels of the head's first linear layer.
    """

    def __init__(self, width: float = 1.0, classes: int = 1000, in_channels: int = 3, hidden: int = 1024) -> None:
        super().__init__()
        channels = round_channels(16 * width)
        self.stem = conv_norm(in_channels, channels, 3, 2, activation=nn.Hardswish, epsilon=_EPSILON)
        blocks = []
        for kernel, expanded, wanted, excited, activation, stride in _BLOCKS:
            outputs, wide = round_channels(wanted * width), round_channels(expanded * width)
            excite = _excite if excited else None
            blocks.append(InvertedResidual(channels, wide, outputs, kernel, stride, activation, excite, _EPSILON))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = conv_norm(channels, 6 * channels, 1, activation=nn.Hardswish, epsilon=_EPSILON)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(6 * channels, hidden)
        self.activation = nn.Hardswish()
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, H, W)."""
        pooled = torch.flatten(self.pool(self.last(self.blocks(self.stem(x)))), 1)
        logits: Tensor = self.classify(self.dropout(self.activation(self.hidden(pooled))))
        return logits
