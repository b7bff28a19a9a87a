"""Quantization-aware training: the quantizers of the graph that is deployed learn together with its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from microlith.core.errors import InputError
from microlith.train.learned import Learned, LearnedStep, Method, learn_steps
from microlith.train.loop import Progress, TrainSettings, train
from microlith.train.samples import Samples
from microlith.train.to_graph import to_graph
from microlith.train.to_module import to_module


def train_quantized(
    quantized: ir.Model,
    original: ir.Model,
    samples: Samples,
    settings: TrainSettings,
    *,
    rng: np.random.Generator,
    weights: Method | None = "lsq",
    activations: Method | None = "lsq",
    step_rate: float = 1.0,
    damping: float = 0.0,
    gradual_bits: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> ir.Model:
    """A quantized model trained by its float original, by labels, or by both.

    Args:
        quantized: what is deployed; its weights start at the floats of ``original``.
        original: the float model that it was made from, with the same node names; the teacher.
        samples: real inputs, and labels where the settings give them a weight.
        settings: of the loop.
        rng: the only source of randomness.
        weights: how the steps of weights learn; None keeps them.
        activations: how those of activations learn; None keeps them.
        step_rate: learning rate of steps, as a share of that of weights.
        damping: greatest weight of the penalty on weights away from the integers' values, reached at the end.
        gradual_bits: bits that quantizers have more at the start; they lose one after another until half of the run.
        checkpoint: file to resume from and to write to.
        progress: called with what is done, steps done, and their number.

    Raises:
        InputError: there is nothing to learn from.
        ModelError: the loss or a parameter is no finite number.
    """
    if samples.labels is None and not settings.teacher_weight:
        raise InputError("there are no labels, and the teacher has no weight", hint="Set teacher_weight to 1.")
    module = to_module(quantized, original=original)
    learned = learn_steps(module, weights=weights, activations=activations)
    steps = {id(part) for part in learned.parameters()}
    rates = {name: step_rate for name, part in module.named_parameters() if id(part) in steps}
    train(
        module,
        samples,
        settings,
        rng=rng,
        teacher=to_module(original) if settings.teacher_weight else None,
        penalty=_penalty(module, learned, damping) if damping else None,
        on_step=_narrowing(learned, gradual_bits) if gradual_bits else None,
        rate_of=lambda name: rates.get(name, 1.0),
        checkpoint=checkpoint,
        progress=progress,
    )
    return to_graph(module)


def _penalty(module: nn.Module, learned: Learned, damping: float) -> Callable[[float], Tensor]:
    """The damping of oscillations, whose weight rises like a cosine.

    Source: Nagel et al., Overcoming Oscillations in Quantization-Aware Training, ICML 2022, section 4.2.
    """
    held = [(step, module.get_parameter(path)) for step, path in learned.weights.values()]

    def penalty(share: float) -> Tensor:
        weight = damping * (1 - math.cos(math.pi * share)) / 2
        return weight * torch.stack([step.oscillation(weights) for step, weights in held]).sum()

    return penalty


def _narrowing(learned: Learned, most: int) -> Callable[[float], None]:
    """Takes bits away one after another; after half of the run none is left to take.

    Source: Zhuang et al., Towards Effective Low-bitwidth Convolutional Neural Networks, CVPR 2018, section 3.3.
    """
    steps: list[LearnedStep] = [*(step for step, _ in learned.weights.values()), *learned.activations.values()]

    def narrow(share: float) -> None:
        left = max(0, math.ceil(most * (1 - 2 * share)))
        for step in steps:
            step.extra_bits.fill_(left)

    return narrow
