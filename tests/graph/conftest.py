"""Fixtures for graph tests: load a proto, run a model outside, apply one pass under the verifier."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from microlith.graph.export import export_model
from microlith.graph.load import load_model
from microlith.graph.pass_base import Pass, PassResult
from microlith.graph.save import model_bytes
from microlith.graph.verifier import verify

Array = NDArray[np.generic]
Load = Callable[..., ir.Model]
Run = Callable[[ir.Model | onnx.ModelProto, Mapping[str, Array]], list[Array]]
Apply = Callable[[ir.Model, Pass], PassResult]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(proto, shapes=None)``: through a file and ``load_model``."""
    numbers = itertools.count()

    def through_file(proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ir.Model:
        path = tmp_path / f"model{next(numbers)}.onnx"
        path.write_bytes(proto.SerializeToString())
        return load_model(path, shapes)

    return through_file


@pytest.fixture
def run() -> Run:
    """``run(model, feeds)``: the outputs by ONNX Runtime, without its own optimizations."""

    def by_runtime(model: ir.Model | onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        data = model_bytes(export_model(model)) if isinstance(model, ir.Model) else model.SerializeToString()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return [np.asarray(output) for output in session.run(None, dict(feeds))]

    return by_runtime


@pytest.fixture
def apply() -> Apply:
    """``apply(model, item)``: one application; what the pass says it did is compared with what it did."""

    def checked(model: ir.Model, item: Pass) -> PassResult:
        verify(model)
        assert not [why for condition in item.requires if (why := condition.violation(model))]
        before = model_bytes(model)
        result = item.apply(model)
        verify(model)
        assert not [why for condition in item.ensures if (why := condition.violation(model))]
        assert (model_bytes(model) != before) == (result.changes > 0)
        return result

    return checked


@pytest.fixture
def rewrite(load: Load, run: Run, apply: Apply) -> Callable[..., list[str]]:
    """``rewrite(proto, item, **feeds)``: load, apply once, compare outputs as the pass promises, give the ops left.

    The loaded model is kept as ``rewrite.model`` and the result of the pass as ``rewrite.result``.
    """

    def checked(proto: onnx.ModelProto, item: Pass, **feeds: Array) -> list[str]:
        model = load(proto)
        wanted = run(model, feeds)
        checked.result = apply(model, item)  # type: ignore[attr-defined]
        checked.model = model  # type: ignore[attr-defined]
        for got, expected in zip(run(model, feeds), wanted, strict=True):
            assert got.dtype == expected.dtype
            bound = item.preserves.relative * float(np.abs(expected.astype(np.float64)).max())
            np.testing.assert_allclose(got, expected, rtol=0, atol=bound)
        return [node.op_type for node in model.graph]

    return checked
