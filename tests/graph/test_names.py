"""Names that are taken, without a look through the graph for each."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

import models
from microlith.graph import values
from microlith.graph.passes.place_qdq import place_qdq
from microlith.graph.values import Names
from microlith.quant.schemes import Scheme


def _chain(count: int) -> ir.Model:
    nodes = [helper.make_node("Sigmoid", [f"v{i}"], [f"v{i + 1}"], name=f"n{i}") for i in range(count)]
    model = ir.from_proto(models.make_model(nodes, {"v0": [1, 4]}, {f"v{count}": [1, 4]}))
    for node in model.graph:
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape((1, 4))
    return model


def test_names_are_free_once() -> None:
    graph = _chain(2).graph
    names = Names(graph)
    assert [names.value("v1"), names.value("v1"), names.value("new"), names.value("new")] == [
        "v1_1",
        "v1_2",
        "new",
        "new_1",
    ]
    assert [names.node("n1"), names.node("v1")] == ["n1_1", "v1"]
    names.release("v1")
    assert names.value("v1") == "v1"
    assert names.initializer("v0", np.zeros(3, np.float32)).name == "v0_1"
    assert "v0_1" in graph.initializers


def test_quantization_looks_through_the_names_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    plain = values.value_names
    monkeypatch.setattr(values, "value_names", lambda graph: looks.append(graph.name or "") or plain(graph))
    model = _chain(20)
    place_qdq(model, dict.fromkeys((f"v{i}" for i in range(21)), (-1.0, 1.0)), Scheme(), "float")
    assert len(looks) == 1
