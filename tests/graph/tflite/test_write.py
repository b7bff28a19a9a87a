from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert import schema_py_generated as generated
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import elementwise_models
import models
import neural_models
import op_models
import qdq_models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.load import load_bytes
from microlith.graph.metadata import requantization
from microlith.graph.model_file import save_model
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.state import State, set_states
from microlith.graph.tflite.model import Graph, parse_tflite
from microlith.graph.tflite.read import onnx_of_tflite
from microlith.graph.tflite.write import HANDLERS, tflite_of_model
from microlith.quant.schemes import Scheme
from tflite_checks import inputs_of
from tflite_models import Oracle
from tflite_networks import int8_network

Arrays = list[np.ndarray]

# LiteRT's kernels of these round ties by the place of an element, or otherwise than `fixed` does: groups, channels that
# do not fill eight, TRANSPOSE_CONV, BATCH_MATMUL, SUM, and a QUANTIZE of what does not fill sixteen.
WITHIN_A_QUANTUM = {
    *("conv_grouped", "depthwise", "depthwise_twice", "depthwise_large"),
    *("conv_transpose", "conv_transpose_same", "conv_transpose_padded", "conv_transpose_row"),
    *("matmul_left", "matmul_stack", "matmul_broadcast", "einsum_stack", "einsum_heads", "gemm_computed"),
    *("sum_channels", "sum_apart", "concat", "concat_rows", "extremes", "choice"),
    *("average_pool", "average_pool_padded", "average_pool_row"),
}
REFUSED = {
    "hard_sigmoid", "batch_norm", "prelu", "prelu_one", "functions", "functions_unit", "functions_above",
    "conv_transpose_dilated", "matmul_vector", "matmul_by_vector",
}  # fmt: skip
REFUSED_IN_FLOAT = {
    "functions",
    "functions_unit",
    "functions_above",
    "conv_transpose_dilated",
    "matmul_vector",
    "matmul_by_vector",
}


@lru_cache(maxsize=1)
def protos() -> dict[str, onnx.ModelProto]:
    further = elementwise_models.quantizable_models() | neural_models.quantizable_models()
    return op_models.all_models() | further


def quantized(proto: onnx.ModelProto, scheme: Scheme | None = None) -> ir.Model:
    graph, rng = load_bytes(proto.SerializeToString(), "m"), np.random.default_rng(0)
    run_passes(graph, DEFAULT_PASSES)
    feeds = [inputs_of(graph, rng) for _ in range(2)]
    return compiled.quantized(graph, feeds, "fixed", scheme or Scheme(calibration="minmax"))


def graph_of(content: bytes) -> Graph:
    return parse_tflite(content, "the file").graph(0)


def operators(content: bytes) -> Counter[str]:
    return Counter(item.name for item in graph_of(content).operators)


def three_ways(model: ir.Model, content: bytes, turns: int = 1) -> tuple[Arrays, Arrays, Arrays]:
    """What the graph computes, what the file does when it is read back, and what LiteRT makes of the file."""
    again = load_bytes(onnx_of_tflite(content, "the file").SerializeToString(), "again")
    before, after, oracle = Reference(model), Reference(again), Oracle(content)
    rng, found = np.random.default_rng(3), ([], [], [])
    for _ in range(turns):
        feeds = inputs_of(model, rng)
        results = oracle.run(*feeds.values())
        found[2].extend(results)
        for place, reference in enumerate((before, after)):
            arrays = reference.run(feeds).values()
            found[place].extend(x.reshape(y.shape) for x, y in zip(arrays, results, strict=True))
    return found


def check(name: str, model: ir.Model) -> tuple[str, ...]:
    """The remarks, after everything that may not differ was found not to."""
    file = tflite_of_model(model)
    before, after, runtime = three_ways(model, file.content)
    for wanted, again, found in zip(before, after, runtime, strict=True):
        if wanted.dtype == np.float32:
            np.testing.assert_allclose(again, wanted, rtol=1e-4, atol=1e-4, err_msg=name)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=name)
            continue
        if not file.remarks:
            np.testing.assert_array_equal(again, wanted, err_msg=name)
        difference = np.abs(found.astype(np.int64) - again)
        assert difference.max() <= (1 if name in WITHIN_A_QUANTUM else 0), name
    return file.remarks


def test_quantized_models_have_the_same_integers_in_the_file_and_in_litert() -> None:
    refused, remarks = set(), set()
    for name, proto in protos().items():
        model = quantized(proto)
        try:
            if check(name, model):
                remarks.add(name)
        except UnsupportedError as error:
            refused.add(name if error.node else f"{name}, which is not said")
    assert refused == REFUSED
    assert remarks == {"average_pool", "average_pool_padded", "average_pool_row", "concat", "concat_rows", "extremes", "choice"}  # fmt: skip # noqa: E501


