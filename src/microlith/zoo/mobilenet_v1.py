"""MobileNetV1: depthwise separable convolutions in a plain sequence."""

from __future__ import annotations

from torch import Tensor, nn

from microlith.zoo.layers import Classifier, conv_norm

_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Output channels and stride of each separable convolution: Table 1 of the paper."""


class MobileNetV1(nn.Module):
    """Classifier of images.

    Source: Howard et al., MobileNets, arXiv:1704.04861, Table 1.

    Args:
        width: factor on all channels, the paper's alpha.
        classes: number of logits.
        in_channels: of the image.
    """

    def __init__(self, width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = max(8, int(32 * width))
        self.stem = conv_norm(in_channels, channels, 3, 2, activation=nn.ReLU)
        blocks = []
        for outputs, stride in _LAYERS:
            scaled = max(8, int(outputs * width))
            depthwise = conv_norm(channels, channels, 3, stride, channels, nn.ReLU)
            blocks.append(nn.Sequential(depthwise, conv_norm(channels, scaled, 1, activation=nn.ReLU)))
            channels = scaled
        self.blocks = nn.Sequential(*blocks)
        self.head = Classifier(channels, classes, dropout=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, H, W)."""
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits
