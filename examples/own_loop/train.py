"""Trains a quantized network in a loop of one's own: a graph becomes a module of PyTorch, and comes back as a graph.

The network tells three shapes of short signals apart. It is trained in floats, quantized after training with weights
that were cut to three values each, and trained again with the quantization in the loop.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import microlith as ml

CLASSES, LENGTH, SAMPLES = 3, 32, 600


def signals(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sines, square waves and saw teeth of any phase, shape (samples, 1, LENGTH), and which of them each is."""
    labels = rng.integers(0, CLASSES, SAMPLES)
    turns = np.arange(LENGTH) / LENGTH * 2 + rng.uniform(0, 1, (SAMPLES, 1))
    forms = np.stack([np.sin(2 * np.pi * turns), np.sign(np.sin(2 * np.pi * turns)), 2 * (turns % 1) - 1])
    clean = forms[labels, np.arange(SAMPLES)]
    noisy = clean + rng.normal(0, 0.25, clean.shape)
    return noisy[:, None].astype(np.float32), labels


def network() -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv1d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 12, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(12, CLASSES),
    )  # fmt: skip


def train(module: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int, rate: float) -> None:
    """A plain loop; nothing in it knows where the module comes from."""
    optimizer = torch.optim.Adam(module.parameters(), rate)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()


def accuracy(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    module.eval()
    with torch.no_grad():
        return float((module(x).argmax(1) == y).float().mean())


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    (samples, labels), (unseen, truth) = signals(rng), signals(rng)
    x, y, test_x, test_y = (torch.from_numpy(item) for item in (samples, labels, unseen, truth))

    model = ml.load(network(), torch.zeros(1, 1, LENGTH))  # or ml.load("network.onnx")
    module = ml.to_torch(model)
    train(module, x, y, epochs=12, rate=1e-2)
    model = ml.to_graph(module)
    print(f"float: {accuracy(module, test_x, test_y):.1%}")

    quantized = ml.apply(model, [ml.PTQ()], data=samples[:100])
    module = ml.to_torch(quantized)
    with torch.no_grad():  # As if weights had three values each.
        for name, weights in module.named_parameters():
            if name.endswith("weight_quantized"):
                step = weights.abs().max()
                weights.copy_(torch.round(weights / step) * step)
    before = accuracy(module, test_x, test_y)
    train(module, x, y, epochs=6, rate=3e-3)
    print(f"int8 with weights of three values: {before:.1%}, trained again: {accuracy(module, test_x, test_y):.1%}")

    # What was trained is the graph that is deployed: ml.compile(final, ml.device("nrf52840")).export("out/")
    final = ml.to_graph(module)
    integers = sum(
        item.const_value.size for item in final.graph.initializers.values() if item.name.endswith("weight_quantized")
    )
    print(f"{final.graph.name}: {integers} weights of int8")


if __name__ == "__main__":
    main()
