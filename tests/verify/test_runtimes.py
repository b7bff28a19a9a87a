from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import compiled
import models
from microlith.core.errors import ToolchainError, UnsupportedError
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.quant.schemes import Scheme
from microlith.quant.types import Requantization
from microlith.verify import runtimes
from tflite_checks import inputs_of


def graph_of(proto: onnx.ModelProto) -> ir.Model:
    graph = load_bytes(proto.SerializeToString(), "m")
    run_passes(graph, DEFAULT_PASSES)
    return graph


def layer(mode: Requantization) -> ir.Model:
    """One convolution, so that a quantum stays one."""
    rng = np.random.default_rng(2)
    weights = {"w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32), "b": rng.normal(size=8).astype(np.float32)}
    proto = models.one_node("Conv", {"x": [1, 3, 8, 8]}, {"y": [1, 8, 8, 8]}, weights, pads=[1, 1, 1, 1])
    graph = graph_of(proto)
    feeds = [inputs_of(graph, rng) for _ in range(2)]
    return compiled.quantized(graph, feeds, mode, Scheme(calibration="minmax"))


def worst(model: ir.Model, runtime: runtimes.Runtime) -> float:
    reference, rng, found = Reference(model), np.random.default_rng(5), 0.0
    for _ in range(4):
        feeds = inputs_of(model, rng)
        for got, want in zip(runtime.run(feeds), reference.run(feeds).values(), strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            found = max(found, float(np.abs(got.astype(np.float64) - want).max()))
    return found


@pytest.mark.parametrize(("name", "start"), runtimes.RUNTIMES, ids=[name for name, _ in runtimes.RUNTIMES])
@pytest.mark.parametrize("mode", ["fixed", "float"])
def test_a_layer_is_within_a_quantum(name: str, start, mode: Requantization) -> None:
    model = layer(mode)
    runtime = start(model)
    assert runtime.version[0].isdigit()
    assert runtime.size_bytes > 0
    # What OpenVINO's int8 kernels give depends on the processor.
    allowed = {"LiteRT": 0 if mode == "fixed" else 1, "OpenVINO": 255}.get(name, 1)
    assert worst(model, runtime) <= allowed
    assert any("fixed point" in remark for remark in runtime.remarks) == (mode == "float" and "LiteRT" in name)


@pytest.mark.parametrize(("name", "start"), runtimes.RUNTIMES, ids=[name for name, _ in runtimes.RUNTIMES])
def test_floats(name: str, start) -> None:
    model = graph_of(models.tiny_cnn())
    assert worst(model, start(model)) < 1e-5


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(runtimes, "import_module", absent)
    for _, start in runtimes.RUNTIMES:
        with pytest.raises(ToolchainError, match="is not installed") as caught:
            start(layer("fixed"))
        assert "microlith[runtimes]" in str(caught.value.hint)


def test_what_cannot_be_written_is_refused() -> None:
    model = graph_of(models.one_node("Erf", {"x": [1, 4]}, {"y": [1, 4]}))
    with pytest.raises(UnsupportedError, match="Erf"):
        runtimes.open_litert(model)
