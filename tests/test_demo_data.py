"""The demo's network and images are what the demo and examples/fashion_mnist promise."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

DATA = files("microlith.cli") / "demo_data"


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    return onnx.load_from_string((DATA / "model.onnx").read_bytes())


@pytest.fixture(scope="module")
def images():
    with (DATA / "images.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_the_images_are_raw_bytes_of_every_class(images):
    assert set(images) == {"x", "y"}
    assert (images["x"].dtype, images["x"].shape) == (np.uint8, (1500, 28, 28, 1))
    assert (images["y"].dtype, images["y"].shape) == (np.uint8, (1500,))
    assert np.bincount(images["y"], minlength=10).min() >= 100
    assert images["x"].max() == 255


def test_the_weights_are_float_and_fewer_than_60_000(network):
    tensors = [numpy_helper.to_array(tensor) for tensor in network.graph.initializer]
    assert {tensor.dtype for tensor in tensors} == {np.dtype(np.float32)}
    assert 20_000 < sum(tensor.size for tensor in tensors) < 60_000


def test_the_float_accuracy_is_the_one_stated(network, images):
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    scaled = images["x"].transpose(0, 3, 1, 2)[:, None].astype(np.float32) / np.float32(255)
    answers = np.asarray([session.run(None, {"image": image})[0].argmax() for image in scaled])
    assert (answers == images["y"]).mean() == pytest.approx(0.9293, abs=0.002)


def test_the_license_of_the_images_lies_beside_them():
    text = (DATA / "LICENSE-fashion-mnist.txt").read_text()
    assert "MIT License" in text
    assert "Zalando" in text


def test_the_download_stays_small():
    assert sum(len((DATA / name).read_bytes()) for name in ("model.onnx", "images.npz")) < 1_500_000
