"""NonMaxSuppression through the whole compiler: C against the reference, and its rows in use against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import compiled
from microlith.device.load import device
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.verify.outside import whole_against_outside
from oracles import onnxruntime_run

BOXES = 24
CASES = {
    "corners": (2, 3, 20, {"iou": 0.3, "score": 0.4}, 0),
    "center": (2, 2, 20, {"iou": 0.2, "score": 0.2}, 1),
    "no_threshold": (1, 2, 100, {"iou": 0.5}, 0),
    "no_overlap": (1, 1, 7, {}, 1),
    "none_left": (1, 2, 3, {"iou": 0.5, "score": 0.95}, 0),
}


def _model(images: int, classes: int, limit: int, given: dict[str, float], center: int) -> onnx.ModelProto:
    constants = {"limit": np.array([limit], np.int64)} | {
        name: np.array([value], np.float32) for name, value in given.items()
    }
    names = ["boxes", "scores", "limit", *given]
    graph = helper.make_graph(
        [helper.make_node("NonMaxSuppression", names, ["chosen"], name="nms", center_point_box=center)],
        "graph",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (images, BOXES, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, (images, classes, BOXES)),
        ],
        [helper.make_tensor_value_info("chosen", TensorProto.INT64, ("rows", 3))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


def _feeds(images: int, classes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Coarse boxes and scores: many are equal, some boxes have no area, corners come in either order."""
    boxes = rng.integers(0, 6, (images, BOXES, 4)).astype(np.float32) / 2
    return {"boxes": boxes, "scores": (rng.integers(0, 10, (images, classes, BOXES)) / 10).astype(np.float32)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    graphs = {}
    for name, case in CASES.items():
        graphs[name] = load_bytes(_model(*case).SerializeToString(), name)
        run_passes(graphs[name], DEFAULT_PASSES, verify=True)
    host = device("host").model_copy(update={"isas": ("portable",)})
    return compiled.Library(tmp_path_factory.mktemp("nms"), graphs, host)


@pytest.mark.parametrize("name", CASES)
def test_rows_in_use_are_those_of_onnxruntime_and_the_rest_is_minus_one(name: str, library: compiled.Library) -> None:
    images, classes, limit, _, _ = CASES[name]
    rng = np.random.default_rng(7)
    counts = set()
    for _ in range(6):
        feeds = _feeds(images, classes, rng)
        (result,) = library.run(name, feeds)
        (expected,) = compiled.reference(library.members[name].graph, feeds)
        (outside,) = onnxruntime_run(_model(*CASES[name]), feeds)
        assert result.shape == (images * classes * min(limit, BOXES), 3)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(result[: len(outside)], outside)
        assert (result[len(outside) :] == -1).all()
        counts.add(len(outside))
    assert (len(counts) == 1) == (name in ("no_overlap", "none_left")), "the limit is met in one, nothing in the other"


def test_a_score_that_is_no_number_is_never_chosen(library: compiled.Library) -> None:
    feeds = _feeds(1, 2, np.random.default_rng(0))
    feeds["scores"][0, :, ::2] = np.nan
    (result,) = library.run("no_threshold", feeds)
    assert set(result[result[:, 2] >= 0, 2].tolist()) <= set(range(1, BOXES, 2))
    np.testing.assert_array_equal(result, compiled.reference(library.members["no_threshold"].graph, feeds)[0])


def test_the_outside_check_compares_rows_in_use(library: compiled.Library) -> None:
    graph = library.members["corners"].graph
    samples = [_feeds(2, 3, np.random.default_rng(seed)) for seed in range(3)]
    row = whole_against_outside(graph, samples)
    assert row.passed
    assert row.differing == 0
    assert row.elements == 3 * 120 * 3
