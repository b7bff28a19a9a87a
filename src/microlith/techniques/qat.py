"""Quantization-aware training as a technique: quantize as ``ptq`` does, then train what is deployed."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import onnx_ir as ir
from pydantic import Field

from microlith.core.errors import InputError
from microlith.techniques.base import Context, first_samples
from microlith.techniques.ptq import PTQ, Statistics

StepMethod = Literal["lsq", "lsq+", "pact", "fixed"]


class QAT(PTQ):
    """Quantization-aware training: by the float model as a teacher, by labels, or by both.

    The graph that is trained is the one that ``ptq`` with the same settings makes for the device; what comes back is
    that graph with other integers and scales.

    Attributes:
        epochs: passes over the data.
        batch_size: samples of a step.
        learning_rate: the greatest one, of weights.
        step_rate: learning rate of the quantizers' steps, as a share of it.
        optimizer: ``adamw`` or ``sgd``.
        weight_steps: how steps of weights learn: ``lsq``, or ``fixed`` as calibrated.
        activation_steps: how those of activations do: ``lsq``, ``lsq+`` with the zero point, ``pact`` from clipped
            values alone, or ``fixed``.
        teacher_weight: share of the loss of the float model.
        label_weight: share of the loss of labels, where there are any.
        temperature: that softens both outputs for the teacher.
        damping: greatest weight of the penalty on weights that are away from what their integers stand for.
        gradual_bits: bits more that quantizers have at the start and lose until half of the run.
        calibration_samples: most samples that first ranges are taken from.
        ema: share of the average of parameters that is kept in each step; 0 averages nothing.
    """

    name: ClassVar[str] = "qat"
    paper: ClassVar[str] = (
        "Esser et al., Learned Step Size Quantization, ICLR 2020; Bhalgat et al., LSQ+, CVPR Workshops 2020; "
        "Choi et al., PACT, arXiv:1805.06085; Nagel et al., Overcoming Oscillations, ICML 2022"
    )

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    step_rate: float = Field(default=1.0, ge=0.0)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    weight_steps: Literal["lsq", "fixed"] = "lsq"
    activation_steps: StepMethod = "lsq"
    teacher_weight: float = Field(default=1.0, ge=0.0)
    label_weight: float = Field(default=1.0, ge=0.0)
    temperature: float = Field(default=1.0, gt=0.0)
    damping: float = Field(default=0.0, ge=0.0)
    gradual_bits: int = Field(default=0, ge=0, le=6)
    calibration_samples: int = Field(default=512, ge=1)
    ema: float = Field(default=0.0, ge=0.0, lt=1.0)

    def calibrate(self, model: ir.Model, context: Context) -> Statistics:
        """What the first samples show."""
        if context.data is None:
            raise InputError("qat needs training data", hint="Give --data.")
        few = first_samples(context.data(), self.calibration_samples)
        return super().calibrate(model, replace(context, data=lambda: few, batches=len(few)))

    def quantize(self, model: ir.Model, statistics: Statistics, context: Context) -> ir.Model:
        """Quantize with what calibration has shown, and train.

        Raises:
            InputError: there is no data, or torch is not installed.
            ModelError: training came to no finite number.
        """
        from microlith.train.require import require_torch

        require_torch()
        if context.data is None:
            raise InputError("qat needs training data", hint="Give --data.")
        from microlith.train.loop import TrainSettings
        from microlith.train.qat import train_quantized
        from microlith.train.samples import Samples

        samples = Samples.of_feeds(model, context.data())
        if context.labels is not None:
            samples = Samples.of([item.numpy() for item in samples.inputs], context.labels)
        return train_quantized(
            super().quantize(model, statistics, context),
            model,
            samples,
            TrainSettings(
                epochs=self.epochs,
                batch_size=self.batch_size,
                optimizer=self.optimizer,
                learning_rate=self.learning_rate,
                label_weight=self.label_weight,
                teacher_weight=self.teacher_weight,
                temperature=self.temperature,
                ema=self.ema,
            ),
            rng=context.rng,
            weights=None if self.weight_steps == "fixed" else self.weight_steps,
            activations=None if self.activation_steps == "fixed" else self.activation_steps,
            step_rate=self.step_rate,
            damping=self.damping,
            gradual_bits=self.gradual_bits,
            checkpoint=context.checkpoint,
            progress=context.progress,
        )
