"""What ops that move, select and resample cannot do is refused, with the node's name where it is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.ops import OPS, op_of
from microlith.ops.base import Output, Shape
from microlith.ops.indices import bounded
from microlith.quant.types import QArray, QParams

Constants = dict[int, object]
IMAGE = (1, 4, 8, 8)


def node(op: str, inputs: int, constants: Constants | None = None, outputs: int = 1, **attributes: object) -> ir.Node:
    """A node called ``culprit`` whose inputs are images, but for the constants; ``None`` is an absent input."""
    constants = constants or {}
    count = max([inputs, *(index + 1 for index in constants)])
    names = ["" if constants.get(i, 0) is None else f"c{i}" if i in constants else f"x{i}" for i in range(count)]
    kept = {f"c{index}": np.asarray(array) for index, array in constants.items() if array is not None}
    graph = helper.make_graph(
        [helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="culprit", **attributes)],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, IMAGE) for name in names if name.startswith("x")],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in kept.items()],
    )
    return next(iter(ir.serde.deserialize_model(helper.make_model(graph)).graph))


SCALES = np.array([1, 1, 2, 2], np.float32)
PARSES = [
    (node("Tile", 2), "its repeats is computed at run time"),
    (node("Tile", 1, {1: [1, 1, 0, 1]}), "expected 1 or more"),
    (node("Expand", 2), "its shape is computed at run time"),
    (node("Expand", 1, {1: [0]}), "expected sizes of 1 or more"),
    (node("DepthToSpace", 1), "its blocksize is 0"),
    (node("DepthToSpace", 1, blocksize=2, mode="RCD"), "expected DCR or CRD"),
    (node("ScatterND", 3, reduction="mean"), "reduction 'mean'"),
    (node("Trilu", 1, {1: [1, 2]}), "expected one integer"),
    (node("OneHot", 3, {1: [1, 2]}), "its depth is [1 2]"),
    (node("OneHot", 3), "its depth is computed at run time"),
    (node("ReverseSequence", 2, batch_axis=1, time_axis=1), "expected 0 and 1"),
    (node("TopK", 2, outputs=2), "its k is computed at run time"),
    (node("TopK", 1, {1: [0]}, outputs=2), "expected one integer of 1 or more"),
    (node("CumSum", 2), "its axis is computed at run time"),
    (node("CumSum", 1, {1: [0, 1]}), "expected one integer"),
    (node("CenterCropPad", 1, {1: [0, 1]}), "expected sizes of 1 or more"),
    (node("Split", 1, outputs=2, num_outputs=3), "its num_outputs is 3 and it has 2"),
    (node("Col2Im", 3), "its image_shape is computed at run time"),
    (node("Col2Im", 1, {1: [5, 5], 2: [2]}), "do not go together"),
    (node("Col2Im", 1, {1: [5, 5], 2: [2, 6]}), "leave no block"),
    (node("MaxUnpool", 2), "its kernel_shape is missing"),
    (node("MaxUnpool", 2, kernel_shape=[2, 2], strides=[1]), "differ"),
    (node("GridSample", 2, mode="area"), "its mode is 'area'"),
    (node("GridSample", 2, padding_mode="wrap"), "its padding_mode 'wrap'"),
    (node("Resize", 1), "expected one of both"),
    (node("Resize", 1, {1: None, 2: SCALES, 3: [1, 4, 8, 8]}), "expected one of both"),
    (node("Resize", 3), "its scales is computed at run time"),
    (node("Resize", 1, {1: None, 2: SCALES}, mode="area"), "its mode is 'area'"),
    (node("Resize", 1, {1: None, 2: SCALES}, nearest_mode="up"), "rounded by 'up'"),
    (node("Resize", 1, {1: None, 2: SCALES}, coordinate_transformation_mode="half"), "its coordinates are 'half'"),
    (node("Resize", 1, {1: None, 2: SCALES}, keep_aspect_ratio_policy="crop"), "keep_aspect_ratio_policy is 'crop'"),
    (
        node("Resize", 1, {1: None, 2: SCALES}, coordinate_transformation_mode="tf_crop_and_resize"),
        "its roi is missing",
    ),
]


@pytest.mark.parametrize(("culprit", "words"), PARSES, ids=[f"{item.op_type}-{words}" for item, words in PARSES])
def test_parse_refuses_and_names_the_node(culprit: ir.Node, words: str) -> None:
    with pytest.raises(MicrolithError) as caught:
        op_of(culprit).parse(culprit)
    assert words in str(caught.value)
    assert f"culprit ({culprit.op_type})" in str(caught.value)


INFERS: list[tuple[ir.Node, Sequence[Shape]]] = [
    (node("Tile", 1, {1: [1, 2]}), [IMAGE]),
    (node("Expand", 1, {1: [3, 8]}), [IMAGE]),
    (node("DepthToSpace", 1, blocksize=3), [IMAGE]),
    (node("SpaceToDepth", 1, blocksize=3), [IMAGE]),
    (node("Gather", 2, axis=4), [IMAGE, (1,)]),
    (node("GatherElements", 2, axis=1), [IMAGE, (1, 4, 9, 8)]),
    (node("GatherElements", 2, axis=1), [IMAGE, (1, 4, 8)]),
    (node("GatherND", 2, batch_dims=1), [IMAGE, (2, 4)]),
    (node("GatherND", 2), [IMAGE, (2, 5)]),
    (node("ScatterElements", 3, axis=1), [IMAGE, (1, 4, 8, 8), (1, 3, 8, 8)]),
    (node("ScatterElements", 3, axis=1), [IMAGE, (1, 4, 9, 8), (1, 4, 9, 8)]),
    (node("ScatterND", 3), [IMAGE, (2, 2), (2, 8)]),
    (node("Trilu", 1), [(4,)]),
    (node("OneHot", 3, {1: 3}), [IMAGE, (3,)]),
    (node("OneHot", 3, {1: 3}, axis=6), [IMAGE, (2,)]),
    (node("ReverseSequence", 2), [(4, 3, 2), (4,)]),
    (node("TopK", 1, {1: [9]}, outputs=2), [IMAGE]),
    (node("ArgMax", 1, axis=4), [IMAGE]),
    (node("CumSum", 1, {1: 4}), [IMAGE]),
    (node("CenterCropPad", 1, {1: [3, 3]}), [IMAGE]),
    (node("Split", 1, {1: [3, 4]}, outputs=2, axis=2), [IMAGE]),
    (node("Split", 1, outputs=5, axis=1), [IMAGE]),
    (node("Col2Im", 1, {1: [5, 5], 2: [2, 2]}), [(1, 8, 15)]),
    (node("MaxUnpool", 2, kernel_shape=[2]), [IMAGE, IMAGE]),
    (node("MaxUnpool", 2, kernel_shape=[2, 2]), [IMAGE, (1, 4, 8, 7)]),
    (node("MaxUnpool", 2, {2: [1, 4, 8, 8]}, kernel_shape=[2, 2]), [IMAGE, IMAGE]),
    (node("GridSample", 2), [IMAGE, (1, 5, 5, 3)]),
    (node("Resize", 1, {1: None, 2: SCALES[:3]}), [IMAGE]),
    (node("Resize", 1, {1: None, 2: SCALES / 16}), [IMAGE]),
    (node("Pad", 1, {1: [0, 0, -9, 0, 0, 0, 3, 0]}), [IMAGE]),
]


@pytest.mark.parametrize(("culprit", "shapes"), INFERS, ids=[f"{item.op_type}-{shapes}" for item, shapes in INFERS])
def test_infer_refuses_shapes_that_do_not_fit(culprit: ir.Node, shapes: Sequence[Shape]) -> None:
    op = op_of(culprit)
    with pytest.raises(InputError, match=culprit.op_type):
        op.infer(op.parse(culprit), shapes)


def test_sums_of_neighbours_and_of_updates_have_no_integer_form() -> None:
    q = QParams.per_tensor(1.0, 0, "int8")
    image = QArray(np.ones(IMAGE, np.int8), q)
    for culprit, operands in (
        (node("Resize", 1, {1: None, 2: SCALES}, mode="linear"), [image]),
        (node("ScatterND", 3, reduction="add"), [image, QArray.itself(np.zeros((1, 4), np.int64)), image]),
    ):
        op = OPS[culprit.op_type]
        assert op.quantized is not None
        with pytest.raises(UnsupportedError, match="has no integer form"):
            op.quantized(op.parse(culprit), operands, Output(q, "float", -128, 127))


def test_indices_outside_become_the_nearest_inside() -> None:
    given = np.array([-(2**62), -4, -3, -1, 0, 2, 3, 2**62])
    assert bounded(given, 3).tolist() == [0, 0, 0, 2, 0, 2, 2, 2]
