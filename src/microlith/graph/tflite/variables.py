"""What a ``.tflite`` model keeps from one inference to the next, as states of the ONNX graph.

A variable is a graph input where it is first read, and the value that it was last given is a graph output; the metadata
say that the two are one. A variable that is read and never written is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError, UnsupportedError
from microlith.graph.tflite.model import Tensor

Array = NDArray[Any]


@dataclass
class Variable:
    """One variable.

    Attributes:
        tensor: its name, shape, type and quantization parameters.
        source: the graph input that it is before an inference; "" where it was written before it was read.
        value: that holds it now.
        initial: value before the first inference; None for real zeros.
    """

    tensor: Tensor
    source: str
    value: str
    initial: Array | None

    @property
    def is_state(self) -> bool:
        """Whether what it was given in one inference is read in the next."""
        return bool(self.source) and self.value != self.source

    def first(self) -> Array:
        """What it holds before the first inference."""
        if self.initial is not None:
            return self.initial
        zero = 0 if self.tensor.qparams is None else int(self.tensor.qparams.zero_point)
        return np.full(self.tensor.shape, zero, self.tensor.dtype)


class Variables:
    """The variables of a model, by key."""

    def __init__(self) -> None:
        self._found: dict[str, Variable] = {}
        self._initial: dict[str, Array] = {}

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._found.values())

    def initialize(self, key: str, values: Array) -> None:
        """Give a variable its value before the first inference.

        Raises:
            UnsupportedError: the model has used it by then, so that only the first inference would find it.
        """
        if key in self._found:
            raise UnsupportedError(f"the variable {key!r} is given its first value after it was used")
        self._initial[key] = values

    def read(self, key: str, tensor: Tensor, name: Callable[[], str], *, zeros: bool = False) -> str:
        """The value that holds a variable now.

        Args:
            key: of the variable.
            tensor: as what it is read.
            name: makes the name of a graph input.
            zeros: whether it starts as zeros, where no other value is stated.
        """
        known = self._found.get(key)
        if known is None:
            initial = self._initial.get(key)
            if initial is None and not zeros:
                raise ModelError(f"the variable {key!r} is read, and nothing gives it a first value")
            source = name()
            known = self._found[key] = Variable(tensor, source, source, initial)
            if initial is not None and (initial.shape, initial.dtype) != (tensor.shape, np.dtype(tensor.dtype)):
                raise ModelError(
                    f"the variable {key!r} is read as {tensor.dtype} {list(tensor.shape)}, and starts as "
                    f"{initial.dtype} {list(initial.shape)}"
                )
        _check_same(key, known.tensor, tensor)
        return known.value

    def write(self, key: str, tensor: Tensor, value: str) -> None:
        """State which value holds a variable from now on."""
        known = self._found.get(key)
        if known is None:
            known = self._found[key] = Variable(tensor, "", value, None)
        _check_same(key, known.tensor, tensor)
        known.value = value


def _check_same(key: str, one: Tensor, other: Tensor) -> None:
    """Refuse a variable that is used in two ways; its integers move as they are stored."""
    same = (one.qparams is None) == (other.qparams is None) and (
        one.qparams is None or (other.qparams is not None and one.qparams.same(other.qparams))
    )
    if (one.shape, one.dtype) != (other.shape, other.dtype) or not same:
        raise UnsupportedError(
            f"the variable {key!r} is used as {one.dtype} {list(one.shape)} and as {other.dtype} {list(other.shape)}, "
            "expected one shape, type and scale"
        )
