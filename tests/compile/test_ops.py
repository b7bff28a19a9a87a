"""Every op through the whole compiler: C on this machine against the NumPy reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import elementwise_models
from microlith.compile.lower import HANDLERS
from microlith.compile.pipeline import FLOAT_BOUND, float_nodes
from microlith.device.load import device
from microlith.graph.metadata import io_qparams
from microlith.ops import OPS
from microlith.quant.integer_move import quantize
from microlith.quant.schemes import Scheme
from movement_models import op_types
from neural_models import float_models, quantizable_models
from op_models import all_models

MODELS = all_models()
FORMS = ("float", "int8", "int8_fixed", "uint8_tensor", "int8_symmetric")


def _feeds(graph: ir.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs drawn from [-2, 2], in the type that each input has."""
    found = {}
    for value in graph.graph.inputs:
        real = rng.uniform(-2, 2, value.shape.numpy()).astype(np.float32)
        qparams = io_qparams(graph, value.name)
        found[value.name] = real if qparams is None else quantize(real, qparams)
    return found


def _form(name: str, form: str) -> ir.Model:
    graph = compiled.prepared(MODELS[name])
    if form == "float":
        return graph
    rng = np.random.default_rng(1)
    samples = [_feeds(graph, rng) for _ in range(8)]
    schemes = {
        "int8": Scheme(),
        "int8_fixed": Scheme(),
        "uint8_tensor": Scheme(activations="uint8", per_channel=False, weights_symmetric=False),
        "int8_symmetric": Scheme(symmetric=True, calibration="minmax"),
    }
    return compiled.quantized(graph, samples, "fixed" if form == "int8_fixed" else "float", schemes[form])


def _portable_host() -> object:
    return device("host").model_copy(update={"isas": ("portable",)})


@pytest.fixture(scope="module", params=FORMS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    """All models in one form, for a host without extensions, with checks for undefined behaviour."""
    graphs = {name: _form(name, request.param) for name in MODELS}
    directory: Path = tmp_path_factory.mktemp(request.param)
    return compiled.Library(directory, graphs, _portable_host())


@pytest.mark.parametrize("name", MODELS)
def test_compiled_equals_reference(library: compiled.Library, name: str) -> None:
    graph = library.members[name].graph
    rng = np.random.default_rng(2)
    varied = False
    for _ in range(4):
        feeds = _feeds(graph, rng)
        found = library.run(name, feeds)
        wanted = compiled.reference(graph, feeds)
        assert len(found) == len(wanted)
        for result, expected in zip(found, wanted, strict=True):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            varied |= bool(np.unique(expected).size > 1)
            if result.dtype == np.float32:
                np.testing.assert_allclose(result, expected, rtol=0, atol=FLOAT_BOUND * np.abs(expected).max())
            else:
                np.testing.assert_array_equal(result, expected)
    assert varied


def test_nothing_is_left_in_float(library: compiled.Library) -> None:
    for member in library.members.values():
        assert float_nodes(member.graph) == ()


def test_every_handler_is_exercised() -> None:
    every = [*MODELS.values(), *quantizable_models().values(), *float_models().values()]
    every += [*elementwise_models.quantizable_models().values(), *elementwise_models.plain_models().values()]
    used = {node.op_type for model in every for node in compiled.prepared(model).graph}
    # An op that ONNX does not define brings the test that compiles it; these have test files of their own.
    used |= {"DequantizeLinear", "NonMaxSuppression", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
    assert used | op_types() >= {name for name in HANDLERS if not OPS[name].domain}
