"""Q/DQ around states: one set of parameters for both ends, and a first value that they can stand for."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
import pytest

import state_models
from microlith.compile.pipeline import random_feeds
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.metadata import io_qparams, set_io_qparams
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.state import State, initial_values, read_states, set_states
from microlith.graph.verifier import verify
from microlith.quant.schemes import Scheme
from microlith.quant.types import QParams
from microlith.techniques.ptq import observe, quantize

SCHEME = Scheme(calibration="minmax")


def _quantized(name: str, io: Literal["int", "float"] = "int") -> ir.Model:
    graph = state_models.MODELS[name]()
    run_passes(graph, DEFAULT_PASSES)
    found = quantize(graph, observe(graph, random_feeds(graph, 30, 7)), SCHEME, "float", io=io)
    verify(found)
    return found


@pytest.mark.parametrize("io", ["int", "float"])
@pytest.mark.parametrize("name", ["gru_cell", "lstm_cell", "streaming_conv", "read_late", "shift_register"])
def test_both_ends_of_a_state_are_the_same_integers(name: str, io: Literal["int", "float"]) -> None:
    model = _quantized(name, io)
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.outputs)}
    states = read_states(model)
    assert len(states) == (2 if name == "lstm_cell" else 1)
    for state in states:
        ends = [io_qparams(model, end) for end in (state.input, state.output)]
        assert ends[0] is not None and ends[1] is not None and ends[0].same(ends[1])
        assert values[state.input].dtype == values[state.output].dtype == ir.DataType.INT8
    assert values["x"].dtype == (ir.DataType.INT8 if io == "int" else ir.DataType.FLOAT)


def test_a_bounded_result_gives_its_parameters_to_the_state() -> None:
    qparams = io_qparams(_quantized("read_late"), "h_in")
    assert qparams is not None
    assert float(qparams.scale) == 1 / 128  # of Tanh


def test_quantized_steps_are_near_the_float_ones() -> None:
    graph = state_models.lstm_cell()
    run_passes(graph, DEFAULT_PASSES)
    found = _quantized("lstm_cell", "float")
    x = np.concatenate([feeds["x"] for feeds in random_feeds(graph, 30, 7)])
    real, integer = Reference(graph).run({"x": x})["y"], Reference(found).run({"x": x})["y"]
    assert np.abs(real - integer).max() < 0.05 * np.abs(real).max()


def test_the_first_value_is_quantized_and_covered() -> None:
    graph = state_models.accumulator()
    first = initial_values(graph)["sum_in"]
    ranges = dict.fromkeys(values_to_observe(graph), (-1.0, 1.0))
    found = place_qdq(graph, ranges, Scheme(), "float")
    qparams = io_qparams(found, "sum_in")
    assert qparams is not None
    stored = initial_values(found)["sum_in"]
    assert stored.dtype == np.int8
    real = (stored.astype(np.float32) - np.float32(qparams.zero_point)) * qparams.scale
    np.testing.assert_allclose(real, first, atol=float(qparams.scale))


def test_a_first_value_out_of_bounds_is_refused() -> None:
    graph = state_models.read_late()
    set_states(graph, [State("h_in", "h_out", np.full((1, 7), 2, np.float32))])
    ranges = dict.fromkeys(values_to_observe(graph), (-1.0, 1.0))
    with pytest.raises(UnsupportedError, match="starts from values between 0 and 2"):
        place_qdq(graph, ranges, Scheme(), "float")


def test_a_state_that_one_end_keeps_in_float_stays_float() -> None:
    graph = state_models.lstm_cell()
    run_passes(graph, DEFAULT_PASSES)
    float_ops = ("cell", "bound")
    statistics = observe(graph, random_feeds(graph, 10, 7), float_ops=float_ops)
    found = quantize(graph, statistics, SCHEME, "float", float_ops=float_ops)
    verify(found)
    values = {value.name: value for value in (*found.graph.inputs, *found.graph.outputs)}
    assert values["c_in"].dtype == values["c_out"].dtype == ir.DataType.FLOAT
    assert values["h_in"].dtype == values["h_out"].dtype == ir.DataType.INT8


def test_two_meanings_of_one_state_are_refused() -> None:
    model = _quantized("gru_cell")
    set_io_qparams(model, "h_out", QParams.per_tensor(0.5, 3, "int8"))
    with pytest.raises(InputError, match="expected one meaning"):
        read_states(model)


def test_calibration_threads_the_state_through_all_batches() -> None:
    """A sum that grows from step to step: the range holds the last of it, however the steps are dealt into batches."""
    graph = state_models.accumulator()
    ones = np.ones((20, 7), np.float32)
    for size in (1, 6):
        batches = [{"x": ones[start : start + size]} for start in range(0, 20, size)]
        found = observe(graph, batches)
        assert found.samples == 20
        assert found.ranges(Scheme(calibration="minmax"))["sum_out"][1] == 23  # it starts at 3
