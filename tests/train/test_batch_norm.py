"""BatchNormalization put back behind the layers that it was folded into."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch

import microlith as ml
import models
import qdq_models
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.expose import expose
from microlith.graph.load import load_bytes
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.graph.verifier import verify
from microlith.train.loop import TrainSettings, train
from microlith.train.samples import Samples

pytestmark = pytest.mark.train


def _folded() -> ir.Model:
    model = load_bytes(models.tiny_cnn().SerializeToString(), "cnn")
    run_passes(model, DEFAULT_PASSES)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph)
    return model


def test_it_changes_nothing_and_holds_the_statistics_of_the_data(rng):
    model, images = _folded(), models.images(rng, 40)
    module = ml.to_torch(model, batch_norm="inserted", statistics=images)
    unfolded = ml.to_graph(module)
    verify(unfolded)
    before, after = (Reference(item).run({"image": images})["logits"] for item in (model, unfolded))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    norms = [node for node in unfolded.graph if node.op_type == "BatchNormalization"]
    assert {node.inputs[0].producer().name for node in norms} == {"stem.conv", "depthwise", "pointwise"}
    for node in norms:
        layer = node.inputs[0]
        values = Reference(expose(model, [layer.name])).run({"image": images}, keep=[layer.name])[layer.name]
        mean, variance = (node.inputs[index].const_value.numpy() for index in (3, 4))
        np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, values.var((0, 2, 3)), rtol=1e-3, atol=1e-6)


def test_it_is_trained_and_folds_again(rng):
    model, images = _folded(), models.images(rng, 48)
    module = ml.to_torch(model, batch_norm="inserted", statistics=images)
    statistics = [name for name, _ in module.named_buffers() if name.endswith("norm.mean")]
    before = {name: module.get_buffer(name).clone() for name in statistics}
    settings = TrainSettings(epochs=3, batch_size=16, learning_rate=1e-2)
    train(module, Samples.of(images, rng.integers(0, 5, 48)), settings, rng=rng)
    assert len(statistics) == 3
    assert all((module.get_buffer(name) != before[name]).any() for name in statistics)
    trained = ml.to_graph(module)
    run_passes(trained, DEFAULT_PASSES)
    assert [node.op_type for node in trained.graph] == [node.op_type for node in model.graph]
    expected = module(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(Reference(trained).run({"image": images})["logits"], expected, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_done_is_refused(rng):
    images = models.images(rng, 4)
    with pytest.raises(InputError, match="data for its statistics go together"):
        ml.to_torch(_folded(), batch_norm="inserted")
    with pytest.raises(InputError, match="data for its statistics go together"):
        ml.to_torch(_folded(), statistics=images)
    quantized = ml.apply(_folded(), [ml.PTQ()], data=images)
    with pytest.raises(UnsupportedError, match="no layer with float weights lacks"):
        ml.to_torch(quantized, batch_norm="inserted", statistics=images)
    two = qdq_models.finish(models.one_node("Add", {"a": (1, 4), "b": (1, 4)}, {"y": (1, 4)}))
    with pytest.raises(InputError, match="has 2 inputs"):
        ml.to_torch(two, batch_norm="inserted", statistics=images)
