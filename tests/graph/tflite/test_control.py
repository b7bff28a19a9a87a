"""Subgraphs: calls, branches and loops, against LiteRT and against the same operators in one graph."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import microlith as ml
import tflite_checks
from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.graph.reference import Reference
from microlith.graph.tflite.read import onnx_of_tflite
from tflite_models import Node, Oracle, Part, Tensor, build, constant, options
from tflite_networks import loaded, quantized, random_bias, random_weights

SCALAR = Tensor((), "int32")
TRUTH = Tensor((), "bool")
ROW = (1, 4)
ADD = options("AddOptions")
MUL = options("MulOptions")


def _number(value: int) -> Tensor:
    return constant(np.array(value, np.int32))


def _apply(op: str, given: object = None) -> Part:
    """``y = op(x)``."""
    return Part({"x": Tensor(ROW), "y": Tensor(ROW)}, [Node(op, ["x"], ["y"], given)], ["x"], ["y"])


def _less(limit: int) -> Part:
    """``i < limit`` of i, x, w."""
    tensors = {"i": SCALAR, "x": Tensor(ROW), "w": Tensor((4, 4)), "limit": _number(limit), "goes_on": TRUTH}
    return Part(tensors, [Node("LESS", ["i", "limit"], ["goes_on"])], ["i", "x", "w"], ["goes_on"])


BODY = Part(
    {
        "i": SCALAR,
        "x": Tensor(ROW),
        "w": Tensor((4, 4)),
        "step": _number(2),
        "next": SCALAR,
        "bias": constant(np.array([0.5, -0.25, 0.0, 1.0], np.float32)),
        "product": Tensor(ROW),
    },
    [
        Node("FULLY_CONNECTED", ["x", "w", "bias"], ["product"], options("FullyConnectedOptions")),
        Node("ADD", ["i", "step"], ["next"], ADD),
    ],
    ["i", "x", "w"],
    ["next", "product", "w"],
)


def _loop(limit: int = 7, body: Part = BODY, start: Tensor | None = None) -> bytes:
    """``x = x w + b`` for i = 0, 2, ... below the limit, whose weights are handed from turn to turn."""
    rng = np.random.default_rng(2)
    tensors = {
        "x": Tensor(ROW),
        "zero": _number(0) if start is None else start,
        "w": constant(rng.normal(0, 0.4, (4, 4)).astype(np.float32)),
        "last": SCALAR,
        "y": Tensor(ROW),
        "w2": Tensor((4, 4)),
    }
    given = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    nodes = [Node("WHILE", ["zero", "x", "w"], ["last", "y", "w2"], given)]
    inputs = ["x"] if start is None else ["x", "zero"]
    return build(tensors, nodes, inputs, ["y"], [_less(limit), body])


def _branch(condition: Tensor | None, outer: int = 3) -> bytes:
    """``abs(x)`` or ``-x``, as the condition says; None for one that depends on x."""
    tensors = {
        "x": Tensor(ROW),
        "rank": SCALAR,
        "limit": _number(outer),
        "axes": constant(np.array([0, 1], np.int32)),
        "most": Tensor(()),
        "zero": constant(np.array(0.0, np.float32)),
        "c": condition or TRUTH,
        "y": Tensor(ROW),
    }
    nodes = [Node("IF", ["c", "x"], ["y"], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2))]
    if condition is None:
        nodes = [
            Node("REDUCE_MAX", ["x", "axes"], ["most"], options("ReducerOptions")),
            Node("LESS", ["most", "zero"], ["c"]),
            *nodes,
        ]
    return build(tensors, nodes, ["x"], ["y"], [_apply("ABS"), _apply("NEG")])


def _on_the_rank(limit: int) -> bytes:
    """The branch that the rank of x decides, which is a constant only after the graph was simplified."""
    tensors = {"x": Tensor(ROW), "rank": SCALAR, "limit": _number(limit), "c": TRUTH, "y": Tensor(ROW)}
    nodes = [
        Node("RANK", ["x"], ["rank"], options("RankOptions")),
        Node("LESS", ["rank", "limit"], ["c"]),
        Node("IF", ["c", "x"], ["y"], options("IfOptions", thenSubgraphIndex=1, elseSubgraphIndex=2)),
    ]
    return build(tensors, nodes, ["x"], ["y"], [_apply("ABS"), _apply("NEG")])


def integer_loop() -> bytes:
    """Three turns of an int8 layer whose weights are constants of the body."""
    rng = np.random.default_rng(8)
    weights = random_weights(rng, (8, 8), 0)
    state = quantized((1, 8), 0.05, 3)
    body = Part(
        {
            "i": SCALAR, "x": state, "one": _number(1), "next": SCALAR, "w": weights,
            "b": random_bias(rng, weights, 0.05), "y": state,
        },
        [
            Node("FULLY_CONNECTED", ["x", "w", "b"], ["y"], options("FullyConnectedOptions")),
            Node("ADD", ["i", "one"], ["next"], ADD),
        ],
        ["i", "x"],
        ["next", "y"],
    )  # fmt: skip
    condition = Part(
        {"i": SCALAR, "x": state, "n": _number(3), "c": TRUTH}, [Node("LESS", ["i", "n"], ["c"])], ["i", "x"], ["c"]
    )
    tensors = {"x": state, "zero": _number(0), "last": SCALAR, "y": state}
    given = options("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    return build(tensors, [Node("WHILE", ["zero", "x"], ["last", "y"], given)], ["x"], ["y"], [condition, body])


def test_branches_and_loops_equal_litert(tmp_path: Path) -> None:
    contents = {
        "taken": _on_the_rank(3),
        "not_taken": _on_the_rank(2),
        "loop": _loop(),
        "integers": integer_loop(),
    }
    graphs = tflite_checks.check(contents, tmp_path)
    assert [node.op_type for node in graphs["taken"].graph] == ["Abs"]
    assert [node.op_type for node in graphs["not_taken"].graph] == ["Neg"]
    gemms = [node for node in graphs["integers"].graph if node.op_type == "Gemm"]
    assert len(gemms) == 3
    assert len({node.inputs[1].producer().inputs[0] for node in gemms}) == 1, "the weights are stored once"  # type: ignore[union-attr]


@pytest.mark.parametrize(("condition", "op"), [(True, "Abs"), (False, "Neg")])
def test_a_constant_condition_takes_one_branch(condition: bool, op: str, tmp_path: Path) -> None:
    model = loaded(_branch(constant(np.array(condition))), tmp_path)
    assert [node.op_type for node in model.graph] == [op]


def test_calls_stand_for_what_they_call(tmp_path: Path) -> None:
    """LiteRT has no kernel for CALL: the other side is the operators themselves."""
    called = Part(
        {"a": Tensor(ROW), "b": Tensor(ROW), "s": Tensor(ROW), "r": Tensor(ROW)},
        [Node("ADD", ["a", "b"], ["s"], ADD), Node("CALL", ["s"], ["r"], options("CallOptions", subgraph=2))],
        ["a", "b"],
        ["r"],
    )
    offset = constant(np.array([[1.0, -2.0, 0.5, 0.0]], np.float32))
    tensors = {"x": Tensor(ROW), "offset": offset, "t": Tensor(ROW), "y": Tensor(ROW)}
    call = options("CallOptions", subgraph=1)
    nodes = [Node("CALL", ["x", "offset"], ["t"], call), Node("CALL", ["t", "x"], ["y"], call)]
    model = loaded(build(tensors, nodes, ["x"], ["y"], [called, _apply("ABS")]), tmp_path)
    assert [node.op_type for node in model.graph] == ["Add", "Abs", "Add", "Abs"]
    x = np.random.default_rng(0).normal(0, 1, ROW).astype(np.float32)
    assert offset.values is not None
    want = np.abs(np.abs(x + offset.values) + x)
    np.testing.assert_array_equal(Reference(model).run({"x": x})["y"], want)


def test_a_loop_that_never_runs_gives_what_it_got(tmp_path: Path) -> None:
    content = _loop(limit=0)
    x = np.random.default_rng(0).normal(0, 1, ROW).astype(np.float32)
    for found in (Reference(loaded(content, tmp_path)).run({"x": x})["y"], Oracle(content).run(x)[0]):
        np.testing.assert_array_equal(found, x)


LONGER = {
    "computed_branch": (_branch(None), "If that depends on computed values"),
    "computed_loop": (_loop(start=SCALAR), "Loop that depends on computed values"),
    "long_loop": (_loop(limit=1 << 20), "Loop that depends on computed values, or runs too often"),
}


@pytest.mark.parametrize("case", LONGER)
def test_what_is_decided_while_it_runs_is_refused_by_name(case: str, tmp_path: Path) -> None:
    content, message = LONGER[case]
    with pytest.raises(UnsupportedError, match=message) as caught:
        loaded(content, tmp_path)
    assert caught.value.node == ("'y' (If)" if case == "computed_branch" else "'last' (Loop)")


def _calling(part: Part, count: int = 1) -> bytes:
    tensors = {"x": Tensor(ROW), "y": Tensor(ROW)}
    return build(tensors, [Node("CALL", ["x"], ["y"], options("CallOptions", subgraph=count))], ["x"], ["y"], [part])


def test_calls_of_themselves_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="call themselves"):
        onnx_of_tflite(_calling(_apply("CALL", options("CallOptions", subgraph=1))), "test")


def test_calls_that_multiply_are_bounded() -> None:
    """Fourteen subgraphs that each call the next four times would come to 4 ** 14 operators."""
    names = [f"t{i}" for i in range(5)]
    parts = [
        Part(
            {name: Tensor(ROW) for name in names},
            [Node("CALL", [a], [b], options("CallOptions", subgraph=n + 1)) for a, b in pairwise(names)],
            ["t0"],
            ["t4"],
        )
        for n in range(1, 15)
    ]
    tensors = {"x": Tensor(ROW), "y": Tensor(ROW)}
    nodes = [Node("CALL", ["x"], ["y"], options("CallOptions", subgraph=1))]
    with pytest.raises(UnsupportedError, match="more than 16,384 operators"):
        onnx_of_tflite(build(tensors, nodes, ["x"], ["y"], [*parts, _apply("ABS")]), "test")


def test_subgraphs_that_are_not_there_are_malformed() -> None:
    with pytest.raises(InputError, match="subgraph 9 is referred to"):
        onnx_of_tflite(_calling(_apply("ABS"), 9), "test")


def test_subgraphs_of_other_shapes_are_malformed() -> None:
    part = Part({"x": Tensor((1, 5)), "y": Tensor((1, 5))}, [Node("ABS", ["x"], ["y"])], ["x"], ["y"])
    with pytest.raises(InputError, match=r"'x' is float32 \[1, 4\], and 'x', which it goes to or comes from"):
        onnx_of_tflite(_calling(part), "test")


@pytest.mark.parametrize("content", [integer_loop(), _loop()], ids=["integers", "weights"])
def test_damaged_subgraphs_end_in_a_refusal(content: bytes, tmp_path: Path) -> None:
    rng, path, refused = np.random.default_rng(6), tmp_path / "model.tflite", 0
    for _ in range(30):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 5)):
            damaged[place] = rng.integers(0, 4)
        path.write_bytes(damaged)
        try:
            ml.load(path)
        except MicrolithError:
            refused += 1
    assert refused > 0
