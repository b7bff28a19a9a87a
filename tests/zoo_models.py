"""Small variants of the zoo's networks, quick to export and to compile: ``import zoo_models``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Small:
    """Arguments of ``build``, and the shape of the input that goes with them."""

    input_shape: tuple[int, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


_IMAGE = (1, 3, 64, 64)
SMALL: Mapping[str, Small] = {
    "mobilenet_v1": Small((1, 3, 32, 32), {"width": 0.25, "classes": 10}),
    "mobilenet_v2": Small(_IMAGE, {"width": 0.25, "classes": 10, "last": 64}),
    "mobilenet_v3_small": Small(_IMAGE, {"width": 0.25, "classes": 10, "hidden": 32}),
    "squeezenet_1_1": Small(_IMAGE, {"width": 0.25, "classes": 10}),
    "efficientnet_b0": Small(_IMAGE, {"width": 0.25, "classes": 10, "last": 128}),
    "efficientnet_lite0": Small(_IMAGE, {"width": 0.25, "classes": 10, "last": 128}),
    "resnet8": Small((1, 3, 32, 32), {"width": 0.5}),
    "ds_cnn": Small((1, 1, 49, 10), {"width": 0.25, "blocks": 2}),
    "lstm_kws": Small((1, 12, 10), {"hidden": 16}),
    "vit": Small((1, 3, 16, 16), {"image": 16, "width": 24, "depth": 2}),
    "unet": Small((1, 1, 32, 32), {"channels": 4, "levels": 2}),
    "tiny_yolo": Small(_IMAGE, {"width": 0.125, "classes": 3, "image": (64, 64)}),
}


def small_module(name: str) -> Any:
    """The small network, in evaluation mode, with batch normalizations whose statistics are not those of the start.

    Otherwise an export that loses them would still agree.
    """
    import torch

    from microlith import zoo

    (entry,) = (item for item in zoo.MODELS if item.name == name)
    module = entry.seeded(7, **SMALL[name].arguments)
    generator = torch.Generator().manual_seed(11)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1, generator=generator)
            part.running_var.uniform_(0.2, 1.5, generator=generator)
    return module
