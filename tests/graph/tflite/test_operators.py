"""Every imported operator: the ONNX model in ONNX Runtime against the file in LiteRT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from microlith.graph.tflite.read import HANDLERS, onnx_of_tflite
from tflite_models import Node, Oracle, Tensor, build, constant, options

RNG = np.random.default_rng(11)
IMAGE = (1, 6, 5, 4)


def _f(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1, shape).astype(np.float32)


def _i(*values: int) -> Tensor:
    return constant(np.array(values, np.int32))


@dataclass(frozen=True)
class Model:
    """One operator: its float input ``x``, further tensors that it reads, results, and what to feed."""

    op: str
    out: tuple[tuple[int, ...], ...]
    x: tuple[int, ...] = IMAGE
    more: tuple[Tensor, ...] = ()
    given: Any = None
    order: tuple[int, ...] | None = None  # of the inputs, x being 0
    low: float = -2.0
    high: float = 2.0
    kind: str = "float32"
    out_kinds: tuple[str, ...] = field(default=("float32",))


def _unary() -> Iterator[Model]:
    for op in ("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6"):
        yield Model(op, (IMAGE,), high=8)
    for op in ("RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "SIGN", "SIN", "SQUARE", "TANH", "LOG_SOFTMAX"):
        yield Model(op, (IMAGE,))
    for op in ("LOG", "SQRT", "RSQRT"):
        yield Model(op, (IMAGE,), low=0.1)
    yield Model("GELU", (IMAGE,), given=options("GeluOptions", approximate=False))
    yield Model("GELU", (IMAGE,), given=options("GeluOptions", approximate=True))
    yield Model("LEAKY_RELU", (IMAGE,), given=options("LeakyReluOptions", alpha=0.3))
    yield Model("SOFTMAX", ((1, 9),), (1, 9), given=options("SoftmaxOptions", beta=1.0))
    yield Model("SOFTMAX", ((1, 9),), (1, 9), given=options("SoftmaxOptions", beta=0.5))
    yield Model("PRELU", (IMAGE,), more=(constant(_f(1, 1, 4)),))
    yield Model("L2_NORMALIZATION", ((1, 9),), (1, 9), given=options("L2NormOptions"))
    lrn = options("LocalResponseNormalizationOptions", radius=1, bias=1.0, alpha=0.3, beta=0.5)
    yield Model("LOCAL_RESPONSE_NORMALIZATION", (IMAGE,), given=lrn)
    yield Model("LOGICAL_NOT", ((1, 5),), (1, 5), kind="bool", out_kinds=("bool",))


def _binary() -> Iterator[Model]:
    for op in ("ADD", "SUB", "MUL", "DIV"):
        kind = op.capitalize() + "Options"
        for activation in range(4):
            given = options(kind, fusedActivationFunction=activation)
            yield Model(op, (IMAGE,), more=(constant(_f(4) + 3),), given=given)
    for op in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"):
        yield Model(op, (IMAGE,), more=(constant(_f(*IMAGE)),))
    for op in ("FLOOR_DIV", "FLOOR_MOD"):
        yield Model(op, (IMAGE,), more=(constant(np.array([0.7, -0.9, 1.3, -0.4], np.float32)),))
    yield Model("POW", (IMAGE,), more=(constant(np.array([2.0], np.float32)),), low=0.1)
    yield Model("ADD_N", (IMAGE,), more=(constant(_f(*IMAGE)), constant(_f(*IMAGE))))
    for op in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"):
        yield Model(op, ((1, 5),), (1, 5), more=(constant(np.zeros((1, 5), np.float32)),), out_kinds=("bool",))
    truth = constant(np.array([[True, False, True, False, True]]))
    for op in ("LOGICAL_AND", "LOGICAL_OR"):
        yield Model(op, ((1, 5),), (1, 5), more=(truth,), kind="bool", out_kinds=("bool",))
    for op in ("SELECT", "SELECT_V2"):
        yield Model(op, ((1, 5),), (1, 5), more=(truth, constant(_f(1, 5))), order=(1, 0, 2))


def _linear() -> Iterator[Model]:
    for padding, size in ((0, (3, 3)), (1, (2, 1))):
        given = options("Conv2DOptions", padding=padding, strideW=2, strideH=2, fusedActivationFunction=1)
        weights = (constant(_f(7, 3, 3, 4)), constant(_f(7)))
        yield Model("CONV_2D", ((1, *size, 7),), more=weights, given=given)
    given = options("Conv2DOptions", padding=0, strideW=1, strideH=1, dilationWFactor=2, dilationHFactor=1)
    yield Model("CONV_2D", ((1, 6, 5, 6),), more=(constant(_f(6, 3, 2, 2)), constant(_f(6))), given=given)
    given = options("DepthwiseConv2DOptions", padding=0, strideW=1, strideH=1, depthMultiplier=2)
    yield Model("DEPTHWISE_CONV_2D", ((1, 6, 5, 8),), more=(constant(_f(1, 3, 3, 8)), constant(_f(8))), given=given)
    for padding, out in ((0, (1, 11, 10, 3)), (1, (1, 13, 11, 3)), (0, (1, 12, 9, 3))):
        given = options("TransposeConvOptions", padding=padding, strideW=2, strideH=2)
        more = (_i(*out), constant(_f(3, 3, 3, 4)))
        yield Model("TRANSPOSE_CONV", (out,), more=more, given=given, order=(1, 2, 0))
    given = options("FullyConnectedOptions", fusedActivationFunction=3)
    yield Model("FULLY_CONNECTED", ((1, 5),), (1, 8), more=(constant(_f(5, 8)), constant(_f(5))), given=given)
    yield Model(
        "FULLY_CONNECTED", ((6, 3),), (1, 6, 4), more=(constant(_f(3, 4)),), given=options("FullyConnectedOptions")
    )
    given = options("FullyConnectedOptions", keepNumDims=True)
    yield Model("FULLY_CONNECTED", ((1, 6, 3),), (1, 6, 4), more=(constant(_f(3, 4)),), given=given)
    given = options("BatchMatMulOptions", adjX=False, adjY=True)
    yield Model("BATCH_MATMUL", ((1, 6, 3),), (1, 6, 4), more=(constant(_f(1, 3, 4)),), given=given)
    given = options("Conv3DOptions", padding=0, strideD=1, strideW=2, strideH=1)
    yield Model("CONV_3D", ((1, 3, 6, 3, 5),), (1, 3, 6, 5, 4), more=(constant(_f(2, 3, 3, 4, 5)),), given=given)


def _windows() -> Iterator[Model]:
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        for padding, size in ((0, (3, 3)), (1, (2, 2))):
            given = options(
                "Pool2DOptions", padding=padding, strideW=2, strideH=2, filterWidth=2, filterHeight=3,
                fusedActivationFunction=1,
            )  # fmt: skip
            yield Model(op, ((1, *size, 4),), given=given)
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        kind = "ResizeBilinearOptions" if op == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
        for corners, centers in ((False, False), (True, False), (False, True)):
            given = options(kind, alignCorners=corners, halfPixelCenters=centers)
            yield Model(op, ((1, 9, 7, 4),), more=(_i(9, 7),), given=given)
    yield Model("SPACE_TO_DEPTH", ((1, 3, 2, 16),), (1, 6, 4, 4), given=options("SpaceToDepthOptions", blockSize=2))
    yield Model("DEPTH_TO_SPACE", ((1, 12, 10, 1),), given=options("DepthToSpaceOptions", blockSize=2))


def _reductions() -> Iterator[Model]:
    for op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for keep in (True, False):
            given = options("ReducerOptions", keepDims=keep)
            yield Model(op, ((1, 1, 1, 4) if keep else (1, 4),), more=(_i(1, 2),), given=given)
            yield Model(op, ((1, 6, 5, 1) if keep else (1, 6, 5),), more=(_i(-1),), given=given)
    for op in ("REDUCE_ANY", "REDUCE_ALL"):
        given = options("ReducerOptions", keepDims=False)
        yield Model(op, ((1,),), (1, 5), more=(_i(1),), given=given, kind="bool", out_kinds=("bool",))
    for op, kind in (("ARG_MAX", "ArgMaxOptions"), ("ARG_MIN", "ArgMinOptions")):
        yield Model(op, ((1,),), (1, 9), more=(_i(1),), given=options(kind, outputType=2), out_kinds=("int32",))
    yield Model("CUMSUM", ((1, 5),), (1, 5), more=(_i(1),), given=options("CumsumOptions", exclusive=True))
    yield Model("TOPK_V2", ((1, 3), (1, 3)), (1, 9), more=(_i(3),), out_kinds=("float32", "int32"))
    yield Model("CAST", ((1, 5),), (1, 5), out_kinds=("int32",))


def _movement() -> Iterator[Model]:
    yield Model("RESHAPE", ((1, 120),), more=(_i(1, 120),))
    yield Model("SQUEEZE", ((1, 5),), (1, 1, 5), given=options("SqueezeOptions", squeezeDims=[1]))
    yield Model("EXPAND_DIMS", ((1, 1, 5),), (1, 5), more=(_i(1),))
    yield Model("TRANSPOSE", ((1, 4, 5, 6),), more=(_i(0, 3, 2, 1),))
    given = options("ConcatenationOptions", axis=-1)
    yield Model("CONCATENATION", ((1, 6, 5, 6),), more=(constant(_f(1, 6, 5, 2)),), given=given)
    yield Model("PAD", ((1, 8, 7, 4),), more=(constant(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32)),))
    pads = constant(np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32))
    yield Model("PADV2", ((1, 8, 7, 4),), more=(pads, constant(np.array([0.5], np.float32))))
    yield Model("MIRROR_PAD", ((1, 8, 7, 4),), more=(pads,), given=options("MirrorPadOptions", mode=0))
    yield Model("SLICE", ((1, 3, 4, 4),), more=(_i(0, 1, 1, 0), _i(1, 3, -1, 4)))
    given = options("StridedSliceOptions", beginMask=1, endMask=9)
    more = (_i(0, 4, 1, 1), _i(0, 0, 4, 0), _i(1, -2, 1, 1))
    yield Model("STRIDED_SLICE", ((1, 2, 3, 3),), more=more, given=given)
    given = options("StridedSliceOptions", beginMask=1, endMask=1, shrinkAxisMask=2)
    more = (_i(0, -2, 1, 1), _i(0, 0, 4, 3), _i(1, 1, 1, 1))
    yield Model("STRIDED_SLICE", ((1, 3, 2),), more=more, given=given)
    part = (1, 6, 5, 2)
    given = options("SplitOptions", numSplits=2)
    yield Model("SPLIT", (part, part), more=(_i(3),), given=given, order=(1, 0), out_kinds=("float32",) * 2)
    given = options("SplitVOptions", numSplits=2)
    more = (_i(4, -1), _i(1))
    yield Model("SPLIT_V", ((1, 4, 5, 4), (1, 2, 5, 4)), more=more, given=given, out_kinds=("float32",) * 2)
    given = options("PackOptions", valuesCount=2, axis=1)
    yield Model("PACK", ((1, 2, 5),), (1, 5), more=(constant(_f(1, 5)),), given=given)
    given = options("UnpackOptions", num=2, axis=1)
    yield Model("UNPACK", ((1, 5), (1, 5)), (1, 2, 5), given=given, out_kinds=("float32",) * 2)
    yield Model("TILE", ((1, 10),), (1, 5), more=(_i(1, 2),))
    yield Model("BROADCAST_TO", ((1, 3, 5),), (1, 1, 5), more=(_i(1, 3, 5),))
    yield Model("REVERSE_V2", (IMAGE,), more=(_i(2),))
    yield Model("GATHER", ((1, 2, 5, 4),), more=(_i(3, 0),), given=options("GatherOptions", axis=1))
    yield Model("GATHER_ND", ((2, 4),), (3, 5, 4), more=(constant(np.array([[0, 1], [2, 3]], np.int32)),))
    yield Model("EMBEDDING_LOOKUP", ((2, 4),), (3, 4), more=(_i(2, 0),), order=(1, 0))
    more = (constant(np.array([[1], [3]], np.int32)), _i(5))
    yield Model("SCATTER_ND", ((5,),), (2,), more=more, order=(1, 0, 2))


def _models() -> list[Model]:
    return [*_unary(), *_binary(), *_linear(), *_windows(), *_reductions(), *_movement()]


MODELS = _models()
# In models of their own in other files, since they need integers, several operators, or are constants.
OTHERS = {"BATCH_TO_SPACE_ND", "DEQUANTIZE", "FILL", "ONE_HOT", "QUANTIZE", "RANGE", "RANK", "SHAPE"}
OTHERS |= {"ASSIGN_VARIABLE", "CALL", "CALL_ONCE", "IF", "READ_VARIABLE", "SPACE_TO_BATCH_ND", "VAR_HANDLE", "WHILE"}
OTHERS |= {"LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"}


def operator_file(model: Model) -> bytes:
    names = ["x", *(f"in{i}" for i in range(len(model.more)))]
    tensors = {"x": Tensor(model.x, model.kind), **dict(zip(names[1:], model.more, strict=True))}
    outputs = [f"y{i}" for i in range(len(model.out))]
    tensors |= {n: Tensor(s, k) for n, s, k in zip(outputs, model.out, model.out_kinds, strict=True)}
    inputs = names if model.order is None else [names[i] for i in model.order]
    return build(tensors, [Node(model.op, inputs, outputs, model.given)], ["x"], outputs)


def run_onnx(content: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    model = onnx_of_tflite(content, "test")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.mark.parametrize("model", MODELS, ids=[f"{i}-{model.op}" for i, model in enumerate(MODELS)])
def test_operator_means_what_litert_computes(model: Model) -> None:
    content = operator_file(model)
    oracle = Oracle(content)
    rng = np.random.default_rng(3)
    for _ in range(2):
        x = rng.uniform(model.low, model.high, model.x).astype(np.float32)
        fed = x > 0 if model.kind == "bool" else x
        for got, want in zip(run_onnx(content, {"x": fed}), oracle.run(fed), strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_every_operator_has_a_model() -> None:
    assert {model.op for model in MODELS} | OTHERS == set(HANDLERS)
    assert len(HANDLERS) >= 70
