"""What a file keeps from one inference to the next, as states of the graph: sequences of inferences against LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import tflite_checks
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.state import read_states
from microlith.graph.stepper import Stepper
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Oracle, Part, Tensor, build, constant, options
from tflite_networks import loaded, quantized

ROW = (1, 4)
HANDLE = Tensor((), "resource")
ADD = options("AddOptions")
FIRST = np.array([[0.5, -1.0, 2.0, 0.0]], np.float32)


def handle(name: str, into: str = "handle") -> Node:
    return Node("VAR_HANDLE", [], [into], options("VarHandleOptions", container="", sharedName=name))


def starting(values: Tensor, name: str = "sum") -> Part:
    """What runs once: the variable gets its first value."""
    nodes = [handle(name), Node("ASSIGN_VARIABLE", ["handle", "first"], [], options("AssignVariableOptions"))]
    return Part({"handle": HANDLE, "first": values}, nodes, [], [])


ONCE = Node("CALL_ONCE", [], [], options("CallOnceOptions", initSubgraphIndex=1))
READ = Node("READ_VARIABLE", ["handle"], ["before"], options("ReadVariableOptions"))
ASSIGN = Node("ASSIGN_VARIABLE", ["handle", "after"], [], options("AssignVariableOptions"))
FLOATS = {"x": Tensor(ROW), "handle": HANDLE, "before": Tensor(ROW), "after": Tensor(ROW), "y": Tensor(ROW)}


def running_sum() -> bytes:
    """``sum = sum + x``, and twice that."""
    nodes = [
        ONCE,
        handle("sum"),
        READ,
        Node("ADD", ["before", "x"], ["after"], ADD),
        ASSIGN,
        Node("ADD", ["after", "after"], ["y"], ADD),
    ]
    return build(FLOATS, nodes, ["x"], ["y"], [starting(constant(FIRST))])


def integer_delay() -> bytes:
    """The sum of what came in and of what came in before, in int8."""
    x, y = quantized(ROW, 0.05, 3), quantized(ROW, 0.09, -5)
    first = Tensor(ROW, "int8", np.array([[-128, 3, 40, 127]], np.int8), scale=0.05, zero_point=3)
    nodes = [
        ONCE,
        handle("sum"),
        READ,
        Node("ADD", ["x", "before"], ["y"], ADD),
        Node("ASSIGN_VARIABLE", ["handle", "x"], [], options("AssignVariableOptions")),
    ]
    return build({"x": x, "handle": HANDLE, "before": x, "y": y}, nodes, ["x"], ["y"], [starting(first)])


def steps(model: ir.Model, content: bytes, count: int = 6) -> None:
    """Hold some inferences, one after another, to LiteRT's."""
    oracle, stepper, rng = Oracle(content), Stepper(model), np.random.default_rng(5)
    for _ in range(count):
        x = rng.normal(0, 1, ROW).astype(np.float32)
        np.testing.assert_allclose(stepper.step({"x": x})["y"], oracle.run(x)[0], rtol=1e-6)


def test_variables_equal_litert(tmp_path: Path) -> None:
    graphs = tflite_checks.check({"running_sum": running_sum(), "delay": integer_delay()}, tmp_path)
    for graph in graphs.values():
        (state,) = read_states(graph)
        assert state.input == "sum"
        assert state.initial is not None
    (state,) = read_states(graphs["running_sum"])
    np.testing.assert_array_equal(state.initial, FIRST)


def test_a_variable_that_is_never_assigned_is_a_constant(tmp_path: Path) -> None:
    nodes = [ONCE, handle("sum"), READ, Node("ADD", ["before", "x"], ["y"], ADD)]
    content = build(FLOATS, nodes, ["x"], ["y"], [starting(constant(FIRST))])
    model = loaded(content, tmp_path)
    assert not read_states(model)
    assert len(model.graph.initializers) == 1
    steps(model, content)


