"""What an op cannot do is refused with the node's name, and never by an assertion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.ops import ALL, OPS, op_of
from microlith.ops.base import Output
from microlith.quant.types import QArray, QParams
from oracles import Array

ONE = QParams.per_tensor(1.0, 0, "int8")
OUT = Output(ONE, "float", -128, 127)


def _node(op: str, *shapes: tuple[int, ...], constants: Mapping[int, Array] | None = None, **attributes: object):
    """A node of computed inputs; ``constants`` replaces some of them by position. It need not be valid ONNX."""
    constants = constants or {}
    names = [f"c{i}" if i in constants else f"x{i}" for i in range(max([len(shapes), *(i + 1 for i in constants)]))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="culprit", **attributes)],
        "graph",
        [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, s) for i, s in enumerate(shapes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), f"c{i}") for i, array in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return next(iter(ir.serde.deserialize_model(model).graph))


IMAGE = (1, 4, 8, 8)
WEIGHTS = (4, 4, 3, 3)
STATISTICS = {i: np.ones(4, np.float32) for i in (1, 2, 3)}
PARSES = [
    (_node("Conv", (1, 4, 8, 8, 8, 8), (4, 4, 3, 3, 3, 3)), "4 spatial axes"),
    (_node("Conv", IMAGE, WEIGHTS, kernel_shape=[3, 2]), "kernel_shape"),
    (_node("Conv", IMAGE, WEIGHTS, group=3), "3 groups"),
    (_node("Conv", IMAGE, WEIGHTS, pads=[1, 1]), "pads"),
    (_node("Conv", IMAGE, WEIGHTS, pads=[-1, 0, 0, 0]), "negative"),
    (_node("Conv", IMAGE, WEIGHTS, pads=[3, 0, 0, 0]), "larger than the window"),
    (_node("Conv", IMAGE, WEIGHTS, strides=[1]), "strides"),
    (_node("Conv", IMAGE, WEIGHTS, strides=[0, 1]), "below 1"),
    (_node("Conv", IMAGE, WEIGHTS, auto_pad="SAME"), "auto_pad"),
    (_node("Conv", IMAGE, WEIGHTS, group="two"), "group is 'two', expected an integer"),
    (_node("Conv", IMAGE), "input 1 is missing"),
    (_node("MaxPool", IMAGE), "kernel_shape is missing"),
    (_node("Reshape", IMAGE, (2,)), "computed at run time"),
    (_node("Reshape", IMAGE, constants={1: np.array([-1, -1])}), "its shape is"),
    (_node("Reshape", IMAGE), "its shape is missing"),
    (_node("Reshape", IMAGE, constants={1: np.array([1.5])}), "expected a list of integers"),
    (_node("Clip", IMAGE, constants={1: np.zeros(4, np.float32)}), "expected a single number"),
    (_node("Concat", IMAGE, IMAGE), "its axis is missing"),
    (_node("Pad", IMAGE, constants={1: np.zeros(8, np.int64)}, mode="mirror"), "mode 'mirror'"),
    (_node("Slice", IMAGE, constants={1: np.array([0]), 2: np.array([1, 2])}), "do not go together"),
    (_node("BatchNormalization", IMAGE, constants=STATISTICS | {4: np.full(4, -1, np.float32)}), "variance"),
    (_node("BatchNormalization", IMAGE, constants=STATISTICS | {4: np.ones(3, np.float32)}), "one number a channel"),
    (_node("BatchNormalization", IMAGE, constants=STATISTICS | {4: STATISTICS[1]}, training_mode=1), "statistics"),
    (_node("QuantizeLinear", IMAGE, (1,)), "its scale is computed"),
    (_node("QuantizeLinear", IMAGE, constants={1: np.ones((2, 2), np.float32)}), "blocked"),
    (
        _node("QuantizeLinear", IMAGE, constants={1: np.float32(1), 2: np.array(0, np.uint32)}),
        "quantized type uint32",
    ),
    (
        _node("QuantizeLinear", IMAGE, constants={1: np.ones(3, np.float32), 2: np.zeros(3, np.int8)}),
        "3 scales for axis 1",
    ),
]


@pytest.mark.parametrize(("node", "words"), PARSES, ids=[f"{node.op_type}-{words}" for node, words in PARSES])
def test_parse_refuses_and_names_the_node(node: ir.Node, words: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(MicrolithError) as caught:
        op_of(node).parse(node)
    assert words in str(caught.value)
    assert "culprit" in str(caught.value)
    assert node.op_type in str(caught.value)


INFERS = [
    (_node("Conv", IMAGE, WEIGHTS), ((1, 3, 8, 8), WEIGHTS), "4 channels"),
    (_node("Conv", IMAGE, WEIGHTS), ((1, 4, 2, 8), WEIGHTS), "does not fit"),
    (_node("Conv", IMAGE, WEIGHTS), ((1, 4, 8), WEIGHTS), "2 spatial axes"),
    (_node("Gemm", (1, 3), (4, 5)), ((1, 3), (4, 5)), "inner sizes differ"),
    (_node("Gemm", (1, 3), (4, 5)), ((1, 3, 1), (4, 5)), "expected matrices"),
    (_node("MatMul", (1, 3), (4, 5)), ((1, 3), (4, 5)), "inner sizes differ"),
    (_node("MatMul", (1, 3), (4, 5)), ((), (4, 5)), "at least one axis"),
    (_node("Add", (1, 3), (1, 4)), ((1, 3), (1, 4)), "do not broadcast"),
    (_node("Reshape", IMAGE, constants={1: np.array([3, -1])}), (IMAGE,), "256 elements"),
    (_node("Reshape", IMAGE, constants={1: np.array([1, 1, 1, 1, 0])}), (IMAGE,), "keeps an axis"),
    (_node("Flatten", IMAGE, axis=5), (IMAGE,), "axis 5"),
    (_node("Squeeze", IMAGE, constants={1: np.array([1])}), (IMAGE,), "not all 1"),
    (_node("Squeeze", IMAGE, constants={1: np.array([0, -4])}), (IMAGE,), "twice"),
    (_node("Squeeze", IMAGE, constants={1: np.array([7])}), (IMAGE,), "axis 7"),
    (_node("Transpose", IMAGE, perm=[0, 1, 2]), (IMAGE,), "rank 4"),
    (_node("Slice", IMAGE, constants={1: np.array([5]), 2: np.array([5])}), (IMAGE,), "leaves nothing"),
    (_node("Concat", IMAGE, IMAGE, axis=1), (IMAGE, (1, 4, 8, 7)), "Concat along axis 1"),
    (_node("Pad", IMAGE, constants={1: np.array([0, 0])}), (IMAGE,), "rank 4"),
    (_node("GlobalAveragePool", (1, 4)), ((1, 4),), "spatial axes"),
]


@pytest.mark.parametrize(("node", "shapes", "words"), INFERS, ids=[f"{n.op_type}-{words}" for n, _, words in INFERS])
def test_infer_refuses(node: ir.Node, shapes: tuple[tuple[int, ...], ...], words: str) -> None:
    op = op_of(node)
    with pytest.raises(InputError, match=words):
        op.infer(op.parse(node), shapes)


def test_an_unknown_op_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="op StringNormalizer of node culprit is not supported") as caught:
        op_of(_node("StringNormalizer", IMAGE))
    assert caught.value.hint is not None
    with pytest.raises(UnsupportedError, match=r"com\.example::Relu"):
        op_of(ir.Node("com.example", "Relu", [], name="culprit"))


def test_gemm_with_factors_has_no_integer_form() -> None:
    node = _node("Gemm", (1, 3), (3, 5), alpha=0.5)
    operands = [QArray(np.ones(shape, np.int8), ONE) for shape in ((1, 3), (3, 5))]
    op = op_of(node)
    assert op.quantized is not None
    with pytest.raises(UnsupportedError, match=r"alpha 0\.5"):
        op.quantized(op.parse(node), operands, OUT)


def test_ops_are_listed_once() -> None:
    assert len(OPS) == len(ALL)
