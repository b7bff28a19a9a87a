"""Channels that are constant whatever the input, or that nothing reads, leave a quantized graph; no bit changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

import compiled
import models
from microlith.device.load import device
from microlith.graph.pass_base import EXACT
from microlith.graph.passes.eliminate_constant_channels import EliminateConstantChannels
from microlith.graph.pipeline import run_passes
from microlith.graph.reference import Reference
from microlith.program.types import calls
from microlith.quant.types import Requantization

Floats = NDArray[np.float32]
IMAGE = {"x": [1, 3, 6, 6]}


def _node(op: str, name: str, *inputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [name], name=name, **attributes)


def _weights(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)


def _quantized(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Floats],
    output: Sequence[int],
    mode: Requantization = "float",
) -> ir.Model:
    graph = compiled.prepared(models.make_model(nodes, IMAGE, {"y": output}, weights))
    rng = np.random.default_rng(1)
    return compiled.quantized(
        graph, [{"x": rng.uniform(-1, 1, (1, 3, 6, 6)).astype(np.float32)} for _ in range(4)], mode
    )


def _eliminated(model: ir.Model) -> tuple[ir.Model, int]:
    """The model after the pass and the channels that left; it computes the same bits."""
    result = model.clone()
    (row, *_) = run_passes(result, (EliminateConstantChannels(),), verify=True)
    images = np.random.default_rng(2).integers(-128, 128, (16, 3, 6, 6)).astype(np.int8)
    images[0], images[1] = -128, 127
    before, after = (Reference(item).run({"x": images})["y"] for item in (model, result))
    assert before.tobytes() == after.tobytes()
    assert EliminateConstantChannels.preserves is EXACT
    return result, row.changes


def _shapes(model: ir.Model) -> dict[str, tuple[int, ...]]:
    return {
        str(node.name): tuple(int(size) for size in node.inputs[1].shape)  # type: ignore[union-attr]
        for node in model.graph
        if node.op_type in ("Conv", "Gemm")
    }


def _separable(dead: Floats, *, pads: int = 1, seed: int = 0) -> tuple[list[onnx.NodeProto], dict[str, Floats]]:
    """Pointwise to 5 channels, of which 1 and 3 have no weights and these biases, Relu, depthwise, Relu, pointwise."""
    nodes = [
        _node("Conv", "first", "x", "w1", "b1"),
        _node("Relu", "r1", "first"),
        _node("Conv", "depthwise", "r1", "w2", "b2", group=5, pads=[pads] * 4),
        _node("Relu", "r2", "depthwise"),
        _node("Conv", "y", "r2", "w3", "b3"),
    ]
    weights = {"w1": _weights(seed, 5, 3, 1, 1), "b1": _weights(seed + 1, 5), "w2": _weights(seed + 2, 5, 1, 3, 3)}
    weights |= {"b2": np.abs(_weights(seed + 3, 5)), "w3": _weights(seed + 4, 4, 5, 1, 1), "b3": _weights(seed + 5, 4)}
    weights["w1"][[1, 3]] = 0
    weights["b1"][[1, 3]] = dead
    return nodes, weights


@pytest.mark.parametrize("mode", ["float", "fixed"])
def test_a_channel_of_zeros_leaves_and_its_bias_goes_on(mode: Requantization) -> None:
    nodes, weights = _separable(np.float32([-0.5, -0.2]))
    found, changes = _eliminated(_quantized(nodes, weights, [1, 4, 6, 6], mode))
    assert changes == 4
    assert _shapes(found) == {"first": (3, 3, 1, 1), "depthwise": (3, 1, 3, 3), "y": (4, 3, 1, 1)}


def test_padding_keeps_a_constant_that_is_not_zero() -> None:
    nodes, weights = _separable(np.float32([0.5, -0.2]))
    assert _eliminated(_quantized(nodes, weights, [1, 4, 6, 6]))[1] == 2
    nodes, weights = _separable(np.float32([0.5, -0.2]), pads=0)
    assert _eliminated(_quantized(nodes, weights, [1, 4, 4, 4]))[1] == 4


def test_a_constant_in_front_of_a_padded_layer_stays() -> None:
    weights = {"w1": _weights(0, 4, 3, 1, 1), "b1": np.float32([0.3, 0.4, -0.3, 0.1]), "w2": _weights(2, 2, 4, 3, 3)}
    weights["w1"][[0, 2]] = 0
    nodes = [_node("Conv", "a", "x", "w1", "b1"), _node("Relu", "r", "a")]
    padded = [*nodes, _node("Conv", "y", "r", "w2", "b2", pads=[1] * 4)]
    weights["b2"] = _weights(3, 2)
    assert _eliminated(_quantized(padded, weights, [1, 2, 6, 6]))[1] == 1
    valid = [*nodes, _node("Conv", "y", "r", "w2", "b2")]
    assert _eliminated(_quantized(valid, weights, [1, 2, 4, 4]))[1] == 2
    without_bias = [*nodes, _node("Conv", "y", "r", "w2")]
    del weights["b2"]
    assert _eliminated(_quantized(without_bias, weights, [1, 2, 4, 4]))[1] == 1


def test_a_sum_needs_both() -> None:
    weights = {"w1": _weights(0, 4, 3, 1, 1), "b1": _weights(1, 4), "w2": _weights(2, 4, 4, 3, 3), "b2": _weights(3, 4)}
    weights |= {"w3": _weights(4, 2, 4, 1, 1), "b3": _weights(5, 2)}
    weights["w1"][[0, 2]], weights["b1"][[0, 2]] = 0, -1
    nodes = [
        _node("Conv", "a", "x", "w1", "b1"),
        _node("Relu", "r1", "a"),
        _node("Conv", "b", "r1", "w2", "b2", pads=[1] * 4),
        _node("Add", "sum", "r1", "b"),
        _node("Relu", "r2", "sum"),
        _node("Conv", "y", "r2", "w3", "b3"),
    ]
    assert _eliminated(_quantized(nodes, weights, [1, 2, 6, 6]))[1] == 0
    weights["w2"][2] = 0
    found, changes = _eliminated(_quantized(nodes, weights, [1, 2, 6, 6]))
    assert changes == 3
    assert _shapes(found) == {"a": (3, 3, 1, 1), "b": (3, 3, 3, 3), "y": (2, 3, 1, 1)}


@pytest.mark.parametrize("transposed", [False, True])
def test_what_a_matrix_leaves_out(transposed: bool) -> None:
    matrix = _weights(4, 5, 3)
    matrix[[0, 4]] = 0
    weights = {"w1": _weights(0, 5, 3, 1, 1), "b1": _weights(1, 5), "b3": _weights(5, 3)}
    weights["w3"] = np.ascontiguousarray(matrix.T) if transposed else matrix
    nodes = [
        _node("Conv", "a", "x", "w1", "b1"),
        _node("Sigmoid", "s", "a"),
        _node("GlobalAveragePool", "gap", "s"),
        _node("Flatten", "flat", "gap"),
        _node("Gemm", "y", "flat", "w3", "b3", transB=int(transposed)),
    ]
    found, changes = _eliminated(_quantized(nodes, weights, [1, 3]))
    assert changes == 2 * 4
    assert _shapes(found) == {"a": (3, 3, 1, 1), "y": (3, 3)}


def test_one_channel_stays() -> None:
    nodes, weights = _separable(np.float32([-0.5, -0.2]))
    weights["w1"][:], weights["b1"][:] = 0, -1
    found, _ = _eliminated(_quantized(nodes, weights, [1, 4, 6, 6]))
    assert _shapes(found) == {"first": (1, 3, 1, 1), "depthwise": (1, 1, 3, 3), "y": (4, 1, 1, 1)}


def test_graph_outputs_and_float_graphs_stay() -> None:
    weights = {"w": _weights(0, 4, 3, 1, 1), "b": -np.abs(_weights(1, 4))}
    weights["w"][1] = 0
    nodes = [_node("Conv", "c", "x", "w", "b"), _node("Relu", "y", "c")]
    assert _eliminated(_quantized(nodes, weights, [1, 4, 6, 6]))[1] == 0
    graph = compiled.prepared(models.make_model(nodes, IMAGE, {"y": [1, 4, 6, 6]}, weights))
    assert run_passes(graph, (EliminateConstantChannels(),))[0].changes == 0


@given(
    seed=st.integers(0, 2**16),
    dead=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    pads=st.integers(0, 1),
    mode=st.sampled_from(("float", "fixed")),
    tiny=st.sampled_from((0.0, 1e-30, 1e-4)),
)
@settings(max_examples=12, deadline=None)
def test_random_networks(seed: int, dead: tuple[float, float], pads: int, mode: Requantization, tiny: float) -> None:
    nodes, weights = _separable(np.float32(dead), pads=pads, seed=seed)
    weights["w1"][[1, 3]] = tiny * _weights(seed + 9, 2, 3, 1, 1)
    weights["w3"][:, seed % 5] = 0
    size = 4 + 2 * pads
    assert _eliminated(_quantized(nodes, weights, [1, 4, size, size], mode))[1] >= 2


def test_what_is_compiled_goes_without_them(tmp_path: Path) -> None:
    nodes, weights = _separable(np.float32([-0.5, -0.2]))
    model = _quantized(nodes, weights, [1, 4, 6, 6], "fixed")
    library = compiled.Library(tmp_path, {"net": model}, device("host"))
    program = library.members["net"].package.planned.program
    channels = [program.view(call.writes[0]).shape[3] for call in calls(program.entries[0].body)]
    assert 3 in channels and 5 not in channels
    image = np.random.default_rng(3).integers(-128, 128, (1, 3, 6, 6)).astype(np.int8)
    (found,) = library.run("net", {"x": image})
    assert found.tobytes() == Reference(model).run({"x": image})["y"].tobytes()
