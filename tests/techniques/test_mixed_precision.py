"""Mixed precision: the integer program's choice, its limits, and what the model then holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import models
from microlith.core.details import PrecisionPlan
from microlith.core.errors import BudgetUnmetError, InputError
from microlith.core.evidence import EvidenceSet
from microlith.device.load import device
from microlith.graph.load import load_bytes
from microlith.graph.metadata import precision_plan, weight_kind
from microlith.graph.reference import Reference
from microlith.report.html import render
from microlith.search.prepare import optimize_graph
from microlith.techniques import technique
from microlith.techniques.base import Context, Feeds
from microlith.techniques.mixed_precision import MixedPrecision
from microlith.techniques.recipe import Recipe
from microlith.techniques.sensitivity import divergence, noise_ratio
from report.example_run import details, evidence

IMAGES = models.images(np.random.default_rng(0), 24)


def _data() -> Iterator[Feeds]:
    for start in range(0, len(IMAGES), 8):
        yield {"image": IMAGES[start : start + 8]}


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return optimize_graph(load_bytes(models.tiny_cnn(channels=8).SerializeToString(), "model"))[0]


def _made(graph: ir.Model, target: str | None = None, **settings: object) -> tuple[ir.Model, PrecisionPlan]:
    context = Context(data=_data, device=None if target is None else device(target))
    result = MixedPrecision(**settings).apply(graph, context)  # type: ignore[arg-type]
    plan = precision_plan(result)
    assert plan is not None
    return result, plan


def _kinds(model: ir.Model) -> dict[str, str]:
    """Types of the weights that each layer holds."""
    found = {}
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm"):
            dequantize = node.inputs[1].producer()  # type: ignore[union-attr]
            assert dequantize is not None and dequantize.inputs[0] is not None
            found[str(node.name)] = weight_kind(dequantize) or dequantize.inputs[0].dtype.name.lower()  # type: ignore[union-attr]
    return found


def test_what_was_chosen_is_in_the_graph_and_no_sum_of_losses_is_less(graph: ir.Model) -> None:
    found, plan = _made(graph, weight_share=0.7, kinds=("int8", "int4", "int2"), repairs=0)
    assert _kinds(found) == {row.layer: row.chosen for row in plan.rows}
    assert len({row.chosen for row in plan.rows}) > 1
    assert plan.most_bytes is not None
    taken = [next(item for item in row.options if item.kind == row.chosen) for row in plan.rows]
    assert sum(item.weight_bytes for item in taken) <= plan.most_bytes
    allowed = [
        sum(item.loss for item in choice)
        for choice in product(*(row.options for row in plan.rows))
        if sum(item.weight_bytes for item in choice) <= plan.most_bytes
    ]
    assert plan.expected_loss == pytest.approx(min(allowed))
    assert plan.found_loss > 0


def test_losses_are_those_of_one_layer_alone(graph: ir.Model) -> None:
    _, plan = _made(graph, weight_share=0.7, measure="sqnr", repairs=0)
    exact = Reference(graph).run({"image": IMAGES})["logits"].astype(np.float64)
    weights = next(node for node in graph.graph if node.name == "pointwise").inputs[1].const_value.numpy()  # type: ignore[union-attr]
    changed = graph.clone()
    node = next(node for node in changed.graph if node.name == "pointwise")
    scale = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / 127
    rounded = (np.rint(weights / scale) * scale).astype(np.float32)
    node.inputs[1].const_value = ir.tensor(rounded)  # type: ignore[union-attr]
    row = next(row for row in plan.rows if row.layer == "pointwise")
    expected = noise_ratio(exact, Reference(changed).run({"image": IMAGES})["logits"].astype(np.float64))
    assert row.options[0].loss == pytest.approx(expected, rel=0.05)


def test_exchanges_never_measure_worse(graph: ir.Model) -> None:
    _, before = _made(graph, weight_share=0.65, kinds=("int8", "int2"), repairs=0)
    _, after = _made(graph, weight_share=0.65, kinds=("int8", "int2"), repairs=6)
    assert after.found_loss <= before.found_loss
    if after.repairs:
        assert after.found_loss < before.found_loss


def test_overrides_of_the_user_hold(graph: ir.Model) -> None:
    found, plan = _made(graph, weight_share=0.9, overrides=({"layers": "first", "weights": "int8"},))
    assert "stem.conv" not in {row.layer for row in plan.rows}
    assert _kinds(found)["stem.conv"] == "int8"


def test_limits(graph: ir.Model) -> None:
    with pytest.raises(BudgetUnmetError, match="the least weights are"):
        _made(graph, weight_share=0.01)
    _, plan = _made(graph, "stm32l4r5", weight_share=None, cycles_share=1.0)
    assert plan.most_bytes is None and plan.most_cycles is not None
    assert {row.chosen for row in plan.rows} == {"int8"}
    assert all(item.cycles for row in plan.rows for item in row.options)
    with pytest.raises(InputError, match="needs a device"):
        MixedPrecision(cycles_share=1.0).apply(graph, Context(data=_data))


def test_settings_that_make_no_sense() -> None:
    for settings in ({"kinds": ["int8"]}, {"kinds": ["int8", "int8"]}, {"activations": "float"}):
        with pytest.raises(InputError):
            technique("mixed_precision", **settings)
    written = Recipe((technique("mixed_precision", weight_share=0.5),)).to_yaml()
    assert Recipe.from_yaml(written).steps == (technique("mixed_precision", weight_share=0.5),)


def test_divergence() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (5, 4))
    other = logits + np.random.default_rng(1).normal(0, 0.1, (5, 4))
    p, q = (np.exp(item) / np.exp(item).sum(axis=1, keepdims=True) for item in (logits, other))
    expected = float(np.mean(np.sum(p * np.log(p / q), axis=1)))
    assert divergence(logits, other) == pytest.approx(expected, rel=1e-6)
    assert divergence(p, q) == pytest.approx(expected, rel=1e-6)
    assert divergence(logits, logits) == 0


def test_the_report_shows_it(graph: ir.Model, tmp_path: Path) -> None:
    _, plan = _made(graph, weight_share=0.7, repairs=0)
    page = render(details(evidence()).model_copy(update={"precision": plan}), EvidenceSet(()))
    section = page[page.index('id="precision"') : page.index('id="layers"')]
    assert "<svg" in section
    assert re.search(r"under [\d,]+ B of weights", section)
    assert all(row.why in section for row in plan.rows)
    assert 'id="precision"' not in render(details(evidence()), EvidenceSet(()))
