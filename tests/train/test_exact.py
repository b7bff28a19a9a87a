"""The exact mode against the reference executor: no element differs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

import compiled
import elementwise_models
import microlith as ml
import movement_models
import neural_models
import op_models
import qdq_models
import torch_models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.metadata import io_qparams, set_requantization
from microlith.graph.reference import Reference
from microlith.graph.units import units
from microlith.ops import OPS
from microlith.quant.integer_move import quantize
from microlith.quant.requantize import multiply_by_quantized_multiplier, requant
from microlith.quant.schemes import Scheme
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.exact import to_exact
from microlith.train.integers import scaling

pytestmark = pytest.mark.train
SCHEMES = {
    "int8": {},
    "uint8": {"activations": "uint8"},
    "int4 weights, one scale": {"weights": "int4", "per_channel": False},
    "int3 weights": {"weights": "int3", "symmetric": True, "io": "float"},
}


def _quantized(source: ir.Model, **settings: object) -> ir.Model:
    scheme = PTQ(calibration="minmax", weights_calibration="minmax", **settings)
    return scheme.apply(source, Context(data=lambda: [qdq_models.samples(source, 8)]))


def _integers(model: ir.Model, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs as the graph has them."""
    found = {}
    for name, array in given.items():
        q = io_qparams(model, name)
        found[name] = array if q is None or array.dtype != np.float32 else quantize(array, q)
    return found


def _differing(model: ir.Model, given: dict[str, np.ndarray]) -> int:
    expected = Reference(model).run(given)
    found = torch_models.run(to_exact(model), model, given)
    count = 0
    for value, result in zip(model.graph.outputs, found, strict=True):
        wanted = expected[str(value.name)]
        assert result.numpy().dtype == wanted.dtype
        assert result.shape == wanted.shape
        count += int((result.numpy() != wanted).sum())
    return count


@pytest.mark.parametrize("mode", ["float", "fixed"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", qdq_models.ALL)
def test_no_element_of_a_model_differs(name, scheme, mode):
    source = qdq_models.ALL[name]()
    model = _quantized(source, requantization=mode, **SCHEMES[scheme])
    given = qdq_models.samples(source, 48, seed=3)
    # Half of the samples reach beyond what was calibrated.
    given = {key: array if array.dtype == np.uint8 else array * np.float32(1.5) for key, array in given.items()}
    assert _differing(model, _integers(model, given)) == 0


@pytest.mark.parametrize("name", ["separable", "branches", "elementwise"])
def test_activations_of_16_bits(name):
    source = qdq_models.ALL[name]()
    model = _quantized(source, activations="int16")
    assert _differing(model, _integers(model, qdq_models.samples(source, 16, seed=3))) == 0


@pytest.fixture(scope="module")
def of_every_op() -> dict[str, tuple[ir.Model, dict[str, np.ndarray]]]:
    """A model of each op that has an integer form, quantized, with inputs for it."""
    found = {}

    def quantized(name: str, graph: ir.Model, given: list[dict[str, np.ndarray]]) -> None:
        scheme = Scheme(activations="uint8" if len(found) % 2 else "int8", calibration="minmax")
        model = compiled.quantized(graph, given[:2], "float", scheme)
        found[name] = model, _integers(model, given[2])

    protos = op_models.all_models() | elementwise_models.quantizable_models() | neural_models.quantizable_models()
    for name, proto in protos.items():
        graph, rng = compiled.prepared(proto), np.random.default_rng(len(found))
        samples = 5 if torch_models.stacks(graph) else 1
        quantized(name, graph, [torch_models.feeds(graph, rng, count) for count in (1, 1, samples)])
    for name, case in (movement_models.movement_cases() | movement_models.resampling_cases()).items():
        if case.quantized:
            rng = np.random.default_rng(1)
            quantized(name, compiled.prepared(case.model()), [case.feeds(rng) for _ in range(3)])
    return found


@pytest.mark.parametrize("mode", ["float", "fixed"])
def test_no_element_of_an_op_differs(of_every_op, mode):
    used = set()
    for name, (model, given) in of_every_op.items():
        set_requantization(model, mode)
        try:
            assert _differing(model, given) == 0
        except Exception as error:
            raise AssertionError(f"{name}: {error}") from error
        used |= {unit.node.op_type for unit in units(model) if unit.kind == "integer"}
    with_integers = {name for name, op in OPS.items() if op.quantized is not None and op.rule is not None}
    # The passes replace these by others.
    assert with_integers - used <= {"Identity"}


@pytest.mark.parametrize("ties", ["up", "away"])
def test_fixed_requantization_of_any_accumulator(ties, rng):
    factors = np.exp2(rng.uniform(-12, 3, 200))
    how = requant(factors, "fixed")
    acc = rng.integers(-(2**27), 2**27, (500, 200))
    acc[:3] = [[0], [1], [-1]]
    expected = multiply_by_quantized_multiplier(acc, how.multiplier, how.shift, ties)
    found = scaling(how, ties=ties)(torch.from_numpy(acc.astype(np.float64)))
    np.testing.assert_array_equal(found.numpy(), expected)


def test_what_the_integer_spec_refuses_is_refused():
    source = qdq_models.ALL["residual"]()
    model = _quantized(source)
    bias = model.graph.initializers["b1_quantized"]
    bias.const_value = ir.tensor(np.full(4, 2**31 - 1, np.int32), name="b1_quantized")
    with pytest.raises(UnsupportedError, match="does not fit in the 32-bit accumulator"):
        to_exact(model)


def test_the_exact_mode_is_asked_for_in_python():
    source = qdq_models.ALL["residual"]()
    model = ml.apply(source, [ml.PTQ()], data=qdq_models.samples(source, 16)["x"])
    given = _integers(model, qdq_models.samples(source, 8, seed=1))
    found = ml.to_torch(model, exact=True)(torch.from_numpy(given["x"]))
    np.testing.assert_array_equal(found.numpy(), Reference(model).run(given)["y"])
    with pytest.raises(InputError, match="exact mode has no use for"):
        ml.to_torch(model, exact=True, batch_norm="frozen")
