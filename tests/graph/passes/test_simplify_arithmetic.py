from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import models
from microlith.graph.passes.simplify_arithmetic import SimplifyArithmetic
from microlith.graph.pipeline import run_passes

A, B = np.float32([[1.5], [-2], [4]]), np.float32(0.5)


def node(op, inputs, output):
    return helper.make_node(op, inputs.split(), [output])


@pytest.fixture
def x(rng):
    return rng.standard_normal((1, 3, 4)).astype(np.float32)


def settle(load, run, x, *nodes, **weights):
    proto = models.make_model(nodes, {"x": [1, 3, 4]}, {"y": [1, 3, 4]}, {"a": A, "b": B, **weights})
    model = load(proto)
    wanted = run(model, {"x": x})[0]
    run_passes(model, (SimplifyArithmetic(),), verify=True)
    np.testing.assert_allclose(run(model, {"x": x})[0], wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    return [item.op_type for item in model.graph]


PAIRS = {
    "Add x a, Add t b": ["Add"],
    "Add a x, Sub t b": ["Add"],
    "Sub x a, Add b t": ["Add"],
    "Sub a x, Add t b": ["Sub"],
    "Add x a, Sub b t": ["Sub"],
    "Sub a x, Sub b t": ["Add"],
    "Mul x a, Mul b t": ["Mul"],
    "Div x a, Mul t b": ["Mul"],
    "Mul x a, Div t b": ["Mul"],
    "Neg x, Neg t": [],
    "Neg x, Add t b": ["Sub"],
    "Add x a, Neg t": ["Sub"],
    "Sub a x, Neg t": ["Add"],
    "Mul x a, Neg t": ["Mul"],
    "Mul x a, Add t b": ["Mul", "Add"],
    "Div b x, Mul t a": ["Div", "Mul"],
    "Sub x b, Relu t": ["Add", "Relu"],
    "Div x a, Relu t": ["Mul", "Relu"],
    "Mul x a, Sub b t": ["Mul", "Sub"],
}


@pytest.mark.parametrize("what", PAIRS)
def test_two_operators(load, run, x, what):
    first, second = (step.split() for step in what.split(", "))
    nodes = [
        node(first[0], " ".join(first[1:]), "t"),
        node(second[0], " ".join(second[1:]), "u"),
        node("Abs", "u", "y"),
    ]
    assert settle(load, run, np.abs(x) + 1, *nodes) == [*PAIRS[what], "Abs"]


def test_a_normalization_of_three_is_two(load, run, x):
    nodes = [node("Sub", "x a", "t"), node("Div", "t c", "u"), node("Mul", "u a", "v"), node("Add", "v b", "y")]
    assert settle(load, run, x, *nodes, c=np.float32([[2], [3], [5]])) == ["Mul", "Add"]


def test_a_constant_that_would_grow_stays_apart(load, run, x):
    nodes = [node("Add", "x a", "t"), node("Add", "t c", "y")]
    assert settle(load, run, x, *nodes, c=np.arange(4, dtype=np.float32)) == ["Add", "Add"]


def test_what_others_read_stays(load, run, x):
    nodes = [node("Add", "x a", "t"), node("Add", "t b", "u"), node("Mul", "t u", "y")]
    assert settle(load, run, x, *nodes) == ["Add", "Add", "Mul"]


def test_adding_zero(load, run, x):
    nodes = [node("Add", "x z", "t"), node("Abs", "t", "y")]
    assert settle(load, run, x, *nodes, z=np.zeros((1, 3, 1), np.float32)) == ["Abs"]


def test_a_zero_that_broadcasts_stays(load, run):
    proto = models.make_model(
        [node("Add", "x z", "y")], {"x": [1, 3, 1]}, {"y": [1, 3, 4]}, {"z": np.zeros((1, 1, 4), np.float32)}
    )
    model = load(proto)
    run_passes(model, (SimplifyArithmetic(),), verify=True)
    assert [item.op_type for item in model.graph] == ["Add"]


def test_division_by_zero_stays(load, run, x):
    nodes = [node("Div", "x z", "t"), node("Abs", "t", "y")]
    proto = models.make_model(nodes, {"x": [1, 3, 4]}, {"y": [1, 3, 4]}, {"z": np.float32([[1], [0], [2]])})
    model = load(proto)
    run_passes(model, (SimplifyArithmetic(),), verify=True)
    assert [item.op_type for item in model.graph] == ["Div", "Abs"]


def test_constants_that_would_overflow_stay(load, run, x):
    large = {"h": np.float32(1e30), "t0": np.float32(1e-40)}
    proto = models.make_model(
        [node("Mul", "x h", "t"), node("Mul", "t h", "u"), node("Div", "u t0", "y")],
        {"x": [1, 3, 4]}, {"y": [1, 3, 4]}, large,
    )  # fmt: skip
    model = load(proto)
    run_passes(model, (SimplifyArithmetic(),), verify=True)
    assert [item.op_type for item in model.graph] == ["Mul", "Mul", "Div"]
