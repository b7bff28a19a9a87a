"""Means over rows and columns that keep these dimensions: reference and C against LiteRT, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microlith.compile.lower import lower
from microlith.core.errors import ModelError
from microlith.graph.load import load_model
from microlith.graph.model_file import save_model
from microlith.graph.reference import Reference
from microlith.ops.reduce import IMAGE_MEAN_KEY, is_image_mean
from microlith.program.attrs import ReduceMean
from microlith.program.types import calls
from tflite_checks import check
from tflite_models import Node, Oracle, Tensor, build, constant, options
from tflite_networks import loaded

# Axes, size, channels, scales and zero points of x and y.
Case = tuple[tuple[int, ...], tuple[int, int], int, tuple[float, int], tuple[float, int]]
CASES: dict[str, Case] = {
    "few_channels": ((1, 2), (4, 5), 4, (0.021, 17), (0.0183, -9)),
    "groups_and_a_rest": ((1, 2), (4, 8), 40, (0.5, -3), (0.25, 5)),
    "one_group": ((-2, 1), (2, 8), 16, (0.0117, -12), (0.0043, 0)),
    "axes_turned_round": ((2, 1), (7, 7), 21, (0.05, 60), (0.04, -20)),
    "one_pixel": ((1, 2), (1, 1), 19, (0.031, 40), (0.0077, 3)),
    "columns_and_channels": ((2, 3), (5, 4), 6, (0.021, 17), (0.0183, -9)),
    "rows_alone": ((1,), (5, 4), 6, (0.021, 17), (0.0183, -9)),
}


def _content(case: Case, *, pooled: bool = False) -> bytes:
    """A mean of the input, or of what a pool has left of it, which importing puts into another order."""
    axes, size, channels, (sx, zx), (sy, zy) = case
    shape = (1, *size, channels)
    out = tuple(1 if axis in {item % 4 for item in axes} else extent for axis, extent in enumerate(shape))
    x = Tensor(shape, "int8", scale=sx, zero_point=zx)
    tensors = {"x": x, "axes": constant(np.array(axes, np.int32)), "y": Tensor(out, "int8", scale=sy, zero_point=zy)}
    keep = options("ReducerOptions", keepDims=True)
    if not pooled:
        return build(tensors, [Node("MEAN", ["x", "axes"], ["y"], keep)], ["x"], ["y"])
    pool = options("Pool2DOptions", padding=0, strideW=1, strideH=1, filterWidth=2, filterHeight=2)
    nodes = [Node("MAX_POOL_2D", ["x"], ["pooled"], pool), Node("MEAN", ["pooled", "axes"], ["y"], keep)]
    return build(tensors | {"pooled": replace(x)}, nodes, ["x"], ["y"])


def test_c_and_reference_equal_litert(tmp_path: Path) -> None:
    contents = {name: _content(case) for name, case in CASES.items()}
    contents |= {
        f"{name}_pooled": _content(CASES[name], pooled=True) for name in ("groups_and_a_rest", "axes_turned_round")
    }
    graphs = check(contents, tmp_path, turns=20)
    found = {name for name, graph in graphs.items() if any(is_image_mean(node) for node in graph.graph)}
    assert found == graphs.keys() - {"columns_and_channels", "rows_alone"}


@pytest.mark.parametrize("seed", range(12))
def test_random_parameters(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    size, channels = (int(rng.integers(1, 9)), int(rng.integers(1, 9))), int(rng.integers(1, 41))
    sx = float(np.float32(rng.uniform(0.001, 0.1)))
    sy = float(np.float32(sx * rng.uniform(0.05, 2)))
    zeros = [int(value) for value in rng.integers(-128, 128, 2)]
    case = ((1, 2), size, channels, (sx, zeros[0]), (sy, zeros[1]))
    content = _content(case)
    reference, oracle = Reference(loaded(content, tmp_path)), Oracle(content)
    for _ in range(20):
        x = np.clip(rng.normal(zeros[0], 30, (1, *size, channels)), -128, 127).astype(np.int8)
        np.testing.assert_array_equal(reference.run({"x": x})["y"], oracle.run(x)[0])


def test_the_meaning_survives_a_file(tmp_path: Path) -> None:
    save_model(loaded(_content(CASES["groups_and_a_rest"]), tmp_path), tmp_path / "model.onnx", 13)
    again = load_model(tmp_path / "model.onnx")
    x = np.random.default_rng(3).integers(-128, 128, (1, 4, 8, 40)).astype(np.int8)
    want = Oracle(_content(CASES["groups_and_a_rest"])).run(x)[0]
    np.testing.assert_array_equal(Reference(again).run({"x": x})["y"], want)


def test_without_the_mark_it_is_another_mean(tmp_path: Path) -> None:
    model = loaded(_content(CASES["few_channels"]), tmp_path)
    samples = np.random.default_rng(3).integers(-128, 128, (400, 4, 5, 4)).astype(np.int8)
    marked = Reference(model).run({"x": samples})["y"]
    (node,) = (node for node in model.graph if node.op_type == "ReduceMean")
    del node.metadata_props[IMAGE_MEAN_KEY]
    assert np.abs(Reference(model).run({"x": samples})["y"].astype(int) - marked).max() == 1


def test_the_mark_speaks_of_rows_and_columns(tmp_path: Path) -> None:
    model = loaded(_content(CASES["rows_alone"]), tmp_path)
    (node,) = (node for node in model.graph if node.op_type == "ReduceMean")
    node.metadata_props[IMAGE_MEAN_KEY] = "1"
    with pytest.raises(ModelError, match="speak of a mean over rows and columns"):
        Reference(model)


def test_one_call_and_no_copy(tmp_path: Path) -> None:
    program = lower(loaded(_content(CASES["few_channels"], pooled=True), tmp_path), "net")
    ops = [call.op for call in calls(program.entries[0].body)]
    assert ops == ["max_pool2d", "reduce_mean"]
    attrs = list(calls(program.entries[0].body))[-1].attrs
    assert isinstance(attrs, ReduceMean)
    assert attrs.image is not None
