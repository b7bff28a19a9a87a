"""The one training loop: every technique that trains goes through it.

What a step draws at random depends on the seed and the number of the step alone, so that a run that was interrupted, at
any instant, ends with the bytes of an undisturbed one. Bytes are the same on one machine with one number of threads.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from microlith.core.errors import InputError, ModelError
from microlith.train.checkpoint import Position, optimizer_tensors, read, restore_optimizer, write
from microlith.train.losses import TeacherLoss, label_loss, logits_of, teacher_loss
from microlith.train.samples import Batch, Loaded, Samples, Shuffled, Source, mixed

Progress = Callable[[str, int, int | None], None]
Augment = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
Penalty = Callable[[float], Tensor]
OnStep = Callable[[float], None]
Loss = Callable[[tuple[Tensor, ...], Tensor | None, tuple[Tensor, ...] | None], Tensor]
_SHOWN_EACH_S = 0.2
_EVALUATED_AT_ONCE = 256


class TrainSettings(BaseModel):
    """How to train.

    Attributes:
        epochs: passes over the data.
        batch_size: samples of a step; a loader has its own.
        optimizer: ``sgd`` with momentum, or ``adamw``.
        learning_rate: the greatest one.
        momentum: of ``sgd``.
        weight_decay: of parameters with more than one axis.
        warmup: share of the steps in which the rate rises to its greatest; a cosine then lets it fall.
        final_rate: share of the greatest rate that is left at the end.
        ema: share of the average that is kept in each step; 0 averages nothing.
        clip_norm: greatest norm of the gradient; 0 does not limit it.
        patience: epochs without a better validation loss after which training ends; 0 never does.
        label_weight: share of the loss of labels.
        teacher_weight: share of the loss of a teacher.
        teacher_loss: ``kl`` or ``mse``; see :func:`microlith.train.losses.teacher_loss`.
        temperature: of ``kl``.
        label_smoothing: share of a label that is spread over all classes.
        checkpoint_seconds: least time between two checkpoints within an epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=1)
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    final_rate: float = Field(default=0.0, ge=0, le=1)
    ema: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float = Field(default=0.0, ge=0)
    patience: int = Field(default=0, ge=0)
    label_weight: float = Field(default=1.0, ge=0)
    teacher_weight: float = Field(default=1.0, ge=0)
    teacher_loss: TeacherLoss = "kl"
    temperature: float = Field(default=2.0, gt=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    checkpoint_seconds: float = Field(default=30.0, ge=0)


@dataclass(frozen=True)
class History:
    """What a run came to.

    Attributes:
        steps: batches trained on.
        losses: mean training loss of each epoch.
        validation: loss on the validation set after each epoch.
        best_epoch: the one whose parameters the module has, counted from 0; None without validation.
        stopped: whether training ended early.
    """

    steps: int
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    best_epoch: int | None
    stopped: bool


def rate_at(step: int, steps: int, settings: TrainSettings) -> float:
    """Learning rate of a step: a line up to the greatest, then half a cosine.

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983, section 3, for the cosine.
    """
    warm = round(settings.warmup * steps)
    if step < warm:
        return settings.learning_rate * (step + 1) / (warm + 1)
    share = (step - warm) / max(1, steps - warm)
    fallen = 0.5 * (1 + math.cos(math.pi * share))
    return settings.learning_rate * (settings.final_rate + (1 - settings.final_rate) * fallen)


def train(
    module: nn.Module,
    data: Samples | Iterable[Any],
    settings: TrainSettings | None = None,
    *,
    rng: np.random.Generator,
    teacher: nn.Module | None = None,
    labelled: bool | None = None,
    validation: Samples | None = None,
    loss: Loss | None = None,
    augment: Augment | None = None,
    penalty: Penalty | None = None,
    on_step: OnStep | None = None,
    rate_of: Callable[[str], float] = lambda name: 1.0,
    checkpoint: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> History:
    """Train a module in place and leave it in evaluation mode.

    A Softmax at an output is left out of the loss; see :func:`microlith.train.losses.logits_of`.

    Args:
        module: of :func:`microlith.train.to_module.to_module`, or any other.
        data: samples in memory, or a DataLoader of PyTorch.
        settings: how.
        rng: draws the seed of the run.
        teacher: gives outputs to come near to; it is not trained.
        labelled: whether a loader gives labels, last; it does unless there is a teacher.
        validation: samples that decide which epoch is kept, and when to stop.
        loss: of outputs, labels and the teacher's outputs, instead of that of the settings.
        augment: changes the inputs of a batch, drawing from torch's global generator.
        penalty: added to the loss; of the share of the run that is done.
        on_step: called before each step with that share, to change the module as training goes on; what it remembers
            from step to step must be buffers of the module, or resuming forgets it.
        rate_of: factor on the learning rate of a parameter, by name; 0 leaves it as it is.
        checkpoint: file to resume from where it exists, and to write to; kept at the end.
        progress: called with what is being done, the steps done, and their number.

    Raises:
        InputError: there is nothing to learn from, or the checkpoint is of another run.
        ModelError: the loss is no finite number.
    """
    chosen = settings or TrainSettings()
    source: Source = Loaded(data, teacher is None if labelled is None else labelled)
    if isinstance(data, Samples):
        source = Shuffled(data, chosen.batch_size)
    run = _Run(module, source, chosen, int(rng.integers(1 << 62)), teacher, loss, validation, rate_of)
    run.augment, run.penalty, run.on_step, run.progress = augment, penalty, on_step, progress
    with torch.random.fork_rng(devices=()):
        return run.execute(checkpoint)


class _Run:
    def __init__(
        self,
        module: nn.Module,
        source: Source,
        settings: TrainSettings,
        seed: int,
        teacher: nn.Module | None,
        loss: Loss | None,
        validation: Samples | None,
        rate_of: Callable[[str], float],
    ) -> None:
        self.module, self.source, self.settings, self.seed = module, source, settings, seed
        self.student = logits_of(module)
        self.teacher = None if teacher is None else logits_of(teacher.eval())
        self.loss, self.validation = loss, validation
        self.augment: Augment | None = None
        self.penalty: Penalty | None = None
        self.on_step: OnStep | None = None
        self.progress: Progress = lambda what, done, total: None
        self.factors = {name: rate_of(name) for name, item in module.named_parameters() if item.requires_grad}
        self.optimizer = self._optimizer()
        self.state: dict[str, Tensor] = dict(module.state_dict(keep_vars=True))
        self.ema = {name: item.detach().clone() for name, item in self.state.items()} if settings.ema else {}
        self.best: dict[str, Tensor] = {}
        self.position = Position(self._fingerprint())

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.settings.epochs * self.source.steps

    def execute(self, checkpoint: Path | None) -> History:
        self._resume(checkpoint)
        while not self.position.finished:
            self._epoch(checkpoint)
            self._judge()
            self._save(checkpoint)
        if self.best:
            self._assign(self.best)
        elif self.ema:
            self._assign(self.ema)
        self.module.eval()
        done = self.position
        epochs = len(done.losses)
        stopped = epochs < self.settings.epochs
        return History(done.step, tuple(done.losses), tuple(done.validation), done.best_epoch, stopped)

    # ---- one epoch

    def _epoch(self, checkpoint: Path | None) -> None:
        position, count = self.position, self.source.steps
        number, start = divmod(position.step, count)
        saved = shown = time.monotonic()
        self.module.train()
        self.student.train()
        for batch in self.source.epoch(self.seed, number, start):
            torch.manual_seed(mixed(self.seed, position.step))
            position.loss += self._step(batch)
            position.step += 1
            now = time.monotonic()
            if now - shown >= _SHOWN_EACH_S or position.step == self.steps:
                self.progress("train", position.step, self.steps)
                shown = now
            if position.step % count and checkpoint is not None and now - saved >= self.settings.checkpoint_seconds:
                self._save(checkpoint)
                saved = time.monotonic()
        if position.step != (number + 1) * count:
            raise InputError(f"the loader gave {position.step - number * count} batches, and its length is {count}")

    def _step(self, batch: Batch) -> float:
        rate = rate_at(self.position.step, self.steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        if self.on_step is not None:
            self.on_step(self.position.step / self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        inputs, labels = batch
        inputs = inputs if self.augment is None else self.augment(inputs)
        total = self._loss(inputs, labels)
        if self.penalty is not None:
            total = total + self.penalty(self.position.step / self.steps)
        value = float(total.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss is {value} in step {self.position.step}", hint="Train with a lower learning rate."
            )
        total.backward()
        if self.settings.clip_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self._average()
        return value

    def _loss(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> Tensor:
        outputs = _outputs(self.student(*inputs))
        wanted = None
        if self.teacher is not None:
            with torch.no_grad():
                wanted = _outputs(self.teacher(*inputs))
        if self.loss is not None:
            return self.loss(outputs, labels, wanted)
        settings, parts = self.settings, []
        if labels is not None and settings.label_weight:
            parts.append(settings.label_weight * label_loss(outputs[0], labels, settings.label_smoothing))
        if wanted is not None and settings.teacher_weight:
            parts += [
                settings.teacher_weight * teacher_loss(ours, theirs, settings.teacher_loss, settings.temperature)
                for ours, theirs in zip(outputs, wanted, strict=True)
            ]
        if not parts:
            raise InputError("there is nothing to learn from", hint="Give labels, a teacher, or a loss.")
        return sum(parts[1:], parts[0])

    def _average(self) -> None:
        if not self.ema:
            return
        # Early on, what is averaged is mostly noise of the start.
        kept = min(self.settings.ema, (1 + self.position.step) / (10 + self.position.step))
        with torch.no_grad():
            for name, item in self.state.items():
                if item.is_floating_point():
                    self.ema[name].lerp_(item, 1 - kept)
                else:
                    self.ema[name].copy_(item)

    # ---- between epochs

    def _judge(self) -> None:
        """Close an epoch: its losses, the best state, and whether another follows."""
        position = self.position
        position.losses.append(position.loss / self.source.steps)
        position.loss = 0.0
        number = len(position.losses) - 1
        if self.validation is not None:
            with self._averaged():
                position.validation.append(self._validate(self.validation))
                best = position.best_epoch
                if best is None or position.validation[number] < position.validation[best]:
                    position.best_epoch = number
                    self.best = {name: item.detach().clone() for name, item in self.state.items()}
        best = position.best_epoch
        waited = 0 if best is None else number - best
        position.finished = number + 1 == self.settings.epochs or 0 < self.settings.patience <= waited

    def _validate(self, samples: Samples) -> float:
        self.module.eval()
        self.student.eval()
        total = 0.0
        with torch.no_grad():
            for rows in torch.arange(len(samples)).split(_EVALUATED_AT_ONCE):
                inputs, labels = samples.at(rows)
                total += float(self._loss(inputs, labels)) * len(rows)
        return total / len(samples)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module with its averaged parameters, where there are any."""
        if not self.ema:
            yield
            return
        held = {name: item.detach().clone() for name, item in self.state.items()}
        self._assign(self.ema)
        yield
        self._assign(held)

    def _assign(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, item in self.state.items():
                item.copy_(values[name])

    # ---- checkpoints

    def _save(self, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            groups = {"model": self.state, "ema": self.ema, "best": self.best}
            write(checkpoint, self.position, groups | {"optimizer": optimizer_tensors(self.optimizer)})

    def _resume(self, checkpoint: Path | None) -> None:
        found = None if checkpoint is None else read(checkpoint, self.position.run)
        if found is None:
            return
        self.position, state = found
        self._assign(state["model"])
        self.ema, self.best = state.get("ema", {}), state.get("best", {})
        restore_optimizer(self.optimizer, state.get("optimizer", {}))

    def _fingerprint(self) -> str:
        shapes = [(name, tuple(item.shape), str(item.dtype)) for name, item in self.state.items()]
        learned_from = self.source.steps, self.teacher is not None, self.validation is not None
        text = repr(
            (self.settings.model_dump(exclude={"checkpoint_seconds"}), self.seed, learned_from, shapes, self.factors)
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def _optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, item in self.module.named_parameters():
            if self.factors.get(name, 0.0):
                decay = settings.weight_decay if item.dim() > 1 else 0.0
                groups.setdefault((self.factors[name], decay), []).append(item)
        if not groups:
            raise InputError("the module has no parameter to train")
        listed = [
            {"params": items, "factor": factor, "weight_decay": decay} for (factor, decay), items in groups.items()
        ]
        if settings.optimizer == "sgd":
            return torch.optim.SGD(listed, settings.learning_rate, settings.momentum, foreach=True)
        return torch.optim.AdamW(listed, settings.learning_rate, foreach=True)


def _outputs(found: Any) -> tuple[Tensor, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)
