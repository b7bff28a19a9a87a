"""Compiled code against the reference, and that a difference is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

import compiled
import models
from microlith.compile.pipeline import FLOAT_BOUND, compile_graph, float_nodes, refuse_float_nodes
from microlith.core.errors import UnsupportedError
from microlith.device.load import device
from microlith.graph.load import load_model
from microlith.graph.model_file import save_model
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.search.artifact import outside_checks
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ, observe, quantize
from microlith.verify.agreement import compare, to_bytes
from microlith.verify.outside import layers_against_outside, session, whole_against_outside
from microlith.verify.runnable import has_kernel


class _Faked:
    """A runner that gives the reference's outputs after some change."""

    def __init__(self, outputs: list[np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> None:
        self._outputs = [change(item) for item in outputs]

    def infer(self, inputs: list[bytes]) -> list[bytes]:
        return [item.tobytes() for item in self._outputs]


def _graphs() -> tuple[object, object, np.ndarray]:
    rng = np.random.default_rng(0)
    graph = compiled.prepared(models.tiny_cnn())
    pictures = models.images(rng, 8)
    quantized = compiled.quantized(graph, [{"image": picture[None]} for picture in pictures])
    return graph, quantized, pictures


@pytest.mark.parametrize(("step", "passed"), [(0, True), (1, False)])
def test_one_quantum_is_too_much_for_integers(step: int, passed: bool) -> None:
    _, quantized, _ = _graphs()
    entry = compile_graph(quantized, device("host"), name="net").manifest.entries[0]
    feeds = {"image": np.zeros((1, 3, 8, 8), np.int8)}

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.reshape(-1)[0] += -step if changed.reshape(-1)[0] > 0 else step
        return changed

    row = compare("a fake", quantized, entry, _Faked(compiled.reference(quantized, feeds), change), [feeds])
    assert row.passed is passed
    assert (row.elements, row.differing, row.worst) == (5, step, step)


@pytest.mark.parametrize(
    ("factor", "passed"), [(1.0, True), (1 + FLOAT_BOUND / 2, True), (1.001, False), (np.nan, False)]
)
def test_floats_may_differ_by_the_bound(factor: float, passed: bool) -> None:
    graph, _, pictures = _graphs()
    entry = compile_graph(graph, device("host"), name="net").manifest.entries[0]
    feeds = {"image": pictures[:1]}
    runner = _Faked(compiled.reference(graph, feeds), lambda array: (array * np.float32(factor)).astype(np.float32))
    assert compare("a fake", graph, entry, runner, [feeds]).passed is passed


def test_inputs_become_the_bytes_of_the_c_arrays() -> None:
    graph, _, pictures = _graphs()
    entry = compile_graph(graph, device("host"), name="net").manifest.entries[0]
    (content,) = to_bytes(entry, {"image": pictures[:1].astype(np.float64)})
    assert content == pictures[:1].tobytes()


def test_onnx_runtime_agrees_within_one_quantum_layer_by_layer() -> None:
    graph, quantized, _ = _graphs()
    rng = np.random.default_rng(1)
    feeds = [{"image": rng.integers(-128, 128, (1, 3, 8, 8), np.int8)} for _ in range(4)]
    row = layers_against_outside(quantized, feeds)
    assert row.passed
    assert row.elements > 1000
    assert row.differing < row.elements / 100
    whole = whole_against_outside(quantized, feeds)
    assert whole.elements == 20
    assert whole_against_outside(graph, [{"image": rng.uniform(size=(1, 3, 8, 8)).astype(np.float32)}]).passed


def test_onnx_runtime_uses_its_integer_kernels_where_layers_share_a_zero_point() -> None:
    _, quantized, _ = _graphs()
    run_passes(quantized, DEFAULT_PASSES)
    weights = [node for node in quantized.graph if node.op_type == "DequantizeLinear" and node.inputs[0].const_value]
    zeros = [node.inputs[2] for node in weights]
    assert len(set(zeros)) < len(zeros)
    nodes = list(quantized.graph)
    _, remark = session(quantized)
    assert remark == ""
    assert [node.inputs[2] for node in weights] == zeros
    assert list(quantized.graph) == nodes


def test_layer_check_sees_a_wrong_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A requantization that is off by a tenth differs from ONNX Runtime by more than a quantum."""
    from microlith.quant import integer_linear

    _, quantized, _ = _graphs()
    right = integer_linear.linear_requant

    def wrong(*arguments: object) -> object:
        made = right(*arguments)
        return type(made)(made.scale * np.float32(1.1))

    monkeypatch.setattr(integer_linear, "linear_requant", wrong)
    rng = np.random.default_rng(1)
    row = layers_against_outside(quantized, [{"image": rng.integers(-128, 128, (1, 3, 8, 8), np.int8)}])
    assert not row.passed


def test_float_ops_in_a_quantized_model_are_refused_unless_named() -> None:
    rng = np.random.default_rng(0)
    graph = compiled.prepared(models.tiny_cnn())
    feeds = [{"image": picture[None]} for picture in models.images(rng, 4)]
    statistics = observe(graph, feeds, float_ops=("Gemm",))
    mixed = quantize(graph, statistics, PTQ(), "float", float_ops=("Gemm",))
    assert [name for name in float_nodes(mixed) if "Gemm" in name]
    with pytest.raises(UnsupportedError, match="computed in float"):
        refuse_float_nodes(mixed, ())
    refuse_float_nodes(mixed, ("Gemm",))
    assert float_nodes(graph) == ()
    refuse_float_nodes(graph, ())


def test_mark_of_a_node_kept_in_float_survives_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = compiled.prepared(models.tiny_cnn())
    feeds = [{"image": picture[None]} for picture in models.images(rng, 4)]
    mixed = PTQ(float_ops=("Gemm",)).apply(graph, Context(data=lambda: iter(feeds)))
    save_model(mixed, tmp_path / "mixed.onnx")
    again = load_model(tmp_path / "mixed.onnx")
    assert float_nodes(again) == float_nodes(mixed) != ()


def test_graph_that_onnx_runtime_cannot_run_is_said_to_be_not_compared() -> None:
    kinds = {"x": TensorProto.FLOAT, "n": TensorProto.UINT64, "y": TensorProto.FLOAT}
    values = [helper.make_tensor_value_info(name, kind, (1, 4)) for name, kind in kinds.items()]
    graph = helper.make_graph([helper.make_node("Pow", ["x", "n"], ["y"], name="power")], "g", values[:2], values[2:])
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=10))
    (row,) = outside_checks(model, [{"x": np.ones((1, 4), np.float32), "n": np.ones((1, 4), np.uint64)}])
    assert row.samples == 0
    assert row.what == "not compared: ONNX Runtime has no kernel for 'power' (Pow)"


def test_swish_is_compared_in_float_and_as_a_quantized_layer() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["gate"], name="gate"),
        helper.make_node("Mul", ["x", "gate"], ["y"], name="silu"),
    ]
    graph = compiled.prepared(models.make_model(nodes, {"x": (1, 64)}, {"y": (1, 64)}, opset=27))
    assert [node.op_type for node in graph.graph] == ["Swish"]
    feeds = [{"x": rng.normal(0, 2, (1, 64)).astype(np.float32)} for _ in range(4)]
    (row,) = outside_checks(graph, feeds)
    assert (row.samples, row.elements, row.passed) == (4, 256, True)
    quantized = compiled.quantized(graph, feeds)
    layers, whole = outside_checks(quantized, [{"x": rng.integers(-128, 128, (1, 64), np.int8)}])
    assert layers.elements == whole.elements == 64
    assert layers.passed and whole.worst <= 1.0


def test_runtime_of_an_older_opset_is_given_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ONNX Runtime that knows opset 21 at most."""
    real = onnxruntime.InferenceSession

    def older(content: bytes, *arguments: object, **options: object) -> onnxruntime.InferenceSession:
        if onnx.ModelProto.FromString(content).opset_import[0].version > 21:
            raise onnxruntime.capi.onnxruntime_pybind11_state.Fail("opset under development")
        return real(content, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", older)
    has_kernel.cache_clear()
    try:
        shapes, scale = ({"x": (1, 8)}, {"y": (1, 8)}), {"s": np.ones(8, np.float32)}
        graph = compiled.prepared(models.one_node("RMSNormalization", *shapes, scale, opset=27))
        found, remark = session(graph)
    finally:
        has_kernel.cache_clear()
    assert remark == " at opset 21"
    assert found.get_outputs()[0].name == "y"
