"""Elementwise ops of all types through the whole compiler: C on this machine against the reference and ONNX's own."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import helper

import compiled
import models
from elementwise_models import plain_models, quantizable_models
from microlith.compile.lower import lower
from microlith.compile.pipeline import FLOAT_BOUND, float_nodes
from microlith.device.load import device
from microlith.graph.metadata import io_qparams
from microlith.graph.passes.expand_functions import ExpandFunctions
from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.pipeline import run_passes
from microlith.program.types import calls
from microlith.quant.integer_move import quantize
from microlith.quant.schemes import Scheme

QUANTIZABLE = quantizable_models()
PLAIN = plain_models()
FLOAT = QUANTIZABLE | PLAIN
SCHEMES = {"int8": Scheme(), "uint8": Scheme(activations="uint8", per_channel=False)}
INTEGER = tuple(f"{name}_{form}" for name in QUANTIZABLE for form in SCHEMES)


def _draw(value: ir.Value, rng: np.random.Generator) -> np.ndarray:
    """Small integers, among them zeros, the ends of the type and ones; floats of a few units."""
    shape, dtype = value.shape.numpy(), value.dtype.numpy()
    if dtype == np.float32:
        return rng.uniform(-2, 2, shape).astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    info = np.iinfo(dtype)
    some = rng.integers(max(info.min, -12), min(info.max, 12), shape, dtype, endpoint=True)
    any_ = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    ends = rng.choice(np.array([info.min, info.max, 0, 1, info.max - 1], dtype), shape)
    return np.choose(rng.integers(0, 4, shape), [some, some, any_, ends]).astype(dtype)


def _feeds(graph: ir.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for value in graph.graph.inputs:
        qparams = io_qparams(graph, value.name)
        real = rng.uniform(-2, 2, value.shape.numpy()).astype(np.float32)
        found[value.name] = _draw(value, rng) if qparams is None else quantize(real, qparams)
    if "integer_by_float" in {value.name for value in graph.graph.outputs}:
        found |= {name: np.clip(np.rint(found[name]), 0, 7).astype(found[name].dtype) for name in ("g", "n", "m")}
    return found


def _prepared(name: str) -> ir.Model:
    graph = ir.from_proto(FLOAT[name])
    run_passes(graph, (InferShapes(), ExpandFunctions(), InferShapes()))
    return compiled.prepared(ir.to_proto(graph))


def _graphs() -> dict[str, ir.Model]:
    graphs = {name: _prepared(name) for name in FLOAT}
    for name in QUANTIZABLE:
        rng = np.random.default_rng(1)
        samples = [_feeds(graphs[name], rng) for _ in range(6)]
        for form, scheme in SCHEMES.items():
            mode = "fixed" if form == "uint8" else "float"
            graphs[f"{name}_{form}"] = compiled.quantized(_prepared(name), samples, mode, scheme)
    return graphs


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    """All models in all forms, for a host without extensions, with checks for undefined behaviour."""
    host = device("host").model_copy(update={"isas": ("portable",)})
    return compiled.Library(tmp_path_factory.mktemp("elementwise"), _graphs(), host)


@pytest.mark.parametrize("name", [*FLOAT, *INTEGER])
def test_compiled_equals_reference(library: compiled.Library, name: str) -> None:
    graph = library.members[name].graph
    rng = np.random.default_rng(2)
    varied = False
    for _ in range(4):
        feeds = _feeds(graph, rng)
        found, wanted = library.run(name, feeds), compiled.reference(graph, feeds)
        assert len(found) == len(wanted)
        for result, expected in zip(found, wanted, strict=True):
            assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
            varied |= bool(np.unique(expected).size > 1)
            if result.dtype == np.float32:
                finite = np.abs(expected[np.isfinite(expected)])
                np.testing.assert_allclose(result, expected, rtol=0, atol=FLOAT_BOUND * finite.max(initial=1e-6))
            else:
                np.testing.assert_array_equal(result, expected)
    assert varied


def test_quantized_models_are_integer_throughout(library: compiled.Library) -> None:
    for name in INTEGER:
        assert float_nodes(library.members[name].graph) == ()


@pytest.mark.parametrize("name", FLOAT)
def test_reference_agrees_with_onnx(name: str) -> None:
    """Where ONNX says what comes out: no division by 0, no negative power of an integer, no float beyond an integer."""
    graph = _prepared(name)
    feeds = _feeds(graph, np.random.default_rng(3))
    for key, array in feeds.items():
        if array.dtype != np.float32 and array.dtype != np.bool_ and name != "tests":
            low = 1 if key == "b" or np.iinfo(array.dtype).min == 0 else 0 if name.endswith(("int32", "int64")) else -9
            feeds[key] = np.clip(array, low, 9).astype(array.dtype)
        elif name.startswith("casts"):
            feeds[key] = np.abs(array).astype(array.dtype)
    outputs = [value.name for value in graph.graph.outputs]
    with np.errstate(all="ignore"):
        wanted = onnx.reference.ReferenceEvaluator(FLOAT[name]).run(outputs, feeds)
    for result, expected in zip(compiled.reference(graph, feeds), wanted, strict=True):
        assert result.shape == np.shape(expected)
        if result.dtype == np.float32:
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(result, expected)


def test_product_with_its_sigmoid_is_one_call_in_float_and_in_int8() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["g"], name="gate"),
        helper.make_node("Mul", ["x", "g"], ["y"], name="silu"),
    ]
    graph = compiled.prepared(models.make_model(nodes, {"x": (1, 64)}, {"y": (1, 64)}, opset=27))
    feeds = [{"x": np.random.default_rng(0).normal(0, 2, (1, 64)).astype(np.float32)}]
    for form, op in ((graph, "unary"), (compiled.quantized(graph, feeds), "lut")):
        program = lower(form, "silu")
        assert [call.op for call in calls(program.entries[0].body)] == [op]
