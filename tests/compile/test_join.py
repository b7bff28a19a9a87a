"""Copies that lowering need not make: parts of a Concat, heads of attention, shuffled channels."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import models
from microlith.compile.fusions import fusion_rows
from microlith.compile.layout import gathered, reshaped
from microlith.compile.lower import lower
from microlith.compile.plan import plan
from microlith.device.load import device
from microlith.graph.metadata import io_qparams
from microlith.graph.reference import Reference
from microlith.program.types import calls
from microlith.quant.integer_move import quantize
from oracles import onnxruntime_run

COUNTER = itertools.count()


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], name=f"{op.lower()}_{next(COUNTER)}", **attributes)


def values(*shape):
    return np.random.default_rng(int(np.prod(shape))).normal(0, 0.5, shape).astype(np.float32)


def attention(tokens: int = 5) -> onnx.ModelProto:
    """Two heads over some tokens, queries, keys and values from one product, as PyTorch writes them."""
    places = {f"s{i}": np.array([i]) for i in range(4)}
    nodes = [node("MatMul", ["x", "w"], "p"), node("Reshape", ["p", "apart"], "r")]
    nodes.append(node("Transpose", ["r"], "t", perm=[2, 0, 3, 1, 4]))
    for index, name in enumerate("qkv"):
        nodes.append(node("Slice", ["t", f"s{index}", f"s{index + 1}", "s0"], f"{name}0"))
        nodes.append(node("Squeeze", [f"{name}0", "s0"], name))
    nodes += [
        node("Transpose", ["k"], "kt", perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], "scores"),
        node("Softmax", ["scores"], "shares"),
        node("MatMul", ["shares", "v"], "o"),
        node("Transpose", ["o"], "ot", perm=[0, 2, 1, 3]),
        node("Reshape", ["ot", "together"], "m"),
        node("MatMul", ["m", "u"], "y"),
    ]
    shapes = {"apart": np.array([1, tokens, 3, 2, 16]), "together": np.array([1, tokens, 32])}
    weights = {"w": values(8, 96), "u": values(32, 8), **places, **shapes}
    return models.make_model(nodes, {"x": [1, tokens, 8]}, {"y": [1, tokens, 8]}, weights)


def tokens() -> onnx.ModelProto:
    """Patches behind a class token: the convolution writes where the Concat puts them."""
    nodes = [
        node("Conv", ["x", "w"], "c", strides=[2, 2]),
        node("Reshape", ["c", "flat"], "f"),
        node("Transpose", ["f"], "t", perm=[0, 2, 1]),
        node("Concat", ["token", "t"], "a", axis=1),
        node("Softmax", ["a"], "y"),
    ]
    weights = {"w": values(16, 3, 2, 2), "flat": np.array([1, 16, 4]), "token": values(1, 1, 16)}
    return models.make_model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 5, 16]}, weights)


def rows() -> onnx.ModelProto:
    """Two results one after the other."""
    nodes = [node("MatMul", ["x", "w"], "a"), node("Sigmoid", ["x"], "b"), node("Concat", ["a", "b"], "c", axis=0)]
    nodes.append(node("Tanh", ["c"], "y"))
    return models.make_model(nodes, {"x": [2, 16]}, {"y": [4, 16]}, {"w": values(16, 16)})


def shuffle() -> onnx.ModelProto:
    """Channels of two groups shuffled between convolutions."""
    nodes = [
        node("Conv", ["x", "w"], "c"),
        node("Reshape", ["c", "apart"], "r"),
        node("Transpose", ["r"], "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "together"], "s"),
        node("Conv", ["s", "v"], "y", group=2),
    ]
    shapes = {"apart": np.array([1, 2, 3, 4, 4]), "together": np.array([1, 6, 4, 4])}
    weights = {"w": values(6, 3, 1, 1), "v": values(4, 3, 1, 1), **shapes}
    return models.make_model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 4, 4, 4]}, weights)


def twice() -> onnx.ModelProto:
    """One result in two Concats, and in one of them twice: only one place can be its own."""
    nodes = [
        node("Sigmoid", ["x"], "a"),
        node("Concat", ["a", "a"], "b", axis=0),
        node("Concat", ["x", "a"], "c", axis=0),
        node("Add", ["b", "c"], "y"),
    ]
    return models.make_model(nodes, {"x": [1, 16]}, {"y": [2, 16]})


def padded() -> onnx.ModelProto:
    """Rows are filled before the operand is copied between them, so the operand cannot be written there."""
    nodes = [node("Sigmoid", ["x"], "a"), node("Pad", ["a", "pads"], "b"), node("Neg", ["b"], "y")]
    return models.make_model(nodes, {"x": [4, 16]}, {"y": [6, 16]}, {"pads": np.array([1, 0, 1, 0])})


MODELS = {item.__name__: item for item in (attention, tokens, rows, shuffle, twice, padded)}
COPIES = {"attention": 0, "tokens": 2, "rows": 0, "shuffle": 3, "twice": 3, "padded": 1}
"""Those of ``tokens`` bring the image to channels last and write the constant token; those of ``shuffle`` bring the
image in and out, and shuffle once."""


@pytest.mark.parametrize("name", MODELS)
def test_copies_that_are_left(name):
    found = [call.op for call in calls(lower(compiled.prepared(MODELS[name]()), "model").entries[0].body)]
    assert found.count("copy") == COPIES[name], found


@pytest.fixture(scope="module", params=["float", "int8"])
def library(request, tmp_path_factory):
    graphs: dict[str, ir.Model] = {}
    for name, build in MODELS.items():
        graphs[name] = compiled.prepared(build())
        if request.param == "int8":
            shape = tuple(graphs[name].graph.inputs[0].shape.numpy())
            samples = [{"x": np.random.default_rng(i).normal(size=shape).astype(np.float32)} for i in range(4)]
            graphs[name] = compiled.quantized(graphs[name], samples)
    host = device("host").model_copy(update={"isas": ("portable",)})
    return request.param, compiled.Library(tmp_path_factory.mktemp("join"), graphs, host)


@pytest.mark.parametrize("name", MODELS)
def test_results_are_the_same(library, name):
    form, built = library
    graph = built.members[name].graph
    shape = tuple(graph.graph.inputs[0].shape.numpy())
    x = np.random.default_rng(9).normal(size=shape).astype(np.float32)
    if form == "float":
        (wanted,) = onnxruntime_run(MODELS[name](), {"x": x})
        np.testing.assert_allclose(built.run(name, {"x": x})[0], wanted, atol=1e-5)
    else:
        feeds = {"x": quantize(x, io_qparams(graph, "x"))}
        (wanted,) = Reference(graph).run(feeds).values()
        np.testing.assert_array_equal(built.run(name, feeds)[0], wanted)


def test_fusions_say_what_is_written_in_place():
    graph = compiled.prepared(rows())
    found = {row.kind: row.count for row in fusion_rows(graph, lower(graph, "model"))}
    assert found == {"concat without copy": 1}


def test_equal_weights_are_stored_once():
    nodes = [node("MatMul", ["x", "v"], "a"), node("Tanh", ["a"], "b"), node("MatMul", ["b", "w"], "y")]
    weights = {"v": values(8, 8), "w": values(8, 8)}
    graph = compiled.prepared(models.make_model(nodes, {"x": [1, 8]}, {"y": [1, 8]}, weights))
    program = lower(graph, "model")
    first, second = (call for call in calls(program.entries[0].body) if "weights" in call.consts)
    assert first.consts["weights"] == second.consts["weights"]


def test_a_tall_layer_elsewhere_does_not_excuse_memory(monkeypatch):
    """Behind the attention stands a layer that needs more, unless it is computed in place, as it then is."""
    proto = attention(tokens=40)
    proto.graph.node[-1].output[0] = "z"
    proto.graph.node.extend([node("MatMul", ["z", "wide"], "tall"), node("Tanh", ["tall"], "y")])
    proto.graph.initializer.append(onnx.numpy_helper.from_array(values(8, 160), "wide"))
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 160
    graph, host = compiled.prepared(proto), device("host")
    joined = plan(lower(graph, "model"), host)
    monkeypatch.setattr("microlith.compile.lower.join_copies", lambda program: program)
    plain = plan(lower(graph, "model"), host)
    assert len(list(calls(joined.program.entries[0].body))) < len(list(calls(plain.program.entries[0].body)))
    assert joined.bounds["arena"] <= plain.bounds["arena"]


SHAPES = ([2, 3, 4], [6, 4], [2, 12], [24], [2, 3, 2, 2], [1, 2, 3, 4], [6, 1, 4], [3, 2, 4], [4, 6], [2, 3, 1, 4, 1])


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(SHAPES), st.data())
def test_a_reshape_of_bytes_in_another_order(before, after, data):
    layout = tuple(data.draw(st.permutations(range(len(before)))))
    x = np.arange(24).reshape(before)
    for order in (layout, gathered(before, after, layout)):
        assert sorted(order) == list(range(len(before)))
        made = reshaped(before, after, order)
        if made is None:
            assert order is layout, "what is gathered can be reshaped"
            continue
        held = x.transpose(order).reshape([after[axis] for axis in made])
        np.testing.assert_array_equal(held.transpose(np.argsort(made)), x.reshape(after))
