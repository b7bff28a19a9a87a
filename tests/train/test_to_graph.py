"""What was trained comes back into the graph, and what was not keeps its bytes."""

from __future__ import annotations

import copy
import re
import runpy
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

import microlith as ml
import models
import qdq_models
import torch_models
from microlith.core.errors import InputError, ModelError
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.verifier import verify
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.fake_quant import FakeQuant
from microlith.train.to_graph import to_graph
from microlith.train.to_module import to_module

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]


def _bytes(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString()


def _quantized(name: str) -> ir.Model:
    model = qdq_models.ALL[name]()
    return PTQ().apply(model, Context(data=lambda: [qdq_models.samples(model, 16)]))


def _float(name: str) -> ir.Model:
    return load_bytes(torch_models.sources()[name], name)


@pytest.mark.parametrize(
    "name", ["cnn", "batch_norm", "gemm", "float lstm", "float gru", "float layer_norm", "residual"]
)
def test_an_untrained_float_model_keeps_its_bytes(name):
    model = _float(name)
    assert _bytes(to_graph(to_module(model))) == _bytes(model)


@pytest.mark.parametrize("name", qdq_models.ALL)
def test_an_untrained_quantized_model_keeps_its_bytes(name):
    model = _quantized(name)
    assert _bytes(to_graph(to_module(model))) == _bytes(model)


def _step(module: torch.nn.Module, given: dict[str, np.ndarray], rate: float) -> None:
    optimizer = torch.optim.SGD(module.parameters(), rate)
    found = module(*(torch.from_numpy(array) for array in given.values()))
    found.square().sum().backward()
    optimizer.step()


def test_a_trained_float_model_computes_what_its_module_does(rng):
    model = load_bytes(models.tiny_cnn().SerializeToString(), "cnn")
    module, given = to_module(model).train(), {"image": models.images(rng, 16)}
    for _ in range(3):
        _step(module, given, 1e-2)
    module.eval()
    trained = to_graph(module)
    verify(trained)
    assert set(trained.graph.initializers) == set(model.graph.initializers)
    expected = module(torch.from_numpy(given["image"])).detach().numpy()
    found = Reference(trained).run(given)["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found - Reference(model).run(given)["logits"]).max() > 0.01
    moved = trained.graph.initializers["stem.mean"].const_value.numpy()
    assert (moved != model.graph.initializers["stem.mean"].const_value.numpy()).any()


def test_trained_weights_become_the_integers_that_training_saw():
    source, model = qdq_models.ALL["residual"](), _quantized("residual")
    module, given = to_module(model).train(), qdq_models.samples(source, 16)
    for _ in range(3):
        _step(module, given, 0.05)
    trained = to_graph(module)
    verify(trained)
    for name in ("w1_quantized", "b1_quantized", "w3_quantized"):
        old, new = (item.graph.initializers[name].const_value.numpy() for item in (model, trained))
        assert old.dtype == new.dtype
        assert (old != new).any()
    again = to_module(trained)
    x = torch.from_numpy(given["x"])
    torch.testing.assert_close(again(x), module.eval()(x), rtol=0, atol=1e-6)


def test_learned_scales_are_written_where_they_are_used_and_nowhere_else():
    model = _quantized("residual")
    module = to_module(model)
    quantizer = module.get_submodule("r1_QuantizeLinear")
    quantizer.scale.mul_(1.5)
    trained = to_graph(module)
    verify(trained)
    (node,) = (node for node in trained.graph if node.name == "r1_QuantizeLinear")
    assert float(node.inputs[1].const_value.numpy()) == pytest.approx(float(quantizer.scale))
    changed = [
        node.name for node in trained.graph if node.op_type.endswith("eLinear") and _scale(node) != _old(model, node)
    ]
    readers = [use.node.name for use in node.outputs[0].uses()]
    assert set(changed) == {"r1_QuantizeLinear", *readers}


def _scale(node: ir.Node) -> bytes:
    return node.inputs[1].const_value.numpy().tobytes()


def _old(model: ir.Model, node: ir.Node) -> bytes:
    (before,) = (item for item in model.graph if item.name == node.name)
    return _scale(before)


@pytest.mark.parametrize(
    ("kind", "integers"),
    [("int8", range(-127, 128)), ("int3", range(-4, 4)), ("ternary", (-1, 0, 1)), ("binary", (-1, 1))],
)
def test_trained_weights_stay_within_the_integers_of_their_kind(kind, integers, rng):
    source = load_bytes(models.tiny_cnn().SerializeToString(), "cnn")
    run_passes(source, DEFAULT_PASSES)
    images = {"image": models.images(rng, 8)}
    scheme = PTQ(weights=kind, calibration="minmax", weights_calibration="minmax")
    model = scheme.apply(source, Context(data=lambda: [images]))
    module = to_module(model)
    assert _bytes(to_graph(module)) == _bytes(model)
    (name,) = (name for name, _ in module.named_parameters() if "pointwise" in name and "weight" in name)
    weight = module.get_parameter(name)
    module(torch.from_numpy(images["image"])).square().sum().backward()
    assert weight.grad.abs().max() > 0
    with torch.no_grad():
        weight.copy_(torch.from_numpy(rng.standard_normal(tuple(weight.shape)).astype(np.float32) * 9))
        weight[0, 0] = 0.0
    trained = to_graph(module)
    verify(trained)
    stored = trained.graph.initializers[name].const_value.numpy().astype(np.int32)
    assert set(stored.reshape(-1).tolist()) <= set(integers)
    assert stored.min() == min(integers)
    assert stored.max() == max(integers)
    again = to_module(trained)
    x = torch.from_numpy(images["image"])
    torch.testing.assert_close(again(x), module(x), rtol=0, atol=1e-5)


def test_a_quantizer_of_ones_own_says_which_integers_are_stored():
    class Downwards(FakeQuant):
        def forward(self, x):
            return (self.integers(x) - self.zero_point) * self.parameters_for(x)[0]

        def integers(self, x):
            return torch.floor(x / self.parameters_for(x)[0]).clamp(self.low, self.high)

    model = _quantized("residual")
    module = to_module(model)
    path = "w2_quantized_DequantizeLinear"
    old = module.get_submodule(path)
    own = Downwards(old.scale.numpy(), old.zero_point.numpy(), old.low, old.high, axis=old.axis, rank=old.rank)
    module.set_submodule(path, own)
    with torch.no_grad():
        module.get_parameter("w2_quantized").mul_(0.93)
    stored = to_graph(module).graph.initializers["w2_quantized"].const_value.numpy()
    weights = module.get_parameter("w2_quantized").detach().numpy()
    expected = np.floor(weights / old.scale.numpy().reshape(-1, 1, 1, 1)).clip(-127, 127)
    np.testing.assert_array_equal(stored, expected)


def test_a_copy_of_the_module_comes_back_as_well():
    model = _quantized("branches")
    assert _bytes(to_graph(copy.deepcopy(to_module(model)))) == _bytes(model)


def test_what_cannot_come_back_is_refused():
    with pytest.raises(InputError, match="got Linear, expected a module made by"):
        ml.to_graph(torch.nn.Linear(2, 2))
    module = ml.to_torch(_float("cnn"))
    with torch.no_grad():
        module.get_parameter("fc.bias").fill_(np.nan)
    with pytest.raises(ModelError, match=r"fc\.bias became NaN or infinite"):
        ml.to_graph(module)


def test_the_example_of_a_loop_of_ones_own(capsys):
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=()):
            runpy.run_path(str(ROOT / "examples" / "own_loop" / "train.py"), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    shares = [float(item) for item in re.findall(r"([\d.]+)%", printed)]
    plain, coarse, again = shares
    assert plain > 85
    assert coarse < plain - 5
    assert again > coarse + 5
    assert "weights of int8" in printed
