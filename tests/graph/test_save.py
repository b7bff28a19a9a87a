from __future__ import annotations

import numpy as np
import pytest

import models
from microlith.core.errors import InputError
from microlith.graph.load import load_model
from microlith.graph.metadata import set_io_qparams, set_requantization
from microlith.graph.model_file import save_model
from microlith.graph.save import model_bytes, model_hash
from microlith.quant.types import QParams


def test_a_saved_model_loads_to_the_same_bytes(load, tmp_path):
    model = load(models.tiny_cnn())
    path = tmp_path / "saved.onnx"
    save_model(model, path)
    assert path.read_bytes() == model_bytes(model) == model_bytes(load_model(path))
    assert [item.name for item in tmp_path.iterdir() if item.name.startswith(".")] == []


def test_the_same_model_gives_the_same_bytes(load):
    first, second = (load(models.tiny_cnn()) for _ in range(2))
    set_requantization(first, "fixed")
    set_io_qparams(first, "image", QParams.per_tensor(0.5, 3, "uint8"))
    set_io_qparams(second, "image", QParams.per_tensor(0.5, 3, "uint8"))
    set_requantization(second, "fixed")
    assert model_bytes(first) == model_bytes(second)
    assert model_hash(first) == model_hash(second)


def test_the_hash_sees_a_weight(load):
    model = load(models.tiny_mlp())
    before = model_hash(model)
    array = model.graph.initializers["fc1.bias"].const_value.numpy()
    array[0] = np.nextafter(array[0], np.float32(10))
    assert len(before) == 64
    assert model_hash(model) != before


def test_a_place_that_cannot_be_written(load, tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        save_model(load(models.tiny_mlp()), tmp_path / "none" / "m.onnx")
    assert list(tmp_path.glob("none*")) == []
