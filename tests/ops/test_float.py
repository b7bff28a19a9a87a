"""The float32 meaning of every op against ONNX Runtime, one sample at a time and stacked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.ops import OPS, op_of
from oracles import Array, node_model, onnxruntime_run, reference_run


@dataclass(frozen=True)
class Case:
    op: str
    shapes: tuple[tuple[int, ...], ...]
    weights: dict[str, Array] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)
    opset: int = 18

    def __str__(self) -> str:
        words = [self.op, str(self.opset), *(f"{k}={v}" for k, v in self.attributes.items()), *map(str, self.shapes)]
        return "-".join(words).replace(" ", "")


def _random(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


IMAGE = (1, 6, 9, 8)
NORM = {name: _random(6) for name in ("gamma", "beta", "mean")} | {"variance": np.abs(_random(6)) + 0.1}
CASES = (
    Case("Conv", (IMAGE,), {"w": _random(5, 6, 3, 3), "b": _random(5)}, {"pads": [1, 1, 1, 1]}),
    Case("Conv", (IMAGE,), {"w": _random(4, 6, 1, 1)}, {"strides": [2, 2]}),
    Case("Conv", (IMAGE,), {"w": _random(6, 1, 3, 3), "b": _random(6)}, {"group": 6, "pads": [1, 0, 2, 1]}),
    Case("Conv", (IMAGE,), {"w": _random(12, 1, 3, 3)}, {"group": 6, "strides": [2, 1]}),
    Case("Conv", (IMAGE,), {"w": _random(9, 2, 3, 2)}, {"group": 3, "dilations": [2, 3]}),
    Case("Conv", (IMAGE,), {"w": _random(2, 6, 4, 3)}, {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    Case("Conv", (IMAGE,), {"w": _random(2, 6, 4, 3)}, {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    Case("Conv", (IMAGE,), {"w": _random(2, 6, 4, 3)}, {"auto_pad": "VALID"}),
    Case("Conv", ((1, 6, 11),), {"w": _random(4, 3, 3), "b": _random(4)}, {"group": 2, "pads": [2, 1]}),
    Case("Conv", ((1, 1, 5, 5),), {"w": _random(3, 1, 5, 5)}),
    Case("Gemm", ((1, 7),), {"w": _random(7, 3), "b": _random(3)}),
    Case("Gemm", ((1, 7),), {"w": _random(3, 7), "b": _random(1, 3)}, {"transB": 1, "alpha": 0.5, "beta": -2.0}),
    Case("Gemm", ((7, 4),), {"w": _random(7, 3)}, {"transA": 1}),
    Case("Gemm", ((4, 7), (7, 3)), {"b": _random(4, 1)}),
    Case("MatMul", ((1, 4, 7),), {"w": _random(7, 3)}),
    Case("MatMul", ((1, 3, 4, 7), (1, 3, 7, 2))),
    Case("MatMul", ((1, 1, 4, 7),), {"w": _random(5, 7, 2)}),
    Case("MatMul", ((1, 7), (7, 3))),
    Case("MatMul", ((1, 7),), {"w": _random(7)}),
    Case("Add", (IMAGE, IMAGE)),
    Case("Add", (IMAGE, (6, 1, 1))),
    Case("Sub", (IMAGE,), {"b": _random(1, 6, 1, 1)}),
    Case("Sub", ((8,), IMAGE)),
    Case("Mul", (IMAGE, (1, 6, 1, 1))),
    Case("Mul", (IMAGE,), {"b": _random()}),
    Case("Relu", (IMAGE,)),
    Case("Clip", (IMAGE,), {"low": np.float32(-0.5), "high": np.float32(0.25)}),
    Case("Clip", (IMAGE,), {"-low": _random(), "high": np.float32(0.25)}),
    Case("Clip", (IMAGE,), {"low": np.float32(1.0), "high": np.float32(0.25)}),
    Case("Clip", (IMAGE,)),
    Case("LeakyRelu", (IMAGE,), attributes={"alpha": 0.3}),
    Case("Sigmoid", (IMAGE,)),
    Case("Tanh", (IMAGE,)),
    Case("HardSigmoid", (IMAGE,), attributes={"alpha": 0.4, "beta": 0.6}),
    Case("HardSigmoid", (IMAGE,)),
    Case("HardSwish", (IMAGE,)),
    Case("BatchNormalization", (IMAGE,), NORM, {"epsilon": 1e-3}),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 1]}),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [3, 3], "dilations": [2, 2]}),
    Case("MaxPool", (IMAGE,), attributes={"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    Case("MaxPool", ((1, 3, 10),), attributes={"kernel_shape": [4], "strides": [3]}),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [3, 2], "pads": [1, 1, 1, 0]}),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "count_include_pad": 1}),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("AveragePool", (IMAGE,), attributes={"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    Case("AveragePool", ((1, 3, 10),), attributes={"kernel_shape": [4], "strides": [3]}),
    Case("GlobalAveragePool", (IMAGE,)),
    Case("GlobalAveragePool", ((1, 3, 10),)),
    Case("ReduceMean", (IMAGE,), {"axes": _ints(-1, 2)}, {"keepdims": 0}),
    Case("ReduceMean", (IMAGE,), attributes={"axes": [1, 3]}, opset=13),
    Case("ReduceMean", (IMAGE,), {"axes": _ints(0, 2)}),
    Case("ReduceMean", (IMAGE,)),
    Case("ReduceMean", (IMAGE,), attributes={"noop_with_empty_axes": 1}),
    Case("Softmax", (IMAGE,)),
    Case("Softmax", (IMAGE,), attributes={"axis": 1}),
    Case("Softmax", ((3, 4),), attributes={"axis": 0}),
    Case("Softmax", (IMAGE,), attributes={"axis": 2}, opset=11),
    Case("Softmax", (IMAGE,), opset=11),
    Case("Reshape", (IMAGE,), {"shape": _ints(0, -1, 6)}),
    Case("Reshape", (IMAGE,), {"shape": _ints(1, -1)}),
    Case("Reshape", (IMAGE,), {"shape": _ints(1, 48, 9)}),
    Case("Flatten", (IMAGE,)),
    Case("Flatten", ((1, 3, 4),), attributes={"axis": 2}),
    Case("Flatten", (IMAGE,), attributes={"axis": -4}),
    Case("Squeeze", ((1, 5, 1, 1),), {"axes": _ints(2, -1)}),
    Case("Squeeze", ((1, 5, 1, 1),), attributes={"axes": [3]}, opset=11),
    Case("Squeeze", ((1, 5, 1, 1),)),
    Case("Unsqueeze", ((1, 5),), {"axes": _ints(2, -1)}),
    Case("Unsqueeze", ((1, 5),), attributes={"axes": [0, 3]}, opset=11),
    Case("Transpose", (IMAGE,), attributes={"perm": [0, 2, 3, 1]}),
    Case("Transpose", (IMAGE,), attributes={"perm": [2, 0, 3, 1]}),
    Case("Transpose", (IMAGE,)),
    Case("Concat", (IMAGE, (1, 2, 9, 8)), attributes={"axis": 1}),
    Case("Concat", (IMAGE,), {"b": _random(1, 6, 9, 3)}, {"axis": -1}),
    Case("Concat", (IMAGE, IMAGE), attributes={"axis": 0}),
    Case("Pad", (IMAGE,), {"pads": _ints(0, 0, 1, 2, 0, 1, 0, 3)}),
    Case("Pad", (IMAGE,), {"pads": _ints(0, 0, 1, 2, 0, 1, 0, 3), "value": np.float32(1.5)}),
    Case("Pad", (IMAGE,), {"pads": _ints(1, 2, 3, 4), "value": np.float32(-1.0), "axes": _ints(3, -3)}),
    Case("Slice", (IMAGE,), {"starts": _ints(1, -3), "ends": _ints(4, 1000), "axes": _ints(1, -1)}),
    Case(
        "Slice",
        (IMAGE,),
        {"starts": _ints(7, 100), "ends": _ints(0, -100), "axes": _ints(2, 3), "steps": _ints(-3, -1)},
    ),
    Case("Slice", (IMAGE,), {"starts": _ints(0, 2), "ends": _ints(1, 5)}),
    Case("Slice", (IMAGE,), {"starts": _ints(0, 2), "ends": _ints(1, 5), "-axes": _ints(), "steps": _ints(1, 2)}),
)


def _check(case: Case, rng: np.random.Generator) -> None:
    inputs = {f"x{i}": shape for i, shape in enumerate(case.shapes)}
    model = node_model(case.op, inputs, case.weights, case.opset, **case.attributes)
    stacks = all(shape[:1] == (1,) for shape in case.shapes)
    samples = 3 if stacks else 1
    feeds = {
        name: rng.normal(size=(samples, *shape[1:]) if stacks else shape).astype(np.float32)
        for name, shape in inputs.items()
    }
    each = [{name: array[i : i + 1] if stacks else array for name, array in feeds.items()} for i in range(samples)]
    expected = [onnxruntime_run(model, item)[0] for item in each]
    for item, want in zip(each, expected, strict=True):
        np.testing.assert_allclose(reference_run(model, item)[0], want, rtol=1e-5, atol=1e-5)
    if samples > 1 and expected[0].shape[:1] == (1,):
        got = reference_run(model, feeds)[0]
        assert got.dtype == expected[0].dtype
        np.testing.assert_allclose(got, np.concatenate(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_onnxruntime(case: Case, rng: np.random.Generator) -> None:
    _check(case, rng)


WINDOWS = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "pads": st.tuples(*[st.integers(0, 3)] * 4),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "size": st.tuples(st.integers(7, 11), st.integers(7, 11)),
    }
)


@settings(max_examples=40, deadline=None)
@given(window=WINDOWS, groups=st.sampled_from([1, 2, 4]), each=st.integers(1, 3))
def test_conv_of_any_geometry(window: dict[str, tuple[int, ...]], groups: int, each: int) -> None:
    kernel, dilations = window["kernel"], window["dilations"]
    pads = [min(pad, (kernel[axis % 2] - 1) * dilations[axis % 2]) for axis, pad in enumerate(window["pads"])]
    case = Case(
        "Conv",
        ((1, 4, *window["size"]),),
        {"w": _random(groups * each, 4 // groups, *kernel), "b": _random(groups * each)},
        {"group": groups, "strides": window["strides"], "pads": pads, "dilations": dilations},
    )
    _check(case, np.random.default_rng(0))


@settings(max_examples=40, deadline=None)
@given(window=WINDOWS, op=st.sampled_from(["MaxPool", "AveragePool"]), ceil=st.booleans(), count=st.booleans())
def test_pool_of_any_geometry(window: dict[str, tuple[int, ...]], op: str, ceil: bool, count: bool) -> None:
    kernel = window["kernel"]
    pads = [min(pad, kernel[axis % 2] - 1) for axis, pad in enumerate(window["pads"])]
    attributes = {"kernel_shape": kernel, "strides": window["strides"], "pads": pads, "ceil_mode": int(ceil)}
    if op == "AveragePool":
        attributes["count_include_pad"] = int(count)
    _check(Case(op, ((1, 3, *window["size"]),), {}, attributes, opset=19), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("case", "macs"),
    [
        (Case("Conv", (IMAGE,), {"w": _random(4, 3, 3, 3)}, {"group": 2, "pads": [1] * 4}), 4 * 9 * 8 * 3 * 9),
        (Case("Conv", (IMAGE,), {"w": _random(6, 1, 3, 3)}, {"group": 6, "pads": [1] * 4}), 6 * 9 * 8 * 9),
        (Case("Gemm", ((1, 7),), {"w": _random(7, 3)}), 21),
        (Case("MatMul", ((1, 3, 4, 7), (1, 3, 7, 2))), 3 * 4 * 7 * 2),
        (Case("Add", (IMAGE, IMAGE)), 0),
    ],
    ids=str,
)
def test_macs(case: Case, macs: int) -> None:
    inputs = {f"x{i}": shape for i, shape in enumerate(case.shapes)}
    model = node_model(case.op, inputs, case.weights, case.opset, **case.attributes)
    node = next(iter(ir.serde.deserialize_model(model).graph))
    op = op_of(node)
    shapes = [*case.shapes, *(weights.shape for weights in case.weights.values())]
    attrs = op.parse(node)
    assert op.macs(attrs, shapes, op.infer(attrs, shapes)[0]) == macs


def test_a_power_that_its_integer_cannot_hold_saturates():
    with np.errstate(invalid="ignore", over="ignore"):
        found = OPS["Pow"].reference(None, [np.array([-2, 0, 9, 3], np.int32), np.array([0.5, -1, 30, 2], np.float32)])
    np.testing.assert_array_equal(found, np.array([0, 2**31 - 1, 2**31 - 1, 9], np.int32))
