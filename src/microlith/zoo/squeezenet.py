"""SqueezeNet 1.1: fire modules, each a narrow layer that feeds two side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions of it, concatenated."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Twice ``expanded`` channels."""
        narrow = self.activation(self.squeeze(x))
        return torch.cat([self.activation(self.expand1(narrow)), self.activation(self.expand3(narrow))], 1)


class SqueezeNet(nn.Module):
    """Classifier of images.

    Source: Iandola et al., SqueezeNet, arXiv:1602.07360; version 1.1 is described in the authors' release notes: a stem
    of 64 3x3 filters, pooling earlier.

    Args:
        width: factor on all channels.
        classes: number of logits.
        in_channels: of the image.
    """

    def __init__(self, width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = int(64 * width)
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, 2), nn.ReLU()]
        for stage in (((16, 64),) * 2, ((32, 128),) * 2, ((48, 192),) * 2 + ((64, 256),) * 2):
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            for squeezed, expanded in stage:
                layers.append(Fire(channels, int(squeezed * width), int(expanded * width)))
                channels = 2 * int(expanded * width)
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.5)
        self.classify = nn.Conv2d(channels, classes, 1)
        self.activation = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, H, W)."""
        found = self.pool(self.activation(self.classify(self.dropout(self.features(x)))))
        return torch.flatten(found, 1)
