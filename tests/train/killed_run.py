"""Trains a small network under a checkpoint again and again, killed at random instants: a program.

One process imports torch and forks a child for each attempt, which is killed without notice. Prints how often one was
killed, and whether the bytes at the end are those of a run that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # optimizers load it at their first use: once, before children are forked

import qdq_models
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.loop import TrainSettings, train
from microlith.train.samples import Samples
from microlith.train.to_module import to_module

SETTINGS = TrainSettings(
    epochs=3, batch_size=8, learning_rate=1e-3, ema=0.9, clip_norm=1.0, patience=3, checkpoint_seconds=0
)


def run(model: object, checkpoint: Path | None) -> str:
    """The hash of everything that the module holds in the end."""
    module = to_module(model, dropout={"gap": 0.1})  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    images = rng.standard_normal((64, 3, 8, 8)).astype(np.float32)
    labels = rng.integers(0, 5, 64)
    held_back = Samples.of(images[48:], labels[48:])
    train(
        module, Samples.of(images[:48], labels[:48]), SETTINGS, rng=rng, validation=held_back, checkpoint=checkpoint,
        augment=lambda inputs: (inputs[0] + 0.1 * torch.randn_like(inputs[0]),),
    )  # fmt: skip
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def forked(model: object, checkpoint: Path, result: Path, most_s: float | None) -> bool:
    """Whether a child came to the end before it was killed."""
    child = os.fork()
    if child == 0:
        try:
            result.write_text(run(model, checkpoint))
        finally:
            os._exit(0)
    if most_s is not None:
        time.sleep(most_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and result.exists()


def main(place: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    source = qdq_models.ALL["residual"]()
    model = PTQ(calibration="minmax").apply(source, Context(data=lambda: [qdq_models.samples(source, 8)]))
    result = place / "result"
    begun = time.monotonic()
    assert forked(model, place / "undisturbed", result, None)
    whole, undisturbed = time.monotonic() - begun, result.read_text()
    rng, killed = np.random.default_rng(seed), 0
    while killed < kills:
        # From the start again, so that the end is hit as well as the beginning.
        (place / "checkpoint").unlink(missing_ok=True)
        result.unlink()
        while killed < kills and not forked(model, place / "checkpoint", result, rng.uniform(0.05, 0.7) * whole):
            killed += 1
        if not result.exists():
            assert forked(model, place / "checkpoint", result, None)
        print("killed", killed, "equal" if result.read_text() == undisturbed else "differs", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
