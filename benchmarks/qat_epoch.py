"""A QAT epoch of ResNet-8 beside plain eager training of the same network, in turns: prints both times and the ratio.

    python benchmarks/qat_epoch.py [rounds] [samples]

Plain is the PyTorch module of the zoo with its BatchNormalization in an ordinary loop; QAT is the graph of the same
network after post-training quantization, with fake quantizers, trained by the project's loop. Both use SGD with
momentum on the same random images in batches of 64. Rounds alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn

import microlith as ml
from microlith.train.loop import TrainSettings, train
from microlith.train.samples import Samples
from microlith.zoo.resnet8 import ResNet8

BATCH = 64


def _now() -> np.ndarray:
    """Wall time, and processor time of all threads, which other work on the machine does not change as much."""
    return np.array([time.perf_counter(), time.process_time()])


def plain_epoch(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    optimizer = torch.optim.SGD(module.parameters(), 0.01, 0.9, weight_decay=1e-4)
    module.train()
    begun = _now()
    for rows in torch.randperm(len(x)).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
        optimizer.step()
    return _now() - begun


def qat_epoch(module: nn.Module, samples: Samples, seed: int) -> np.ndarray:
    settings = TrainSettings(epochs=1, batch_size=BATCH, optimizer="sgd", learning_rate=0.001)
    begun = _now()
    train(module, samples, settings, rng=np.random.default_rng(seed))
    return _now() - begun


def main() -> None:
    given = [int(item) for item in sys.argv[1:]]
    rounds, count = (*given, *(5, 2048)[len(given) :])
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (count, 3, 32, 32)).astype(np.float32)
    samples = Samples.of(images, rng.integers(0, 10, count))
    plain = ResNet8().train()
    plain.softmax = nn.Identity()
    model = ml.load(ResNet8(), torch.zeros(1, 3, 32, 32))
    quantized = ml.apply(model, [ml.PTQ()], data=images[:64])
    qat = ml.to_torch(quantized)
    rounds_done = []
    for number in range(rounds + 1):
        pair = [plain_epoch(plain, samples.inputs[0], samples.labels), qat_epoch(qat, samples, number)]
        if number:  # The first one warms up.
            rounds_done.append(pair)
            wall, processor = pair[1] / pair[0]
            print(
                f"plain {pair[0][0]:.2f} s, QAT {pair[1][0]:.2f} s: {wall:.2f} times; processor {processor:.2f} times"
            )
    medians = np.median(np.array(rounds_done), axis=0)
    wall, processor = medians[1] / medians[0]
    print(f"{count} images, {torch.get_num_threads()} threads, medians of {rounds} rounds:", end=" ")
    print(f"QAT takes {wall:.2f} times the time of plain training, {processor:.2f} times its processor time")


if __name__ == "__main__":
    main()
