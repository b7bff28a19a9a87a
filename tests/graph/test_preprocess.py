from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.core.errors import InputError, UnsupportedError
from microlith.data.preprocess import Preprocessing
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.preprocess import fold_preprocessing
from microlith.graph.values import constant_scalar, static_shape
from microlith.graph.verifier import verify

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SPECS = [
    Preprocessing(),
    Preprocessing("nhwc"),
    Preprocessing("nchw", 0, 1),
    Preprocessing("nhwc", -1, 1),
    Preprocessing("nhwc", -1.0, 127 / 128),
    Preprocessing("nhwc", 0, 255, mean=(128.0,)),
    Preprocessing("nhwc", 0, 1, mean=MEAN, std=STD),
    Preprocessing(None, 0, 1, mean=(0.5,), std=(0.5,)),
    Preprocessing(None, 0, 1, std=(0.25,)),
    Preprocessing("nhwc", 0, 1, mean=(0.1, 0.2, 0.3)),
]


def network(load):
    """Multiplies channels and sums neighbours, so that layout and padding show in the result."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Add", ["c", "image"], ["y"]),
    ]
    weights = {"w": np.linspace(-1, 1, 81, dtype=np.float32).reshape(3, 3, 3, 3)}
    return load(models.make_model(nodes, {"image": [1, 3, 4, 5]}, {"y": [1, 3, 4, 5]}, weights))


@pytest.mark.parametrize("dtype", ["uint8", "float"])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_graph_does_what_the_data_was_put_through(load, run, rng, spec, dtype):
    shape = (1, 4, 5, 3) if spec.layout == "nhwc" else (1, 3, 4, 5)
    raw = rng.integers(0, 256, shape).astype(np.uint8 if dtype == "uint8" else np.float32)
    model = network(load)
    wanted = run(model, {"image": spec.apply(raw)})[0]
    fold_preprocessing(model, "image", spec, dtype)
    verify(model)
    assert [value.name for value in model.graph.inputs] == ["image"]
    assert static_shape(model.graph.inputs[0]) == shape
    got = run(model, {"image": raw})[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("spec", "scale", "zero_point"),
    [
        (Preprocessing("nhwc", 0, 255), 1, 0),
        (Preprocessing("nhwc", 0, 1), 1 / 255, 0),
        (Preprocessing("nhwc", -1.0, 127 / 128), 1 / 128, 128),
        (Preprocessing("nhwc", 0, 255, mean=(128.0,), std=(2.0,)), 0.5, 128),
        (Preprocessing("nhwc", 0, 1, mean=(0.2,) * 3, std=(0.5,) * 3), 2 / 255, 51),
    ],
)
def test_one_integral_zero_point_holds_it_all(load, spec, scale, zero_point):
    model = network(load)
    row = fold_preprocessing(model, "image", spec)
    assert [node.op_type for node in model.graph][:2] == ["Transpose", "DequantizeLinear"]
    assert model.graph[0].outputs[0].dtype == ir.DataType.UINT8
    assert constant_scalar(model.graph[1].inputs[1]) == np.float32(scale)
    assert constant_scalar(model.graph[1].inputs[2]) == zero_point
    assert (row.nodes_before, row.nodes_after) == (2, 4)
    assert f"zero point {zero_point}" in row.note


@pytest.mark.parametrize(
    "spec",
    [
        Preprocessing("nhwc", -1, 1),
        Preprocessing("nhwc", 0, 1, mean=MEAN, std=STD),
        Preprocessing("nhwc", 10, 265),
    ],
)
def test_what_one_zero_point_cannot_hold_is_a_normalization(load, spec):
    model = network(load)
    fold_preprocessing(model, "image", spec)
    ops = [node.op_type for node in model.graph]
    assert ops == ["Transpose", "DequantizeLinear", "BatchNormalization", "Conv", "Add"]
    assert constant_scalar(model.graph[1].inputs[2]) == 0


def test_passes_run_on_the_result(load, run, rng):
    model = load(models.tiny_cnn())
    raw = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    spec = Preprocessing("nhwc", 0, 1)
    wanted = run(model, {"image": spec.apply(raw)})[0]
    fold_preprocessing(model, "image", spec)
    run_passes(model, DEFAULT_PASSES, verify=True)
    np.testing.assert_allclose(run(model, {"image": raw})[0], wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def test_vectors_have_no_channels_to_move(load, run, rng):
    raw = rng.integers(0, 256, (1, 12)).astype(np.uint8)
    model = load(models.tiny_mlp())
    with pytest.raises(InputError, match="has no channel axis to move"):
        fold_preprocessing(model, "features", Preprocessing("nhwc"))
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT
    spec = Preprocessing(low=-0.5, high=0.5, mean=tuple(range(12)))
    wanted = run(model, {"features": spec.apply(raw)})[0]
    fold_preprocessing(model, "features", spec)
    np.testing.assert_allclose(run(model, {"features": raw})[0], wanted, atol=1e-5)


def test_refusals(load):
    model = network(load)
    with pytest.raises(InputError, match="no input 'picture', it has"):
        fold_preprocessing(model, "picture", Preprocessing())
    with pytest.raises(InputError, match="2 values and the input has 3 channels"):
        fold_preprocessing(model, "image", Preprocessing(mean=(1.0, 2.0)))
    verify(model)
    fold_preprocessing(model, "image", Preprocessing())
    with pytest.raises(UnsupportedError, match="has type UINT8, expected FLOAT"):
        fold_preprocessing(model, "image", Preprocessing())