def test_float_models_compute_the_same() -> None:
    refused = set()
    for name, proto in protos().items():
        try:
            assert check(name, load_bytes(proto.SerializeToString(), name)) == ()
        except UnsupportedError as error:
            refused.add(name if error.node else f"{name}, which is not said")
    assert refused == REFUSED_IN_FLOAT


@pytest.mark.parametrize("name", ["attention", "branches", "residual"])
def test_networks(name: str) -> None:
    model = qdq_models.ALL[name]()
    feeds = qdq_models.samples(model, 4)
    batches = [{key: array[i : i + 1] for key, array in feeds.items()} for i in range(4)]
    check(name, compiled.quantized(model, batches, "fixed"))


def test_a_file_that_was_read_is_written_as_it_was() -> None:
    content = int8_network(np.random.default_rng(5))
    model = load_bytes(onnx_of_tflite(content, "net").SerializeToString(), "net")
    file = tflite_of_model(model)
    assert (file.remarks, operators(file.content)) == ((), operators(content))
    feeds = inputs_of(model, np.random.default_rng(0))
    for one, other in zip(Oracle(content).run(*feeds.values()), Oracle(file.content).run(*feeds.values()), strict=True):
        np.testing.assert_array_equal(one, other)
    names = {tensor.name for tensor in graph_of(file.content).tensors}
    assert {"image", "conv/relu6;conv/bias", "pointwise", "scores"} <= names


def test_the_same_model_is_the_same_bytes_and_is_not_changed() -> None:
    model = quantized(models.tiny_cnn())
    before = ir.to_proto(model).SerializeToString()
    assert tflite_of_model(model).content == tflite_of_model(model).content
    assert ir.to_proto(model).SerializeToString() == before


def test_what_the_schema_asks_for() -> None:
    content = tflite_of_model(quantized(models.tiny_cnn())).content
    assert content[4:8] == b"TFL3"
    model = generated.Model.GetRootAsModel(content, 0)
    assert (model.Version(), model.Description()) == (3, b"microlith")
    assert model.Buffers(0).DataLength() == 0
    assert model.BuffersLength() > 1
    for number in range(1, model.BuffersLength()):
        table = model.Buffers(number)._tab
        assert table.Vector(table.Offset(4)) % 16 == 0
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    assert all(code.BuiltinCode() == code.DeprecatedBuiltinCode() for code in codes)


