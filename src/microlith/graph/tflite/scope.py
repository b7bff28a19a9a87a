"""What the importers of all subgraphs of a file share, and where the nodes of each go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from microlith.core.errors import UnsupportedError
from microlith.graph.tflite.model import MAX_OPERATORS, File
from microlith.graph.tflite.variables import Variables

if TYPE_CHECKING:
    from microlith.graph.tflite.importer import Importer


@dataclass
class Scope:
    """What the importers of all subgraphs share.

    Constants of every subgraph stand in the outermost one, so that what is repeated is not repeated with its weights.
    """

    file: File
    handlers: Mapping[str, Callable[[Importer], None]]
    names: set[str] = field(default_factory=lambda: {""})
    node_names: set[str] = field(default_factory=lambda: {""})
    counts: dict[str, int] = field(default_factory=dict)
    producers: dict[str, Any] = field(default_factory=dict)
    initializers: list[Any] = field(default_factory=list)
    variables: Variables = field(default_factory=Variables)
    left: int = 2 * MAX_OPERATORS

    def spend(self, operators: int) -> None:
        """Count operators that are imported; subgraphs that call each other could make any number of them."""
        self.left -= operators
        if self.left < 0:
            raise UnsupportedError(f"subgraphs come to more than {2 * MAX_OPERATORS:,} operators when written out")


@dataclass(frozen=True)
class Place:
    """Where the nodes of a subgraph go.

    Attributes:
        nodes: of the ONNX graph.
        once: whether its operators run once in every inference, rather than in a branch or a loop.
        initial: whether it runs before the first inference, and what it assigns are initial values.
        depth: of nesting.
    """

    nodes: list[Any] = field(default_factory=list)
    once: bool = True
    initial: bool = False
    depth: int = 0

    def inlined(self) -> Place:
        """The place of a subgraph that is written out in this one."""
        return replace(self, depth=self.depth + 1)

    def before(self) -> Place:
        """The place of a subgraph that runs before the first inference."""
        return Place([], True, True, self.depth + 1)

    def apart(self) -> Place:
        """The place of a subgraph that becomes one of its own."""
        return Place([], False, self.initial, self.depth + 1)


def another(taken: set[str], counts: dict[str, int], base: str, joint: str) -> str:
    """``base``, or ``base`` with the next number that makes a name not taken yet; takes it."""
    name = base
    while name in taken:
        counts[base + joint] = counts.get(base + joint, 1) + 1
        name = f"{base}{joint}{counts[base + joint]}"
    taken.add(name)
    return name
