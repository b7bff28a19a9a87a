"""What a graph pass is: a named change of the graph with conditions before and after, and a stated effect on values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from microlith.graph.values import constant, known_shape


@dataclass(frozen=True)
class Preserves:
    """How far the outputs of the graph may move.

    Attributes:
        relative: greatest difference relative to the greatest magnitude of the output; 0 for the same bits.
        why: what the difference comes from.
    """

    relative: float
    why: str = ""


EXACT = Preserves(0.0)


def tolerance(relative: float, why: str) -> Preserves:
    """Outputs may differ by rounding, for the reason given."""
    return Preserves(relative, why)


@dataclass(frozen=True)
class Property:
    """A condition on a model that passes and techniques require or ensure.

    Attributes:
        name: as shown to a user.
        violation: the reason why it does not hold; None where it does.
    """

    name: str
    violation: Callable[[ir.Model], str | None]


@dataclass(frozen=True)
class PassResult:
    """What one application of a pass did.

    Attributes:
        changes: number of places changed; 0 only if the model is as it was.
        note: what was done, for the report.
    """

    changes: int
    note: str = ""


class Pass(Protocol):
    """One change of the graph, made in place.

    Attributes:
        name: a verb with its object, such as ``FoldBatchNormIntoConv``.
        requires: conditions that must hold before.
        ensures: conditions that hold after.
        preserves: how far outputs may move.
    """

    @property
    def name(self) -> str:
        """Name of the pass."""
        ...

    @property
    def requires(self) -> tuple[Property, ...]:
        """Conditions before."""
        ...

    @property
    def ensures(self) -> tuple[Property, ...]:
        """Conditions after."""
        ...

    @property
    def preserves(self) -> Preserves:
        """Effect on values."""
        ...

    def apply(self, model: ir.Model) -> PassResult:
        """Change the model in place wherever the pass applies, once; types and shapes of new values are set."""
        ...


def _unknown_shape(model: ir.Model) -> str | None:
    for node in model.graph:
        for value in node.outputs:
            if value.name and (value.dtype is None or known_shape(value) is None):
                return f"the type or shape of {value.name!r} is not known"
    return None


def _constant_node(model: ir.Model) -> str | None:
    node = next((node for node in model.graph if node.op_type == "Constant"), None)
    return None if node is None else f"{node.name!r} is a Constant node"


def _dead_node(model: ir.Model) -> str | None:
    for node in model.graph:
        if not any(value.uses() or value.is_graph_output() for value in node.outputs):
            return f"nothing reads the results of {node.name!r}"
    return None


def _unfolded_batch_norm(model: ir.Model) -> str | None:
    for node in model.graph:
        if node.op_type == "BatchNormalization":
            return f"{node.name!r} is a BatchNormalization"
    return None


def _integer_weight(model: ir.Model) -> str | None:
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm") and constant(node.inputs[1]) is None:
            return f"the weights of {node.name!r} are not a float constant"
    return None


SHAPES_KNOWN = Property("all types and shapes are known", _unknown_shape)
CONSTANTS_LIFTED = Property("constants are initializers", _constant_node)
NO_DEAD_NODES = Property("every node is used", _dead_node)
NO_BATCH_NORM = Property("BatchNormalization is folded", _unfolded_batch_norm)
FLOAT_WEIGHTS = Property("weights are float constants", _integer_weight)
