"""What elementwise ops cannot do is refused with the node's name."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from elementwise_models import plain_models
from microlith.compile.lower import lower
from microlith.core.errors import MicrolithError
from microlith.ops import op_of
from microlith.ops.base import Output
from microlith.ops.cast import cast
from microlith.ops.integer_arithmetic import divide, power, remainder
from microlith.quant.types import QArray, QParams

ONE = QParams.per_tensor(1.0, 0, "int8")


def _node(op: str, inputs: int = 1, constant: np.ndarray | None = None, **attributes: object) -> ir.Node:
    names = [f"x{index}" for index in range(inputs)] + ([] if constant is None else ["c"])
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="culprit", **attributes)],
        "graph",
        [helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, (1, 3, 4)) for index in range(inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [] if constant is None else [numpy_helper.from_array(constant, "c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    return next(iter(ir.serde.deserialize_model(model).graph))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (_node("Mod", 2), "fmod = 0, expected 1"),
        (_node("BitShift", 2, direction="UP"), "direction is 'UP'"),
        (_node("Gelu", approximate="fast"), "approximate is 'fast'"),
        (_node("Celu", alpha=-1.0), "alpha is -1.0, expected a positive number"),
        (_node("IsInf", detect_negative=0, detect_positive=0), "neither infinity"),
        (_node("Cast", to=TensorProto.DOUBLE), "a cast to DOUBLE"),
        (_node("Cast", to=TensorProto.FLOAT16), "a cast to FLOAT16"),
        (_node("Cast", to=99), "type number 99"),
        (_node("PRelu", constant=np.ones((2, 1, 3, 4), np.float32)), "more axes than its input"),
        (_node("PRelu"), "its slope is missing"),
    ],
)
def test_attributes_that_cannot_be_computed(node: ir.Node, message: str) -> None:
    with pytest.raises(MicrolithError) as caught:
        op_of(node).parse(node)
    assert message in str(caught.value)
    assert "culprit" in str(caught.value)


def test_shapes_that_do_not_broadcast() -> None:
    prelu = _node("PRelu", constant=np.ones((2, 1), np.float32))
    with pytest.raises(MicrolithError, match=r"slope of shape \(1, 2, 1\) does not broadcast"):
        op_of(prelu).infer(op_of(prelu).parse(prelu), [(1, 3, 4)])
    for op in ("Max", "Less", "Pow", "And"):
        with pytest.raises(MicrolithError, match="do not broadcast"):
            op_of(_node(op, 2)).infer(None, [(2, 3), (4,)])


def test_a_slope_of_every_element_has_no_integer_form() -> None:
    node = _node("PRelu", constant=np.ones((3, 4), np.float32))
    x = QArray(np.zeros((1, 3, 4), np.int8), ONE)
    op = op_of(node)
    assert op.quantized is not None
    with pytest.raises(MicrolithError, match="no integer form; one a channel has"):
        op.quantized(op.parse(node), [x], Output(ONE, "float", -128, 127))


def test_integers_have_no_sigmoid() -> None:
    model = ir.from_proto(plain_models()["where_int16"])
    node = next(iter(model.graph))
    node.op_type = "Sigmoid"
    node.resize_inputs(2)
    node.replace_input_with(0, node.inputs[1])
    node.resize_inputs(1)
    with pytest.raises(MicrolithError, match="only floats and quantized integers"):
        lower(model, "net")


def test_the_ends_of_integers() -> None:
    least, minus = np.array([-128], np.int8), np.array([-1], np.int8)
    assert divide(least, minus).tolist() == [-128]
    assert remainder(least, minus, of_truncation=False).tolist() == [0]
    zero = np.zeros(1, np.int8)
    assert divide(least, zero).tolist() == [0]
    assert remainder(least, zero, of_truncation=True).tolist() == [0]
    base, exponent = np.array([1, -1, -1, 2, 0, 3], np.int8), np.array([-3, -3, -2, -1, -1, 5], np.int8)
    assert power(base, exponent).tolist() == [1, -1, 1, 0, 0, -13]  # 243 - 256


def test_casts_saturate() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 300.7, -1.5, 2.9e9, -2.9e9], np.float32)
    assert cast(x, "uint8").tolist() == [0, 255, 0, 255, 0, 255, 0]
    assert cast(x, "int8").tolist() == [0, 127, -128, 127, -1, 127, -128]
    assert cast(x, "int32").tolist() == [0, 2**31 - 1, -(2**31), 300, -1, 2**31 - 1, -(2**31)]
    assert cast(x, "uint64").tolist() == [0, 2**64 - 1, 0, 300, 0, 2900000000 - 2900000000 % 256, 0]
    assert cast(np.array([0.0, np.nan, 0.1], np.float32), "bool").tolist() == [False, True, True]
    assert cast(np.array([-1, 256], np.int32), "uint8").tolist() == [255, 0]
