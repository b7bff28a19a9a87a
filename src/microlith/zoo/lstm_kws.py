"""A keyword spotter of two LSTM layers."""

from __future__ import annotations

from torch import Tensor, nn


class LSTMKeywordSpotter(nn.Module):
    """Classifier of one second of audio, given as frames of coefficients; the last frame's state decides.

    Source: Zhang et al., Hello Edge, arXiv:1711.07128, section 3.3 (recurrent networks on 49 frames of 10
    coefficients); Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 9(8), 1997.

    Args:
        hidden: cells a layer.
        classes: number of logits.
        coefficients: a frame.
        layers: LSTM layers.
    """

    def __init__(self, hidden: int = 64, classes: int = 12, coefficients: int = 10, layers: int = 2) -> None:
        super().__init__()
        self.lstm = nn.LSTM(coefficients, hidden, layers, batch_first=True)
        self.classify = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of inputs of shape (N, frames, coefficients)."""
        states, _ = self.lstm(x)
        logits: Tensor = self.classify(states[:, -1])
        return logits
