from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper

import compiled
import elementwise_models
import models
import movement_models
import neural_models
import op_models
from microlith.cli import options
from microlith.compile.pipeline import random_feeds
from microlith.core.errors import InputError, UnsupportedError
from microlith.graph.export import OLDEST_OPSET, WRITTEN_OUT, export_model, restore
from microlith.graph.load import load_bytes, load_model
from microlith.graph.model_file import save_model
from microlith.graph.opset import OPSET
from microlith.graph.reference import Reference
from microlith.graph.save import model_bytes
from microlith.ops import OPS
from microlith.verify.outside import session
from microlith.verify.runnable import runnable

OPSETS = (13, 15, 17, 18, 20, 21, 23, OPSET)

Shape = Sequence[int]
Arrays = dict[str, np.ndarray]


def load(proto: onnx.ModelProto, name: str = "model") -> ir.Model:
    return load_bytes(proto.SerializeToString(), name)


@lru_cache(maxsize=1)
def float_models() -> dict[str, ir.Model]:
    protos = (
        op_models.all_models()
        | elementwise_models.quantizable_models()
        | neural_models.float_models()
        | neural_models.quantizable_models()
    )
    return {name: load(proto, name) for name, proto in protos.items()}


@lru_cache(maxsize=1)
def expected() -> dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    feeds = {name: random_feeds(model, 1, 0)[0] for name, model in float_models().items()}
    return {name: (feeds[name], Reference(model).run(feeds[name])) for name, model in float_models().items()}


