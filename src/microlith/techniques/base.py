"""What a technique is: a named function from graph to graph, with conditions before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import InputError, UnsupportedError
from microlith.core.random import generator
from microlith.device.profile import Device
from microlith.graph.metadata import is_kept_in_float
from microlith.graph.pass_base import CONSTANTS_LIFTED, FLOAT_WEIGHTS, SHAPES_KNOWN, Property
from microlith.graph.values import constant

Feeds = Mapping[str, NDArray[np.generic]]
Progress = Callable[[str, int, int | None], None]


def _no_progress(what: str, done: int, total: int | None) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Context:
    """What a technique may use beside the model.

    Attributes:
        data: gives the training part anew at each call, batch by batch: mappings from input name to array, batch first;
            None without data.
        batches: how many batches ``data`` gives, where that is known; for progress only.
        device: what the model is meant for; None for no particular one.
        labels: of the samples that ``data`` gives, in its order; None without.
        checkpoint: file that a technique which trains resumes from and writes to; None to start anew.
        original: the model as it was before its weights became integers, with the same names; None where not known. A
            recipe sets it after the step that quantizes.
        rng: the only source of randomness.
        progress: called with what is being done, the steps done, and how many there are (None where not known).
    """

    data: Callable[[], Iterable[Feeds]] | None = None
    batches: int | None = None
    device: Device | None = None
    labels: NDArray[np.generic] | None = None
    checkpoint: Path | None = None
    original: ir.Model | None = None
    rng: np.random.Generator = field(default_factory=lambda: generator(0, "technique"))
    progress: Progress = _no_progress


class Technique(Protocol):
    """One change of a model.

    Attributes:
        name: as in a recipe.
        paper: where the technique is described.
        requires: conditions on the model before.
        ensures: conditions on the model after.
    """

    @property
    def name(self) -> str:
        """Name in recipes."""
        ...

    @property
    def paper(self) -> str:
        """Source of the technique."""
        ...

    @property
    def requires(self) -> tuple[Property, ...]:
        """Conditions before."""
        ...

    @property
    def ensures(self) -> tuple[Property, ...]:
        """Conditions after."""
        ...

    def apply(self, model: ir.Model, context: Context) -> ir.Model:
        """The changed model; the one given stays as it is."""
        ...


def first_samples(batches: Iterable[Feeds], count: int) -> tuple[Feeds, ...]:
    """Batches of the first samples.

    Raises:
        InputError: there is none.
    """
    found: list[Feeds] = []
    for feeds in batches:
        size = max(len(array) for array in feeds.values())
        found.append({name: array[:count] for name, array in feeds.items()} if size > count else feeds)
        count -= size
        if count <= 0:
            break
    if not found:
        raise InputError("the calibration set is empty", hint="Give at least one sample; 100 are usual.")
    return tuple(found)


def _float_weight(model: ir.Model) -> str | None:
    for node in model.graph:
        weights = node.inputs[1] if node.op_type in ("Conv", "Gemm") and not is_kept_in_float(node) else None
        if weights is not None and constant(weights) is not None:
            return f"the weights of {node.name!r} are floats"
    return None


def _unfolded_batch_norm(model: ir.Model) -> str | None:
    for node in model.graph:
        if node.op_type == "BatchNormalization" and node.inputs[0] is not None:
            producer = node.inputs[0].producer()
            if producer is not None and producer.op_type in ("Conv", "Gemm") and len(node.inputs[0].uses()) == 1:
                return f"{node.name!r} follows {producer.name!r} and is not folded into it"
    return None


INTEGER_WEIGHTS = Property("weights are integers", _float_weight)
BATCH_NORM_FOLDED = Property("BatchNormalization is folded into layers", _unfolded_batch_norm)

STATES = (SHAPES_KNOWN, CONSTANTS_LIFTED, BATCH_NORM_FOLDED, FLOAT_WEIGHTS, INTEGER_WEIGHTS)
"""Conditions that are looked up on the model a recipe starts from."""

OPPOSITES = ((FLOAT_WEIGHTS, INTEGER_WEIGHTS),)
"""Pairs of which ensuring one ends the other."""


def check_requires(technique: Technique, model: ir.Model) -> None:
    """Refuse a model that does not meet what a technique requires.

    Raises:
        UnsupportedError: with the condition and why it does not hold.
    """
    for condition in technique.requires:
        reason = condition.violation(model)
        if reason is not None:
            raise UnsupportedError(f"{technique.name} requires that {condition.name}, but {reason}")
