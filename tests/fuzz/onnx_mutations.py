"""Mutations of ONNX models that know the format: each turns a ModelProto into a hostile or merely odd one, in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

Rng = np.random.Generator
Mutation = Callable[[onnx.ModelProto, Rng], None]

SIZES = (0, -1, 1, 2, 3, 7, 64, 1 << 12, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3e38, -3e38, float("nan"), float("inf"), -float("inf"), 1e-3, 12345.678)
NAMES = (
    "int", "while", "__attribute__", "main", "a*/b", "/*", "//", '"', '\\"', "\\", "%s%n", "line\nbreak", "\r", "\t",
    "\x1b[31m", "[red]bold[/red]", "[/]", "<script>alert(1)</script>", "</pre>", "&amp;", "../../etc/passwd", "a/b",
    "/absolute", " ", ".", "..", "-o", "--help", "é", "日本語", "\u202e", "\0", "??/", "#include <x>", "n" * 5000,
    "{{ 7 * 7 }}", "$(id)", "x", "y", "w", "t",
)  # fmt: skip
LOCATIONS = (
    "data.bin", "../secret.bin", "/etc/passwd", "link.bin", "up/secret.bin", "./data.bin", "..", ".", "", "missing",
    "C:\\secret.bin", "..\\secret.bin", "\\\\host\\share", "data.bin\0", "a" * 5000, "data.bin/", "/dev/zero",
    "model.onnx", "fifo",
)  # fmt: skip
OPSETS = (-1, 0, 1, 7, 10, 11, 12, 13, 15, 18, 20, 21, 22, 23, 24, 25, 99, 1 << 31, (1 << 63) - 1)


def pick(rng: Rng, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))] if len(items) else None


def _values(proto: onnx.ModelProto) -> list[str]:
    graph = proto.graph
    made = [item.name for item in (*graph.input, *graph.initializer)]
    return made + [name for node in graph.node for name in node.output]


def _attributes(proto: onnx.ModelProto) -> list[AttributeProto]:
    return [attribute for node in proto.graph.node for attribute in node.attribute]


def attribute_number(proto: onnx.ModelProto, rng: Rng) -> None:
    """One number of one attribute becomes an extreme one."""
    attribute = pick(rng, _attributes(proto))
    if attribute is None:
        return
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(rng, SIZES)
    elif attribute.type == AttributeProto.INT:
        attribute.i = pick(rng, SIZES)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = pick(rng, FLOATS)
    else:
        attribute.s = str(pick(rng, NAMES)).encode()


def attribute_length(proto: onnx.ModelProto, rng: Rng) -> None:
    """A list of integers becomes shorter, empty or longer."""
    attribute = pick(rng, [item for item in _attributes(proto) if item.type == AttributeProto.INTS])
    if attribute is not None:
        kept = list(attribute.ints)[: int(rng.integers(len(attribute.ints) + 1))]
        del attribute.ints[:]
        attribute.ints.extend(kept + [1] * int(rng.choice((0, 1, 5, 1000))))


def attribute_type(proto: onnx.ModelProto, rng: Rng) -> None:
    """An attribute is of another type, or claims one that it does not hold."""
    attribute = pick(rng, _attributes(proto))
    if attribute is None:
        return
    if rng.random() < 0.5:
        attribute.type = int(rng.integers(15))  # type: ignore[assignment]
        return
    value = pick(rng, (1, 2.5, "text", [1, 2], [1.5], ["a"], numpy_helper.from_array(np.ones(2, np.float32))))
    attribute.CopyFrom(helper.make_attribute(attribute.name, value))


def attribute_added(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node gets an attribute that its op knows or does not know, perhaps for the second time."""
    node = pick(rng, proto.graph.node)
    known = (
        "group", "strides", "pads", "dilations", "kernel_shape", "axis", "axes", "auto_pad", "ceil_mode",
        "alpha", "beta", "perm", "keepdims", "count_include_pad", "transA", "transB", "epsilon", "momentum",
        "block_size", "saturate", "output_dtype", "allowzero", "noop_with_empty_axes", "mode", "training_mode",
        "storage_order", "to", "value",
    )  # fmt: skip
    value = pick(rng, (*SIZES, *FLOATS[:9], "SAME_UPPER", "VALID", "reflect", [1, 1], [pick(rng, SIZES)] * 2, [0] * 4))
    node.attribute.append(helper.make_attribute(pick(rng, known), value))


