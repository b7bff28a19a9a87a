"""Every op in torch against its NumPy reference, and its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx import helper

import models
import neural_models
import torch_models
from microlith.core.errors import UnsupportedError
from microlith.graph.reference import Reference
from microlith.ops import OPS
from microlith.train.forms import FORMS, MODULES, REFUSED
from microlith.train.to_module import to_module
from qdq_models import finish

pytestmark = pytest.mark.train
SAMPLES = 3
EPSILON = 1e-6
BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
WRITTEN_OUT = ("Attention", "CastLike")


def _differentiable(model: ir.Model) -> bool:
    return all(node.op_type in FORMS and FORMS[node.op_type].gradient for node in model.graph)


def _as_loaded_elsewhere() -> dict[str, ir.Model]:
    """Ops that the loader replaces."""
    cast_like = models.one_node("CastLike", {"x": (1, 4), "like": (1, 4)}, {"y": (1, 4)})
    found = {"CastLike": cast_like} | {
        name: proto for name, proto in neural_models.float_models().items() if name.startswith("attention")
    }
    return {name: finish(proto) for name, proto in found.items()}


def _bits(op: str) -> ir.Model:
    shapes = {"a": (1, 8), "b": (1, 8)}
    return finish(models.one_node(op, shapes, {"y": (1, 8)}, opset=18, elem_type=models.TensorProto.INT32))


def _compare(model: ir.Model, rng: np.random.Generator) -> None:
    given = torch_models.feeds(model, rng, SAMPLES if torch_models.stacks(model) else 1)
    expected = Reference(model).run(given)
    found = torch_models.run(to_module(model), model, given)
    for value, result in zip(model.graph.outputs, found, strict=True):
        wanted = expected[str(value.name)]
        array = result.detach().numpy()
        assert array.dtype == wanted.dtype
        finite = np.abs(wanted[np.isfinite(wanted)]) if wanted.dtype == np.float32 else np.zeros(0)
        np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-6 * max(1.0, finite.max(initial=0.0)))


@pytest.fixture(scope="module")
def loaded() -> dict[str, ir.Model]:
    return {name: torch_models.load(name) for name in torch_models.sources()}


def test_every_op_equals_its_reference(loaded, rng):
    refused, compared = {}, set()
    for name, model in loaded.items():
        try:
            _compare(model, rng)
            compared |= {node.op_type for node in model.graph}
        except UnsupportedError as error:
            refused[name] = str(error)
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
    assert all("torch computes nothing with" in text or "base is an integer" in text for text in refused.values())
    assert set(FORMS) - compared == {*BITS, *WRITTEN_OUT}


def test_ops_that_the_loader_writes_out(rng):
    found = _as_loaded_elsewhere()
    assert {node.op_type for model in found.values() for node in model.graph} >= {*WRITTEN_OUT}
    for name, model in found.items():
        if name != "attention_of_parts":
            _compare(model, rng)


@pytest.mark.parametrize("op", BITS)
def test_bits(op, rng):
    _compare(_bits(op), rng)


def test_every_op_that_compiles_has_a_form_or_a_reason():
    assert {*FORMS, *REFUSED, *MODULES} == {name for name, op in OPS.items() if not op.domain}


def _slope(module: torch.nn.Module, tensors: list[torch.Tensor], rng: np.random.Generator) -> None:
    """The derivative along one direction of a weighted sum of the outputs."""
    leaves = [item for item in (*tensors, *module.parameters()) if item.is_floating_point()]
    directions = [torch.from_numpy(rng.standard_normal(tuple(item.shape))) for item in leaves]
    weights: list[torch.Tensor] = []

    def value() -> torch.Tensor:
        found = module(*tensors)
        parts = [item for item in (found if isinstance(found, tuple) else (found,)) if item.is_floating_point()]
        if not weights:
            weights.extend(torch.from_numpy(rng.standard_normal(tuple(item.shape))) for item in parts)
        return sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))

    for item in leaves:
        item.requires_grad_(True)
    total = value()
    if not isinstance(total, torch.Tensor) or not total.requires_grad:
        return
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    with torch.no_grad():
        ends = []
        for step in (EPSILON, -2 * EPSILON):
            for item, direction in zip(leaves, directions, strict=True):
                item += step * direction
            ends.append(float(value()))
    numeric = (ends[0] - ends[1]) / (2 * EPSILON)
    assert np.isfinite(numeric), "the test stays where the function is defined"
    assert abs(analytic - numeric) <= 1e-4 * max(1.0, abs(numeric)), f"{analytic} is not {numeric}"


def _alone(op: str) -> ir.Model:
    """One op whose other tests have it in a chain with ops that stop the gradient."""
    operands = 2 if op in ("Mod", "Div", "Pow", "Max", "Min", "Mean", "Sum") else 1
    attributes = {"fmod": 1} if op == "Mod" else {}
    shapes = dict.fromkeys("ab"[:operands], (1, 12))
    return finish(models.one_node(op, shapes, {"y": (1, 12)}, opset=24, **attributes))


ALONE = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh", "Div", "Elu", "Erf", "Exp"),
    *("Gelu", "HardSigmoid", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Neg", "Pow", "Reciprocal", "Selu", "Shrink"),
    *("Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sum", "Swish", "Tan", "ThresholdedRelu"),
)


def test_gradients_equal_finite_differences(loaded, rng):
    checked = set()
    for name, model in (*loaded.items(), *((op, _alone(op)) for op in ALONE)):
        if not _differentiable(model):
            continue
        try:
            module = to_module(model).double()
        except UnsupportedError:
            continue
        tensors = [torch.from_numpy(array) for array in torch_models.feeds(model, rng).values()]
        if name in ALONE:
            inside = rng.uniform(0.1, 0.9, (len(tensors), 12)) + (name in ("Acosh", "ThresholdedRelu"))
            tensors = [torch.from_numpy(row[None]) for row in inside]
        tensors = [item.double() if item.is_floating_point() else item for item in tensors]
        try:
            _slope(module, tensors, rng)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        checked |= {node.op_type for node in model.graph}
    assert {name for name, form in FORMS.items() if form.gradient} - checked <= {*WRITTEN_OUT}


def test_what_cannot_be_trained_through_is_refused_by_name():
    shapes = {"boxes": (1, 6, 4), "scores": (1, 1, 6)}
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores"], ["y"], name="nms")
    inputs = [helper.make_tensor_value_info(name, models.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", models.TensorProto.INT64, None)
    graph = helper.make_graph([node], "g", inputs, [output])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(UnsupportedError, match="NonMaxSuppression cannot be trained through: it lists boxes"):
        to_module(ir.from_proto(proto))
