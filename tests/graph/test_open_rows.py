"""What of a model may read rows of which data decides how many count."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.load import load_bytes
from microlith.graph.state import State, state_entries

Nodes = list[onnx.NodeProto]


def _model(
    nodes: Nodes, output: tuple[int, tuple[object, ...]], limit: int = 3, iou: float = 0.5, scores: int = 8
) -> bytes:
    constants = {
        "limit": np.array([limit], np.int64),
        "iou": np.array([iou], np.float32),
        "two": np.array([2], np.int64),
        "zero": np.array([0], np.int64),
        "yes": np.array(True),
    }
    nms = helper.make_node("NonMaxSuppression", ["boxes", "scores", "limit", "iou"], ["chosen"], name="nms")
    graph = helper.make_graph(
        [nms, *nodes],
        "graph",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (1, 8, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 2, scores)),
        ],
        [helper.make_tensor_value_info(nodes[-1].output[0] if nodes else "chosen", *output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model.SerializeToString()


def _cast(to: int) -> Nodes:
    return [helper.make_node("Cast", ["chosen"], ["y"], name="cast", to=to)]


@pytest.mark.parametrize("rows", ["rows", 4, 6])
def test_an_output_has_room_for_every_box_whatever_the_model_declares(rows: object) -> None:
    graph = load_bytes(_model([], (TensorProto.INT64, (rows, 3))), "nms").graph
    assert tuple(graph.outputs[0].shape.numpy()) == (6, 3)


def test_a_cast_and_an_identity_may_follow() -> None:
    nodes = [*_cast(TensorProto.INT32), helper.make_node("Identity", ["y"], ["z"], name="same")]
    graph = load_bytes(_model(nodes, (TensorProto.INT32, ("rows", 3))), "nms").graph
    assert tuple(graph.outputs[0].shape.numpy()) == (6, 3)


REFUSED = {
    "Gather": [helper.make_node("Gather", ["chosen", "two"], ["y"], name="pick", axis=1)],
    "Shape": [helper.make_node("Shape", ["chosen"], ["y"], name="pick")],
    "Slice": [*_cast(TensorProto.INT64), helper.make_node("Slice", ["y", "zero", "two"], ["z"], name="pick")],
}


@pytest.mark.parametrize("op", REFUSED)
def test_whatever_computes_with_such_rows_is_refused(op: str) -> None:
    with pytest.raises(UnsupportedError, match=f"depends on data, and {op} would") as caught:
        load_bytes(_model(REFUSED[op], (TensorProto.INT64, None)), "nms")
    assert "pick" in caught.value.node


def test_a_type_without_minus_one_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="hold -1") as caught:
        load_bytes(_model(_cast(TensorProto.UINT8), (TensorProto.UINT8, ("rows", 3))), "nms")
    assert "cast" in caught.value.node


def test_a_branch_cannot_hold_one() -> None:
    inner = helper.make_node("NonMaxSuppression", ["boxes", "scores", "limit"], ["inside"], name="deep")
    branch = helper.make_graph(
        [inner], "branch", [], [helper.make_tensor_value_info("inside", TensorProto.INT64, None)]
    )
    decision = helper.make_node("If", ["yes"], ["y"], name="if", then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedError, match="inside of a branch or a loop") as caught:
        load_bytes(_model([decision], (TensorProto.INT64, ("rows", 3))), "nms")
    assert "deep" in caught.value.node


def test_a_state_is_none() -> None:
    model = onnx.load_from_string(_model(_cast(TensorProto.INT32), (TensorProto.INT32, (6, 3))))
    model.graph.input.append(helper.make_tensor_value_info("before", TensorProto.INT32, (6, 3)))
    model.graph.node.append(helper.make_node("Neg", ["before"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.INT32, (6, 3)))
    assert len(load_bytes(model.SerializeToString(), "nms").graph.outputs) == 2
    for key, text in state_entries([State("before", "y")]).items():
        model.metadata_props.add(key=key, value=text)
    with pytest.raises(UnsupportedError, match="it is a state"):
        load_bytes(model.SerializeToString(), "nms")


def test_numbers_that_mean_nothing_are_refused() -> None:
    output = (TensorProto.INT64, ("rows", 3))
    with pytest.raises(InputError, match=r"max_output_boxes_per_class is .0., expected one integer of 1"):
        load_bytes(_model([], output, limit=0), "nms")
    empty = onnx.load_from_string(_model([], output))
    empty.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros(0, np.int64), "limit"))
    with pytest.raises(InputError, match="expected one integer of 1"):
        load_bytes(empty.SerializeToString(), "nms")
    with pytest.raises(InputError, match=r"\(1, 2, 9\)"):
        load_bytes(_model([], output, scores=9), "nms")
    with pytest.raises(InputError, match="between 0 and 1"):
        load_bytes(_model([], output, iou=1.5), "nms")
