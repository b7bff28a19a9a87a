"""MobileNetV2: inverted residuals with linear bottlenecks."""

from __future__ import annotations

from torch import Tensor, nn

from microlith.zoo.layers import Classifier, InvertedResidual, conv_norm, round_channels

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks and stride of the first block: Table 2 of the paper."""


class MobileNetV2(nn.Module):
    """Classifier of images.

    Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381, Table 2.

    Args:
        width: factor on all channels; the last layer never gets narrower than at 1.0, as in the paper.
        classes: number of logits.
        in_channels: of the image.
        last: channels of the last convolution.
    """

    def __init__(self, width: float = 1.0, classes: int = 1000, in_channels: int = 3, last: int = 1280) -> None:
        super().__init__()
        channels = round_channels(32 * width)
        self.stem = conv_norm(in_channels, channels, 3, 2, activation=nn.ReLU6)
        blocks = []
        for expansion, wanted, repeats, first_stride in _STAGES:
            outputs = round_channels(wanted * width)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, expansion * channels, outputs, 3, stride, nn.ReLU6))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        wide = round_channels(last * max(1.0, width))
        self.last = conv_norm(channels, wide, 1, activation=nn.ReLU6)
        self.head = Classifier(wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, H, W)."""
        logits: Tensor = self.head(self.last(self.blocks(self.stem(x))))
        return logits
