"""Compiled code against the NumPy reference: bit for bit for integers, within a stated bound for floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.manifest import EntryPoint, Tensor
from microlith.compile.pipeline import FLOAT_BOUND
from microlith.core.details import CheckRow
from microlith.graph.stepper import Stepper
from microlith.program.types import NUMPY

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]
Progress = Callable[[int, int], None]


class Runner(Protocol):
    """Something that runs a compiled artifact."""

    def infer(self, inputs: list[bytes]) -> list[bytes]:
        """Outputs of one inference, as the bytes of the C arrays."""
        ...

    def reset(self) -> None:
        """Start a sequence anew; for an artifact that keeps state."""
        ...


def to_bytes(entry: EntryPoint, feeds: Feeds) -> list[bytes]:
    """The bytes of the C input arrays for one sample."""
    return [np.ascontiguousarray(feeds[tensor.name], NUMPY[tensor.dtype]).tobytes() for tensor in entry.inputs]


def from_bytes(tensor: Tensor, content: bytes) -> Array:
    """A C output array as the graph has it."""
    return np.frombuffer(content, NUMPY[tensor.dtype]).reshape(tensor.shape)


def differences(result: Array, wanted: Array) -> NDArray[np.float64]:
    """Magnitude of the difference of each element, 0 where both are the same, equal infinities and NaN included."""
    same = result == wanted
    if wanted.dtype == np.float32:
        same = same | (np.isnan(result) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        apart = np.abs(result.astype(np.float64) - wanted.astype(np.float64))
    # Two 64-bit integers that differ may be one float64.
    return np.where(same, 0.0, apart if wanted.dtype == np.float32 else np.maximum(apart, 1.0))


def compare(
    what: str,
    model: ir.Model,
    entry: EntryPoint,
    runner: Runner,
    samples: Sequence[Feeds],
    progress: Progress = lambda done, total: None,
) -> CheckRow:
    """Run every sample through both sides; of a model with state they are the steps of one sequence.

    Args:
        what: the compiled side, for the report.
        model: the graph that was compiled.
        entry: its function.
        runner: the compiled side.
        samples: inputs, batch 1.
        progress: called with samples done and their number.
    """
    stepper = Stepper(model)
    if stepper.state:
        runner.reset()
    elements, differing, worst, bound = 0, 0, 0.0, 0.0
    for index, feeds in enumerate(samples):
        expected = stepper.step(feeds)
        found = runner.infer(to_bytes(entry, feeds))
        for tensor, content in zip(entry.outputs, found, strict=True):
            result, wanted = from_bytes(tensor, content), expected[tensor.name]
            difference = differences(result, wanted)
            if tensor.dtype == "f32":
                finite = np.abs(wanted[np.isfinite(wanted)])
                difference = difference / max(float(finite.max(initial=0)), 1e-6)
                bound = FLOAT_BOUND
            elements += difference.size
            # NaN compares unequal to everything: what is not equal differs.
            differing += int((~(difference <= 0)).sum())
            worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max(initial=0)))
        progress(index + 1, len(samples))
    return CheckRow(
        what=f"NumPy reference against {what}",
        samples=len(samples),
        elements=elements,
        differing=differing,
        worst=worst,
        bound=bound,
        passed=worst <= bound,
    )
