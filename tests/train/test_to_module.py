"""The generated module: names, samples, quantization, what is a parameter."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import models
import qdq_models
import torch_models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.load import load_bytes
from microlith.graph.metadata import io_qparams
from microlith.graph.reference import Reference
from microlith.quant.types import LIMITS
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.fake_quant import FakeQuant
from microlith.train.layers import Layer
from microlith.train.original import original_weights
from microlith.train.to_module import to_module

pytestmark = pytest.mark.train
NUMBERS = {"int4": TensorProto.INT4, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "int16": TensorProto.INT16}


def _cnn() -> ir.Model:
    return load_bytes(models.tiny_cnn().SerializeToString(), "cnn")


def _quantized(name: str, **settings: object) -> ir.Model:
    model = qdq_models.ALL[name]()
    return PTQ(**settings).apply(model, Context(data=lambda: [qdq_models.samples(model, 16)]))


# ---- the module


def test_names_are_those_of_the_graph():
    module = to_module(_cnn())
    assert {name for name, _ in module.named_parameters()} == {
        "stem.weight", "stem.gamma", "stem.beta", "depthwise.weight", "depthwise.bias", "pointwise.weight",
        "pointwise.bias", "fc.weight", "fc.bias",
    }  # fmt: skip
    assert {"stem.mean", "stem.variance"} <= {name for name, _ in module.named_buffers()}
    assert isinstance(module.get_submodule("depthwise"), Layer)
    by_name = {node.meta.get("onnx_name"): node for node in module.graph.nodes}
    assert by_name["residual"].meta["onnx_op"] == "Add"
    assert by_name["fc.weight"].op == "get_attr"
    assert "self.pointwise(" in module.code


def test_names_that_python_cannot_have():
    nodes = [
        helper.make_node("Conv", ["x", "/layer/conv::weight"], ["1"], name="class"),
        helper.make_node("Add", ["1", "forward"], ["def"], name="/layer/conv"),
        helper.make_node("Mul", ["def", "a.b"], ["y"], name="a"),
    ]
    weights = {"/layer/conv::weight": np.ones((2, 3, 1, 1), np.float32), "forward": np.ones((2, 1, 1), np.float32)}
    weights["a.b"] = np.full((2, 1, 1), 2, np.float32)
    model = qdq_models.finish(models.make_model(nodes, {"x": (1, 3, 2, 2)}, {"y": (1, 2, 2, 2)}, weights))
    module = to_module(model)
    assert {name for name, _ in module.named_parameters()} == {"_layer_conv__weight", "forward_", "a.b"}
    assert {"class_", "_layer_conv", "a"} <= {name for name, _ in module.named_modules()}
    np.testing.assert_array_equal(module(torch.ones(1, 3, 2, 2)).detach().numpy(), np.full((1, 2, 2, 2), 8.0))


def test_a_hook_sees_the_result_of_a_node():
    module, seen = to_module(_cnn()), {}
    module.get_submodule("residual").register_forward_hook(lambda layer, given, found: seen.update(found=found))
    module(torch.zeros(2, 3, 8, 8))
    assert seen["found"].shape == (2, 4, 4, 4)


def test_it_can_be_compiled_by_torch(rng):
    model = _cnn()
    module, images = to_module(model), torch.from_numpy(models.images(rng, 3))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), module(images))


def test_samples_whose_axes_are_mixed(rng):
    """As in attention, where the axis of samples moves."""
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["a"], name="a"),
        helper.make_node("Transpose", ["a"], ["b"], name="b", perm=[2, 0, 1, 3]),
        helper.make_node("Gather", ["b", "i"], ["c"], name="c", axis=0),
        helper.make_node("MatMul", ["c", "w"], ["y"], name="y"),
    ]
    weights = {"s": np.array([1, 5, 2, 4]), "i": np.array(1), "w": rng.standard_normal((4, 3)).astype(np.float32)}
    model = qdq_models.finish(models.make_model(nodes, {"x": (1, 5, 8)}, {"y": (1, 5, 3)}, weights))
    given = rng.standard_normal((6, 5, 8)).astype(np.float32)
    expected = Reference(model).run({"x": given})["y"]
    np.testing.assert_allclose(to_module(model)(torch.from_numpy(given)).detach(), expected, rtol=1e-5, atol=1e-6)


def test_scalars_and_statistics_are_no_parameters():
    nodes = [helper.make_node("Mul", ["x", "c"], ["a"], name="a"), helper.make_node("Pow", ["a", "p"], ["y"])]
    weights = {"c": np.float32(0.5), "p": np.full(3, 2, np.float32)}
    module = to_module(qdq_models.finish(models.make_model(nodes, {"x": (1, 3)}, {"y": (1, 3)}, weights)))
    assert list(module.parameters()) == []
    assert {name for name, _ in module.named_buffers()} == {"c", "p"}


def test_the_model_stays_as_it_is():
    model = _cnn()
    before = ir.to_proto(model).SerializeToString()
    module = to_module(model)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_type_that_torch_has_no_arithmetic_for_is_refused():
    proto = models.one_node("Add", {"a": (1, 4), "b": (1, 4)}, {"y": (1, 4)}, elem_type=TensorProto.UINT16)
    with pytest.raises(UnsupportedError, match="UINT16, and torch computes nothing with it"):
        to_module(qdq_models.finish(proto))


# ---- BatchNormalization and dropout


def test_batch_norm_learns_statistics_in_training_mode_and_keeps_them_when_frozen(rng):
    images = torch.from_numpy(models.images(rng, 8))
    for mode, moves in (("train", True), ("frozen", False)):
        module = to_module(_cnn(), batch_norm=mode).train()
        before = module.get_buffer("stem.mean").clone()
        module(images)
        assert bool((module.get_buffer("stem.mean") != before).any()) is moves


def test_dropout_is_active_in_training_mode_alone(rng):
    images = torch.from_numpy(models.images(rng, 4))
    module = to_module(_cnn(), batch_norm="frozen", dropout={"features": 0.5})
    plain = to_module(_cnn())
    torch.testing.assert_close(module(images), plain(images), rtol=0, atol=0)
    assert (module.train()(images) != plain(images)).any()
    with pytest.raises(InputError, match="dropout is asked for after 'nothing'"):
        to_module(_cnn(), dropout={"nothing": 0.5})


# ---- quantization


def _stored(name: str, values: np.ndarray, dtype: str) -> onnx.TensorProto:
    return helper.make_tensor(name, NUMBERS[dtype], values.shape, values.astype(int).reshape(-1))


def _pair(dtype: str, shape: tuple[int, ...], scale: np.ndarray, **attributes: int) -> ir.Model:
    rng = np.random.default_rng(3)
    zero = rng.integers(-5 * (LIMITS[dtype][0] < 0), 6, scale.shape)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize", **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize", **attributes),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    constants = [numpy_helper.from_array(scale, "s"), _stored("z", zero, dtype)]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:], constants),
        opset_imports=[helper.make_opsetid("", 21)], ir_version=10,
    )  # fmt: skip
    return qdq_models.finish(proto)


PAIRS = {
    "tensor": (np.float32(0.037).reshape(()), {}),
    "channel": (np.linspace(0.01, 0.3, 6, dtype=np.float32), {"axis": 1}),
    "blocks": (np.linspace(0.01, 0.3, 12, dtype=np.float32).reshape(1, 3, 4), {"axis": 1, "block_size": 2}),
}


def _expected(model: ir.Model, x: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """What the pair gives, and where it lets a gradient pass."""
    scale = np.asarray(model.graph.initializers["s"].const_value.numpy())
    zero = np.asarray(model.graph.initializers["z"].const_value.numpy()).astype(np.int32)
    if scale.ndim == 1:
        scale, zero = scale.reshape(1, -1, 1), zero.reshape(1, -1, 1)
    elif scale.ndim == 3:
        scale, zero = np.repeat(scale, 2, 1), np.repeat(zero, 2, 1)
    low, high = LIMITS[dtype]
    integers = np.rint(x / scale).astype(np.int64) + zero
    return ((np.clip(integers, low, high) - zero).astype(np.float32) * scale), (integers >= low) & (integers <= high)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("form", PAIRS)
def test_a_pair_is_fake_quantized_exactly_with_a_straight_through_gradient(dtype, form, rng):
    scale, attributes = PAIRS[form]
    scale = scale * np.float32(1 / 256 if dtype == "int16" else 8 if dtype == "int4" else 1)
    model = _pair(dtype, (1, 6, 4), np.asarray(scale, np.float32), **attributes)
    module = to_module(model)
    assert [type(item) for item in module.children()] == [FakeQuant]
    x = (rng.standard_normal((50, 6, 4)) * 3).astype(np.float32)
    # Ties: halves of the scale.
    x[0] = np.float32(np.max(scale)) * (np.arange(24, dtype=np.float32).reshape(6, 4) - 11.5)
    tensor = torch.from_numpy(x).requires_grad_(True)
    found = module(tensor)
    expected, inside = _expected(model, x, dtype)
    np.testing.assert_array_equal(found.detach().numpy(), expected)
    weight = torch.from_numpy(rng.standard_normal(x.shape).astype(np.float32))
    (found * weight).sum().backward()
    assert 0.05 < 1 - inside.mean() < 0.95, "some are clipped"
    np.testing.assert_array_equal(tensor.grad.numpy(), weight.numpy() * inside)


@pytest.mark.parametrize("name", qdq_models.ALL)
@pytest.mark.parametrize("io", ["int", "float"])
def test_a_quantized_model_computes_what_its_reference_does(name, io):
    """In floats, and so up to the rounding of sums; with integers or real numbers at the borders."""
    model = _quantized(name, io=io)
    given = qdq_models.samples(qdq_models.ALL[name](), 32, seed=3)
    integers = {key: _integers(model, key, array) for key, array in given.items()}
    expected = Reference(model).run(integers)
    module = to_module(model)
    for feeds in (given, integers):
        for value, found in zip(model.graph.outputs, torch_models.run(module, model, feeds), strict=True):
            real, step = _real(model, str(value.name), expected[str(value.name)])
            assert (np.abs(found.detach().numpy() - real) <= 1.01 * step).all()
            assert (np.abs(found.detach().numpy() - real) > 0.5 * step).mean() < 0.01


def _integers(model: ir.Model, name: str, array: np.ndarray) -> np.ndarray:
    q = io_qparams(model, name)
    if q is None or array.dtype != np.float32:
        return array
    return np.clip(np.rint(array / q.scale) + q.zero_point, q.low, q.high).astype(q.dtype)


def _real(model: ir.Model, name: str, array: np.ndarray) -> tuple[np.ndarray, float]:
    q = io_qparams(model, name)
    if q is None:
        return array, float(np.abs(array).max()) / 127
    return (array.astype(np.int32) - q.zero_point) * q.scale, float(q.scale)


def test_integers_at_the_borders_are_carried_in_floats_when_asked_for():
    model = _quantized("branches")
    given = {"x": _integers(model, "x", qdq_models.samples(model, 4, seed=5)["x"].astype(np.float32))}
    expected = Reference(model).run(given)["y"]
    (found,) = torch_models.run(to_module(model, real_io=False), model, given)
    assert (np.abs(found.detach().numpy() - expected) <= 1).all()


def test_weights_are_parameters_that_start_where_they_are_told():
    source = qdq_models.ALL["residual"]()
    model = _quantized("residual")
    plain = to_module(model)
    weights = {"w1_quantized": source.graph.initializers["w1"].const_value.numpy().copy()}
    module = to_module(model, float_weights=weights)
    assert {name for name, _ in module.named_parameters()} == {name for name, _ in plain.named_parameters()}
    np.testing.assert_array_equal(module.get_parameter("w1_quantized").detach(), weights["w1_quantized"])
    started = plain.get_parameter("w1_quantized").detach()
    assert 0 < (started - torch.from_numpy(weights["w1_quantized"])).abs().max() < 0.02
    given = torch.from_numpy(qdq_models.samples(source, 8)["x"])
    torch.testing.assert_close(module(given), plain(given), rtol=0, atol=1e-6)
    module(given).square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_training_can_start_at_the_weights_of_the_original():
    source = qdq_models.ALL["residual"]()
    module = to_module(_quantized("residual"), original=source)
    constants = {name: value.const_value.numpy() for name, value in source.graph.initializers.items()}
    # A Gemm with factors has them multiplied in.
    wanted = {"w1": constants["w1"], "b1": constants["b1"], "w2": constants["w2"]}
    wanted |= {"w3": constants["w3"] * np.float32(0.5), "b3": constants["b3"] * np.float32(2)}
    assert {name for name, _ in module.named_parameters()} == {f"{name}_quantized" for name in wanted}
    for name, array in wanted.items():
        np.testing.assert_array_equal(module.get_parameter(f"{name}_quantized").detach(), array)
    given = torch.from_numpy(qdq_models.samples(source, 8)["x"])
    torch.testing.assert_close(module(given), to_module(_quantized("residual"))(given), rtol=0, atol=0.005)


def test_constant_operands_start_there_as_well_and_what_has_another_shape_does_not():
    source = qdq_models.ALL["elementwise"]()
    start = original_weights(_quantized("elementwise"), source)
    np.testing.assert_array_equal(start["k_quantized"], source.graph.initializers["k"].const_value.numpy())
    other = qdq_models.ALL["elementwise"]()
    other.graph.initializers["k"].const_value = ir.tensor(np.ones((1, 1, 1), np.float32), name="k")
    assert "k_quantized" not in original_weights(_quantized("elementwise"), other)


def test_a_fake_quantizer_can_be_replaced_by_name():
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    module = to_module(_quantized("residual"))
    given = torch.from_numpy(qdq_models.samples(qdq_models.ALL["residual"](), 2)["x"])
    before = module(given)
    module.set_submodule("r1_QuantizeLinear", Doubled())
    assert (module(given) != before).any()


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"nothing": np.zeros(1)}, "'nothing', which is no initializer"), ({"w1_quantized": np.zeros(3)}, "have shape")],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        to_module(_quantized("residual"), float_weights=weights)
