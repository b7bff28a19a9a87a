"""The models of the tests are what their docstrings say, and reproducible."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import models


@pytest.mark.parametrize("make", [models.tiny_cnn, models.tiny_mlp])
def test_the_same_seed_gives_the_same_model_and_another_seed_another(make):
    assert make(3).SerializeToString() == make(3).SerializeToString()
    assert make(3).SerializeToString() != make(4).SerializeToString()


def test_the_classes_of_the_tiny_networks_differ_between_inputs(rng):
    session = onnxruntime.InferenceSession(models.tiny_cnn().SerializeToString(), providers=["CPUExecutionProvider"])
    logits = np.stack([session.run(None, {"image": image[None]})[0][0] for image in models.images(rng, 50)])
    assert logits.shape == (50, 5)
    assert np.bincount(logits.argmax(axis=1)).max() < 45
