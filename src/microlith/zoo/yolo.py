"""A YOLO detector: a small backbone, two scales joined by upsampling, boxes decoded in the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from microlith.zoo.layers import conv_norm

_ANCHORS = (((81, 82), (135, 169), (344, 319)), ((23, 27), (37, 58), (81, 82)))
"""Widths and heights in pixels, at strides 32 and 16: as the authors' configuration of the tiny network has them."""


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.1)


def _layer(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return conv_norm(inputs, outputs, kernel, activation=_leaky)


class Head(nn.Module):
    """Boxes and scores of one scale, from a map of features.

    Source: Redmon and Farhadi, YOLOv3, arXiv:1804.02767, section 2.1.
    """

    grid: Tensor
    anchors: Tensor

    def __init__(
        self, inputs: int, classes: int, anchors: tuple[tuple[int, int], ...], stride: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.count, self.values, self.stride = len(anchors), 5 + classes, stride
        self.predict = nn.Conv2d(inputs, self.count * self.values, 1)
        rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        self.register_buffer("grid", torch.stack([columns, rows], -1).float(), persistent=False)
        shape = torch.tensor(anchors).float().reshape(1, self.count, 1, 1, 2)
        self.register_buffer("anchors", shape, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of (x, y, width, height) in pixels, objectness and class scores, of shape (N, rows, 5 + classes)."""
        batch, _, height, width = x.shape
        raw = self.predict(x).reshape(batch, self.count, self.values, height, width).permute(0, 1, 3, 4, 2)
        centre = (torch.sigmoid(raw[..., :2]) + self.grid) * self.stride
        size = torch.exp(raw[..., 2:4]) * self.anchors
        decoded = torch.cat([centre, size, torch.sigmoid(raw[..., 4:])], -1)
        return decoded.reshape(batch, self.count * height * width, self.values)


class TinyYOLO(nn.Module):
    """Detector of objects.

    Source: Redmon and Farhadi, YOLOv3, arXiv:1804.02767; layers as in the authors' tiny configuration.

    Args:
        width: factor on all channels.
        classes: number of scores a box.
        image: height and width of the input, multiples of 32.
        in_channels: of the image.
    """

    def __init__(
        self, width: float = 1.0, classes: int = 80, image: tuple[int, int] = (416, 416), in_channels: int = 3
    ) -> None:
        super().__init__()
        widths = [int(channels * width) for channels in (16, 32, 64, 128, 256, 512, 1024)]
        fine, coarse = (tuple(size // stride for size in image) for stride in (16, 32))
        self.stem = nn.Sequential(_layer(in_channels, widths[0], 3))
        self.down = nn.Sequential(*(self._pooled(widths[index], widths[index + 1]) for index in range(4)))
        # The last pooling keeps the size: a window of 2 that moves by 1, over a border at the end.
        self.deep = nn.Sequential(
            self._pooled(widths[4], widths[5]),
            nn.ZeroPad2d((0, 1, 0, 1)),
            nn.MaxPool2d(2, 1),
            _layer(widths[5], widths[6], 3),
            _layer(widths[6], widths[4], 1),
        )
        self.coarse = _layer(widths[4], widths[5], 3)
        self.coarse_head = Head(widths[5], classes, _ANCHORS[0], 32, (coarse[0], coarse[1]))
        self.lateral = _layer(widths[4], widths[3], 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.fine = _layer(widths[3] + widths[4], widths[4], 3)
        self.fine_head = Head(widths[4], classes, _ANCHORS[1], 16, (fine[0], fine[1]))

    @staticmethod
    def _pooled(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.MaxPool2d(2), _layer(inputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Boxes of both scales, of shape (N, boxes, 5 + classes), of images of shape (N, in_channels, H, W)."""
        middle = self.down(self.stem(x))
        deep = self.deep(middle)
        upsampled = self.upsample(self.lateral(deep))
        boxes = self.fine_head(self.fine(torch.cat([upsampled, middle], 1)))
        return torch.cat([self.coarse_head(self.coarse(deep)), boxes], 1)
