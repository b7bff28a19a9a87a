"""A .tflite file through the whole compiler: C on this machine and on an emulated core against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import microlith as ml
import tflite_networks
from microlith.compile.pipeline import compile_graph, float_nodes
from microlith.device.emulator import Emulator
from microlith.device.load import device
from microlith.device.toolchain import find_toolchain
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.program.types import calls
from microlith.verify.workbench import Workbench
from tflite_models import Oracle


def _content() -> bytes:
    return tflite_networks.int8_network(np.random.default_rng(5))


def _graph(directory: Path) -> ir.Model:
    path = directory / "model.tflite"
    path.write_bytes(_content())
    model = ml.load(path)
    run_passes(model, DEFAULT_PASSES)
    return model


@pytest.fixture(scope="module")
def cases() -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and LiteRT's outputs."""
    x = np.random.default_rng(6).integers(-128, 128, (25, 8, 8, 4)).astype(np.int8)
    oracle = Oracle(_content())
    return x, np.concatenate([oracle.run(sample[None])[0] for sample in x])


@pytest.mark.parametrize("isas", [("portable",), None])
def test_host_equals_litert(isas: tuple[str, ...] | None, cases: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    target = device("host") if isas is None else device("host").model_copy(update={"isas": isas})
    library = compiled.Library(tmp_path, {"net": _graph(tmp_path)}, target)
    for x, want in zip(*cases, strict=True):
        np.testing.assert_array_equal(library.run("net", {"image": x})[0], want[None])


@pytest.mark.mcu
@pytest.mark.parametrize("name", ["nrf52840", "rp2040"])
def test_emulated_core_equals_litert(name: str, cases: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    target = device(name)
    package = compile_graph(_graph(tmp_path), target, name="net")
    with (
        Workbench(package.files, package.manifest, find_toolchain(target)) as bench,
        Emulator(bench.selftest(), target) as emulator,
    ):
        found = emulator.infer_many([[sample.tobytes()] for sample in cases[0]])
    got = np.stack([np.frombuffer(outputs[0], np.int8) for outputs in found])
    np.testing.assert_array_equal(got, cases[1])


def test_nothing_is_transposed_and_nothing_left_in_float(tmp_path: Path) -> None:
    graph = _graph(tmp_path)
    assert float_nodes(graph) == ()
    package = compile_graph(graph, device("nrf52840"), name="net")
    assert {call.op for call in calls(package.planned.program.entries[0].body)}.isdisjoint({"copy", "transpose"})
