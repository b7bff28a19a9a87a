"""What a generated module remembers of the model that it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

ORIGIN = "microlith"
"""Its key in ``module.meta``."""


@dataclass(frozen=True)
class Stored:
    """An initializer and where the module holds it.

    Attributes:
        name: of the initializer.
        path: of the parameter or buffer.
        quantizer: path of the module that quantizes it; None for one that is stored in floats.
    """

    name: str
    path: str
    quantizer: str | None


@dataclass(frozen=True)
class Scaled:
    """A submodule with a scale and a zero point, and the nodes of the graph that it stands for."""

    path: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Origin:
    """The model, kept as it was, and where its constants are.

    Attributes:
        proto: the model, serialized.
        stored: initializers that training changes.
        scaled: quantizers.
    """

    proto: Any
    stored: tuple[Stored, ...]
    scaled: tuple[Scaled, ...]

    @classmethod
    def of(cls, model: ir.Model, stored: tuple[Stored, ...], scaled: tuple[Scaled, ...]) -> Origin:
        """Of a model that may change afterwards."""
        return cls(ir.to_proto(model), stored, scaled)

    def model(self) -> ir.Model:
        """A copy of the model."""
        found: ir.Model = ir.from_proto(self.proto)
        return found

    def __deepcopy__(self, memo: dict[int, object]) -> Origin:
        """Itself: it never changes, and copies of the module share it."""
        return self
