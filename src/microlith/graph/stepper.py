"""The reference executor, step after step: what runs a model as its user does, one sample at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.graph.reference import Reference
from microlith.graph.state import initial_values, read_states

Array = NDArray[np.generic]


class Stepper:
    """Runs a model one sample at a time, and keeps its state from one to the next.

    Attributes:
        state: what every state holds now, by the name of its input; empty for a model without state.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._reference = Reference(model)
        self._next = {state.output: state.input for state in read_states(model)}
        self.state: dict[str, Array] = initial_values(model)

    def reset(self) -> None:
        """Take the states back to their initial values."""
        self.state = initial_values(self._model)

    def step(self, feeds: Mapping[str, Array], *, keep: Collection[str] | None = None) -> dict[str, Array]:
        """One run; see :meth:`microlith.graph.reference.Reference.run`."""
        names = self._reference.outputs if keep is None else tuple(keep)
        found = self._reference.run(feeds, keep=dict.fromkeys((*names, *self._next)), state=self.state)
        self.state = {into: found[out] for out, into in self._next.items()}
        return {name: found[name] for name in names}
