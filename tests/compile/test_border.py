"""QuantizeLinear and DequantizeLinear that no integer op takes up: C against the reference and ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import compiled
from microlith.compile.lower import lower
from microlith.core.errors import UnsupportedError
from microlith.device.load import device
from microlith.quant.types import LIMITS, held
from oracles import onnxruntime_run

SHAPE = (1, 3, 4, 5)
TYPES = {
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "int32": TensorProto.INT32,
}
CASES = [
    (op, dtype, axis)
    for op in ("QuantizeLinear", "DequantizeLinear")
    for dtype in TYPES
    for axis in (None, 1, -1)
    if (op, dtype) != ("QuantizeLinear", "int32")
]


def _name(case: tuple[str, str, int | None]) -> str:
    op, dtype, axis = case
    return f"{op}_{dtype}_{'tensor' if axis is None else axis % 4}".lower()


def _model(op: str, dtype: str, axis: int | None, after: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    rng = np.random.default_rng(5)
    count = () if axis is None else (SHAPE[axis],)
    low, high = LIMITS[dtype]
    zero = np.zeros(count) if dtype == "int32" else rng.integers(max(low, -50), 50, count)
    zero = np.asarray(zero).clip(low, high)
    scale = np.asarray(rng.uniform(0.002, 0.05, count) * (10 if high < 16 else 1), np.float32)
    given, made = (TensorProto.FLOAT, TYPES[dtype]) if op == "QuantizeLinear" else (TYPES[dtype], TensorProto.FLOAT)
    attributes = {} if axis is None else {"axis": axis}
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "scale", "zero"], ["y"], name="border", **attributes), *after],
        "graph",
        [helper.make_tensor_value_info("x", given, SHAPE)],
        [helper.make_tensor_value_info(after[-1].output[0] if after else "y", made, SHAPE)],
        [
            numpy_helper.from_array(scale, "scale"),
            helper.make_tensor("zero", TYPES[dtype], zero.shape, zero.astype(int).reshape(-1)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _feeds(op: str, dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    if op == "QuantizeLinear":
        return {"x": rng.normal(0, 3, SHAPE).astype(np.float32)}
    return {"x": rng.integers(*LIMITS[dtype], SHAPE, endpoint=True).astype(held(dtype))}


def _in_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with int8 for int4 outside, in place of what NumPy and ONNX Runtime cannot exchange."""
    wider = {TensorProto.INT4: TensorProto.INT8, TensorProto.UINT4: TensorProto.UINT8}
    nodes = list(model.graph.node)
    for value, ends in ((model.graph.input[0], "input"), (model.graph.output[0], "output")):
        number = value.type.tensor_type.elem_type
        if number not in wider:
            continue
        value.type.tensor_type.elem_type = wider[number]
        inner = f"{value.name}_4"
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [inner if name == value.name else name for name in names]
        if ends == "input":
            nodes.insert(0, helper.make_node("Cast", [value.name], [inner], to=number))
        else:
            nodes.append(helper.make_node("Cast", [inner], [value.name], to=wider[number]))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return model


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    host = device("host").model_copy(update={"isas": ("portable",)})
    graphs = {_name(case): compiled.prepared(_model(*case)) for case in CASES}
    return compiled.Library(tmp_path_factory.mktemp("border"), graphs, host)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_c_equals_the_reference_and_onnxruntime(case: tuple[str, str, int | None], library: compiled.Library) -> None:
    op, dtype, _ = case
    feeds = _feeds(op, dtype, np.random.default_rng(6))
    (result,) = library.run(_name(case), feeds)
    (expected,) = compiled.reference(library.members[_name(case)].graph, feeds)
    assert np.unique(result).size > 5
    assert {result.min(), result.max()} == set(LIMITS[dtype]) or op == "DequantizeLinear" or "4" not in dtype
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(result, onnxruntime_run(_in_bytes(_model(*case)), feeds)[0])


def test_an_integer_op_takes_one_scale_for_a_tensor() -> None:
    after = (
        helper.make_node("Relu", ["y"], ["positive"], name="relu"),
        helper.make_node("QuantizeLinear", ["positive", "scale", "zero"], ["z"], name="back", axis=1),
    )
    model = _model("DequantizeLinear", "int8", 1, after[:1])
    model.graph.node.append(after[1])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.INT8, SHAPE))
    with pytest.raises(UnsupportedError, match="a scale for each channel"):
        lower(compiled.prepared(model), "net")
