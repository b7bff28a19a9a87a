"""Files through the whole compiler against LiteRT: the NumPy reference and the C code on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

import compiled
from microlith.device.load import device
from microlith.graph.state import caller_inputs
from microlith.graph.stepper import Stepper
from tflite_models import Oracle
from tflite_networks import loaded

Array = np.ndarray


def inputs_of(model: ir.Model, rng: np.random.Generator) -> dict[str, Array]:
    """One set of inputs: integers of the whole range, floats between -2 and 2."""
    feeds = {}
    for value in caller_inputs(model):
        assert value.name is not None
        assert value.dtype is not None
        shape, dtype = tuple(int(size) for size in value.shape.numpy()), value.dtype.numpy()
        if np.issubdtype(dtype, np.integer):
            bounds = np.iinfo(dtype)
            feeds[value.name] = rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)
        else:
            feeds[value.name] = rng.uniform(-2, 2, shape).astype(dtype)
    return feeds


def check(contents: Mapping[str, bytes], directory: Path, turns: int = 10) -> dict[str, ir.Model]:
    """The graphs, after reference and C gave LiteRT's outputs: integers bit for bit, floats within 1e-5.

    Inferences follow each other, with what a model keeps from one to the next.
    """
    graphs = {name: loaded(content, directory) for name, content in contents.items()}
    portable = device("host").model_copy(update={"isas": ("portable",)})
    library = compiled.Library(directory, graphs, portable)
    rng = np.random.default_rng(9)
    for name, graph in graphs.items():
        oracle, instance, stepper, seen = Oracle(contents[name]), compiled.Instance(library, name), Stepper(graph), []
        for _ in range(turns):
            feeds = inputs_of(graph, rng)
            want = oracle.run(*feeds.values())
            for found in (list(stepper.step(feeds).values()), instance.run(feeds)):
                for got, expected in zip(found, want, strict=True):
                    _compare(name, got, expected)
            seen.append(np.concatenate([item.reshape(-1).astype(np.float64) for item in want]))
        assert any((item != seen[0]).any() for item in seen), f"{name} gives the same whatever it gets"
    return graphs


def _compare(name: str, got: Array, want: Array) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype), name
    if np.issubdtype(want.dtype, np.floating):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=name)
    else:
        np.testing.assert_array_equal(got, want, err_msg=name)
