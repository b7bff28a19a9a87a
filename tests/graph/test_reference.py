"""The reference executor: units in order, many samples at once, what it refuses."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph import reference
from microlith.graph.metadata import set_requantization
from microlith.graph.reference import Reference
from microlith.quant.requantize import scale_accumulator
from microlith.quant.types import QParams
from oracles import Operand, onnxruntime_run, qdq_model


def _load(proto: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(proto)


def _each(proto: onnx.ModelProto, name: str, samples: np.ndarray, *, optimize: bool = True) -> np.ndarray:
    return np.concatenate([onnxruntime_run(proto, {name: item[None]}, optimize=optimize)[0] for item in samples])


def test_a_network_on_many_samples(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    proto, images = models.tiny_cnn(), models.images(rng, 7)
    expected = _each(proto, "image", images)
    monkeypatch.setattr(reference, "_TURN_ELEMENTS", 3 * 4 * 8 * 8)
    got = Reference(_load(proto)).run({"image": images})
    assert list(got) == ["logits"]
    np.testing.assert_allclose(got["logits"], expected, rtol=1e-4, atol=1e-5)


def test_kept_values(rng: np.random.Generator) -> None:
    run = Reference(_load(models.tiny_cnn())).run
    images = models.images(rng, 3)
    kept = run({"image": images}, keep=["pool", "image", "logits"])
    assert list(kept) == ["pool", "image", "logits"]
    assert kept["pool"].shape == (3, 4, 4, 4)
    np.testing.assert_array_equal(kept["image"], images)
    np.testing.assert_array_equal(kept["logits"], run({"image": images})["logits"])


def _mixed() -> onnx.ModelProto:
    """uint8 NHWC image -> Transpose -> int8 Conv with Relu -> other parameters -> float Tanh -> uint8."""
    rng = np.random.default_rng(3)
    weights = {
        "x.scale": np.float32(1 / 255),
        "x.zero": np.uint8(0),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "w.scale": rng.uniform(0.001, 0.01, 4).astype(np.float32),
        "w.zero": np.zeros(4, np.int8),
        "c.scale": np.float32(0.013),
        "c.zero": np.int8(-100),
        "d.scale": np.float32(0.0217),
        "d.zero": np.int8(-7),
        "y.scale": np.float32(1 / 256),
        "y.zero": np.uint8(0),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["moved"], perm=[0, 3, 1, 2], name="move"),
        node("DequantizeLinear", ["moved", "x.scale", "x.zero"], ["real"], name="dq_x"),
        node("DequantizeLinear", ["w", "w.scale", "w.zero"], ["kernel"], axis=0, name="dq_w"),
        node("Conv", ["real", "kernel"], ["conv"], pads=[1, 1, 1, 1], name="conv"),
        node("Relu", ["conv"], ["relu"], name="relu"),
        node("QuantizeLinear", ["relu", "c.scale", "c.zero"], ["c"], name="q_c"),
        node("DequantizeLinear", ["c", "c.scale", "c.zero"], ["c.real"], name="dq_c"),
        node("QuantizeLinear", ["c.real", "d.scale", "d.zero"], ["d"], name="q_d"),
        node("DequantizeLinear", ["d", "d.scale", "d.zero"], ["d.real"], name="dq_d"),
        node("Tanh", ["d.real"], ["tanh"], name="tanh"),
        node("Sigmoid", ["tanh"], ["sigmoid"], name="sigmoid"),
        node("QuantizeLinear", ["sigmoid", "y.scale", "y.zero"], ["y"], name="q_y"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 6, 6, 3])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 4, 6, 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def test_integer_float_and_raw_units(rng: np.random.Generator) -> None:
    proto = _mixed()
    model = _load(proto)
    kinds = {step.unit.kind for step in Reference(model)._steps}
    assert kinds == {"raw", "integer", "dequantize", "float", "quantize"}
    x = rng.integers(0, 256, (5, 6, 6, 3)).astype(np.uint8)
    got = Reference(model).run({"x": x}, keep=["moved", "c", "d", "y"])
    np.testing.assert_array_equal(got["moved"], x.transpose(0, 3, 1, 2))
    assert (got["c"].dtype, got["d"].dtype, got["y"].dtype) == (np.int8, np.int8, np.uint8)
    assert got["c"].min() == -100
    want = _each(proto, "x", x, optimize=False)
    difference = np.abs(got["y"].astype(int) - want.astype(int))
    assert len(np.unique(want)) > 20
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.01


def test_the_requantization_is_read_in_the_model(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    q = QParams.per_tensor(0.05, 0, "int8")
    operands = [Operand(rng.integers(-128, 128, (1, 8)).astype(np.int8), q) for _ in range(2)]
    proto = qdq_model("Mul", operands, q)
    seen: list[str] = []

    def spy(acc: np.ndarray, how: object, ties: object) -> np.ndarray:
        seen.append(type(how).__name__)
        return scale_accumulator(acc, how, ties)  # type: ignore[arg-type]

    monkeypatch.setattr("microlith.quant.integer_elementwise.scale_accumulator", spy)
    for mode, used in (("float", "FloatRequant"), ("fixed", "FixedRequant")):
        model = _load(proto)
        set_requantization(model, mode)  # type: ignore[arg-type]
        Reference(model).run({"in0": operands[0].values, "in1": operands[1].values})
        assert seen.pop() == used


def test_samples_that_must_not_be_stacked(rng: np.random.Generator) -> None:
    """Axis 0 is moved, softmaxed over and broadcast against; each sample still is its own."""
    node = helper.make_node
    nodes = [
        node("Reshape", ["x", "shape"], ["square"], name="square"),
        node("Transpose", ["square"], ["turned"], perm=[1, 0], name="turned"),
        node("Softmax", ["turned"], ["soft"], axis=0, name="soft"),
        node("MatMul", ["square", "soft"], ["product"], name="product"),
        node("ReduceMean", ["product"], ["mean"], axes=[0], keepdims=1, name="mean"),
        node("Add", ["mean", "x"], ["y"], name="sum"),
    ]
    proto = models.make_model(nodes, {"x": [1, 3, 4]}, {"y": [1, 3, 4]}, {"shape": np.array([4, 3])}, opset=13)
    del proto.graph.node[5:]
    proto.graph.node.extend([node("Unsqueeze", ["mean", "axis"], ["y"], name="last")])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), "axis"))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 4]))
    x = rng.normal(size=(5, 3, 4)).astype(np.float32)
    got = Reference(_load(proto)).run({"x": x})["y"]
    np.testing.assert_allclose(got, _each(proto, "x", x), rtol=1e-5)


def test_values_that_no_sample_changes(rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Relu", ["c"], ["still"], name="still"),
        helper.make_node("Add", ["x", "still"], ["y"], name="sum"),
    ]
    constant = np.array([[-1.0, 2.0]], np.float32)
    model = _load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"c": constant}))
    x = rng.normal(size=(3, 2)).astype(np.float32)
    got = Reference(model).run({"x": x}, keep=["still", "y"])
    assert got["still"].tolist() == [[0.0, 2.0]]
    np.testing.assert_array_equal(got["y"], x + np.array([0.0, 2.0], np.float32))


def test_an_input_without_an_axis_of_samples(rng: np.random.Generator) -> None:
    model = _load(models.make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [3, 2]}, {"y": [3, 2]}))
    x = rng.normal(size=(3, 2)).astype(np.float32)
    np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], np.maximum(x, 0))
    with pytest.raises(InputError, match=r"shape \(6, 2\), expected \(3, 2\)"):
        Reference(model).run({"x": np.zeros((6, 2), np.float32)})


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, r"\[\] were given"),
        ({"image": np.zeros((2, 3, 8, 7), np.float32)}, r"expected \(samples, 3, 8, 8\)"),
        ({"image": np.zeros((0, 3, 8, 8), np.float32)}, r"expected \(samples, 3, 8, 8\)"),
        ({"image": np.zeros((1, 3, 8, 8), np.complex64)}, "complex64"),
    ],
)
def test_feeds_that_do_not_fit(feeds: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Reference(_load(models.tiny_cnn())).run(feeds)


def test_floats_are_not_taken_for_integers() -> None:
    with pytest.raises(InputError, match="float32, expected uint8"):
        Reference(_load(_mixed())).run({"x": np.zeros((1, 6, 6, 3), np.float32)})


def test_inputs_must_agree_on_the_samples() -> None:
    model = _load(models.one_node("Add", {"a": [1, 2], "b": [1, 2]}, {"y": [1, 2]}))
    with pytest.raises(InputError, match="3 samples where another has 2"):
        Reference(model).run({"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 2), np.float32)})


def test_values_within_a_unit_cannot_be_kept(rng: np.random.Generator) -> None:
    x = rng.integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)
    with pytest.raises(InputError, match="'conv'"):
        Reference(_load(_mixed())).run({"x": x}, keep=["conv"])


def test_an_op_without_an_integer_form_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _load(_mixed())
    node = next(node for node in model.graph if node.op_type == "Conv")
    monkeypatch.setattr(node, "op_type", "LSTM")
    with pytest.raises(UnsupportedError, match="op LSTM of node conv"):
        Reference(model)


def test_memory_does_not_grow_with_depth() -> None:
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"relu{i}") for i in range(30)]
    model = _load(models.make_model(nodes, {"v0": [1, 1 << 20]}, {"v30": [1, 1 << 20]}))
    run, x = Reference(model).run, np.zeros((1, 1 << 20), np.float32)
    tracemalloc.start()
    try:
        run({"v0": x})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * x.nbytes
