"""The modules that nodes of a graph become: one submodule each, so that it can be hooked and replaced by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microlith.train.forms.base import Function

BatchNormMode = Literal["train", "frozen"]


class Layer(nn.Module):
    """One node.

    Attributes:
        op: ONNX op.
        function: of the tensors that it reads.
    """

    def __init__(self, op: str, function: Function, described: str = "") -> None:
        super().__init__()
        self.op = op
        self.function = function
        self.described = described

    def forward(self, *tensors: Tensor | None) -> Any:
        """Its result, or a tuple of its results."""
        return self.function(*tensors)

    def extra_repr(self) -> str:
        """The op and its attributes."""
        return self.op + (f", {self.described}" if self.described else "")


class BatchNorm(nn.Module):
    """BatchNormalization; in training mode by the statistics of the batch, which the stored ones follow.

    Args:
        epsilon: added to the variance.
        momentum: share of a batch in the stored statistics.
        mode: ``frozen`` uses the stored statistics in training mode as well.
    """

    def __init__(self, epsilon: float, momentum: float, mode: BatchNormMode) -> None:
        super().__init__()
        self.epsilon, self.momentum, self.mode = epsilon, momentum, mode

    def forward(self, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """``mean`` and ``variance`` are changed in place in training mode."""
        training = self.training and self.mode == "train"
        return F.batch_norm(x, mean, variance, scale, bias, training, self.momentum, self.epsilon)

    def extra_repr(self) -> str:
        """Its constants and mode."""
        return f"epsilon={self.epsilon:g}, momentum={self.momentum:g}, mode={self.mode}"


def each_sample(function: Function, varying: Sequence[bool], led: Sequence[bool], leads: Sequence[bool]) -> Function:
    """A function on the graph's own shapes as one on many samples, for a node that mixes the axes of a sample.

    A tensor that varies has an axis of samples in front: in the place of the graph's first axis where that is of size
    1, before it otherwise.

    Args:
        function: gives a tuple.
        varying: which operands differ from sample to sample.
        led: which operands have a first axis of size 1 in the graph.
        leads: which results have.
    """
    dims = tuple(0 if item else None for item in varying)
    first = varying.index(True)

    def one(*operands: Tensor | None) -> tuple[Tensor, ...]:
        found = tuple(function(*operands))
        return tuple(item.squeeze(0) if lead else item for item, lead in zip(found, leads, strict=False))

    def per_sample(*operands: Tensor | None) -> tuple[Tensor, ...]:
        # A sample keeps a first axis of size 1 where the graph has one.
        split = [
            operand.unsqueeze(1) if varies and lead and operand is not None else operand
            for operand, varies, lead in zip(operands, varying, led, strict=True)
        ]
        samples = split[first]
        assert samples is not None, "an operand that varies is there"
        if samples.shape[0] > 1:
            return tuple(torch.vmap(one, in_dims=dims)(*split))
        alone = [x[0] if varies and x is not None else x for x, varies in zip(split, varying, strict=True)]
        return tuple(item.unsqueeze(0) for item in one(*alone))

    return per_sample


def only_sample(x: Tensor) -> Tensor:
    """A result without an axis of samples in the graph."""
    if x.shape[0] != 1:
        raise ValueError(f"{x.shape[0]} samples were given to a graph with a result that has no axis of samples")
    return x.squeeze(0)
