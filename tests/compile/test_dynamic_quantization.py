"""Layers that quantize their activations while they run: C against the reference and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import compiled
import models
from microlith.compile.pipeline import compile_graph
from microlith.core.errors import UnsupportedError
from microlith.device.load import device
from oracles import onnxruntime_run

RNG = np.random.default_rng(5)
X = ["x_q", "x_scale", "x_zero"]


def _weights(shape: tuple[int, ...], dtype: type = np.int8) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def _layer(op: str, shape: tuple[int, ...], out: tuple[int, ...], weights: np.ndarray, zero: np.ndarray, **attributes):
    """As quantizers write a layer: quantized input, integer product, and the scales of both behind it."""
    per_output = (1, -1, *(1,) * (len(out) - 2)) if op == "ConvInteger" else (-1,)
    count = out[1] if op == "ConvInteger" else out[-1]
    constants = {
        "w": weights,
        "w_zero": zero,
        "w_scale": RNG.uniform(0.001, 0.01, zero.size).astype(np.float32).reshape(per_output if zero.ndim else ()),
        "bias": RNG.standard_normal(count).astype(np.float32).reshape(per_output),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], X, name="quantize"),
        helper.make_node(op, ["x_q", "w", "x_zero", "w_zero"], ["sums"], name="product", **attributes),
        helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Mul", ["x_scale", "w_scale"], ["scale"], name="scale"),
        helper.make_node("Mul", ["real", "scale"], ["scaled"], name="scaled"),
        helper.make_node("Add", ["scaled", "bias"], ["y"], name="add"),
    ]
    return models.make_model(nodes, {"x": shape}, {"y": out}, constants)


def _all_models() -> dict[str, onnx.ModelProto]:
    none = np.zeros((), np.int8)
    return {
        "rows": _layer("MatMulInteger", (1, 5, 40), (1, 5, 9), _weights((40, 9)), none),
        "by_column": _layer("MatMulInteger", (3, 21), (3, 6), _weights((21, 6)), _weights((6,))),
        "of_uint8": _layer(
            "MatMulInteger", (2, 30), (2, 4), _weights((30, 4), np.uint8), np.array(117, np.uint8)
        ),
        "image": _layer(
            "ConvInteger", (1, 3, 9, 8), (1, 5, 5, 8), _weights((5, 3, 3, 3)), none, pads=[1] * 4, strides=[2, 1]
        ),
        "groups": _layer("ConvInteger", (1, 4, 6, 6), (1, 8, 4, 4), _weights((8, 2, 3, 3)), none, group=2),
        "sequence": _layer(
            "ConvInteger", (1, 4, 12), (1, 3, 10), _weights((3, 4, 3), np.uint8), np.array(128, np.uint8)
        ),
    }  # fmt: skip


MODELS = _all_models()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    """All models, for a host without extensions, with checks for undefined behaviour."""
    host = device("host").model_copy(update={"isas": ("portable",)})
    graphs = {name: compiled.prepared(model) for name, model in MODELS.items()}
    return compiled.Library(tmp_path_factory.mktemp("dynamic"), graphs, host)


@pytest.mark.parametrize("name", MODELS)
def test_c_equals_the_reference_and_onnxruntime(library: compiled.Library, name: str) -> None:
    shape = [item.dim_value for item in MODELS[name].graph.input[0].type.tensor_type.shape.dim]
    for low, high in ((-2, 3), (0.5, 4), (0, 0)):
        feeds = {"x": RNG.uniform(low, high, shape).astype(np.float32)}
        (found,) = library.run(name, feeds)
        (wanted,) = compiled.reference(library.members[name].graph, feeds)
        np.testing.assert_array_equal(found, wanted)
        oracle = onnxruntime_run(MODELS[name], feeds)[0]
        np.testing.assert_allclose(found, oracle, rtol=0, atol=1e-5 * np.abs(oracle).max())


def test_nothing_but_the_scales_is_computed_in_float(library: compiled.Library) -> None:
    ops = {node.op_type for node in library.members["rows"].graph.graph}
    assert ops == {"DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Add"}


def test_a_product_of_two_computed_operands_is_refused_with_what_to_do() -> None:
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"], name="product")
    kinds = {"a": TensorProto.UINT8, "b": TensorProto.INT8}
    values = [helper.make_tensor_value_info(name, kind, [4, 4]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.INT32, [4, 4])
    graph = helper.make_graph([node], "net", values, [output])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(UnsupportedError, match="constant weights") as caught:
        compile_graph(compiled.prepared(proto), device("host"), name="net")
    assert caught.value.hint is not None
