from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import models
from microlith.core.errors import UnsupportedError, VerificationError
from microlith.graph.load import load_model
from microlith.graph.pass_base import EXACT, NO_BATCH_NORM, SHAPES_KNOWN, PassResult, tolerance
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.save import model_bytes

TOLERANCE = 1e-5 + 1e-6
"""Sum of what the passes that round may change."""


class Fake:
    """A pass for these tests: does what it is told."""

    name = "Fake"
    requires = ()
    ensures = ()
    preserves = EXACT

    def __init__(self, act, **fields):
        self.act = act
        self.__dict__.update(fields)

    def apply(self, model):
        return PassResult(self.act(model))


def test_rows_say_what_each_pass_did(load):
    model = load(models.tiny_cnn())
    rows = run_passes(model, DEFAULT_PASSES, verify=True)
    assert [row.name for row in rows[: len(DEFAULT_PASSES)]] == [item.name for item in DEFAULT_PASSES]
    assert all(row.changes for row in rows[len(DEFAULT_PASSES) :])
    folded = next(row for row in rows if row.name == "FoldBatchNormIntoConv")
    assert (folded.changes, folded.nodes_before, folded.nodes_after) == (1, 12, 11)
    assert folded.note == "-1 BatchNormalization"
    for before, after in itertools.pairwise(rows):
        assert before.nodes_after == after.nodes_before
    assert len(model.graph) == rows[-1].nodes_after == 11


def test_a_network_keeps_its_results(load, run, rng):
    model = load(models.tiny_cnn())
    feeds = {"image": models.images(rng, 1)}
    wanted = run(model, feeds)[0]
    run_passes(model, DEFAULT_PASSES, verify=True)
    np.testing.assert_allclose(run(model, feeds)[0], wanted, atol=TOLERANCE * np.abs(wanted).max(), rtol=0)


def test_a_second_run_changes_nothing(load):
    model = load(models.tiny_cnn())
    run_passes(model, DEFAULT_PASSES)
    before = model_bytes(model)
    assert not any(row.changes for row in run_passes(model, DEFAULT_PASSES))
    assert model_bytes(model) == before


def test_passes_run_until_nothing_changes(load):
    left = [3, 2, 1]
    rows = run_passes(load(models.tiny_mlp()), [Fake(lambda model: left.pop(0) if left else 0)])
    assert [row.changes for row in rows] == [3, 2, 1]


def test_passes_that_never_rest_are_a_bug(load):
    with pytest.raises(VerificationError, match="still change the graph after 50 rounds: Fake"):
        run_passes(load(models.tiny_mlp()), [Fake(lambda model: 1)])


def test_what_a_pass_requires(load):
    model = load(models.tiny_cnn())
    item = Fake(lambda model: 0, requires=(NO_BATCH_NORM,))
    with pytest.raises(UnsupportedError, match=r"Fake requires that BatchNormalization is folded, but 'stem.norm'"):
        run_passes(model, [item])
    run_passes(model, DEFAULT_PASSES)
    run_passes(model, [item])
    model.graph[1].outputs[0].shape = None
    with pytest.raises(UnsupportedError, match="all types and shapes are known"):
        run_passes(model, [Fake(lambda model: 0, requires=(SHAPES_KNOWN,))])


def test_a_pass_that_breaks_its_word(load):
    item = Fake(lambda model: 0, ensures=(NO_BATCH_NORM,))
    with pytest.raises(VerificationError, match="Fake ensures that BatchNormalization is folded"):
        run_passes(load(models.tiny_cnn()), [item], verify=True)


def test_a_pass_that_breaks_the_graph(load):
    def break_it(model):
        model.graph[0].outputs[0].shape = ir.Shape([1, 1])
        return 1

    with pytest.raises(VerificationError, match="Fake left a broken graph: "):
        run_passes(load(models.tiny_mlp()), [Fake(break_it)], verify=True)


def test_passes_have_one_name_each_and_state_their_effect():
    names = [item.name for item in DEFAULT_PASSES]
    assert len(set(names)) == len(names)
    assert all(type(item).__name__ == item.name for item in DEFAULT_PASSES)
    assert all(item.preserves == EXACT or item.preserves.why for item in DEFAULT_PASSES)
    assert tolerance(0.5, "why").relative == 0.5


PERMS = {3: ([0, 2, 1], [0, 1, 2]), 4: ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 3, 2, 1])}
UNARY = ("Relu", "Neg", "Identity", "LeakyRelu", "Sigmoid", "Dropout", "Tanh")


