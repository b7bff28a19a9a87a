"""The integer meaning of every op against ONNX Runtime on the same QDQ model: within a quantum, and rarely different.

ONNX Runtime computes most of these in float32 between the two, so it is the outside check and not the definition; the
definition is checked number by number in ``tests/quant``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microlith.quant.types import LIMITS, QParams
from oracles import Array, Operand, feeds_of, onnxruntime_run, qdq_model, reference_run

IMAGE = (1, 6, 9, 8)


@dataclass(frozen=True)
class Case:
    op: str
    shapes: tuple[tuple[int, ...], ...]
    scales: tuple[float, ...]
    out: float
    attributes: dict[str, object] = field(default_factory=dict)
    parameters: dict[str, Array] = field(default_factory=dict)
    activation: str | None = None
    opset: int = 18
    rate: float = 0.01

    def __str__(self) -> str:
        words = [self.op, *(f"{k}={v}" for k, v in self.attributes.items()), *map(str, self.shapes)]
        return "-".join([*words, self.activation or ""]).replace(" ", "")


def _integers(rng: np.random.Generator, dtype: str, shape: Sequence[int]) -> Array:
    low, high = LIMITS[dtype]
    return rng.integers(low, high + 1, shape).astype(dtype)


def _activations(rng: np.random.Generator, dtype: str, shape: Sequence[int], scale: float) -> Operand:
    zero = int(rng.integers(LIMITS[dtype][0] + 40, LIMITS[dtype][1] - 40))
    return Operand(_integers(rng, dtype, shape), QParams.per_tensor(scale, zero, dtype))


def _compare(operands: Sequence[Operand | None], out: QParams, case: Case) -> None:
    model = qdq_model(
        case.op,
        operands,
        out,
        parameters=case.parameters,
        activation=case.activation,
        opset=case.opset,
        **case.attributes,
    )
    want = onnxruntime_run(model, feeds_of(operands))[0]
    got = reference_run(model, feeds_of(operands))[0]
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    difference = np.abs(got.astype(np.int64) - want.astype(np.int64))
    assert difference.max() <= 1
    assert (difference > 0).sum() <= max(1, case.rate * difference.size)
    assert len(np.unique(got)) > min(4, got.size // 3), "a result that is saturated everywhere compares nothing"


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


def _floats(*values: float) -> Array:
    return np.array(values, np.float32)


NORM = {
    "gamma": _floats(1, 2, 0.5, -1, 0.3, 1.5),
    "beta": _floats(0, 1, -1, 0.5, 0, 2),
    "mean": _floats(0, 0.5, -0.5, 1, 0, 0),
    "variance": _floats(1, 2, 0.5, 1, 4, 1),
}
POOL = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
CASES = (
    Case("Add", (IMAGE, IMAGE), (0.0417, 0.0331), 0.0507),
    Case("Add", (IMAGE, (6, 1, 1)), (0.0417, 0.3), 0.3, activation="Relu"),
    Case("Sub", (IMAGE, (1, 6, 1, 1)), (0.0417, 0.0331), 0.0507),
    Case("Mul", (IMAGE, (1, 6, 1, 1)), (0.0417, 0.0331), 0.09),
    Case("Mul", (IMAGE, IMAGE), (0.0417, 0.0331), 0.09, activation="Relu"),
    Case("MatMul", ((1, 3, 4, 7), (1, 3, 7, 5)), (0.0417, 0.0331), 0.2),
    Case("Relu", (IMAGE,), (0.0417,), 0.02),
    Case("Clip", (IMAGE,), (0.0417,), 0.0213, parameters={"low": np.float32(-1.0), "high": np.float32(1.1)}),
    Case("LeakyRelu", (IMAGE,), (0.0417,), 0.0331, {"alpha": 0.2}),
    Case("Sigmoid", (IMAGE,), (0.0613,), 1 / 256),
    Case("Tanh", (IMAGE,), (0.0331,), 1 / 128),
    Case("HardSigmoid", (IMAGE,), (0.0613,), 1 / 256, {"alpha": 0.2, "beta": 0.4}),
    Case("HardSwish", (IMAGE,), (0.0507,), 0.0331),
    Case("BatchNormalization", (IMAGE,), (0.0507,), 0.07, {"epsilon": 1e-3}, NORM),
    Case("BatchNormalization", (IMAGE,), (0.0507,), 0.07, {}, NORM, activation="Relu"),
    Case("MaxPool", (IMAGE,), (0.0507,), 0.0507, POOL),
    Case("MaxPool", (IMAGE,), (0.0507,), 0.0417, POOL),
    Case("AveragePool", (IMAGE,), (0.0507,), 0.0331, POOL),
    Case("AveragePool", (IMAGE,), (0.0507,), 0.0331, {**POOL, "count_include_pad": 1}),
    Case("AveragePool", (IMAGE,), (0.0507,), 0.0331, POOL, activation="Relu"),
    Case("GlobalAveragePool", ((1, 40, 5, 7),), (0.0507,), 0.0317),
    Case("ReduceMean", ((1, 40, 5, 7),), (0.0507,), 0.0317, {"keepdims": 0}, {"axes": _ints(2, 3)}),
    Case("ReduceMean", ((1, 40, 5, 7),), (0.0507,), 0.0317, {}, {"axes": _ints(1)}),
    Case("Softmax", ((1, 40),), (0.0331,), 1 / 256, rate=0.1),
    Case("Softmax", ((1, 5, 8),), (0.0331,), 1 / 256, {"axis": 1}, rate=0.1),
    Case("Softmax", ((1, 5, 8),), (0.0331,), 1 / 256, {"axis": 1}, opset=12, rate=0.1),
    Case("Reshape", (IMAGE,), (0.0507,), 0.0507, parameters={"shape": _ints(1, -1)}),
    Case("Reshape", (IMAGE,), (0.0507,), 0.0613, parameters={"shape": _ints(1, -1)}),
    Case("Flatten", (IMAGE,), (0.0507,), 0.0507),
    Case("Squeeze", ((1, 30, 1),), (0.0507,), 0.0507, parameters={"axes": _ints(2)}),
    Case("Unsqueeze", ((1, 30),), (0.0507,), 0.0507, parameters={"axes": _ints(2)}),
    Case("Transpose", (IMAGE,), (0.0507,), 0.0507, {"perm": [0, 2, 3, 1]}),
    Case("Concat", (IMAGE, (1, 3, 9, 8)), (0.0507, 0.0331), 0.0417, {"axis": 1}),
    Case("Pad", (IMAGE,), (0.0507,), 0.0507, parameters={"pads": _ints(0, 0, 1, 2, 0, 0, 0, 1), "v": np.float32(1)}),
    Case("Pad", (IMAGE,), (0.0507,), 0.0613, parameters={"pads": _ints(0, 0, 1, 2, 0, 0, 0, 1)}),
    Case("Slice", (IMAGE,), (0.0507,), 0.0507, parameters={"starts": _ints(0, 2), "ends": _ints(1, 5)}),
)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_onnxruntime(case: Case, dtype: str, rng: np.random.Generator) -> None:
    operands = [_activations(rng, dtype, shape, scale) for shape, scale in zip(case.shapes, case.scales, strict=True)]
    zero = int(operands[0].qparams.zero_point) if case.out == case.scales[0] else LIMITS[dtype][0] + 120
    if case.op in ("Sigmoid", "HardSigmoid", "Softmax"):
        zero = LIMITS[dtype][0]
    _compare(operands, QParams.per_tensor(case.out, zero, dtype), case)


CONVS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["int8", "uint8"]),
        "weight_dtype": st.sampled_from(["int8", "uint8"]),
        "groups": st.sampled_from([1, 2, 4]),
        "each": st.integers(1, 3),
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "strides": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "dilations": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "pad": st.integers(0, 2),
        "per_channel": st.booleans(),
        "bias": st.booleans(),
        "seed": st.integers(0, 2**16),
    }
)


@settings(max_examples=60, deadline=None)
@given(conv=CONVS)
def test_conv_agrees_with_onnxruntime(conv: dict[str, object]) -> None:
    rng = np.random.default_rng(conv["seed"])
    groups, kernel, dilations = conv["groups"], conv["kernel"], conv["dilations"]
    filters = groups * conv["each"]
    x = _activations(rng, conv["dtype"], (1, 4, 8, 9), 0.02)
    weights = _weights(rng, conv["weight_dtype"], (filters, 4 // groups, *kernel), 0 if conv["per_channel"] else None)
    bias = _bias(rng, x, weights, filters) if conv["bias"] else None
    attributes = {
        "group": groups,
        "strides": conv["strides"],
        "dilations": dilations,
        "pads": [min(conv["pad"], (kernel[axis % 2] - 1) * dilations[axis % 2]) for axis in range(4)],
    }
    fan_in = 4 // groups * kernel[0] * kernel[1]
    out = QParams.per_tensor(0.02 * 0.01 * 100 * fan_in, LIMITS[conv["dtype"]][0] + 128, conv["dtype"])
    case = Case("Conv", (), (), 0.0, attributes)
    _compare([x, weights, bias], out, case)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_gemm_agrees_with_onnxruntime(per_channel: bool, transposed: bool, rng: np.random.Generator) -> None:
    x = _activations(rng, "uint8", (1, 30), 0.02)
    axis = (0 if transposed else 1) if per_channel else None
    weights = _weights(rng, "int8", (50, 30) if transposed else (30, 50), axis)
    case = Case("Gemm", (), (), 0.0, {"transB": int(transposed)})
    _compare([x, weights, _bias(rng, x, weights, 50)], QParams.per_tensor(0.1, 110, "uint8"), case)


def _weights(rng: np.random.Generator, dtype: str, shape: Sequence[int], axis: int | None) -> Operand:
    count = 1 if axis is None else shape[axis]
    scale = rng.uniform(0.005, 0.015, count).astype(np.float32)
    zero = np.zeros(count, np.int32) if dtype == "int8" else rng.integers(100, 156, count).astype(np.int32)
    if axis is None:
        return Operand(_integers(rng, dtype, shape), QParams(scale[0], zero[0], dtype), constant=True)
    return Operand(_integers(rng, dtype, shape), QParams(scale, zero, dtype, axis), constant=True)


def _bias(rng: np.random.Generator, x: Operand, weights: Operand, filters: int) -> Operand:
    scale = np.asarray(x.qparams.scale * weights.qparams.scale, np.float32)
    axis = None if scale.ndim == 0 else 0
    values = rng.integers(-5000, 5000, filters).astype(np.int32)
    return Operand(values, QParams(scale, np.zeros(scale.shape, np.int32), "int32", axis), constant=True)
