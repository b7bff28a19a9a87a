"""One network of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ZooModel:
    """An architecture; weights are drawn, never shipped.

    Attributes:
        name: as one writes it.
        build: makes the module; its arguments set width, classes and whatever else can be scaled.
        input_shape: batch included, for the default arguments.
        paper: where it is described.
    """

    name: str
    build: Callable[..., nn.Module]
    input_shape: tuple[int, ...]
    paper: str

    def seeded(self, seed: int = 0, **arguments: object) -> nn.Module:
        """The module in evaluation mode, its weights drawn from ``seed``; torch's own generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(**arguments).eval()
