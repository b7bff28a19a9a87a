"""Models that together use every elementwise op: quantizable floats, and numbers that stand for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 3, 4, 5)
OPSET = 24
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, Sequence[int]]],
    outputs: Mapping[str, tuple[str, Sequence[int]]],
    constants: Mapping[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A checked model; inputs and outputs by name, with NumPy's name of their type."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name, _ in (*inputs.values(), *outputs.values())}
    graph = helper.make_graph(
        list(nodes),
        "elementwise",
        [helper.make_tensor_value_info(name, kinds[dtype], shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kinds[dtype], shape) for name, (dtype, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return made


def _node(op: str, inputs: Sequence[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), [output], name=output, **attributes)


def _functions(domain: str, *ops: tuple[str, dict[str, object]]) -> onnx.ModelProto:
    """Each op applied to an input that was brought into its domain: ``all``, ``unit`` (0, 1) or ``above`` 1."""
    before = {"all": [], "unit": [_node("Sigmoid", ["x"], "d")], "above": [_node("Cosh", ["x"], "d")]}[domain]
    source = "d" if before else "x"
    nodes = [_node(op, [source], f"y{index}", **attributes) for index, (op, attributes) in enumerate(ops)]
    outputs = {node.output[0]: ("float32", SHAPE) for node in nodes}
    return model([*before, *nodes], {"x": ("float32", SHAPE)}, outputs)


def _plain(*ops: str) -> tuple[tuple[str, dict[str, object]], ...]:
    return tuple((op, {}) for op in ops)


def quantizable_models() -> dict[str, onnx.ModelProto]:
    """Float models all of whose ops have an int8 form."""
    return {
        "functions": _functions(
            "all",
            *_plain("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Exp", "Erf", "Sin", "Cos", "Atan", "Sinh", "Cosh"),
            *_plain("Asinh", "Softplus", "Softsign", "Mish", "Elu", "Selu", "Celu", "Gelu", "Swish", "ThresholdedRelu"),
            ("Elu", {"alpha": 0.5}), ("Selu", {"alpha": 1.5, "gamma": 0.7}), ("Celu", {"alpha": 0.6}),
            ("Gelu", {"approximate": "tanh"}), ("Swish", {"alpha": 1.5}), ("ThresholdedRelu", {"alpha": 0.3}),
            ("Shrink", {"lambd": 0.4, "bias": 0.2}),
        ),
        "functions_unit": _functions("unit", *_plain("Sqrt", "Log", "Reciprocal", "Asin", "Acos", "Atanh", "Tan")),
        "functions_above": _functions("above", *_plain("Acosh", "Sqrt", "Log", "Reciprocal")),
        "extremes": _extremes(),
        "choice": _choice(),
        "prelu": _prelu(np.array([[[0.2]], [[-0.5]], [[1.5]]], np.float32)),
        "prelu_one": _prelu(np.array([0.25], np.float32)),
        "written_out": _written_out(),
    }  # fmt: skip


def _extremes() -> onnx.ModelProto:
    """Two operands of different ranges, three operands, a constant among them."""
    nodes = [
        _node("Mul", ["x", "three"], "wide"),
        _node("Max", ["x", "wide"], "greatest"),
        _node("Min", ["x", "c", "wide"], "least"),
    ]
    constants = {"three": np.float32(3), "c": np.linspace(-1, 1, 5, dtype=np.float32)}
    outputs = {"greatest": ("float32", SHAPE), "least": ("float32", SHAPE)}
    return model(nodes, {"x": ("float32", SHAPE)}, outputs, constants)


def _choice() -> onnx.ModelProto:
    nodes = [
        _node("Tanh", ["x"], "t"),
        _node("Where", ["flag", "t", "x"], "y"),
        _node("Where", ["flag", "c", "x"], "z"),
    ]
    inputs = {"flag": ("bool", (1, 1, 4, 5)), "x": ("float32", SHAPE)}
    outputs = {"y": ("float32", SHAPE), "z": ("float32", SHAPE)}
    return model(nodes, inputs, outputs, {"c": np.float32(0.5)})


def _prelu(slope: np.ndarray) -> onnx.ModelProto:
    outputs = {"y": ("float32", SHAPE)}
    return model([_node("PRelu", ["x", "s"], "y")], {"x": ("float32", SHAPE)}, outputs, {"s": slope})


def _written_out() -> onnx.ModelProto:
    """Sums of three, means, quotients by constants and squares."""
    nodes = [
        _node("Sum", ["x", "v", "x"], "sum"),
        _node("Mean", ["x", "v"], "mean"),
        _node("Div", ["mean", "c"], "quotient"),
        _node("Pow", ["x", "two"], "square"),
    ]
    constants = {"c": np.array([1.5, -2, 4, 3, 0.5], np.float32), "two": np.float32(2)}
    outputs = dict.fromkeys(("sum", "quotient", "square"), ("float32", SHAPE))
    return model(nodes, {"x": ("float32", SHAPE), "v": ("float32", SHAPE)}, outputs, constants)


def plain_models() -> dict[str, onnx.ModelProto]:
    """Models of floats, integers and booleans that stand for themselves."""
    found = {f"arithmetic_{dtype}": _arithmetic(dtype) for dtype in INTEGERS}
    found |= {f"casts_{dtype}": _casts(dtype) for dtype in ("float32", "int8", "uint16", "uint32", "int64", "bool")}
    return found | {
        "arithmetic_float32": _float_arithmetic(),
        "bits": _bits(),
        "logic": _logic(),
        "tests": _tests(),
        "powers": _powers(),
        "broadcast": _broadcast(),
        "clip_computed": _clip_computed(),
        "prelu_computed": _prelu_computed(),
        "prelu_int64": model(
            [_node("PRelu", ["a", "s"], "y")], {"a": ("int64", SHAPE)}, {"y": ("int64", SHAPE)},
            {"s": np.array([2, -3, 0, 1, 5])},
        ),
        "where_int16": model(
            [_node("Where", ["flag", "a", "c"], "y")], {"flag": ("bool", (4, 1)), "a": ("int16", SHAPE)},
            {"y": ("int16", SHAPE)}, {"c": np.arange(5, dtype=np.int16)},
        ),
    }  # fmt: skip


def _arithmetic(dtype: str) -> onnx.ModelProto:
    """Two operands of one integer type, one of which broadcasts, through every op of two operands and one."""
    nodes = [
        *(_node(op, ["a", "b"], op.lower()) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less")),
        *(_node(op, ["b", "a"], op.lower()) for op in ("Greater", "GreaterOrEqual", "LessOrEqual", "Pow")),
        _node("Mod", ["a", "b"], "mod"),
        _node("Mod", ["a", "b"], "fmod", fmod=1),
        _node("Abs", ["a"], "abs"),
        _node("Sign", ["a"], "sign"),
        _node("Clip", ["a", "low", "high"], "clip"),
        _node("BitwiseNot", ["a"], "complement"),
    ]
    if not dtype.startswith("u"):
        nodes += [_node("Neg", ["a"], "neg")]
    if dtype in ("int8", "int32"):
        nodes += [_node("Relu", ["a"], "relu")]
    if dtype not in ("int32", "int64"):
        nodes = [node for node in nodes if node.op_type != "Pow"]
    compared = ("equal", "less", "greater", "greaterorequal", "lessorequal")
    outputs = {
        node.output[0]: ("bool" if node.output[0] in compared else dtype, SHAPE if node.output[0] != "x" else ())
        for node in nodes
    }
    bounds = {"low": np.array(3, dtype), "high": np.array(90, dtype)}
    return model(nodes, {"a": (dtype, SHAPE), "b": (dtype, (4, 5))}, outputs, bounds)


def _float_arithmetic() -> onnx.ModelProto:
    ops = ("Div", "Max", "Min", "Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual")
    nodes = [_node(op, ["a", "b"], op.lower()) for op in ops]
    nodes += [_node("Mod", ["a", "b"], "fmod", fmod=1), _node("Abs", ["a"], "size"), _node("Pow", ["size", "b"], "pow")]
    outputs = {node.output[0]: ("float32" if index in (0, 1, 2, 8, 10) else "bool", SHAPE)
               for index, node in enumerate(nodes) if node.output[0] != "size"}  # fmt: skip
    return model(nodes, {"a": ("float32", SHAPE), "b": ("float32", (4, 5))}, outputs)


def _casts(dtype: str) -> onnx.ModelProto:
    """From one type to every type, and back through CastLike."""
    others = [item for item in (*INTEGERS, "float32", "bool") if item != dtype]
    nodes = [_node("Cast", ["x"], f"to_{item}", to=helper.np_dtype_to_tensor_dtype(np.dtype(item))) for item in others]
    nodes.append(_node("CastLike", [f"to_{others[0]}", "x"], "back"))
    outputs = {f"to_{item}": (item, SHAPE) for item in others} | {"back": (dtype, SHAPE)}
    return model(nodes, {"x": (dtype, SHAPE)}, outputs)


def _bits() -> onnx.ModelProto:
    nodes = [
        *(_node(op, ["a", "b"], op.lower()) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
        _node("BitShift", ["a", "b"], "left", direction="LEFT"),
        _node("BitShift", ["a", "b"], "right", direction="RIGHT"),
        _node("BitShift", ["w", "v"], "wide", direction="LEFT"),
    ]
    outputs = {node.output[0]: ("uint8", SHAPE) for node in nodes[:-1]} | {"wide": ("uint64", (70,))}
    inputs = {"a": ("uint8", SHAPE), "b": ("uint8", (4, 5)), "w": ("uint64", (70,))}
    return model(nodes, inputs, outputs, {"v": np.arange(70, dtype=np.uint64)})


def _logic() -> onnx.ModelProto:
    nodes = [_node(op, ["a", "b"], op.lower()) for op in ("And", "Or", "Xor", "Equal")]
    nodes += [_node("Not", ["a"], "not"), _node("Identity", ["b"], "same")]
    outputs = {node.output[0]: ("bool", SHAPE) for node in nodes[:-1]} | {"same": ("bool", (3, 1, 5))}
    return model(nodes, {"a": ("bool", SHAPE), "b": ("bool", (3, 1, 5))}, outputs)


def _tests() -> onnx.ModelProto:
    """Quotients of integers brought to float hold NaN and both infinities."""
    nodes = [
        _node("Cast", ["a"], "p", to=TensorProto.FLOAT),
        _node("Cast", ["b"], "q", to=TensorProto.FLOAT),
        _node("Div", ["p", "q"], "x"),
        _node("IsNaN", ["x"], "nan"),
        _node("IsInf", ["x"], "infinite"),
        _node("IsInf", ["x"], "above", detect_negative=0),
        _node("IsInf", ["x"], "below", detect_positive=0),
    ]
    outputs = {node.output[0]: ("bool", SHAPE) for node in nodes[3:]} | {"x": ("float32", SHAPE)}
    return model(nodes, {"a": ("int8", SHAPE), "b": ("int8", SHAPE)}, outputs)


def _powers() -> onnx.ModelProto:
    """Bases and exponents of different types."""
    nodes = [
        _node("Pow", ["f", "n"], "float_by_integer"),
        _node("Pow", ["n", "g"], "integer_by_float"),
        _node("Pow", ["n", "m"], "integer_by_wider"),
        _node("Pow", ["f", "third"], "float_by_constant"),
    ]
    outputs = {
        "float_by_integer": ("float32", SHAPE), "integer_by_float": ("int32", SHAPE),
        "integer_by_wider": ("int32", SHAPE), "float_by_constant": ("float32", SHAPE),
    }  # fmt: skip
    inputs = {"f": ("float32", SHAPE), "n": ("int32", SHAPE), "g": ("float32", SHAPE), "m": ("int64", SHAPE)}
    return model(nodes, inputs, outputs, {"third": np.array(3, np.int64)})


def _broadcast() -> onnx.ModelProto:
    """Five axes that do not merge, an activation behind a sum of them, a scalar, and operands of lower rank."""
    nodes = [
        _node("Add", ["a", "b"], "s"),
        _node("Relu", ["s"], "sum"),
        _node("Mul", ["c", "a"], "product"),
        _node("Max", ["b", "e", "c"], "greatest"),
        _node("Sub", ["e", "one"], "less"),
    ]
    shapes = {"a": (2, 1, 3, 1, 2), "b": (1, 3, 1, 2, 2), "c": (2, 3, 1, 2, 1), "e": ()}
    outputs = {"sum": (2, 3, 3, 2, 2), "product": (2, 3, 3, 2, 2), "greatest": (2, 3, 1, 2, 2), "less": ()}
    return model(
        nodes, {name: ("float32", shape) for name, shape in shapes.items()},
        {name: ("float32", shape) for name, shape in outputs.items()}, {"one": np.float32(1)},
    )  # fmt: skip


def _clip_computed() -> onnx.ModelProto:
    inputs = {"x": ("float32", SHAPE), "low": ("float32", ()), "high": ("float32", ())}
    return model([_node("Clip", ["x", "low", "high"], "y")], inputs, {"y": ("float32", SHAPE)})


def _prelu_computed() -> onnx.ModelProto:
    inputs = {"x": ("float32", SHAPE), "s": ("float32", (3, 1, 1))}
    return model([_node("PRelu", ["x", "s"], "y")], inputs, {"y": ("float32", SHAPE)})
