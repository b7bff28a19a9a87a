"""What the torch executor knows of one ONNX op: a function of tensors, made once for each node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from microlith.core.errors import UnsupportedError
from microlith.ops.base import Op, Shape
from microlith.ops.nodes import where

Function = Callable[..., Any]
"""From tensors in graph order, None for an absent one, to the result, or to all results."""


@dataclass(frozen=True, eq=False)
class Site:
    """The node that a function is made for.

    Attributes:
        node: the node.
        shapes: of its data inputs in the graph; () for an absent one.
        results: shapes of its outputs in the graph.
        stacked: whether samples come stacked along axis 0, where the graph's size is 1.
    """

    node: ir.Node
    shapes: Sequence[Shape]
    results: Sequence[Shape]
    stacked: bool

    def refuse(self, why: str) -> UnsupportedError:
        """An error that names the node."""
        return UnsupportedError(f"{why}, so it is not trained through", node=where(self.node))


@dataclass(frozen=True)
class Form:
    """One ONNX op in torch.

    Attributes:
        op_type: ONNX name.
        build: the function of a node, from its typed attributes.
        inputs: which inputs of the node are tensors; those of the op by default.
        learned: inputs that are parameters whatever their size; other float constants are where they have more than one
            element.
        fixed: inputs that are never parameters.
        several: whether the function gives all results as a tuple.
        stacks: whether it takes stacked samples, beside constants; None where it does as far as the NumPy reference.
        parses: whether ``build`` needs the op's typed attributes; None is given otherwise.
        gradient: False where no gradient passes: the result counts, compares or chooses.
    """

    op_type: str
    build: Callable[[Any, Site], Function]
    inputs: tuple[int, ...] | None = None
    learned: tuple[int, ...] = ()
    fixed: tuple[int, ...] = ()
    several: bool = False
    stacks: bool | None = None
    parses: bool = True
    gradient: bool = True

    def takes_stacked(self, op: Op[Any], attrs: Any, seen: Sequence[Shape | None], results: Sequence[Shape]) -> bool:
        """Whether the function takes samples that are stacked along axis 0.

        Args:
            op: as the reference knows it.
            attrs: of the node.
            seen: shapes of operands; None for one that does not vary.
            results: shapes of results.
        """
        if self.stacks is not None:
            return self.stacks and all(shape is None for shape in seen[1:])
        return op.batches(attrs, seen, results[0])


def plain(function: Function) -> Callable[[Any, Site], Function]:
    """A build that needs neither attributes nor shapes."""
    return lambda attrs, site: function


def like(array: NDArray[np.generic], x: Tensor) -> Tensor:
    """A constant in the place of ``x``, of its type where both are floats."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.to(x.device, x.dtype if found.is_floating_point() and x.is_floating_point() else found.dtype)


def indices(array: Tensor, size: int) -> Tensor:
    """Indices within [0, size), negative ones counted from the back, those outside moved to the nearest."""
    counted = array.long()
    return torch.where(counted < 0, counted + size, counted).clamp(0, size - 1)
