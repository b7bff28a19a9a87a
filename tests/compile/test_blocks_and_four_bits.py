"""Weights of 4 bits, and a scale for each block: C against the reference and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import compiled
from microlith.device.load import device
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.verifier import verify
from microlith.quant.types import LIMITS
from oracles import onnxruntime_run

FLOAT = TensorProto.FLOAT
NUMBERS = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4, "int8": TensorProto.INT8, "int16": TensorProto.INT16}
RNG = np.random.default_rng


def _integers(name: str, values: np.ndarray, dtype: str) -> onnx.TensorProto:
    return helper.make_tensor(name, NUMBERS[dtype], values.shape, values.astype(int).reshape(-1))


def _parameters(name: str, dtype: str, shape: tuple[int, ...], seed: int = 1) -> list[onnx.TensorProto]:
    rng, (low, high) = RNG(seed), LIMITS[dtype]
    zeros = rng.integers(max(low, -40), min(high, 40), shape, endpoint=True)
    scale = rng.uniform(0.02, 0.2, shape).astype(np.float32)
    return [
        numpy_helper.from_array(np.asarray(scale), f"{name}_scale"),
        _integers(f"{name}_zero", np.asarray(zeros), dtype),
    ]


def _weights(dtype: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    return _integers("w", RNG(2).integers(*LIMITS[dtype], shape, endpoint=True), dtype)


def _model(
    nodes: list[onnx.NodeProto],
    x: tuple[int, tuple[int, ...]],
    y: int,
    constants: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", y, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return model


def _of(op: str, name: str, out: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(op, [name, f"{name}_scale", f"{name}_zero"], [out], name=f"{op}_{name}", **attributes)


def _weight_only_conv() -> onnx.ModelProto:
    nodes = [_of("DequantizeLinear", "w", "wf", axis=0), helper.make_node("Conv", ["x", "wf"], ["y"])]
    constants = [_weights("int4", (4, 3, 3, 3)), *_parameters("w", "int4", (4,))]
    return _model(nodes, (FLOAT, (1, 3, 6, 5)), FLOAT, constants)


def _weight_only_product(block: int) -> onnx.ModelProto:
    """Rows of 10 by weights in blocks along the depth; the last block is short where 10 is no multiple."""
    nodes = [
        _of("DequantizeLinear", "w", "wf", axis=0, block_size=block),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ]
    constants = [_weights("uint4", (10, 6)), *_parameters("w", "uint4", (-(-10 // block), 6))]
    return _model(nodes, (FLOAT, (1, 10)), FLOAT, constants)


def _integer_conv(dtype: str, count: tuple[int, ...]) -> onnx.ModelProto:
    nodes = [
        _of("DequantizeLinear", "x", "xf"),
        _of("DequantizeLinear", "w", "wf", axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["c"], name="conv"),
        _of("QuantizeLinear", "c", "y"),
    ]
    constants = [_weights(dtype, (4, 3, 3, 3)), *_parameters("w", dtype, count), *_parameters("x", "int8", (), 3)]
    scale = numpy_helper.from_array(np.float32(0.9), "c_scale")
    return _model(
        nodes,
        (TensorProto.INT8, (1, 3, 6, 5)),
        TensorProto.INT8,
        [*constants, scale, _integers("c_zero", np.array(3), "int8")],
    )


def _border(op: str, dtype: str, block: int) -> onnx.ModelProto:
    given, made = (FLOAT, NUMBERS[dtype]) if op == "QuantizeLinear" else (NUMBERS[dtype], FLOAT)
    constants = _parameters("x", dtype, (1, 3, -(-7 // block), 4))
    return _model([_of(op, "x", "y", axis=2, block_size=block)], (given, (1, 3, 7, 4)), made, constants)


def _there_and_back(dtype: str) -> onnx.ModelProto:
    """4 bits that are moved between QuantizeLinear and DequantizeLinear, in blocks that divide the axis."""
    nodes = [
        _of("QuantizeLinear", "x", "q", axis=2, block_size=3),
        helper.make_node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
        _of("DequantizeLinear", "t", "y", axis=1, block_size=3),
    ]
    constants = [*_parameters("x", dtype, (1, 5, 2)), *_parameters("t", dtype, (1, 2, 5))]
    return _model(nodes, (FLOAT, (1, 5, 6)), FLOAT, constants)


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "weight_only_conv": _weight_only_conv,
    "weight_only_blocks_of_5": lambda: _weight_only_product(5),
    "weight_only_blocks_of_4": lambda: _weight_only_product(4),
    "integer_conv_int4": lambda: _integer_conv("int4", (4,)),
    "integer_conv_uint4": lambda: _integer_conv("uint4", ()),
    "quantize_blocks_int8": lambda: _border("QuantizeLinear", "int8", 3),
    "quantize_blocks_int16": lambda: _border("QuantizeLinear", "int16", 7),
    "dequantize_blocks_int8": lambda: _border("DequantizeLinear", "int8", 3),
    "dequantize_blocks_int16": lambda: _border("DequantizeLinear", "int16", 7),
    "there_and_back_int4": lambda: _there_and_back("int4"),
    "there_and_back_uint4": lambda: _there_and_back("uint4"),
}
ROUNDED = ("weight_only",)
"""Of which sums are formed in another order."""


def _loaded(name: str) -> ir.Model:
    graph = load_bytes(MODELS[name]().SerializeToString(), name)
    run_passes(graph, DEFAULT_PASSES, verify=True)
    return graph


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    host = device("host").model_copy(update={"isas": ("portable",)})
    return compiled.Library(tmp_path_factory.mktemp("blocks"), {name: _loaded(name) for name in MODELS}, host)


@pytest.mark.parametrize("name", MODELS)
def test_c_equals_the_reference_and_onnxruntime(name: str, library: compiled.Library) -> None:
    model = MODELS[name]()
    kind = model.graph.input[0].type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)
    rng = RNG(4)
    x = rng.normal(0, 2, shape) if kind.elem_type == FLOAT else rng.integers(-128, 128, shape)
    feeds = {"x": x.astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))}
    (result,) = library.run(name, feeds)
    (expected,) = compiled.reference(library.members[name].graph, feeds)
    (outside,) = onnxruntime_run(model, feeds, optimize=not name.startswith("integer"))
    assert np.unique(result).size > 5
    if name.startswith(ROUNDED):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(result, outside, rtol=0, atol=1e-5)
    else:
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(result, outside)


def test_a_constant_in_blocks_is_folded_and_other_weights_stay_as_they_are_stored() -> None:
    assert [node.op_type for node in _loaded("weight_only_blocks_of_4").graph] == ["MatMul"]
    kept = _loaded("integer_conv_int4")
    verify(kept)
    assert kept.graph.initializers["w"].dtype == ir.DataType.INT4


def test_numbers_beyond_4_bits_are_refused() -> None:
    model = _model([_of("DequantizeLinear", "x", "y")], (TensorProto.INT4, (1, 3)), FLOAT, _parameters("x", "int4", ()))
    reference = Reference(load_bytes(model.SerializeToString(), "model"))
    with pytest.raises(Exception, match="holds -9 to 2, its type -8 to 7"):
        reference.run({"x": np.array([[-9, 0, 2]], np.int8)})
