"""Models for the tests of the torch executor, with inputs for them: ``import torch_models``."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx_ir as ir
import torch

import elementwise_models
import movement_models
import neural_models
import op_models
from microlith.graph.load import load_bytes

Array = np.ndarray


@cache
def sources() -> dict[str, bytes]:
    """Serialized models of every op, by name."""
    families = {
        "": op_models.all_models(),
        "quantizable ": elementwise_models.quantizable_models() | neural_models.quantizable_models(),
        "plain ": elementwise_models.plain_models(),
        "float ": neural_models.float_models(),
        "moving ": {name: case.model() for name, case in movement_models.movement_cases().items()},
        "sampling ": {name: case.model() for name, case in movement_models.resampling_cases().items()},
    }
    return {
        f"{family}{name}": proto.SerializeToString()
        for family, models in families.items()
        for name, proto in models.items()
    }


def load(name: str) -> ir.Model:
    """The model as the loader gives it."""
    return load_bytes(sources()[name], name)


def shape_of(value: ir.Value) -> tuple[int, ...]:
    assert value.shape is not None
    return tuple(int(size) for size in value.shape.numpy())


def feeds(model: ir.Model, rng: np.random.Generator, samples: int = 1) -> dict[str, Array]:
    """Inputs, stacked along the axis of samples."""
    found: dict[str, Array] = {}
    for value in model.graph.inputs:
        shape = shape_of(value)
        shape = (samples, *shape[1:]) if shape[:1] == (1,) else shape
        assert value.dtype is not None
        dtype = value.dtype.numpy()
        if dtype == np.bool_:
            found[str(value.name)] = rng.integers(0, 2, shape).astype(bool)
        elif np.issubdtype(dtype, np.integer):
            found[str(value.name)] = rng.integers(-3 * (dtype.kind == "i"), 4, shape).astype(dtype)
        else:
            found[str(value.name)] = rng.uniform(-2, 2, shape).astype(np.float32)
    return found


def stacks(model: ir.Model) -> bool:
    """Whether several samples can be given at once."""
    return all(shape_of(value)[:1] == (1,) for value in (*model.graph.inputs, *model.graph.outputs))


def run(module: torch.nn.Module, model: ir.Model, given: dict[str, Array]) -> tuple[torch.Tensor, ...]:
    """The outputs, in the order of the graph."""
    found = module(*(torch.from_numpy(given[str(value.name)]) for value in model.graph.inputs))
    return found if isinstance(found, tuple) else (found,)
