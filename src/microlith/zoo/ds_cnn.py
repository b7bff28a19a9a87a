"""DS-CNN of MLPerf Tiny: keyword spotting on spectral coefficients with depthwise separable convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _normalized(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), nn.ReLU())


class DSCNN(nn.Module):
    """Classifier of one second of audio, given as 49 frames of 10 coefficients.

    Source: Zhang et al., Hello Edge, arXiv:1711.07128, section 3.5; sizes as in Banbury et al., MLPerf Tiny Benchmark,
    arXiv:2106.07597, section on keyword spotting.

    Args:
        width: factor on all channels.
        classes: number of probabilities.
        blocks: separable convolutions.
    """

    def __init__(self, width: float = 1.0, classes: int = 12, blocks: int = 4) -> None:
        super().__init__()
        channels = int(64 * width)
        # What TensorFlow's ``same`` pads a 10x4 kernel with stride 2 by, on 49x10.
        self.pad = nn.ZeroPad2d((1, 1, 4, 5))
        self.stem = _normalized(nn.Conv2d(1, channels, (10, 4), 2))
        self.dropout = nn.Dropout(0.2)
        layers: list[nn.Module] = []
        for _ in range(blocks):
            layers.append(_normalized(nn.Conv2d(channels, channels, 3, padding=1, groups=channels)))
            layers.append(_normalized(nn.Conv2d(channels, channels, 1)))
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AvgPool2d((25, 5))
        self.last_dropout = nn.Dropout(0.4)
        self.classify = nn.Linear(channels, classes)
        self.softmax = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of inputs of shape (N, 1, 49, 10)."""
        features = self.pool(self.last_dropout(self.blocks(self.dropout(self.stem(self.pad(x))))))
        found: Tensor = self.softmax(self.classify(torch.flatten(features, 1)))
        return found
