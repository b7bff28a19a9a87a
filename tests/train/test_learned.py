"""Quantizers that learn their steps: gradients as in their papers, and graphs that hold what was learned."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray

from microlith.core.errors import InputError
from microlith.graph.reference import Reference
from microlith.graph.units import units
from microlith.quant.calibration import sqnr_db
from microlith.quant.schemes import Scheme
from microlith.search.prepare import evaluate
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.fake_quant import FakeQuant
from microlith.train.learned import BiasQuant, LearnedStep, learn_steps
from microlith.train.to_graph import to_graph
from microlith.train.to_module import to_module
from qdq_models import branches, residual, samples, separable

pytestmark = pytest.mark.train
Floats = NDArray[np.float64]


def _step(method: str, *, is_weight: bool = False) -> LearnedStep:
    fixed = FakeQuant(np.float32(0.5), np.int32(-3), -8, 7)
    return LearnedStep(fixed, method, is_weight=is_weight)  # type: ignore[arg-type]


def test_gradients_of_lsq() -> None:
    x = np.array([[0.3, -1.2, 9.0, -7.0, 0.26, 1.0]])
    module = _step("lsq+")
    given = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    upstream = np.array([[1.0, -2.0, 0.5, 3.0, 1.5, -1.0]])
    result = module(given)
    result.backward(torch.tensor(upstream, dtype=torch.float32))
    s, z, low, high = 0.5, -3, -8, 7
    v = x / s
    below, above = v < low - z, v > high - z
    rounded = np.clip(np.rint(v), low - z, high - z)
    assert result.detach().numpy() == pytest.approx(rounded * s)
    inside = ~(below | above)
    assert given.grad is not None and module.step.grad is not None and module.offset.grad is not None
    assert given.grad.numpy() == pytest.approx(upstream * inside)
    # LSQ, equation 3, and the scale of its gradient, for one sample of 6 elements.
    factor = 1 / np.sqrt(6 * high)
    to_step = np.where(inside, np.rint(v) - v, np.where(below, low - z, high - z))
    assert module.step.grad.item() == pytest.approx(float((upstream * to_step).sum() * factor), rel=1e-5)
    # LSQ+: what is clipped moves with the zero point.
    assert module.offset.grad.item() == pytest.approx(float((upstream * ~inside * -s).sum() * factor), rel=1e-5)


def test_pact_learns_from_what_is_clipped() -> None:
    module = _step("pact")
    module(torch.tensor([[0.3, 1.2, 0.26]])).sum().backward()
    assert module.step.grad is not None and module.step.grad.item() == 0
    module(torch.tensor([[9.0, 0.2]])).sum().backward()
    assert module.step.grad.item() == pytest.approx(10 / np.sqrt(2 * 7))
    assert not module.offset.requires_grad


def test_steps_of_channels() -> None:
    scale = np.array([0.1, 0.2, 0.4], np.float32)
    fixed = FakeQuant(scale, np.zeros(3, np.int32), -8, 7, axis=0, rank=2)
    module = LearnedStep(fixed, "lsq", is_weight=True)
    x = torch.tensor(np.random.default_rng(0).normal(0, 1, (3, 5)), dtype=torch.float32)
    assert torch.equal(module(x), fixed(x))
    assert torch.equal(module.integers(x), fixed.integers(x))
    module(x).square().sum().backward()
    assert module.step.grad is not None
    alone = []
    for row, step in zip(x, scale, strict=True):
        one = LearnedStep(FakeQuant(step, np.int32(0), -8, 7), "lsq", is_weight=True)
        one(row).square().sum().backward()
        assert one.step.grad is not None
        alone.append(one.step.grad.item())
    assert module.step.grad.numpy() == pytest.approx(alone, rel=1e-4)


def test_what_oscillates() -> None:
    module = _step("lsq", is_weight=True)
    weights = torch.tensor([0.5, 0.7, 20.0], requires_grad=True)
    found = module.oscillation(weights)
    assert found.item() == pytest.approx(0.2**2)
    found.backward()
    assert weights.grad is not None
    assert weights.grad.numpy() == pytest.approx([0, 0.4, 0], abs=1e-6)


def _quantized(model: ir.Model, **settings: object) -> ir.Model:
    data = Context(lambda: [samples(model, 16, seed=seed) for seed in range(2)])
    return PTQ(**settings).apply(model, data)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [residual, separable, branches])
@pytest.mark.parametrize("method", ["lsq", "lsq+"])
def test_what_was_learned_is_in_the_graph(build, method: str) -> None:  # type: ignore[no-untyped-def]
    model = build()
    quantized = _quantized(model)
    module = to_module(quantized)
    learned = learn_steps(module, activations=method)  # type: ignore[arg-type]
    assert learned.weights and learned.activations
    feeds = samples(model, 8, seed=5)
    before = module(*(torch.from_numpy(array) for array in feeds.values()))
    assert to_graph(module).graph.initializers.keys() == quantized.graph.initializers.keys()
    optimizer = torch.optim.SGD([*module.parameters()], 0.02)
    module.train()
    for _ in range(3):
        optimizer.zero_grad()
        found = module(*(torch.from_numpy(array) for array in feeds.values()))
        first = found[0] if isinstance(found, tuple) else found
        first.square().sum().backward()
        optimizer.step()
    module.eval()
    after = module(*(torch.from_numpy(array) for array in feeds.values()))
    first, start = (item[0] if isinstance(item, tuple) else item for item in (after, before))
    assert not torch.equal(first, start)
    graph = to_graph(module)
    _check_scales(quantized, graph)
    found_outputs = evaluate(graph, [feeds])
    assert sqnr_db(first.detach().numpy().reshape(found_outputs.shape), found_outputs) > 25


def _check_scales(before: ir.Model, after: ir.Model) -> None:
    """Biases have the product of the scales, and what had one scale on both sides still has."""
    for old, unit in zip(units(before), units(after), strict=True):
        assert unit.kind == old.kind
        if unit.node.op_type in ("Conv", "Gemm") and len(unit.inputs) > 2 and unit.inputs[2] is not None:
            data, weights, bias = (item.qparams for item in unit.inputs)  # type: ignore[union-attr]
            assert data is not None and weights is not None and bias is not None
            assert bias.scale == pytest.approx(data.scale * weights.scale, rel=1e-6)
        if unit.node.op_type in ("MaxPool", "Concat", "Reshape", "Transpose", "Slice"):
            for a, b in zip(old.inputs, unit.inputs, strict=True):
                if a is not None and b is not None and a.qparams is not None and old.output.qparams is not None:
                    same = a.qparams.same(old.output.qparams)
                    assert b.qparams.same(unit.output.qparams) or not same, unit.node.name  # type: ignore[union-attr,arg-type]


def test_what_is_left_alone() -> None:
    module = to_module(_quantized(residual()))
    learned = learn_steps(module, weights=None)
    assert not learned.weights
    assert any(isinstance(item, BiasQuant) for item in module.modules())
    assert "y" not in learned.activations
    assert all(part.requires_grad for part in learned.parameters())
    with pytest.raises(InputError, match="made by ml"):
        learn_steps(torch.nn.ReLU())


def test_int4_weights_stay_within_their_integers() -> None:
    model = residual()
    module = to_module(_quantized(model, weights="int4"))
    learned = learn_steps(module)
    for step, _ in learned.weights.values():
        with torch.no_grad():
            step.step.mul_(0.3)
    graph = to_graph(module)
    for unit in units(graph):
        if unit.node.op_type == "Conv" and unit.inputs[1] is not None:
            values = unit.inputs[1].value.const_value.numpy().astype(np.int8)  # type: ignore[union-attr]
            assert values.min() >= -8 and values.max() <= 7
            assert {-8, 7} & set(values.ravel().tolist())
    assert Scheme(weights="int4").weight_grid.high == 7
    assert Reference(graph).outputs
