"""ResNet-8 of MLPerf Tiny: three residual blocks on 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Padded as TensorFlow's ``same`` does: where the padding is odd, more of it stands at the end."""
    total = kernel - stride if kernel > stride else 0
    before = total // 2
    pad = nn.ZeroPad2d((before, total - before, before, total - before))
    return nn.Sequential(pad if total else nn.Identity(), nn.Conv2d(inputs, outputs, kernel, stride))


class Block(nn.Module):
    """Two convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv2, self.norm2 = _conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs, eps=1e-3)
        self.shortcut = nn.Identity() if stride == 1 else _conv(inputs, outputs, 1, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))
        found: Tensor = self.activation(self.shortcut(x) + y)
        return found


class ResNet8(nn.Module):
    """Classifier of small images, for inputs of even height and width.

    Source: Banbury et al., MLPerf Tiny Benchmark, arXiv:2106.07597, section on image classification; He et al., Deep
    Residual Learning, arXiv:1512.03385.

    Args:
        width: factor on all channels.
        classes: number of probabilities.
        in_channels: of the image.
    """

    def __init__(self, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        first, second, third = (int(channels * width) for channels in (16, 32, 64))
        self.conv, self.norm = _conv(in_channels, first, 3, 1), nn.BatchNorm2d(first, eps=1e-3)
        self.activation = nn.ReLU()
        self.blocks = nn.Sequential(Block(first, first, 1), Block(first, second, 2), Block(second, third, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(third, classes)
        self.softmax = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of images of shape (N, in_channels, H, W)."""
        features = self.blocks(self.activation(self.norm(self.conv(x))))
        found: Tensor = self.softmax(self.classify(torch.flatten(self.pool(features), 1)))
        return found
