"""Ops that move, select and resample, through the whole compiler and against ONNX Runtime, in every element type."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import compiled
from microlith.compile.pipeline import FLOAT_BOUND, float_nodes
from microlith.device.load import device
from microlith.graph.metadata import io_qparams
from microlith.quant.integer_move import quantize
from microlith.quant.schemes import Scheme
from movement_models import Case, movement_cases, resampling_cases
from oracles import onnxruntime_run

MOVEMENT = movement_cases()
CASES = MOVEMENT | resampling_cases()
FORMS = ("float", "uint8", "int64", "quantized")
# Where integers of that many bits add up, are compared, or are in range, as the kernels and ONNX Runtime have them.
_SUMS = ("Col2Im", "CumSum")


def _takes(case: Case, name: str, form: str) -> bool:
    if form == "quantized":
        return case.quantized
    if form == "float":
        return True
    if name not in MOVEMENT:
        return False
    if case.op == "MaxUnpool":
        return False
    computes = case.op in _SUMS or "reduction" in case.attributes
    return not (computes and form != "int64")


def _index(form: str, case: Case) -> str:
    narrow = form in ("uint8", "quantized") and case.op in ("Gather", "GatherElements", "ScatterElements")
    return "int32" if narrow else "int64"


def _dtype(form: str) -> str:
    return "float" if form == "quantized" else form


def _graph(case: Case, form: str) -> ir.Model:
    graph = compiled.prepared(case.model(_dtype(form), _index(form, case)))
    if form != "quantized":
        return graph
    rng = np.random.default_rng(1)
    samples = [case.feeds(rng, "float", _index(form, case)) for _ in range(4)]
    # Every other case in each type, so that both go through all kinds of handlers.
    activations = "uint8" if list(CASES).index(_name(case)) % 2 else "int8"
    return compiled.quantized(graph, samples, "float", Scheme(activations=activations))


def _name(case: Case) -> str:
    return next(name for name, item in CASES.items() if item is case)


def _feeds(graph: ir.Model, case: Case, form: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = case.feeds(rng, _dtype(form), _index(form, case))
    for name, array in found.items():
        qparams = io_qparams(graph, name)
        found[name] = array if qparams is None else quantize(array, qparams)
    return found


@pytest.fixture(scope="module", params=FORMS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, compiled.Library]:
    """All cases in one form, for a host without extensions, with checks for undefined behaviour."""
    form = request.param
    graphs = {name: _graph(case, form) for name, case in CASES.items() if _takes(case, name, form)}
    host = device("host").model_copy(update={"isas": ("portable",)})
    return form, compiled.Library(tmp_path_factory.mktemp(form), graphs, host)


def test_compiled_equals_reference(library: tuple[str, compiled.Library]) -> None:
    form, built = library
    rng = np.random.default_rng(2)
    for name, member in built.members.items():
        varied = False
        for _ in range(3):
            feeds = _feeds(member.graph, CASES[name], form, rng)
            for result, expected in zip(built.run(name, feeds), compiled.reference(member.graph, feeds), strict=True):
                assert (result.dtype, result.shape) == (expected.dtype, expected.shape), name
                varied |= bool(np.unique(expected).size > 1)
                bound = FLOAT_BOUND * np.abs(expected).max() if result.dtype == np.float32 else 0
                np.testing.assert_allclose(result, expected, rtol=0, atol=bound, err_msg=name)
        assert varied, name


def test_quantized_cases_leave_nothing_in_float(library: tuple[str, compiled.Library]) -> None:
    for member in library[1].members.values():
        assert float_nodes(member.graph) == ()


def _outside(case: Case) -> bool:
    """Whether the case goes beyond what ONNX Runtime takes: indices out of range, a reflection of a reflection."""
    return bool(case.indices) or case is CASES["pad_far"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not _outside(case)])
def test_reference_equals_onnxruntime(name: str) -> None:
    case = CASES[name]
    feeds = case.feeds(np.random.default_rng(3))
    graph = compiled.prepared(case.model())
    for found, expected in zip(compiled.reference(graph, feeds), onnxruntime_run(case.model(), feeds), strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].indices and name != "max_unpool_larger"])
def test_indices_in_range_equal_onnxruntime(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(4)
    feeds = case.feeds(rng)
    for key, (shape, _) in case.indices.items():
        # Below the least size of any axis; each place once where updates replace what is there.
        feeds[key] = rng.integers(0, 3, shape)
        if case.op in ("ScatterElements", "ScatterND", "MaxUnpool") and "reduction" not in case.attributes:
            feeds[key] = _distinct(case, shape)
    (found,) = compiled.reference(compiled.prepared(case.model()), feeds)
    (expected,) = onnxruntime_run(case.model(), feeds)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_indices_of_max_unpool_count_the_least_shape() -> None:
    """As the ONNX reference has it; ONNX Runtime counts the elements of the stated shape."""
    case = CASES["max_unpool_larger"]
    values = np.arange(1, 9, dtype=np.float32).reshape(1, 2, 2, 2)
    feeds = {"x": values, "i": np.array([5, 7, 13, 15, 16, 19, 28, 31]).reshape(1, 2, 2, 2)}
    (found,) = compiled.reference(compiled.prepared(case.model()), feeds)
    expected = np.zeros((1, 2, 5, 6), np.float32)
    expected[0, 0, [1, 1, 3, 3], [1, 3, 1, 3]] = [1, 2, 3, 4]
    expected[0, 1, [0, 0, 3, 3], [0, 3, 0, 3]] = [5, 6, 7, 8]
    np.testing.assert_array_equal(found, expected)


def test_pad_reflects_more_than_once() -> None:
    case = CASES["pad_far"]
    feeds = case.feeds(np.random.default_rng(3))
    (found,) = compiled.reference(compiled.prepared(case.model()), feeds)
    np.testing.assert_array_equal(found, np.pad(feeds["x"], [(0, 0), (5, 9), (0, 0), (0, 20)], mode="reflect"))


def _distinct(case: Case, shape: tuple[int, ...]) -> np.ndarray:
    if case.op == "ScatterElements":
        return np.broadcast_to(np.arange(shape[1]).reshape(1, -1, 1), shape).astype(np.int64)
    if case.op == "ScatterND":
        return np.stack([np.arange(shape[0]) % 3, np.arange(shape[0]) % 4], axis=1)
    return np.random.default_rng(5).permutation(int(np.prod(shape))).reshape(shape)