def attribute_dropped(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node loses an attribute."""
    node = pick(rng, [node for node in proto.graph.node if node.attribute])
    if node is not None:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def io_shape(proto: onnx.ModelProto, rng: Rng) -> None:
    """A dimension of an input or output is absurd, symbolic, absent, or one of too many."""
    value = pick(rng, (*proto.graph.input, *proto.graph.output))
    dims = value.type.tensor_type.shape.dim
    choice = rng.integers(5)
    if choice == 0:
        value.type.tensor_type.ClearField("shape")
    elif choice == 1:
        dims.add(dim_value=pick(rng, SIZES))
    elif not dims:
        return
    elif choice == 2:
        dims[int(rng.integers(len(dims)))].dim_param = pick(rng, NAMES)
    else:
        dims[int(rng.integers(len(dims)))].dim_value = pick(rng, SIZES)


def io_type(proto: onnx.ModelProto, rng: Rng) -> None:
    """An input or output has another element type, or is no tensor."""
    value = pick(rng, (*proto.graph.input, *proto.graph.output))
    if rng.random() < 0.8:
        value.type.tensor_type.elem_type = int(rng.integers(-1, 30))
    elif rng.random() < 0.5:
        value.type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
    else:
        value.ClearField("type")


def constant_dims(proto: onnx.ModelProto, rng: Rng) -> None:
    """The shape of a constant claims more, less, or nothing sensible."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    if tensor.dims and rng.random() < 0.6:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, SIZES)
    elif rng.random() < 0.5:
        tensor.dims.append(pick(rng, SIZES))
    else:
        del tensor.dims[:]


def constant_reshaped(proto: onnx.ModelProto, rng: Rng) -> None:
    """A constant has another shape of the same size, or other contents in a shape of its own."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    array = numpy_helper.to_array(tensor)
    shape = pick(
        rng, ((-1,), (1, -1), (-1, 1), (1, 1, 1, -1), (1, -1, 1, 1), array.shape[::-1], (0,), (2, 0, 3), (), (1,))
    )
    size = int(np.prod(shape))
    changed = array.reshape(shape) if -1 in shape or size == array.size else np.resize(array, shape)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed).reshape(changed.shape), tensor.name))


def constant_values(proto: onnx.ModelProto, rng: Rng) -> None:
    """Some or all values of a constant are extreme."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    array = numpy_helper.to_array(tensor).copy()
    if not array.size:
        return
    kind = array.dtype
    if np.issubdtype(kind, np.floating):
        new = np.array(pick(rng, FLOATS)).astype(kind)
    else:
        info = np.iinfo(kind)
        new = np.array(min(max(pick(rng, SIZES), info.min), info.max), kind)
    if rng.random() < 0.5:
        array[...] = new
    else:
        array.reshape(-1)[int(rng.integers(array.size))] = new
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def constant_type(proto: onnx.ModelProto, rng: Rng) -> None:
    """A constant is stored as, or only claims, another element type."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    if rng.random() < 0.5:
        tensor.data_type = int(rng.integers(-1, 30))
        return
    kind = pick(rng, (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float64, np.float16, np.bool_))
    with np.errstate(all="ignore"):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))


def constant_storage(proto: onnx.ModelProto, rng: Rng) -> None:
    """Raw data is longer or shorter than the shape says, both storages are used, or a string field."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    choice = rng.integers(4)
    if choice == 0:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
    elif choice == 1:
        tensor.raw_data += b"\0" * int(rng.choice((1, 4, 4096)))
    elif choice == 2:
        tensor.float_data.append(1.0)
    else:
        tensor.segment.begin = pick(rng, SIZES)


def constant_external(proto: onnx.ModelProto, rng: Rng) -> None:
    """A constant claims to lie in another file: beside the model, above it, behind a link, at an absurd place."""
    tensor = pick(rng, proto.graph.initializer)
    if tensor is None:
        return
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=pick(rng, LOCATIONS))
    if rng.random() < 0.7:
        tensor.external_data.add(key="offset", value=str(pick(rng, (0, 0, 1, "-1", "x", " 1", *SIZES))))
    if rng.random() < 0.7:
        tensor.external_data.add(key="length", value=str(pick(rng, (size, size, 0, "", "1e9", *SIZES))))


def constant_dropped(proto: onnx.ModelProto, rng: Rng) -> None:
    """A constant is missing, or there twice."""
    items = proto.graph.initializer
    if not items:
        return
    index = int(rng.integers(len(items)))
    if rng.random() < 0.5:
        del items[index]
    else:
        items.append(items[index])


