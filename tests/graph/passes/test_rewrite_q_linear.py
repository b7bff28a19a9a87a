from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from microlith.graph.passes.infer_shapes import InferShapes
from microlith.graph.passes.rewrite_q_linear import RewriteQLinear
from oracles import onnxruntime_run, reference_run

RNG = np.random.default_rng(8)


def _model(
    op: str, x: tuple[int, ...], weights: dict[str, np.ndarray], out: tuple[int, ...], **attributes: object
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *weights], ["y"], name="node", **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, out)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return model


def _parameters(w: np.ndarray, w_scale: np.ndarray, y_scale: float) -> dict[str, np.ndarray]:
    return {
        "xs": np.float32(0.02),
        "xz": np.uint8(120),
        "w": w,
        "ws": w_scale,
        "wz": np.zeros(w_scale.shape, np.int8),
        "ys": np.float32(y_scale),
        "yz": np.uint8(100),
    }


def _integers(*shape: int) -> np.ndarray:
    # Products of larger ones saturate in pairs in the kernels of ONNX Runtime for AVX2.
    return RNG.integers(-64, 64, shape, np.int8)


PER_CHANNEL = RNG.uniform(0.01, 0.02, 5).astype(np.float32)
CASES = {
    "conv": _model(
        "QLinearConv",
        (1, 4, 6, 6),
        _parameters(_integers(5, 4, 3, 3), PER_CHANNEL, 0.2) | {"b": RNG.integers(-999, 999, 5).astype(np.int32)},
        (1, 5, 6, 6),
        pads=[1] * 4,
    ),
    "conv_tensor": _model(
        "QLinearConv", (1, 4, 6, 6), _parameters(_integers(5, 4, 1, 1), np.float32(0.01), 0.1), (1, 5, 6, 6)
    ),
    "matmul": _model("QLinearMatMul", (1, 3, 8), _parameters(_integers(8, 5), np.float32(0.01), 0.05), (1, 3, 5)),
}


@pytest.mark.parametrize("name", CASES)
def test_means_the_same(name: str) -> None:
    model = ir.from_proto(CASES[name])
    InferShapes().apply(model)
    assert RewriteQLinear().apply(model).changes == 1
    assert [node.op_type for node in model.graph][-1] == "QuantizeLinear"
    feeds = {"x": RNG.integers(0, 256, model.graph.inputs[0].shape.numpy(), np.uint8)}
    (wanted,) = onnxruntime_run(CASES[name], feeds)
    (found,) = reference_run(ir.to_proto(model), feeds)
    difference = np.abs(found.astype(np.int64) - wanted.astype(np.int64))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert np.unique(found).size > 10


def test_computed_scales_are_left_alone() -> None:
    proto = CASES["matmul"]
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    kept = [item for item in changed.graph.initializer if item.name != "xs"]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    changed.graph.input.append(helper.make_tensor_value_info("xs", TensorProto.FLOAT, ()))
    model = ir.from_proto(changed)
    InferShapes().apply(model)
    assert RewriteQLinear().apply(model).changes == 0
