"""Microlith: a trained network and a device in, the smallest and fastest program that still does the job out.

import microlith as ml

model = ml.load("kws.onnx")
result = ml.optimize(model, ml.device("nrf52840"), data="train.npz", budget=ml.Budget(max_drop="1pp", ram="64K"))
result.best.export("out/")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "PTQ",
    "Artifact",
    "Budget",
    "Options",
    "Parts",
    "Preprocessing",
    "Recipe",
    "Result",
    "State",
    "apply",
    "check",
    "compile",
    "device",
    "devices",
    "load",
    "optimize",
    "technique",
    "to_graph",
    "to_torch",
    "with_state",
]

if TYPE_CHECKING:
    from microlith.api import (
        PTQ,
        Artifact,
        Budget,
        Options,
        Parts,
        Preprocessing,
        Recipe,
        Result,
        State,
        apply,
        check,
        compile,
        device,
        devices,
        load,
        optimize,
        technique,
        to_graph,
        to_torch,
        with_state,
    )


def __getattr__(name: str) -> Any:
    # Loaded at the first use: NumPy and the graph library take most of a second.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from microlith import api

    return getattr(api, name)