def input_rewired(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node reads another value: a cycle, a constant, nothing, or something that is not there."""
    node = pick(rng, [node for node in proto.graph.node if node.input])
    if node is not None:
        names = (*_values(proto), *_values(proto), "", "missing")
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names)


def input_count(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node has fewer or more inputs or outputs."""
    node = pick(rng, proto.graph.node)
    items = pick(rng, (node.input, node.output))
    choice = rng.integers(3)
    if choice == 0 and items:
        del items[int(rng.integers(len(items)))]
    elif choice == 1:
        items.append(pick(rng, _values(proto)))
    else:
        items.extend([pick(rng, ("", "new"))] * int(rng.choice((1, 2, 300))))


def op_changed(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node is of another op or domain."""
    node = pick(rng, proto.graph.node)
    ops = {item.op_type for item in proto.graph.node} | set(_OPS)
    if rng.random() < 0.85:
        node.op_type = pick(rng, sorted(ops))
    else:
        node.domain = pick(rng, ("ai.onnx", "com.microsoft", "ai.onnx.ml", "x", *NAMES))


_OPS = (
    "Add", "Mul", "Sub", "Div", "Relu", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "AveragePool",
    "GlobalAveragePool", "ReduceMean", "Softmax", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose",
    "Concat", "Pad", "Slice", "Cast", "Shape", "Gather", "Identity", "Dropout", "ConstantOfShape", "Expand",
    "Tile", "Range", "Split", "Resize", "Where", "If", "Loop", "LSTM", "TopK", "Erf", "Exp", "Sqrt", "Pow",
    "Constant", "QuantizeLinear", "DequantizeLinear", "Sum", "Neg", "BatchNormalization", "Tanh", "Sigmoid",
    "HardSwish", "HardSigmoid", "LeakyRelu", "Frobnicate",
)  # fmt: skip


def node_inserted(proto: onnx.ModelProto, rng: Rng) -> None:
    """Between a value and its reader comes a node that works on constants or on any value."""
    node = pick(rng, [node for node in proto.graph.node if node.input and node.input[0]])
    if node is None:
        return
    name, graph = f"inserted{len(proto.graph.node)}", proto.graph
    sizes = np.array([pick(rng, SIZES) for _ in range(int(rng.integers(5)))], np.int64)
    graph.initializer.append(numpy_helper.from_array(sizes, f"{name}.sizes"))
    op = pick(rng, ("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Pad", "ConstantOfShape", "Gather"))
    inputs = [f"{name}.sizes"] if op == "ConstantOfShape" else [node.input[0], f"{name}.sizes"]
    if op == "Slice":
        inputs.append(f"{name}.sizes")
    index = list(graph.node).index(node)
    graph.node.insert(index, helper.make_node(op, inputs, [name], name=name))
    node.input[0] = name


def node_changed(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node is dropped, there twice, or stands elsewhere."""
    nodes = proto.graph.node
    index = int(rng.integers(len(nodes)))
    copy = onnx.NodeProto.FromString(nodes[index].SerializeToString())
    choice = rng.integers(3)
    if choice != 1 and len(nodes) > 1:
        del nodes[index]
    if choice != 0:
        nodes.insert(int(rng.integers(len(nodes) + 1)), copy)


def many_nodes(proto: onnx.ModelProto, rng: Rng) -> None:
    """Some hundred nodes stand in a row before the first output."""
    graph, count = proto.graph, int(rng.choice((50, 300, 600)))
    old = graph.output[0].name
    producer = next((node for node in graph.node if old in node.output), None)
    if producer is None:
        return
    op = pick(rng, ("Relu", "Identity", "Sigmoid", "Neg"))
    producer.output[list(producer.output).index(old)] = "many0"
    for index in range(count):
        name = old if index == count - 1 else f"many{index + 1}"
        graph.node.append(helper.make_node(op, [f"many{index}"], [name]))


def renamed(proto: onnx.ModelProto, rng: Rng) -> None:
    """A value, a node, the graph, a dimension or the producer has a hostile name, everywhere it is used."""
    new = pick(rng, NAMES)
    graph, choice = proto.graph, rng.integers(5)
    if choice == 0:
        graph.name = new
    elif choice == 1:
        pick(rng, graph.node).name = new
    elif choice == 2:
        proto.producer_name = proto.doc_string = new
        proto.metadata_props.add(key=f"microlith.{new}"[:5000], value=new)
    else:
        _rename(proto, pick(rng, _values(proto) or ["x"]), new)


def _rename(proto: onnx.ModelProto, old: str, new: str) -> None:
    for item in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        item.name = new if item.name == old else item.name
    for node in proto.graph.node:
        for items in (node.input, node.output):
            for index, name in enumerate(items):
                items[index] = new if name == old else name


def opset(proto: onnx.ModelProto, rng: Rng) -> None:
    """Another operator set, a second one, or none; another IR version."""
    choice = rng.integers(4)
    if choice == 0:
        del proto.opset_import[:]
    elif choice == 1:
        proto.opset_import.add(domain=pick(rng, ("", "ai.onnx", "x")), version=pick(rng, OPSETS))
    elif choice == 2:
        proto.ir_version = pick(rng, (0, -1, 1, 3, 99, 1 << 62))
    elif proto.opset_import:
        proto.opset_import[0].version = pick(rng, OPSETS)


def subgraph(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node carries subgraphs, nested once, or often."""
    inner = onnx.GraphProto(name="inner")
    inner.output.add(name="o")
    for _ in range(int(rng.choice((1, 5, 20)))):
        outer = onnx.GraphProto(name="outer")
        outer.node.add(op_type="If", input=["c"], output=["o"]).attribute.append(
            AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=inner)
        )
        inner = outer
    node = pick(rng, proto.graph.node)
    node.attribute.append(AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=inner))
    if rng.random() < 0.5:
        node.op_type = "If"


def extras(proto: onnx.ModelProto, rng: Rng) -> None:
    """Functions, sparse constants, training information, stale intermediate shapes, metadata of this project."""
    choice = rng.integers(5)
    if choice == 0:
        proto.functions.add(name=pick(rng, proto.graph.node).op_type, domain=pick(rng, ("", "x")))
    elif choice == 1:
        proto.graph.sparse_initializer.add().values.name = "sparse"
    elif choice == 2:
        proto.graph.value_info.add(name=pick(rng, _values(proto) or ["x"])).type.tensor_type.elem_type = 7
    elif choice == 3:
        proto.graph.quantization_annotation.add(tensor_name=pick(rng, _values(proto) or ["x"]))
    else:
        key = pick(rng, ("requantization", "io.x", "io.y", "io_qparams", "float", "qparams"))
        value = pick(rng, ("fixed", "", "{", "null", '{"scale": "NaN"}', '{"a": [1]}', "[" * 3000, "1", *NAMES))
        proto.metadata_props.add(key=f"microlith.{key}", value=value)


def metadata_changed(proto: onnx.ModelProto, rng: Rng) -> None:
    """The value of one metadata entry of the model is another."""
    entry = pick(rng, proto.metadata_props)
    if entry is not None:
        value = entry.value
        cut = int(rng.integers(len(value) + 1))
        entry.value = pick(
            rng, (value[:cut], value[:cut] + "9" + value[cut:], value[:cut] + "-" + value[cut:], "{}", "[]", "nan")
        )


def io_list(proto: onnx.ModelProto, rng: Rng) -> None:
    """Inputs and outputs are dropped, repeated, or name another value."""
    items = pick(rng, (proto.graph.input, proto.graph.output))
    choice = rng.integers(3)
    if choice == 0 and items:
        del items[int(rng.integers(len(items)))]
    elif choice == 1 and items:
        items.append(pick(rng, items))
    elif items:
        pick(rng, items).name = pick(rng, _values(proto) or ["x"])


def quantization(proto: onnx.ModelProto, rng: Rng) -> None:
    """A Q/DQ node has another scale, zero point or axis."""
    node = pick(rng, [node for node in proto.graph.node if node.op_type.endswith("Linear") and len(node.input) > 1])
    if node is None:
        return
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    choice = rng.integers(5)
    if choice == 0:
        node.attribute.append(helper.make_attribute("axis", pick(rng, SIZES)))
    elif choice == 1 and len(node.input) > 2:
        del node.input[2]
    elif choice == 2 and node.input[1] in tensors:
        old = numpy_helper.to_array(tensors[node.input[1]])
        shape = pick(rng, (old.shape, (), (1,), (2,), (1, 1)))
        scale = np.full(shape, pick(rng, FLOATS), old.dtype)
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(scale, node.input[1]))
    elif len(node.input) > 2 and node.input[2] in tensors:
        kind = pick(rng, (np.int8, np.uint8, np.int16, np.int32, np.float32))
        zero = np.full(pick(rng, ((), (1,), (3,))), pick(rng, (0, 1, 127, 100)), kind)
        tensors[node.input[2]].CopyFrom(numpy_helper.from_array(zero, node.input[2]))


_ALL: tuple[Mutation, ...] = (
    attribute_number, attribute_length, attribute_type, attribute_added, attribute_dropped, io_shape, io_type, io_list,
    constant_dims, constant_reshaped, constant_values, constant_type, constant_storage, constant_external,
    constant_dropped, input_rewired, input_count, op_changed, node_inserted, node_changed, many_nodes, renamed, opset,
    subgraph, extras, metadata_changed, quantization,
)  # fmt: skip
MUTATIONS: Mapping[str, Mutation] = {item.__name__: item for item in _ALL}
