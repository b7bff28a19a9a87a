"""Ops without a form of their own through the whole compiler: C of the function that defines them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

import compiled
import models
from microlith.api import load
from microlith.compile.lower import lower
from microlith.device.load import device
from microlith.ops import OPS
from microlith.program.types import calls
from microlith.search.prepare import optimize_graph
from oracles import onnxruntime_run


def test_rotary_embedding_is_products_and_sums_of_halves(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    angles = rng.uniform(0, 3, (1, 5, 4)).astype(np.float32)
    node = helper.make_node("RotaryEmbedding", ["x", "cos", "sin"], ["y"], name="rotary")
    tables = {"cos": np.cos(angles), "sin": np.sin(angles)}
    proto = models.make_model([node], {"x": [1, 2, 5, 8]}, {"y": [1, 2, 5, 8]}, tables, opset=23)
    onnx.save(proto, tmp_path / "rotary.onnx")
    graph, _ = optimize_graph(load(tmp_path / "rotary.onnx"))
    assert "RotaryEmbedding" not in OPS
    made = Counter(call.op for call in calls(lower(graph, "net").entries[0].body))
    assert made == {"mul": 4, "sub": 1, "add": 1, "copy": 4}
    host = device("host").model_copy(update={"isas": ("portable",)})
    library = compiled.Library(tmp_path / "built", {"rotary": graph}, host)
    feeds = {"x": rng.standard_normal((1, 2, 5, 8)).astype(np.float32)}
    (found,) = library.run("rotary", feeds)
    np.testing.assert_allclose(found, onnxruntime_run(proto, feeds)[0], rtol=0, atol=1e-6)