class Grower:
    """Grows a random graph: a stack of values of known shape, and the nodes that made them."""

    def __init__(self, data, rng):
        self.data, self.rng = data, rng
        self.nodes, self.weights = [], {}
        self.values = {"x": (1, 2, 4, 4)}

    def add(self, op, inputs, shape, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.values[name] = tuple(shape)

    def constant(self, array):
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def normal(self, *shape):
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def grow(self):
        source = self.data.draw(st.sampled_from(sorted(self.values)[-3:]))
        shape = self.values[source]
        kinds = [self.unary, self.reshape, self.transpose, self.binary, self.same, self.affine]
        if len(shape) == 4:
            kinds += [self.conv, self.norm, self.pad, self.pool] * 2
        self.data.draw(st.sampled_from(kinds))(source, shape)

    def unary(self, source, shape):
        self.add(self.data.draw(st.sampled_from(UNARY)), [source], shape)

    def reshape(self, source, shape):
        if self.data.draw(st.booleans()):
            self.add("Flatten", [source], (1, int(np.prod(shape))))
        else:
            self.add("Reshape", [source, self.constant([0, -1, 2])], (1, int(np.prod(shape)) // 2, 2))

    def transpose(self, source, shape):
        perms = PERMS.get(len(shape))
        if perms is None:
            return
        perm = self.data.draw(st.sampled_from(perms))
        self.add("Transpose", [source], [shape[axis] for axis in perm], perm=perm)

    def binary(self, source, shape):
        others = [name for name, other in self.values.items() if other == shape]
        pair = [source, self.data.draw(st.sampled_from(others))]
        if self.data.draw(st.booleans()):
            self.add(self.data.draw(st.sampled_from(["Add", "Sub", "Mul"])), pair, shape)
        else:
            self.add("Concat", pair, (1, 2 * shape[1], *shape[2:]), axis=1)

    def same(self, source, shape):
        self.add("Mul", [source, self.constant(np.float32(self.data.draw(st.sampled_from([1, 2]))))], shape)

    def affine(self, source, shape):
        wide = self.normal(shape[1], *(1,) * (len(shape) - 2))
        self.add(self.data.draw(st.sampled_from(["Add", "Mul", "Sub"])), [source, wide], shape)

    def conv(self, source, shape):
        outputs, size = self.data.draw(st.sampled_from([2, 3])), self.data.draw(st.sampled_from([1, 3]))
        bias = [self.normal(outputs)] if self.data.draw(st.booleans()) else []
        kernel = self.normal(outputs, shape[1], size, size)
        self.add("Conv", [source, kernel, *bias], (1, outputs, *shape[2:]), pads=[size // 2] * 4)

    def norm(self, source, shape):
        positive = self.constant(self.rng.uniform(0.5, 2, shape[1]).astype(np.float32))
        parameters = [self.normal(shape[1]) for _ in range(3)]
        self.add("BatchNormalization", [source, *parameters, positive], shape)

    def pad(self, source, shape):
        high, wide = (self.data.draw(st.integers(0, 1)) for _ in range(2))
        padded = (*shape[:2], shape[2] + 2 * high, shape[3] + 2 * wide)
        self.add("Pad", [source, self.constant(np.array([0, 0, high, wide] * 2))], padded)

    def pool(self, source, shape):
        op = self.data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
        self.add(op, [source], shape, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_random_graphs_keep_their_results(data, seed):
    rng = np.random.default_rng(seed)
    grower = Grower(data, rng)
    for _ in range(data.draw(st.integers(1, 9))):
        grower.grow()
    if not grower.nodes:
        return
    last = list(grower.values)[-1]
    some = data.draw(st.sampled_from(list(grower.values)[1:]))
    outputs = {name: list(grower.values[name]) for name in dict.fromkeys((some, last))}
    proto = models.make_model(grower.nodes, {"x": [1, 2, 4, 4]}, outputs, grower.weights)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(proto.SerializeToString())
        model = load_model(path)
    feeds = {"x": rng.standard_normal((1, 2, 4, 4)).astype(np.float32)}
    wanted = evaluate(model, feeds)
    rows = run_passes(model, DEFAULT_PASSES, verify=True)
    assert [value.name for value in model.graph.outputs] == list(outputs)
    rounds = any(row.changes for row in rows if "Into" in row.name or row.name.startswith("Fuse"))
    for got, expected in zip(evaluate(model, feeds), wanted, strict=True):
        scale = 1 + float(np.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=(2e-4 if rounds else 1e-6) * scale)


def evaluate(model, feeds):
    """Outputs by ONNX Runtime without its own optimizations; hypothesis takes no fixtures of one test."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_bytes(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)
