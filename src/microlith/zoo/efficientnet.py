"""EfficientNet-B0 and EfficientNet-Lite0: inverted residuals scaled together in width, depth and resolution."""

from __future__ import annotations

from torch import Tensor, nn

from microlith.zoo.layers import Activation, Classifier, InvertedResidual, SqueezeExcite, conv_norm, round_channels

_EPSILON = 1e-3

_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
"""Expansion, kernel, channels, blocks and stride of the first block: Table 1 of the paper."""


class EfficientNet(nn.Module):
    """Classifier of images.

    Source: Tan and Le, EfficientNet, arXiv:1905.11946, Table 1. The Lite form is described in the authors' release
    notes: no squeeze-and-excite, ReLU6 in place of swish.

    Args:
        width: factor on all channels.
        classes: number of logits.
        in_channels: of the image.
        lite: the form for integer hardware.
        last: channels of the last convolution, before ``width``.
    """

    def __init__(
        self, width: float = 1.0, classes: int = 1000, in_channels: int = 3, lite: bool = False, last: int = 1280
    ) -> None:
        super().__init__()
        activation: Activation = nn.ReLU6 if lite else nn.SiLU
        channels = round_channels(32 * width)
        self.stem = conv_norm(in_channels, channels, 3, 2, activation=activation, epsilon=_EPSILON)
        blocks = []
        for expansion, kernel, wanted, repeats, first_stride in _STAGES:
            outputs = round_channels(wanted * width)
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                blocks.append(_block(channels, expansion, outputs, kernel, stride, lite))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        wide = round_channels(last * width)
        self.last = conv_norm(channels, wide, 1, activation=activation, epsilon=_EPSILON)
        self.head = Classifier(wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of shape (N, in_channels, H, W)."""
        logits: Tensor = self.head(self.last(self.blocks(self.stem(x))))
        return logits


def _block(inputs: int, expansion: int, outputs: int, kernel: int, stride: int, lite: bool) -> nn.Module:
    def excite(channels: int) -> nn.Module:
        return SqueezeExcite(channels, max(1, inputs // 4), nn.SiLU, nn.Sigmoid)

    activation: Activation = nn.ReLU6 if lite else nn.SiLU
    wide = expansion * inputs
    return InvertedResidual(inputs, wide, outputs, kernel, stride, activation, None if lite else excite, _EPSILON)


def efficientnet_lite0(width: float = 1.0, classes: int = 1000, in_channels: int = 3, last: int = 1280) -> EfficientNet:
    """The Lite form of B0."""
    return EfficientNet(width, classes, in_channels, lite=True, last=last)
