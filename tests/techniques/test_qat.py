"""Quantization-aware training: better than rounding, in the deployed graph, the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import models
from microlith.core.errors import InputError
from microlith.core.random import generator
from microlith.device.load import device
from microlith.graph.feeds import as_inputs
from microlith.graph.load import load_bytes
from microlith.graph.reference import Reference
from microlith.graph.save import model_bytes
from microlith.graph.units import units
from microlith.search.prepare import evaluate, optimize_graph
from microlith.techniques import technique
from microlith.techniques.base import Context, Feeds
from microlith.techniques.ptq import PTQ
from microlith.techniques.qat import QAT
from microlith.techniques.sensitivity import divergence

pytestmark = pytest.mark.train
TRAINING = models.images(np.random.default_rng(0), 128)
HELD_OUT = models.images(np.random.default_rng(1), 64)


def _data() -> Iterator[Feeds]:
    for start in range(0, len(TRAINING), 32):
        yield {"image": TRAINING[start : start + 32]}


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return optimize_graph(load_bytes(models.tiny_cnn(channels=8).SerializeToString(), "model"))[0]


def _made(graph: ir.Model, step: PTQ, **context: object) -> ir.Model:
    given = Context(data=_data, rng=generator(0, "qat"), device=device("stm32l4r5"), **context)  # type: ignore[arg-type]
    return step.apply(graph, given)


def _loss(graph: ir.Model, quantized: ir.Model) -> float:
    exact, found = (evaluate(item, [{"image": HELD_OUT}]) for item in (graph, quantized))
    return divergence(exact.reshape(64, -1).astype(np.float64), found.reshape(64, -1).astype(np.float64))


QUICK = {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3, "weights": "int2"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation_steps": "lsq+", "damping": 1e-2},
        {"activation_steps": "pact", "gradual_bits": 2},
        {"activation_steps": "fixed", "weight_steps": "fixed", "ema": 0.9},
    ],
    ids=["lsq", "lsq+ damped", "pact gradual", "fixed ema"],
)
def test_it_is_better_than_rounding(graph: ir.Model, settings: dict[str, object]) -> None:
    rounded = _made(graph, PTQ(weights="int2"))
    trained = _made(graph, QAT(**QUICK, **settings))  # type: ignore[arg-type]
    assert _loss(graph, trained) < 0.9 * _loss(graph, rounded)
    assert [unit.kind for unit in units(trained)] == [unit.kind for unit in units(rounded)]
    assert [str(node.name) for node in trained.graph] == [str(node.name) for node in rounded.graph]


def test_it_compiles_to_the_same_bits(graph: ir.Model, tmp_path: Path) -> None:
    trained = _made(graph, QAT(epochs=1, batch_size=32, weights="int4"))
    library = compiled.Library(tmp_path, {"net": trained}, device("host"))
    integers = Reference(trained)
    (name,) = [str(value.name) for value in trained.graph.inputs]
    for image in HELD_OUT[:8]:
        feeds = as_inputs(trained, {name: image[None]})
        (found,) = library.run("net", feeds)
        assert found.tobytes() == integers.run(feeds)["logits"].tobytes()


def test_labels_alone_and_with_a_teacher(graph: ir.Model) -> None:
    labels = evaluate(graph, [{"image": TRAINING}]).reshape(len(TRAINING), -1).argmax(axis=1)
    for settings in ({"teacher_weight": 0.0}, {}):
        trained = _made(graph, QAT(epochs=2, batch_size=32, weights="int4", **settings), labels=labels)
        answers = evaluate(trained, [{"image": TRAINING}]).reshape(len(TRAINING), -1).argmax(axis=1)
        assert np.mean(answers == labels) > 0.6  # one class in five is right by chance
    with pytest.raises(InputError, match="no labels"):
        _made(graph, QAT(**QUICK, teacher_weight=0.0))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_bytes(graph: ir.Model, tmp_path: Path) -> None:
    step = QAT(epochs=1, batch_size=32)
    first, again = (model_bytes(_made(graph, step)) for _ in range(2))
    assert first == again
    kept = tmp_path / "checkpoint"
    assert model_bytes(_made(graph, step, checkpoint=kept)) == first
    assert kept.exists()
    assert model_bytes(_made(graph, step, checkpoint=kept)) == first


def test_what_it_needs(graph: ir.Model) -> None:
    with pytest.raises(InputError, match="needs training data"):
        QAT().apply(graph, Context())
    assert technique("qat", weights="int4", epochs=2) == QAT(weights="int4", epochs=2)
