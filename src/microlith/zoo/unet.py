"""U-Net: a contracting and an expanding path with connections across, for segmentation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


def _upsample(inputs: int, outputs: int, resize: bool) -> nn.Module:
    if not resize:
        return nn.ConvTranspose2d(inputs, outputs, 2, 2)
    resized = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(resized, nn.Conv2d(inputs, outputs, 1))


class UNet(nn.Module):
    """A score of each class at each pixel, for inputs whose size is a multiple of 2 to the number of levels.

    Source: Ronneberger et al., U-Net, arXiv:1505.04597, Figure 1; convolutions are padded, so that sizes stay.

    Args:
        channels: of the first level; each level below has twice as many.
        classes: number of scores.
        in_channels: of the image.
        levels: of pooling.
        resized: how many of the uppermost levels are reached by bilinear interpolation and a 1x1 convolution, the
            others by transposed convolution. The paper's network has 0.
    """

    def __init__(
        self, channels: int = 16, classes: int = 2, in_channels: int = 1, levels: int = 3, resized: int = 1
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([in_channels, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        upper = range(levels - 1, -1, -1)
        self.up = nn.ModuleList(_upsample(widths[level + 1], widths[level], level < resized) for level in upper)
        self.join = nn.ModuleList(_double(2 * widths[level], widths[level]) for level in upper)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of shape (N, classes, H, W) of images of shape (N, in_channels, H, W)."""
        kept = []
        for index, layer in enumerate(self.down):
            x = layer(self.pool(x) if index else x)
            kept.append(x)
        kept.pop()
        for upsample, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([kept.pop(), upsample(x)], 1))
        scores: Tensor = self.classify(x)
        return scores
