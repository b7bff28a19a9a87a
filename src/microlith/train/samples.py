"""What a training loop reads: samples in memory, or a loader of PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from microlith.core.errors import InputError
from microlith.data.dataset import Dataset
from microlith.data.preprocess import Preprocessing

Batch = tuple[tuple[Tensor, ...], Tensor | None]
"""Inputs in the order of the graph, and labels."""


class Source(Protocol):
    """Batches of an epoch, the same ones whenever they are asked for again."""

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, seed: int, number: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from the one numbered ``start`` on; ``seed`` decides their order."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in memory.

    Attributes:
        inputs: for each input of the graph, an array of all samples.
        labels: classes, or numbers as the output has them; None without.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        counts = {len(item) for item in (*self.inputs, *(() if self.labels is None else (self.labels,)))}
        if len(counts) != 1 or 0 in counts or not self.inputs:
            raise InputError(f"inputs and labels are of {sorted(counts)} samples, expected the same number, 1 or more")

    def __len__(self) -> int:
        return len(self.inputs[0])

    @classmethod
    def of(cls, inputs: NDArray[np.generic] | Sequence[NDArray[np.generic]], labels: object = None) -> Samples:
        """Of arrays: one for each input, or one."""
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        held = None if labels is None else _tensor(np.asarray(labels))
        return cls(tuple(_tensor(array) for array in arrays), held)

    @classmethod
    def of_dataset(cls, dataset: Dataset, preprocessing: Preprocessing | None = None) -> Samples:
        """Of a data set of this package, all of it in memory."""
        x = dataset.x
        return cls.of(x if preprocessing is None else preprocessing.apply(x), dataset.y)

    @classmethod
    def of_feeds(cls, model: ir.Model, feeds: Iterable[Mapping[str, NDArray[np.generic]]]) -> Samples:
        """Of batches by input name, such as a technique is given; without labels."""
        names = [str(value.name) for value in model.graph.inputs if value.const_value is None]
        batches = list(feeds)
        if not batches:
            raise InputError("there is no batch of training data")
        return cls.of([np.concatenate([batch[name] for batch in batches]) for name in names])

    def at(self, rows: Tensor) -> Batch:
        """The samples of these numbers."""
        labels = None if self.labels is None else self.labels[rows]
        return tuple(item[rows] for item in self.inputs), labels


@dataclass(frozen=True, eq=False)
class Shuffled:
    """Samples in another order in each epoch; what does not fill a batch is left out, another part each time."""

    samples: Samples
    batch: int

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return max(1, len(self.samples) // self.batch)

    def epoch(self, seed: int, number: int, start: int) -> Iterator[Batch]:
        """See :class:`Source`."""
        order = torch.from_numpy(np.random.default_rng(mixed(seed, number)).permutation(len(self.samples)))
        for step in range(start, self.steps):
            yield self.samples.at(order[step * self.batch : (step + 1) * self.batch])


@dataclass(frozen=True, eq=False)
class Loaded:
    """A loader of PyTorch, or any iterable that can be gone through again and has a length.

    It gives a tensor, or a sequence of one for each input and, where ``labelled``, the labels. A loader that shuffles
    does so by torch's global generator, which is seeded for each epoch.
    """

    loader: Any
    labelled: bool

    def __post_init__(self) -> None:
        if not hasattr(self.loader, "__len__"):
            raise InputError(
                "the loader does not say how many batches it has", hint="Give it a length, or put the data in arrays."
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.loader)

    def epoch(self, seed: int, number: int, start: int) -> Iterator[Batch]:
        """See :class:`Source`."""
        torch.manual_seed(mixed(seed, number))
        items = iter(self.loader)
        for step in range(self.steps):
            torch.manual_seed(mixed(seed, number, step))
            item = next(items, None)
            if item is None:
                return
            if step >= start:
                yield self._batch(item)

    def _batch(self, item: Any) -> Batch:
        parts = [item] if isinstance(item, Tensor | np.ndarray) else list(item)
        tensors = [_tensor(part) if isinstance(part, np.ndarray) else part for part in parts]
        if self.labelled and len(tensors) < 2:
            raise InputError("the loader gives no labels", hint="Say labelled=False, and give a teacher.")
        return (tuple(tensors[:-1]), tensors[-1]) if self.labelled else (tuple(tensors), None)


def mixed(seed: int, *numbers: int) -> int:
    """A seed for one place of a run."""
    return int(np.random.default_rng([seed, len(numbers), *numbers]).integers(1 << 62))


def _tensor(array: NDArray[np.generic]) -> Tensor:
    held = array.astype(np.float32) if array.dtype == np.float64 else array
    # Torch warns of arrays that may not be written to.
    return torch.from_numpy(held if held.flags.writeable and held.flags.c_contiguous else np.array(held, order="C"))
