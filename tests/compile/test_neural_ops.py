"""Ops of neural networks through the whole compiler: C on this machine against the reference and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import compiled
from microlith.compile.pipeline import FLOAT_BOUND, float_nodes
from microlith.device.load import device
from microlith.graph.metadata import io_qparams
from microlith.quant.integer_move import quantize
from neural_models import float_models, quantizable_models
from oracles import onnxruntime_run

QUANTIZABLE = quantizable_models()
FLOAT = QUANTIZABLE | float_models()
INTEGER = tuple(f"{name}_{mode}" for name in QUANTIZABLE for mode in ("float", "fixed"))


def _feeds(graph: ir.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for value in graph.graph.inputs:
        shape, qparams = value.shape.numpy(), io_qparams(graph, value.name)
        if qparams is None and value.dtype.numpy() != np.float32:
            info = np.iinfo(value.dtype.numpy())
            low, high = max(info.min, -(1 << 14)), min(info.max, 1 << 14)
            found[value.name] = rng.integers(low, high, shape, value.dtype.numpy(), endpoint=True)
            continue
        real = rng.uniform(-2, 2, shape).astype(np.float32)
        found[value.name] = real if qparams is None else quantize(real, qparams)
    return found


def _graphs() -> dict[str, ir.Model]:
    graphs = {name: compiled.prepared(model) for name, model in FLOAT.items()}
    for name, model in QUANTIZABLE.items():
        rng = np.random.default_rng(1)
        samples = [_feeds(graphs[name], rng) for _ in range(6)]
        for mode in ("float", "fixed"):
            graphs[f"{name}_{mode}"] = compiled.quantized(compiled.prepared(model), samples, mode)
    return graphs


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    """All models in all forms, for a host without extensions, with checks for undefined behaviour."""
    host = device("host").model_copy(update={"isas": ("portable",)})
    return compiled.Library(tmp_path_factory.mktemp("neural"), _graphs(), host)


@pytest.mark.parametrize("name", [*FLOAT, *INTEGER])
def test_compiled_equals_reference(library: compiled.Library, name: str) -> None:
    graph = library.members[name].graph
    rng = np.random.default_rng(2)
    varied = False
    for _ in range(3):
        feeds = _feeds(graph, rng)
        found, wanted = library.run(name, feeds), compiled.reference(graph, feeds)
        assert len(found) == len(wanted)
        for result, expected in zip(found, wanted, strict=True):
            assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
            varied |= bool(np.unique(expected).size > 1)
            if result.dtype == np.float32:
                np.testing.assert_allclose(result, expected, rtol=0, atol=FLOAT_BOUND * np.abs(expected).max())
            else:
                np.testing.assert_array_equal(result, expected)
    assert varied
    assert float_nodes(graph) == ()


@pytest.mark.parametrize("name", FLOAT)
def test_reference_agrees_with_onnxruntime(name: str) -> None:
    graph = compiled.prepared(FLOAT[name])
    feeds = _feeds(graph, np.random.default_rng(3))
    for result, expected in zip(compiled.reference(graph, feeds), onnxruntime_run(FLOAT[name], feeds), strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * max(1.0, np.abs(expected).max()))
