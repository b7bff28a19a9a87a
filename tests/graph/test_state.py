"""State: how a model says that an input and an output are one, and what the reference makes of it."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from microlith.core.errors import InputError, ModelError
from microlith.graph.load import load_bytes, load_model
from microlith.graph.metadata import set_io_qparams
from microlith.graph.model_file import save_model
from microlith.graph.reference import Reference
from microlith.graph.state import (
    State,
    caller_inputs,
    caller_outputs,
    initial_values,
    read_states,
    set_states,
    state_entries,
)
from microlith.graph.stepper import Stepper
from microlith.quant.types import QParams

_NANS = base64.b64encode(np.full((2, 3), np.nan, "<f4").tobytes()).decode()


def _proto(*, dtype: int = TensorProto.FLOAT, out_shape: tuple[int, ...] = (2, 3)) -> onnx.ModelProto:
    """y = x + h, and h becomes y / 2: a decaying sum."""
    half = numpy_helper.from_array(np.asarray(0.5, np.float32), "half")
    nodes = [
        helper.make_node("Add", ["x", "h_in"], ["y"], name="sum"),
        helper.make_node("Mul", ["y", "half"], ["h_out"], name="decay"),
    ]
    graph = helper.make_graph(
        nodes,
        "leaky",
        [helper.make_tensor_value_info("x", dtype, (1, 3)), helper.make_tensor_value_info("h_in", dtype, (2, 3))],
        [helper.make_tensor_value_info("y", dtype, (2, 3)), helper.make_tensor_value_info("h_out", dtype, out_shape)],
        [half],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _model(*states: State) -> ir.Model:
    model = load_bytes(_proto().SerializeToString(), "leaky.onnx")
    set_states(model, states)
    return model


def _leaky(x: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    results = []
    for item in x:
        y = item + h
        h = y * np.float32(0.5)
        results.append(y)
    return np.stack(results), h


def test_a_state_is_no_input_and_no_output() -> None:
    model = _model(State("h_in", "h_out"))
    assert [value.name for value in caller_inputs(model)] == ["x"]
    assert [value.name for value in caller_outputs(model)] == ["y"]
    assert [value.name for value in caller_inputs(_model())] == ["x", "h_in"]


def test_steps_follow_each_other(rng: np.random.Generator) -> None:
    first = rng.standard_normal((2, 3)).astype(np.float32)
    stepper = Stepper(_model(State("h_in", "h_out", first)))
    x = rng.standard_normal((4, 1, 3)).astype(np.float32)
    expected, last = _leaky(x, first)
    for item, wanted in zip(x, expected, strict=True):
        np.testing.assert_array_equal(stepper.step({"x": item})["y"], wanted)
    np.testing.assert_array_equal(stepper.state["h_in"], last)
    stepper.reset()
    np.testing.assert_array_equal(stepper.step({"x": x[0]})["y"], expected[0])


def test_samples_of_a_model_with_state_are_one_sequence(rng: np.random.Generator) -> None:
    proto = _proto()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    model = load_bytes(proto.SerializeToString(), "leaky.onnx")
    set_states(model, [State("h_in", "h_out")])
    x = rng.standard_normal((5, 3)).astype(np.float32)
    expected, last = _leaky(x, np.zeros(3, np.float32))
    run = Reference(model).run
    np.testing.assert_array_equal(run({"x": x})["y"], expected)
    found = run({"x": x}, keep=["h_out", "y"])
    assert list(found) == ["h_out", "y"]
    np.testing.assert_array_equal(found["h_out"][-1], last)
    again = run({"x": x[3:]}, state={"h_in": found["h_out"][2:3]})
    np.testing.assert_array_equal(again["y"], expected[3:])
    with pytest.raises(InputError, match="expected \\(1, 3\\)"):
        run({"x": x}, state={"h_in": np.zeros(3, np.float32)})


def test_states_survive_a_file(tmp_path: Path, rng: np.random.Generator) -> None:
    first = rng.standard_normal((2, 3)).astype(np.float32)
    save_model(_model(State("h_in", "h_out", first)), tmp_path / "leaky.onnx")
    (state,) = read_states(load_model(tmp_path / "leaky.onnx"))
    assert (state.input, state.output) == ("h_in", "h_out")
    np.testing.assert_array_equal(state.initial, first)


def test_zeros_are_real_zeros() -> None:
    model = _model(State("h_in", "h_out"))
    np.testing.assert_array_equal(initial_values(model)["h_in"], np.zeros((2, 3), np.float32))
    for value in (model.graph.inputs[1], model.graph.outputs[1]):
        value.dtype = ir.DataType.INT8
    set_io_qparams(model, "h_in", QParams.per_tensor(0.1, -7, "int8"))
    np.testing.assert_array_equal(initial_values(model)["h_in"], np.full((2, 3), -7, np.int8))
    set_io_qparams(model, "h_in", QParams.per_tensor(0.1, 200, "uint8"))
    with pytest.raises(ModelError, match="speak of uint8"):
        initial_values(model)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([State("h", "h_out")], "no input 'h'"),
        ([State("h_in", "h")], "no output 'h'"),
        ([State("h_in", "h_out"), State("x", "h_out")], "the same output"),
        ([State("x", "h_out")], "before a run"),
        ([State("h_in", "h_out", np.zeros(3, np.float32))], "expected float32"),
        ([State("h_in", "h_out", np.zeros((2, 3)))], "expected float32"),
        ([State("h_in", "h_out", np.full((2, 3), np.inf, np.float32))], "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(states: list[State], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _model(*states)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"microlith.state": "h_in"}, "not JSON"),
        ({"microlith.state": "[1]"}, "malformed"),
        ({"microlith.state": "[" * 100_000}, "not JSON"),
        ({"microlith.state": '{"h_in": "h_out"}', "microlith.state.initial.h_in": _NANS}, "not finite"),
        ({"microlith.state": '{"h_in": 1}'}, "malformed"),
        ({"microlith.state": '{"h_in": "h_out"}', "microlith.state.initial.h_in": "AAAA"}, "malformed"),
        ({"microlith.state": '{"h_in": "h_out"}', "microlith.state.initial.h_in": "***"}, "malformed"),
        ({"microlith.state": '{"h_in": "y"}', "microlith.state.initial.h_in": "A"}, "malformed"),
    ],
)
def test_malformed_metadata_is_refused(entries: dict[str, str], message: str) -> None:
    proto = _proto()
    for key, text in entries.items():
        proto.metadata_props.add(key=key, value=text)
    with pytest.raises(InputError, match=message):
        load_bytes(proto.SerializeToString(), "leaky.onnx")


def test_entries_for_a_proto() -> None:
    assert state_entries([]) == {}
    entries = state_entries([State("h_in", "h_out", np.ones((2, 3), np.float32))])
    assert list(entries) == ["microlith.state", "microlith.state.initial.h_in"]
    proto = _proto()
    for key, text in entries.items():
        proto.metadata_props.add(key=key, value=text)
    model = load_bytes(proto.SerializeToString(), "leaky.onnx")
    np.testing.assert_array_equal(initial_values(model)["h_in"], np.ones((2, 3), np.float32))
