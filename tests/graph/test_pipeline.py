from __future__ import annotations

import inspect
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
from microlith.graph.export import export_model
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
        self.data.draw(st.sampled_from(self.kinds(shape)))(source, shape)

    def kinds(self, shape):
        kinds = [self.unary, self.reshape, self.transpose, self.binary, self.same, self.affine, self.slice]
        kinds += [self.written_out, self.split]
        if len(shape) == 4:
            kinds += [self.conv, self.norm, self.pad, self.pool, self.mean, self.transposed_conv, self.branches] * 2
        if len(shape) == 2:
            kinds += [self.dense]
        return kinds

    def unary(self, source, shape):
        self.add(self.data.draw(st.sampled_from(UNARY)), [source], shape)

    def reshape(self, source, shape):
        if np.prod(shape) % 2 or self.data.draw(st.booleans()):
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

    def chain(self, source, shape, *steps):
        """Nodes in a row, of operator and further inputs."""
        for op, *others in steps:
            self.add(op, [source, *others], shape)
            source = list(self.values)[-1]
        return source

    def slice(self, source, shape):
        axes = [axis for axis, size in enumerate(shape) if axis and size > 1]
        if axes:
            axis = self.data.draw(st.sampled_from(axes))
            bounds = [self.constant(np.array([number])) for number in (1, shape[axis], axis - len(shape))]
            self.add("Slice", [source, *bounds], [size - (i == axis) for i, size in enumerate(shape)])

    def split(self, source, shape):
        if shape[1] > 1:
            sizes = (1, shape[1] - 1)
            parts = [f"v{len(self.nodes)}{letter}" for letter in "ab"]
            for part, size in zip(parts, sizes, strict=True):
                self.values[part] = (1, size, *shape[2:])
            self.nodes.append(helper.make_node("Split", [source, self.constant(np.array(sizes))], parts, axis=1))
            self.add("Concat", parts[::-1], shape, axis=1)

    def written_out(self, source, shape):
        """What exporters write for one operator."""
        kind = self.data.draw(st.sampled_from(["gelu", "softmax", "layer_norm", "swish", "neg"]))
        number = {value: self.constant(np.float32(value)) for value in (0.5, 1, np.sqrt(2), 2, 0.1)}
        if kind == "gelu":
            gate = self.chain(source, shape, ("Div", number[np.sqrt(2)]), ("Erf",), ("Add", number[1]))
            self.chain(gate, shape, ("Mul", source), ("Mul", number[0.5]))
        elif kind == "swish":
            self.chain(source, shape, ("Sigmoid",), ("Mul", source))
        elif kind == "neg":
            self.chain(source, shape, ("Neg",), ("Sub", number[2]), ("Div", number[0.1]), ("Neg",))
        else:
            self.along_last(kind, source, shape, number)

    def along_last(self, kind, source, shape, number):
        last, axis = (*shape[:-1], 1), self.constant(np.array([-1]))
        if kind == "softmax":
            exponential = self.chain(source, shape, ("Tanh",), ("Exp",))
            self.add("ReduceSum", [exponential, axis], last, keepdims=1)
            self.add("Div", [exponential, list(self.values)[-1]], shape)
            return
        self.add("ReduceMean", [source], last, keepdims=1, axes=[-1])
        centred = self.chain(source, shape, ("Sub", list(self.values)[-1]))
        square = self.chain(centred, shape, ("Pow", number[2]))
        self.add("ReduceMean", [square], last, keepdims=1, axes=[len(shape) - 1])
        spread = self.chain(list(self.values)[-1], last, ("Add", number[0.1]), ("Sqrt",))
        self.chain(centred, shape, ("Div", spread), ("Mul", self.normal(shape[-1])), ("Add", self.normal(1, shape[-1])))

    def mean(self, source, shape):
        keep = self.data.draw(st.integers(0, 1))
        axes = self.data.draw(st.sampled_from([[2, 3], [1, 2]]))
        kept = [size for axis, size in enumerate(shape) if axis not in axes]
        out = [1 if axis in axes else size for axis, size in enumerate(shape)] if keep else kept
        self.add("ReduceMean", [source], out, axes=axes, keepdims=keep)

    def transposed_conv(self, source, shape):
        kernel = self.normal(shape[1], 2, 2, 2)
        self.add("ConvTranspose", [source, kernel], (1, 2, shape[2] + 1, shape[3] + 1))

    def branches(self, source, shape):
        results = []
        for outputs in (1, 2):
            self.add("Conv", [source, self.normal(outputs, shape[1], 1, 1)], (1, outputs, *shape[2:]))
            results.append(list(self.values)[-1])
        self.add("Concat", results, (1, 3, *shape[2:]), axis=1)

    def dense(self, source, shape):
        self.add("Gemm", [source, self.normal(shape[1], 3), self.normal(3)], (1, 3))

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


class IntegerGrower(Grower):
    """Grows graphs in which nothing rounds but QuantizeLinear."""

    def kinds(self, shape):
        return [self.unary, self.reshape, self.transpose, self.binary, self.slice, *[self.quantize] * 4]

    def unary(self, source, shape):
        self.add(self.data.draw(st.sampled_from(["Relu", "Neg", "Identity"])), [source], shape)

    def binary(self, source, shape):
        self.add("Concat", [source, source], (1, 2 * shape[1], *shape[2:]), axis=1)

    def quantize(self, source, shape):
        scale = self.constant(np.float32(self.data.draw(st.sampled_from([0.03, 0.1]))))
        zero = self.constant(np.int8(self.data.draw(st.sampled_from([0, 5]))))
        self.add("QuantizeLinear", [source, scale, zero], shape)
        integers = list(self.values)[-1]
        del self.values[integers]
        self.add("DequantizeLinear", [integers, scale, zero], shape)


EVERY_OP = ("DepthToSpace", "Gelu", "InstanceNormalization", "LayerNormalization", "Softmax", "SpaceToDepth")
EVERY_PASS = tuple(
    type(item)(EVERY_OP) if "supported" in inspect.signature(type(item)).parameters else item  # type: ignore[call-arg]
    for item in DEFAULT_PASSES
)
"""The passes as if every operator could be compiled."""


@settings(max_examples=90, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_random_graphs_keep_their_results(data, seed):
    rng = np.random.default_rng(seed)
    check(data, rng, Grower(data, rng))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_random_quantized_graphs_keep_their_integers(data, seed):
    rng = np.random.default_rng(seed)
    check(data, rng, IntegerGrower(data, rng), exact=True)


def check(data, rng, grower, exact=False):
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
    rows = run_passes(model, EVERY_PASS, verify=True)
    assert [value.name for value in model.graph.outputs] == list(outputs)
    changed = {row.name for row in rows if row.changes}
    rounds = not all(item.preserves == EXACT for item in EVERY_PASS if item.name in changed)
    for got, expected in zip(evaluate(model, feeds), wanted, strict=True):
        if exact:
            np.testing.assert_array_equal(got, expected)
            continue
        scale = 1 + float(np.abs(expected).max())
        np.testing.assert_allclose(got, expected, rtol=0, atol=(3e-4 if rounds else 1e-6) * scale)


def evaluate(model, feeds):
    """Outputs by ONNX Runtime without its own optimizations; hypothesis takes no fixtures of one test."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model_bytes(export_model(model)), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)