def in_onnx_runtime(model: ir.Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of ONNX Runtime for exactly this model, which the ONNX checker accepts."""
    content = model_bytes(model)
    onnx.checker.check_model(onnx.ModelProto.FromString(content), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def since(model: ir.Model, opset: int) -> list[int]:
    """The versions of the operators of a model in an opset; 0 for one that it does not have."""
    found = []
    for op in sorted({node.op_type for node in model.graph}):
        known = onnx.defs.has(op, opset, "")
        found.append(onnx.defs.get_schema(op, opset, "").since_version if known else 0)
    return found


@pytest.mark.parametrize("opset", OPSETS)
def test_models_in_older_opsets_compute_the_same(opset: int) -> None:
    newer = OPSETS[OPSETS.index(opset) + 1 :]
    compared = 0
    for name, model in float_models().items():
        if newer and since(model, opset) == since(model, newer[0]):
            continue  # but for the number it is the file that the next newer opset is tested with
        compared += 1
        feeds, wanted = expected()[name]
        exported = export_model(model, opset)
        assert exported.graph.opset_imports == {"": opset}
        for value, found in zip(model.graph.outputs, in_onnx_runtime(exported, feeds), strict=True):
            reference = wanted[str(value.name)]
            assert np.abs(found - reference).max() <= 1e-4 * max(np.abs(reference).max(), 1e-6), name
    assert compared > 0


def test_quantized_models_in_the_oldest_opset_mean_the_same_integers() -> None:
    rng = np.random.default_rng(3)
    for name, proto in {
        "cnn": models.tiny_cnn(),
        "functions": elementwise_models.quantizable_models()["functions"],
        **{name: neural_models.quantizable_models()[name] for name in ("max_image", "matmul_left", "global_max_pool")},
    }.items():
        graph = load(proto, name)
        compiled.run_passes(graph, compiled.DEFAULT_PASSES)
        shapes = {str(value.name): tuple(value.shape.numpy()) for value in graph.graph.inputs}
        feeds = [{key: rng.normal(0, 1, shape).astype(np.float32) for key, shape in shapes.items()} for _ in range(3)]
        quantized = compiled.quantized(graph, feeds)
        again = load_bytes(model_bytes(export_model(quantized, OLDEST_OPSET)), name)
        compiled.run_passes(again, compiled.DEFAULT_PASSES)
        given = random_feeds(quantized, 1, 0)[0]
        for found, wanted in zip(compiled.reference(again, given), compiled.reference(quantized, given), strict=True):
            np.testing.assert_array_equal(found, wanted, err_msg=name)


def graph_of(
    node: onnx.NodeProto,
    inputs: dict[str, tuple[str, Shape]],
    outputs: dict[str, tuple[str, Shape]],
    constants: Arrays | None = None,
    opset: int = OPSET,
) -> ir.Model:
    def typed(values: dict[str, tuple[str, Shape]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in values.items()
        ]

    weights = [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph([node], "g", typed(inputs), typed(outputs), weights)
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))


def node(op: str, inputs: str, outputs: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name="node", **attributes)


F32, IMAGE = "float32", (1, 2, 4, 6)
RULES = {
    "pad some axes": (
        13,
        graph_of(
            node("Pad", "x p v a"), {"x": (F32, IMAGE)}, {"y": (F32, (1, 2, 7, 6))},
            {"p": np.array([1, 2], np.int64), "v": np.float32(0.5), "a": np.array([-2], np.int64)},
        ),
        ["Pad"],
    ),
    "resize some axes": (
        13,
        graph_of(
            node("Resize", "x   s".replace("   ", " r "), axes=[3, 2], mode="linear"), {"x": (F32, IMAGE)},
            {"y": (F32, (1, 2, 8, 18))}, {"r": np.zeros(0, np.float32), "s": np.array([3, 2], np.float32)},
        ),
        ["Resize"],
    ),
    "split in parts": (
        13,
        graph_of(
            node("Split", "x", "y z", axis=3, num_outputs=2), {"x": (F32, (1, 2, 4, 5))},
            {"y": (F32, (1, 2, 4, 3)), "z": (F32, (1, 2, 4, 2))},
        ),
        ["Split"],
    ),
    "upper triangle": (
        13,
        graph_of(node("Trilu", "x k"), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)}, {"k": np.array(1, np.int64)}),
        ["Where"],
    ),
    "lower triangle": (
        13, graph_of(node("Trilu", "x", upper=0), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)}), ["Where"]
    ),
    "cast like": (
        13,
        graph_of(node("CastLike", "x z"), {"x": (F32, IMAGE), "z": ("int32", (2,))}, {"y": ("int32", IMAGE)}),
        ["Cast"],
    ),
    "reshape with allowzero": (
        13,
        graph_of(
            node("Reshape", "x s", allowzero=1), {"x": (F32, IMAGE)}, {"y": (F32, (1, 48))},
            {"s": np.array([1, -1], np.int64)},
        ),
        ["Reshape"],
    ),
    "grid": (
        16,
        graph_of(
            node("GridSample", "x g", mode="cubic"), {"x": (F32, IMAGE), "g": (F32, (1, 3, 3, 2))},
            {"y": (F32, (1, 2, 3, 3))},
        ),
        ["GridSample"],
    ),
    "no axes": (13, graph_of(node("ReduceMax", "x"), {"x": (F32, IMAGE)}, {"y": (F32, (1, 1, 1, 1))}), ["ReduceMax"]),
    "gelu": (13, graph_of(node("Gelu", "x"), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)}), None),
    "swish": (13, graph_of(node("Swish", "x"), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)}), ["Sigmoid", "Mul"]),
    "swish of a slope": (
        13,
        graph_of(node("Swish", "x", alpha=1.5), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)}),
        ["Mul", "Sigmoid", "Mul"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_rules(case: str) -> None:
    opset, model, ops = RULES[case]
    feeds = random_feeds(model, 1, 5)[0]
    exported = export_model(model, opset)
    if ops is not None:
        assert [item.op_type for item in exported.graph] == ops
    assert [item.op_type for item in model.graph] != ["Identity"]
    for found, wanted in zip(in_onnx_runtime(exported, feeds), compiled.reference(model, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_constants_of_four_bits_become_bytes() -> None:
    values = np.array([[-8, -1, 0], [3, 5, 7]], np.int8)
    packed = helper.make_tensor("w", TensorProto.INT4, (2, 3), values.reshape(-1).tolist())
    zeros = helper.make_tensor("z", TensorProto.INT4, (2,), [1, -2])
    scales = onnx.numpy_helper.from_array(np.array([0.5, 0.25], np.float32), "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], name="dequantize", axis=0),
        helper.make_node("Mul", ["x", "d"], ["y"], name="product"),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [packed, zeros, scales])
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10))
    exported = export_model(model, 13)
    assert exported.graph[0].inputs[0].dtype == ir.DataType.INT8
    (found,) = in_onnx_runtime(exported, {"x": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found, (values - [[1], [-2]]) * np.array([[0.5], [0.25]]))


def test_output_type_becomes_a_zero_point() -> None:
    made = node("QuantizeLinear", "x s", output_dtype=TensorProto.INT8)
    model = graph_of(made, {"x": (F32, (4,))}, {"y": ("int8", (4,))}, {"s": np.float32(0.5)})
    (found,) = in_onnx_runtime(export_model(model, 13), {"x": np.array([-1, 0.25, 3, 100], np.float32)})
    np.testing.assert_array_equal(found, np.array([-2, 0, 6, 127], np.int8))


REFUSALS = {
    "no such operator": (graph_of(node("BitwiseNot", "x"), {"x": ("int32", (2,))}, {"y": ("int32", (2,))}), 18),
    "no such type": (graph_of(node("Add", "x x"), {"x": ("int8", (2,))}, {"y": ("int8", (2,))}), 14),
    "no such value": (
        graph_of(
            node("Pad", "x p", mode="wrap"), {"x": (F32, (4,))}, {"y": (F32, (6,))}, {"p": np.array([1, 1], np.int64)}
        ),
        19,
    ),
    "no such attribute": (
        graph_of(
            node("ScatterND", "x i u", reduction="add"),
            {"x": (F32, (4,)), "i": ("int64", (2, 1)), "u": (F32, (2,))},
            {"y": (F32, (4,))},
        ),
        16,
    ),
    "no such rank": (
        graph_of(
            node("GridSample", "x g"), {"x": (F32, (1, 2, 4, 4, 4)), "g": (F32, (1, 2, 2, 2, 3))},
            {"y": (F32, (1, 2, 2, 2, 2))},
        ),
        20,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_what_an_opset_cannot_hold_is_refused_with_the_oldest_that_can(case: str) -> None:
    model, least = REFUSALS[case]
    with pytest.raises(UnsupportedError, match=rf"'node' .* opset {least - 1}:") as caught:
        export_model(model, least - 1)
    assert f"opset {least}," in str(caught.value.hint)
    assert export_model(model, least).graph.opset_imports[""] == least


def test_opsets_that_do_not_exist_are_refused(tmp_path) -> None:
    model = float_models()["relu"]
    for opset in (OLDEST_OPSET - 1, OPSET + 1):
        with pytest.raises(InputError, match=f"{opset}, expected {OLDEST_OPSET} to {OPSET}"):
            save_model(model, tmp_path / "m.onnx", opset)
    (option,) = options.Opset.__metadata__
    assert (option.min, option.max) == (OLDEST_OPSET, OPSET)


def test_old_files_have_an_old_ir_version_and_load_again(tmp_path) -> None:
    model = float_models()["cnn"]
    save_model(model, tmp_path / "m.onnx", 13)
    proto = onnx.load(tmp_path / "m.onnx")
    assert (proto.ir_version, proto.opset_import[0].version) == (7, 13)
    assert model_bytes(load_model(tmp_path / "m.onnx")) == model_bytes(model)


def test_what_files_have_written_out_is_put_back() -> None:
    for alpha in (1.0, 1.5):
        model = graph_of(node("Swish", "x", alpha=alpha), {"x": (F32, IMAGE)}, {"y": (F32, IMAGE)})
        again = load_bytes(model_bytes(export_model(model)), "m")
        assert [item.op_type for item in again.graph][-1] == "Mul"
        restore(again)
        assert model_bytes(again) == model_bytes(model)


def all_graphs() -> dict[str, ir.Model]:
    plain = {name: load(proto, name) for name, proto in elementwise_models.plain_models().items()}
    moving = {f"moving {name}": load(case.model(), name) for name, case in movement_models.movement_cases().items()}
    sampling = {
        f"sampling {name}": load(case.model(), name) for name, case in movement_models.resampling_cases().items()
    }
    return {**float_models(), **plain, **moving, **sampling}


def test_onnx_runtime_has_a_kernel_for_every_op_of_the_table_in_the_newest_opset() -> None:
    tried, otherwise = set(), set()
    for name, model in all_graphs().items():
        _, remark = session(model)
        tried |= {item.op_type for item in model.graph}
        otherwise |= {name} if remark else set()
    assert len(set(OPS) & tried) >= 135  # of those that these libraries of models know
    # Of types that it has no kernel for.
    assert otherwise == {"arithmetic_int16", "arithmetic_uint16", "prelu_int64", "where_int16"}


@pytest.mark.parametrize("name", ["prelu_int64", "where_int16"])
def test_types_without_a_kernel_are_computed_in_others(name: str) -> None:
    model = load(elementwise_models.plain_models()[name], name)
    feeds = random_feeds(model, 1, 0)[0]
    for found, wanted in zip(in_onnx_runtime(runnable(model), feeds), compiled.reference(model, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_recurrent_layers_with_the_batch_first_run(op: str) -> None:
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1}[op]
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.5, (2, gates * 4, 3)).astype(np.float32),
        "r": rng.normal(0, 0.5, (2, gates * 4, 4)).astype(np.float32),
    }
    made = node(op, "x w r", "y h", layout=1, hidden_size=4, direction="bidirectional")
    outputs = {"y": (F32, (1, 5, 2, 4)), "h": (F32, (1, 2, 4))}
    model = graph_of(made, {"x": (F32, (1, 5, 3))}, outputs, weights)
    feeds = random_feeds(model, 1, 0)[0]
    _, remark = session(model)
    assert remark == f" at opset {OPSET}"
    for candidate in (runnable(model), export_model(model, 13)):
        for found, wanted in zip(in_onnx_runtime(candidate, feeds), compiled.reference(model, feeds), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("op", sorted(WRITTEN_OUT))
def test_onnx_runtime_lacks_what_files_have_written_out(op: str) -> None:
    model = next(model for model in float_models().values() if op in {item.op_type for item in model.graph})
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented, match=op):
        onnxruntime.InferenceSession(model_bytes(model), providers=["CPUExecutionProvider"])