def image_net(shape: tuple[int, ...] = (1, 3, 8, 8)) -> onnx.ModelProto:
    """Convolutions and a pool, flattened for a layer."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 4,
        "f": rng.normal(size=(128, 4)).astype(np.float32) / 8,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "a", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "b"),
        helper.make_node("MaxPool", ["b"], ["c"], "c", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "v"], ["d"], "d", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "d"], ["e"], "e"),
        helper.make_node("Flatten", ["e"], ["g"], "g"),
        helper.make_node("MatMul", ["g", "f"], ["y"], "y"),
    ]
    return models.make_model(nodes, {"x": list(shape)}, {"y": [1, 4]}, weights)


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_one_transpose_stands_at_the_border_and_none_inside(kind: str) -> None:
    proto = image_net()
    model = quantized(proto) if kind == "int8" else load_bytes(proto.SerializeToString(), "m")
    file = tflite_of_model(model)
    assert operators(file.content) == {
        "TRANSPOSE": 1, "CONV_2D": 2, "MAX_POOL_2D": 1, "ADD": 1, "RESHAPE": 1, "FULLY_CONNECTED": 1,
    }  # fmt: skip
    assert graph_of(file.content).operators[0].name == "TRANSPOSE"
    assert check("image_net", model) == ()


@pytest.mark.parametrize("activations", ["int8", "uint8"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_schemes(activations: str, symmetric: bool) -> None:
    scheme = Scheme(activations=activations, symmetric=symmetric, per_channel=symmetric)
    model = quantized(image_net(), scheme)
    assert check("schemes", model) == ()
    first = graph_of(tflite_of_model(model).content)
    assert first.tensors[first.inputs[0]].dtype == activations


def wide(mode: str) -> ir.Model:
    """int16 activations and int8 weights."""
    graph, rng = load_bytes(models.tiny_cnn().SerializeToString(), "m"), np.random.default_rng(0)
    run_passes(graph, DEFAULT_PASSES)
    feeds = [inputs_of(graph, rng) for _ in range(2)]
    scheme = Scheme(activations="int16", symmetric=True, calibration="minmax")
    return compiled.quantized(graph, feeds, mode, scheme)


def test_activations_of_16_bits() -> None:
    model = wide("float")
    content = tflite_of_model(model).content
    graph = graph_of(content)
    assert {item.dtype for item in graph.tensors if item.qparams is not None} == {"int16", "int8", "int64"}
    reference, oracle, rng = Reference(model), Oracle(content), np.random.default_rng(3)
    for _ in range(3):
        feeds = {name: array // 4 for name, array in inputs_of(model, rng).items()}
        (found,), (wanted,) = oracle.run(*feeds.values()), reference.run(feeds).values()
        assert np.ptp(wanted) > 1000
        assert np.abs(found.astype(np.int64) - wanted).max() <= 2


def test_activations_of_16_bits_have_no_zero_points() -> None:
    model = wide("float")
    for value in model.graph.initializers.values():
        if value.dtype == ir.DataType.INT16:
            value.const_value = ir.tensor(np.full(value.const_value.numpy().shape, 3, np.int16), name=value.name)
    with pytest.raises(UnsupportedError, match="zero points of 0") as caught:
        tflite_of_model(model)
    assert caught.value.node


def test_float_requantization_is_remarked() -> None:
    proto = image_net()
    graph, rng = compiled.prepared(proto), np.random.default_rng(0)
    model = compiled.quantized(graph, [inputs_of(graph, rng) for _ in range(4)], "float")
    (remark,) = tflite_of_model(model).remarks
    assert "fixed point" in remark
    assert requantization(model) == "float"


def test_weights_with_zero_points_are_refused() -> None:
    model = quantized(image_net())
    for value in model.graph.initializers.values():
        if value.dtype == ir.DataType.INT8 and value.name.startswith("w") and value.const_value.size <= 8:
            array = np.full(value.const_value.numpy().shape, 3, np.int8)
            value.const_value = ir.tensor(array, name=value.name)
    with pytest.raises(UnsupportedError, match="zero points other than 0"):
        tflite_of_model(model)


def test_state_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "h"], ["k"], "k")]
    model = load_bytes(models.make_model(nodes, {"x": [1, 4], "h": [1, 4]}, {"k": [1, 4]}, {}).SerializeToString(), "m")
    set_states(model, [State("h", "k")])
    with pytest.raises(UnsupportedError, match="keeps state"):
        tflite_of_model(model)


def test_the_name_of_the_file_decides(tmp_path) -> None:
    model = quantized(models.tiny_cnn())
    assert save_model(model, tmp_path / "m.tflite") == ()
    assert (tmp_path / "m.tflite").read_bytes() == tflite_of_model(model).content
    with pytest.raises(InputError, match="is no ONNX file"):
        save_model(model, tmp_path / "m.tflite", 17)


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """A few layers over an image of any size, with any padding that ONNX can state."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
    channels, size = 8, draw(st.integers(5, 11))
    nodes, weights, value, at = [], {}, "x", size
    for index in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["Conv", "depthwise", "MaxPool", "Add", "Relu"]))
        name = f"n{index}"
        window = draw(st.integers(1, min(3, at)))
        stride = draw(st.integers(1, 2))
        before, after = (draw(st.integers(0, window - 1)) for _ in range(2))
        spatial = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [before, before, after, after]}
        if kind in ("Conv", "depthwise"):
            groups = channels if kind == "depthwise" else 1
            weights[f"w{index}"] = rng.normal(size=(channels, channels // groups, window, window)).astype(np.float32)
            weights[f"b{index}"] = rng.normal(size=channels).astype(np.float32)
            nodes.append(
                helper.make_node("Conv", [value, f"w{index}", f"b{index}"], [name], name, group=groups, **spatial)
            )
        elif kind == "MaxPool":
            nodes.append(helper.make_node("MaxPool", [value], [name], name, **spatial))
        elif kind == "Add":
            weights[f"c{index}"] = rng.normal(size=(channels, 1, 1)).astype(np.float32)
            nodes.append(helper.make_node("Add", [value, f"c{index}"], [name], name))
        else:
            nodes.append(helper.make_node("Relu", [value], [name], name))
        value = name
        if kind in ("Conv", "depthwise", "MaxPool"):
            at = (at + before + after - window) // stride + 1
    return models.make_model(nodes, {"x": [1, channels, size, size]}, {value: [1, channels, at, at]}, weights)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(chains())
def test_any_padding(proto: onnx.ModelProto) -> None:
    check("chain", quantized(proto))


def test_every_handler_is_of_an_op_that_is_known() -> None:
    from microlith.ops import OPS

    assert set(HANDLERS) <= {*OPS, "Identity"}