def test_a_variable_that_is_assigned_first_is_no_state(tmp_path: Path) -> None:
    nodes = [
        handle("sum"),
        Node("ADD", ["x", "x"], ["after"], ADD),
        ASSIGN,
        READ,
        Node("ADD", ["before", "x"], ["y"], ADD),
    ]
    content = build(FLOATS, nodes, ["x"], ["y"])
    model = loaded(content, tmp_path)
    assert not read_states(model)
    steps(model, content)


def test_a_subgraph_takes_the_handle(tmp_path: Path) -> None:
    """LiteRT has no kernel for CALL: the other side is the same without it."""
    called = Part(
        {"handle": HANDLE, "x": Tensor(ROW), "before": Tensor(ROW), "after": Tensor(ROW)},
        [READ, Node("ADD", ["before", "x"], ["after"], ADD), ASSIGN],
        ["handle", "x"],
        ["after"],
    )
    nodes = [
        ONCE,
        handle("sum"),
        Node("CALL", ["handle", "x"], ["after"], options("CallOptions", subgraph=2)),
        Node("ADD", ["after", "after"], ["y"], ADD),
    ]
    model = loaded(build(FLOATS, nodes, ["x"], ["y"], [starting(constant(FIRST)), called]), tmp_path)
    steps(model, running_sum())


def test_a_variable_without_a_first_value_is_refused() -> None:
    nodes = [handle("sum"), READ, Node("ADD", ["before", "x"], ["y"], ADD)]
    with pytest.raises(InputError, match="'sum' is read, and nothing gives it a first value"):
        onnx_of_tflite(build(FLOATS, nodes, ["x"], ["y"]), "test")


def test_a_first_value_of_another_shape_is_malformed() -> None:
    nodes = [ONCE, handle("sum"), READ, Node("ADD", ["before", "x"], ["y"], ADD)]
    part = starting(constant(np.zeros((1, 5), np.float32)))
    with pytest.raises(InputError, match=r"read as float32 \[1, 4\], and starts as float32 \[1, 5\]"):
        onnx_of_tflite(build(FLOATS, nodes, ["x"], ["y"], [part]), "test")


def test_a_variable_of_two_scales_is_refused() -> None:
    x, y = quantized(ROW, 0.05, 3), quantized(ROW, 0.09, -5)
    nodes = [
        ONCE,
        handle("sum"),
        READ,
        Node("ADD", ["x", "before"], ["y"], ADD),
        Node("ASSIGN_VARIABLE", ["handle", "y"], [], options("AssignVariableOptions")),
    ]
    first = Tensor(ROW, "int8", np.zeros(ROW, np.int8), scale=0.05, zero_point=3)
    content = build({"x": x, "handle": HANDLE, "before": x, "y": y}, nodes, ["x"], ["y"], [starting(first)])
    with pytest.raises(UnsupportedError, match="expected one shape, type and scale"):
        onnx_of_tflite(content, "test")


def test_what_is_no_handle_is_malformed() -> None:
    tensors = {**FLOATS, "handle": HANDLE}
    with pytest.raises(InputError, match="'handle' is no handle of a variable"):
        onnx_of_tflite(build(tensors, [READ, Node("RELU", ["before"], ["y"])], ["x"], ["y"]), "test")


def test_a_variable_in_a_branch_is_refused() -> None:
    taken = Part(
        {"x": Tensor(ROW), "handle": HANDLE, "before": Tensor(ROW)},
        [handle("sum"), READ],
        ["x"],
        ["before"],
    )
    tensors = {**FLOATS, "axes": constant(np.array([0, 1], np.int32)), "most": Tensor(()), "c": Tensor((), "bool")}
    tensors["zero"] = constant(np.array(0.0, np.float32))
    nodes = [
        Node("REDUCE_MAX", ["x", "axes"], ["most"], options("ReducerOptions")),
        Node("LESS", ["most", "zero"], ["c"]),
        Node("IF", ["c", "x"], ["y"], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=1)),
    ]
    with pytest.raises(UnsupportedError, match="used in a branch or a loop"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"], [taken]), "test")
