from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import models
from microlith.core.errors import InputError, MicrolithError, UnsupportedError
from microlith.graph import onnx_file
from microlith.graph.load import check_supported, load_model
from microlith.graph.opset import IR_VERSION, OPSET
from microlith.graph.save import model_bytes
from microlith.graph.values import constant, static_shape


def relu(shape=(1, 4), **fields):
    return models.one_node("Relu", {"x": shape}, {"y": shape}, **fields)


def unchecked(nodes, inputs, outputs, weights=None, *, opset=17, elem_type=TensorProto.FLOAT, imports=()):
    """A model that need not be valid."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, elem_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    versions = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in imports)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def test_a_model_comes_in_one_form(load, run, rng):
    proto = models.tiny_cnn()
    model = load(proto)
    assert model.graph.opset_imports == {"": OPSET}
    assert model.ir_version == IR_VERSION
    assert all(value.shape.is_static() for node in model.graph for value in node.outputs)
    feeds = {"image": models.images(rng, 1)}
    np.testing.assert_array_equal(run(model, feeds)[0], run(proto, feeds)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a text file, and no model\n" * 40, "not an ONNX model"),
        (b"\x08\x08", "holds no graph"),
        (b"\x00" * 64, "not an ONNX model"),
    ],
)
def test_files_that_are_no_model(tmp_path, content, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="is a directory"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        load_model("a\0b.onnx")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(relu().SerializeToString())
    monkeypatch.setattr(onnx_file, "MAX_FILE_BYTES", 16)
    with pytest.raises(InputError, match="at most 16 B are read"):
        load_model(path)


def test_constants_that_are_too_large(load, monkeypatch):
    monkeypatch.setattr(onnx_file, "MAX_TENSOR_BYTES", 100)
    with pytest.raises(InputError, match="constants of the model exceed 100 B"):
        load(models.tiny_mlp())


def test_a_file_cut_short_anywhere_is_an_input_error(tmp_path):
    data = models.tiny_mlp(features=3, hidden=2).SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            load_model(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_loads_or_is_refused(tmp_path: Path, data):
    content = bytearray(models.tiny_mlp(features=3, hidden=2).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        model = load_model(path)
    except MicrolithError:
        return
    assert model_bytes(model)


def test_text_that_is_no_utf8(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(relu().SerializeToString().replace(b"Relu", b"Re\xffu"))
    with pytest.raises(InputError, match="not valid UTF-8"):
        load_model(path)


def test_old_and_future_opsets(load):
    assert len(
        load(unchecked([helper.make_node("Not", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=1, elem_type=9)).graph
    )
    with pytest.raises(UnsupportedError, match="Add changed between opset 6 and") as error:
        load(unchecked([helper.make_node("Add", ["x", "x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=6))
    assert error.value.hint
    with pytest.raises(InputError, match="uses opset 0"):
        load(unchecked([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=0))
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(UnsupportedError, match=f"uses opset {newest + 1}"):
        load(unchecked([helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, opset=newest + 1))
    proto = relu()
    proto.opset_import[0].domain = "ai.onnx.ml"
    with pytest.raises(InputError, match="operator set 0 times"):
        load(proto)
    del proto.opset_import[:]
    with pytest.raises(InputError, match="operator set it uses"):
        load(proto)


def test_other_domains(load):
    node = helper.make_node("FusedConv", ["x"], ["y"], name="fused", domain="com.microsoft")
    with pytest.raises(UnsupportedError, match=r"domain 'com.microsoft'.*\(node 'fused' \(FusedConv\)\)"):
        load(unchecked([node], {"x": [1, 2]}, {"y": [1, 2]}, imports=["com.microsoft"]))
    plain = unchecked([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 2]}, {"y": [1, 2]}, imports=["ai.onnx.ml"])
    assert load(plain).graph.opset_imports == {"": OPSET}


def test_an_operator_that_does_not_exist(load):
    with pytest.raises(UnsupportedError, match="has no operator 'Rellu'"):
        load(unchecked([helper.make_node("Rellu", ["x"], ["y"])], {"x": [1, 2]}, {"y": [1, 2]}))


@pytest.mark.parametrize("kind", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(load, kind):
    proto = models.tiny_mlp()
    weights = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weights[1, 2] = kind
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "fc1.weight"))
    with pytest.raises(InputError, match=r"'fc1.weight' contains (NaN|infinity).*'fc1' \(Gemm\)"):
        load(proto)


def test_a_constant_node_that_is_not_finite(load):
    value = numpy_helper.from_array(np.array([np.nan, 1], np.float32))
    nodes = [helper.make_node("Constant", [], ["c"], value=value), helper.make_node("Add", ["x", "c"], ["y"])]
    with pytest.raises(InputError, match="'c' contains NaN"):
        load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}))


def test_a_fold_that_is_not_finite(load):
    nodes = [helper.make_node("Div", ["a", "b"], ["c"]), helper.make_node("Mul", ["x", "c"], ["y"])]
    weights = {"a": np.ones(2, np.float32), "b": np.zeros(2, np.float32)}
    with pytest.raises(InputError, match="'c' contains infinity"):
        load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, weights))


def test_infinite_bounds_are_allowed(load):
    bounds = {"low": np.array(0, np.float32), "high": np.array(np.inf, np.float32)}
    model = load(models.one_node("Clip", {"x": [1, 2]}, {"y": [1, 2]}, bounds))
    assert constant(model.graph[0].inputs[2]) == np.inf


@pytest.mark.parametrize("batch", ["N", 0, 1])
def test_the_batch_becomes_one(load, batch):
    model = load(relu([batch, 4]))
    assert static_shape(model.graph.inputs[0]) == (1, 4)
    assert static_shape(model.graph.outputs[0]) == (1, 4)


def test_a_batch_without_a_size(load):
    proto = relu(["N", 4])
    proto.graph.input[0].type.tensor_type.shape.dim[0].ClearField("value")
    assert static_shape(load(proto).graph.inputs[0]) == (1, 4)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert static_shape(load(proto).graph.inputs[0]) == (1, 4)


def test_a_fixed_batch(load):
    assert static_shape(load(relu([8, 4])).graph.outputs[0]) == (8, 4)
    assert static_shape(load(relu(["N", 4]), {"x": (2, 4)}).graph.outputs[0]) == (2, 4)


def test_dynamic_dimensions_need_a_shape(load):
    proto = relu(["N", 3, "height", 32])
    with pytest.raises(InputError, match=r"dimension 2 of the input 'x' is dynamic \('height'\)") as error:
        load(proto)
    assert "--shape x=1,3,32,32" in str(error.value)
    assert static_shape(load(proto, {"x": (1, 3, 24, 32)}).graph.outputs[0]) == (1, 3, 24, 32)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 3)}, r"given for 'z', and the inputs are 'x'"),
        ({"x": (1, 3)}, r"is 1,3, and the model takes 4 dimensions"),
        ({"x": (1, 4, 8, 32)}, r"is 1,4,8,32, and dimension 1 of the model is 3"),
        ({"x": (1, 3, 0, 32)}, r"expected positive sizes"),
    ],
)
def test_shapes_that_do_not_fit(load, shapes, message):
    with pytest.raises(MicrolithError, match=message):
        load(relu(["N", 3, "height", 32]), shapes)


def test_an_input_without_a_shape(load):
    proto = relu()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InputError, match="'x' has no shape"):
        load(proto)
    assert static_shape(load(proto, {"x": (1, 4)}).graph.inputs[0]) == (1, 4)


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.COMPLEX64])
def test_inputs_of_other_types(load, elem_type):
    node = helper.make_node("Mul", ["x", "x"], ["y"])
    with pytest.raises(UnsupportedError, match=r"the input 'x' has type .*, expected one of FLOAT"):
        load(unchecked([node], {"x": [1, 2]}, {"y": [1, 2]}, elem_type=elem_type))


def test_inputs_that_are_no_tensors(load):
    proto = relu()
    tensor = helper.make_tensor_type_proto(1, [1, 2])
    proto.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(tensor))
    with pytest.raises(UnsupportedError, match="'x' is sequence_type, expected a tensor"):
        load(proto)
    proto.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(tensor))
    with pytest.raises(UnsupportedError, match="'x' is optional_type"):
        load(proto)


def test_text_tensors(load):
    proto = relu()
    proto.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"word"]))
    with pytest.raises(UnsupportedError, match="'words' has type STRING"):
        load(proto)


def test_sparse_constants(load):
    proto = relu()
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    with pytest.raises(UnsupportedError, match="sparse"):
        load(proto)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_computing_in_other_float_types(load, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=kind),
        helper.make_node("Add", ["a", "w"], ["b"], name="add"),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(UnsupportedError, match="computing in it is not supported"):
        load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"w": np.ones(2, dtype)}))


def test_constants_of_other_types_that_are_cast_at_once(load):
    nodes = [
        helper.make_node("Cast", ["w"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "a"], ["y"]),
    ]
    half = np.array([0.1, 2], np.float16)
    model = load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2]}, {"w": half}))
    np.testing.assert_array_equal(constant(model.graph[0].inputs[1]), half.astype(np.float32))


def test_initializers_among_the_inputs(load):
    proto = models.tiny_mlp()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, 1, list(tensor.dims)))
    assert [value.name for value in load(proto).graph.inputs] == ["features"]


def test_names_are_completed_and_made_unique(load):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), *(helper.make_node("Relu", ["a"], [y], name="n") for y in "yz")]
    model = load(models.make_model(nodes, {"x": [1, 2]}, {"y": [1, 2], "z": [1, 2]}))
    assert [node.name for node in model.graph] == ["Relu_a", "n", "n_1"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Relu", ["x"], ["y"]), ("Abs", ["x"], ["y"])], "'y' is given to more than one value"),
        ([("Relu", ["x"], ["x"]), ("Relu", ["x"], ["y"])], "'x' is given to more than one value"),
        ([("Relu", ["a"], ["y"])], r"'a' is read but never produced \(node '' \(Relu\)\)"),
        ([("Relu", ["x"], ["z"])], "output 'y' is not produced"),
        ([("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["y"])], "has a cycle"),
    ],
)
def test_broken_graphs(load, nodes, message):
    with pytest.raises(InputError, match=message):
        load(unchecked([helper.make_node(*node) for node in nodes], {"x": [1, 2]}, {"y": [1, 2]}))


def test_nodes_out_of_order_are_sorted(load, run):
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Neg", ["x"], ["a"])]
    model = load(unchecked(nodes, {"x": [1, 2]}, {"y": [1, 2]}))
    assert [node.op_type for node in model.graph] == ["Neg", "Relu"]
    np.testing.assert_array_equal(run(model, {"x": np.float32([[-3, 4]])})[0], [[3, 0]])


def test_no_inputs_no_outputs_and_outputs_that_are_no_results(load):
    node = helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(InputError, match="no input"):
        load(unchecked([node], {}, {"y": [1, 2]}, {"x": np.ones((1, 2), np.float32)}))
    with pytest.raises(InputError, match="no output"):
        load(unchecked([node], {"x": [1, 2]}, {}))
    with pytest.raises(UnsupportedError, match="'x' is an input or a constant itself"):
        load(unchecked([node], {"x": [1, 2]}, {"y": [1, 2], "x": [1, 2]}))
    nodes = [node, helper.make_node("Relu", ["w"], ["z"])]
    constant_output = unchecked(nodes, {"x": [1, 2]}, {"y": [1, 2], "z": [2]}, {"w": np.ones(2, np.float32)})
    with pytest.raises(UnsupportedError, match="'z' does not depend on any input"):
        load(constant_output)
    proto = relu()
    proto.graph.output.append(proto.graph.output[0])
    with pytest.raises(InputError, match="'y' is listed twice"):
        load(proto)


def test_what_the_operators_say_and_the_model_declares(load):
    with pytest.raises(InputError, match=r"'y' is declared as .* comes out as"):
        load(unchecked([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 2]}, {"y": [1, 3]}))
    adding = helper.make_node("Add", ["x", "w"], ["y"])
    with pytest.raises(InputError, match="do not fit together"):
        load(unchecked([adding], {"x": [1, 3]}, {"y": [1, 3]}, {"w": np.ones((1, 4), np.float32)}))


@pytest.mark.parametrize(
    ("op", "shape", "weights", "out"),
    [
        ("Conv", [1, 3, 4, 4], {"w": (2, 4, 1, 1)}, [1, 2, 4, 4]),
        ("Conv", [1, 3, 4, 4], {"v": (2, 3, 1, 1), "w": (3,)}, [1, 2, 4, 4]),
        ("Gemm", [1, 3], {"w": (4, 2)}, [1, 2]),
        ("BatchNormalization", [1, 3, 2, 2], {"s": (3,), "b": (3,), "w": (2,), "v": (3,)}, [1, 3, 2, 2]),
    ],
)
def test_weights_that_do_not_fit(load, op, shape, weights, out):
    node = helper.make_node(op, ["x", *weights], ["y"], name="layer")
    arrays = {name: np.ones(size, np.float32) for name, size in weights.items()}
    with pytest.raises(
        InputError, match=rf"'w' has shape .* does not fit an input of shape .*'layer' \({op}\)|together"
    ):
        load(unchecked([node], {"x": shape}, {"y": out}, arrays))


def test_nodes_that_are_not_valid_onnx(load):
    with pytest.raises(InputError, match="not valid ONNX"):
        load(unchecked([helper.make_node("Relu", ["x"], ["y"], slope=1.0)], {"x": [1, 2]}, {"y": [1, 2]}))


def test_sizes_that_depend_on_values(load):
    nodes = [
        helper.make_node("NonZero", ["x"], ["i"]),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(InputError, match=r"the shape of 'i' is .*, expected known sizes"):
        load(models.make_model(nodes, {"x": [1, 2]}, {"y": [2, "count"]}))


def test_tensors_that_are_cut_short(load):
    proto = models.tiny_mlp()
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    with pytest.raises(InputError, match=r"'fc1.weight' of shape \[8, 12\] holds 380 bytes, expected 384"):
        load(proto)
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].float_data.extend([1.0, 2.0])
    with pytest.raises(InputError, match="holds 2 elements, expected 96"):
        load(proto)
    proto.graph.initializer[0].dims[0] = -8
    with pytest.raises(InputError, match="expected sizes of at least 0"):
        load(proto)


def test_shape_arithmetic_is_folded(load, run, rng):
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Unsqueeze", ["batch", "zero_1d"], ["batch_1d"]),
        helper.make_node("Concat", ["batch_1d", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {"zero": np.array(0), "zero_1d": np.array([0]), "rest": np.array([-1])}
    model = load(models.make_model(nodes, {"x": ["N", 2, 3]}, {"y": ["N", 6]}, weights))
    assert [node.op_type for node in model.graph] == ["Reshape"]
    x = rng.random((1, 2, 3), dtype=np.float32)
    np.testing.assert_array_equal(run(model, {"x": x})[0], x.reshape(1, 6))


def test_training_mode(load):
    names = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}
    node = helper.make_node("BatchNormalization", ["x", *names], ["y", "m2", "v2"], name="norm", training_mode=1)
    with pytest.raises(UnsupportedError, match=r"BatchNormalization in training mode.*'norm'"):
        load(models.make_model([node], {"x": [1, 3, 2, 2]}, {"y": [1, 3, 2, 2]}, names))
    old = helper.make_node("BatchNormalization", ["x", *names], ["y", "m2", "v2", "m3", "v3"])
    with pytest.raises(UnsupportedError, match="BatchNormalization in training mode"):
        load(models.make_model([old], {"x": [1, 3, 2, 2]}, {"y": [1, 3, 2, 2]}, names, opset=11))
    ratio = {"ratio": np.array(0.5, np.float32), "mode": np.array(True)}
    with pytest.raises(UnsupportedError, match="Dropout in training mode"):
        load(models.one_node("Dropout", {"x": [1, 2]}, {"y": [1, 2]}, ratio))


def test_supported_operators(load):
    model = load(models.tiny_cnn())
    check_supported(model, {node.op_type for node in model.graph})
    with pytest.raises(UnsupportedError, match=r"MaxPool, Add is not supported.*'pool' \(MaxPool\), 'residual'"):
        check_supported(model, {"Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Flatten", "Gemm"})


def test_nothing_of_the_machine_is_kept(load):
    proto = models.tiny_mlp()
    proto.producer_name, proto.doc_string, proto.graph.doc_string = "exporter", "/home/user", "/home/user"
    proto.graph.node[0].doc_string = "/home/user/model.py"
    for owner in (proto, proto.graph, proto.graph.node[0], proto.graph.input[0]):
        owner.metadata_props.add(key="pkg.trace", value="/home/user/model.py")
    proto.metadata_props.add(key="microlith.requantization", value="fixed")
    model = load(proto)
    assert b"/home/user" not in model_bytes(model)
    assert dict(model.metadata_props) == {"microlith.requantization": "fixed"}


def test_attributes_that_refer_to_a_function(load):
    proto = models.one_node("LeakyRelu", {"x": [1, 2]}, {"y": [1, 2]}, alpha=0.1)
    proto.graph.node[0].attribute[0].ref_attr_name = "slope"
    with pytest.raises(InputError, match=r"'alpha' refers to a function.*'node' \(LeakyRelu\)"):
        load(proto)


def test_constants_without_a_name(load):
    proto = relu()
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), ""))
    with pytest.raises(InputError, match="constant of the model has no name"):
        load(proto)


def test_metadata_given_twice(load):
    proto = relu()
    for mode in ("float", "fixed"):
        proto.metadata_props.add(key="microlith.requantization", value=mode)
    with pytest.raises(InputError, match="metadata key of the model is given twice"):
        load(proto)


def test_files_that_are_not_regular(tmp_path):
    path = tmp_path / "pipe.onnx"
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a regular file"):
        load_model(path)


@pytest.mark.parametrize("kind", ["value_string", "sparse_value", "value_strings"])
def test_constant_nodes_of_other_kinds(load, kind):
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [1], [0]), [4])
    content = {"value_string": "word", "value_strings": ["word"], "sparse_value": sparse}[kind]
    nodes = [helper.make_node("Constant", [], ["c"], **{kind: content}), helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(MicrolithError, match=f"a Constant of kind '{kind}' is not supported|is a sparse tensor"):
        load(unchecked(nodes, {"x": [1, 2]}, {"y": [1, 2]}))


def test_a_constant_node_without_a_value(load):
    nodes = [helper.make_node("Constant", [], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    with pytest.raises(InputError, match=r"not valid ONNX|a Constant has 0 attributes"):
        load(unchecked(nodes, {"x": [1, 2]}, {"y": [1, 2]}))


def test_outputs_without_a_declared_shape(load):
    proto = relu()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert static_shape(load(proto).graph.outputs[0]) == (1, 4)


def test_quantized_types_that_are_not_supported(load):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    weights = {"s": np.float32(1)}
    proto = unchecked(nodes, {"x": [1, 2]}, {"y": [1, 2]}, weights, opset=21)
    proto.graph.initializer.append(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    with pytest.raises(UnsupportedError, match="'z' has type FLOAT8E4M3FN"):
        load(proto)
