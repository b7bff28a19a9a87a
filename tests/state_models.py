"""Small streaming models, each with its states: ``import state_models``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from microlith.graph.load import load_bytes
from microlith.graph.state import State, set_states

Array = NDArray[np.generic]
FEATURES, UNITS, CHANNELS, KERNEL = 6, 8, 5, 3


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, Array],
    states: Sequence[State],
    dtype: int = TensorProto.FLOAT,
) -> ir.Model:
    """A checked model of these nodes with these states."""
    graph = helper.make_graph(
        list(nodes),
        "stream",
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    loaded = load_bytes(proto.SerializeToString(), "stream.onnx")
    set_states(loaded, states)
    return loaded


def _weights(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def gru() -> ir.Model:
    """ONNX's own GRU, one frame a step, and a classifier; the first hidden state is not zero."""
    rng = np.random.default_rng(1)
    node = helper.make_node
    nodes = [
        node("GRU", ["x", "w", "r", "b", "", "h_in"], ["", "h_out"], name="gru", hidden_size=UNITS),
        node("Reshape", ["h_out", "flat"], ["h_flat"], name="flatten"),
        node("Gemm", ["h_flat", "v"], ["y"], name="scores"),
    ]
    constants = {
        "w": _weights(rng, 1, 3 * UNITS, FEATURES),
        "r": _weights(rng, 1, 3 * UNITS, UNITS),
        "b": _weights(rng, 1, 6 * UNITS),
        "flat": np.asarray([1, UNITS], np.int64),
        "v": _weights(rng, UNITS, 3),
    }
    first = rng.standard_normal((1, 1, UNITS)).astype(np.float32)
    return model(
        nodes,
        {"x": (1, 1, FEATURES), "h_in": (1, 1, UNITS)},
        {"y": (1, 3), "h_out": (1, 1, UNITS)},
        constants,
        [State("h_in", "h_out", first)],
    )


def gru_cell() -> ir.Model:
    """A GRU written out in Gemm, Sigmoid, Tanh, Add, Sub and Mul, so that it can be quantized."""
    rng = np.random.default_rng(2)
    node = helper.make_node
    nodes = []
    for gate, source in (("z", "h_in"), ("r", "h_in"), ("n", "gated")):
        nodes += [
            node("Gemm", ["x", f"w{gate}", f"b{gate}"], [f"{gate}x"], name=f"{gate}_input"),
            node("Gemm", [source, f"u{gate}"], [f"{gate}h"], name=f"{gate}_hidden"),
            node("Add", [f"{gate}x", f"{gate}h"], [f"{gate}s"], name=f"{gate}_sum"),
            node("Tanh" if gate == "n" else "Sigmoid", [f"{gate}s"], [gate], name=f"{gate}_gate"),
        ]
        if gate == "r":
            nodes.append(node("Mul", ["r", "h_in"], ["gated"], name="reset"))
    nodes += [
        node("Sub", ["one", "z"], ["1-z"], name="keep"),
        node("Mul", ["1-z", "n"], ["new"], name="new_part"),
        node("Mul", ["z", "h_in"], ["old"], name="old_part"),
        node("Add", ["new", "old"], ["h_out"], name="update"),
        node("Gemm", ["h_out", "v"], ["y"], name="scores"),
    ]
    constants = {"one": np.ones((1, UNITS), np.float32), "v": _weights(rng, UNITS, 3)}
    for gate in "zrn":
        constants |= {
            f"w{gate}": _weights(rng, FEATURES, UNITS),
            f"u{gate}": _weights(rng, UNITS, UNITS),
            f"b{gate}": _weights(rng, UNITS),
        }
    states = [State("h_in", "h_out")]
    shapes = {"x": (1, FEATURES), "h_in": (1, UNITS)}, {"y": (1, 3), "h_out": (1, UNITS)}
    return model(nodes, *shapes, constants, states)


def lstm_cell() -> ir.Model:
    """An LSTM written out, with two states."""
    rng = np.random.default_rng(3)
    node = helper.make_node
    nodes = []
    for gate in "ifog":
        nodes += [
            node("Gemm", ["x", f"w{gate}", f"b{gate}"], [f"{gate}x"], name=f"{gate}_input"),
            node("Gemm", ["h_in", f"u{gate}"], [f"{gate}h"], name=f"{gate}_hidden"),
            node("Add", [f"{gate}x", f"{gate}h"], [f"{gate}s"], name=f"{gate}_sum"),
            node("Tanh" if gate == "g" else "Sigmoid", [f"{gate}s"], [gate], name=f"{gate}_gate"),
        ]
    nodes += [
        node("Mul", ["f", "c_in"], ["old"], name="forget"),
        node("Mul", ["i", "g"], ["new"], name="learn"),
        node("Add", ["old", "new"], ["c_out"], name="cell"),
        node("Tanh", ["c_out"], ["c_bounded"], name="bound"),
        node("Mul", ["o", "c_bounded"], ["h_out"], name="hidden"),
        node("Gemm", ["h_out", "v"], ["y"], name="scores"),
    ]
    constants = {"v": _weights(rng, UNITS, 3)}
    for gate in "ifog":
        constants |= {
            f"w{gate}": _weights(rng, FEATURES, UNITS),
            f"u{gate}": _weights(rng, UNITS, UNITS),
            f"b{gate}": _weights(rng, UNITS),
        }
    return model(
        nodes,
        {"x": (1, FEATURES), "h_in": (1, UNITS), "c_in": (1, UNITS)},
        {"y": (1, 3), "h_out": (1, UNITS), "c_out": (1, UNITS)},
        constants,
        [State("h_in", "h_out"), State("c_in", "c_out")],
    )


def streaming_conv() -> ir.Model:
    """A causal convolution of one frame a step: the last frames are kept, and the oldest is dropped."""
    rng = np.random.default_rng(4)
    node = helper.make_node
    nodes = [
        node("Concat", ["kept_in", "x"], ["window"], name="window", axis=2),
        node("Slice", ["window", "from", "to", "axis"], ["kept_out"], name="drop"),
        node("Conv", ["window", "w", "b"], ["c"], name="conv", kernel_shape=[KERNEL]),
        node("Relu", ["c"], ["y"], name="relu"),
    ]
    constants = {
        "w": _weights(rng, 4, CHANNELS, KERNEL),
        "b": _weights(rng, 4),
        "from": np.asarray([1], np.int64),
        "to": np.asarray([KERNEL], np.int64),
        "axis": np.asarray([2], np.int64),
    }
    kept = (1, CHANNELS, KERNEL - 1)
    return model(
        nodes,
        {"x": (1, CHANNELS, 1), "kept_in": kept},
        {"y": (1, 4, 1), "kept_out": kept},
        constants,
        [State("kept_in", "kept_out")],
    )


def accumulator() -> ir.Model:
    """y = the sum of all inputs so far, doubled: the call that reads the state writes it."""
    nodes = [
        helper.make_node("Add", ["sum_in", "x"], ["sum_out"], name="add"),
        helper.make_node("Add", ["sum_out", "sum_out"], ["y"], name="twice"),
    ]
    shapes = {"x": (1, 7), "sum_in": (1, 7)}, {"y": (1, 7), "sum_out": (1, 7)}
    return model(nodes, *shapes, {}, [State("sum_in", "sum_out", np.full((1, 7), 3, np.float32))])


def read_late() -> ir.Model:
    """The old state is read after the new one is known: y = (h + x) * h, so that h must be kept until then."""
    nodes = [
        helper.make_node("Add", ["h_in", "x"], ["s"], name="add"),
        helper.make_node("Tanh", ["s"], ["h_out"], name="tanh"),
        helper.make_node("Mul", ["h_out", "h_in"], ["y"], name="late"),
    ]
    return model(nodes, {"x": (1, 7), "h_in": (1, 7)}, {"y": (1, 7), "h_out": (1, 7)}, {}, [State("h_in", "h_out")])


def delay_line() -> ir.Model:
    """y = the input of two steps ago: states that become each other, without arithmetic."""
    nodes = [
        helper.make_node("Identity", ["a_in"], ["y"], name="result"),
        helper.make_node("Identity", ["b_in"], ["a_out"], name="shift"),
        helper.make_node("Identity", ["x"], ["b_out"], name="take"),
    ]
    shape = (1, 9)
    return model(
        nodes,
        {"x": shape, "a_in": shape, "b_in": shape},
        {"y": shape, "a_out": shape, "b_out": shape},
        {},
        [State("a_in", "a_out"), State("b_in", "b_out")],
    )


def swapped() -> ir.Model:
    """Two states that change places in every step; y = x + the first."""
    nodes = [
        helper.make_node("Add", ["x", "a_in"], ["y"], name="add"),
        helper.make_node("Identity", ["b_in"], ["a_out"], name="first"),
        helper.make_node("Identity", ["a_in"], ["b_out"], name="second"),
    ]
    shape = (1, 5)
    return model(
        nodes,
        {"x": shape, "a_in": shape, "b_in": shape},
        {"y": shape, "a_out": shape, "b_out": shape},
        {},
        [State("a_in", "a_out", np.ones(shape, np.float32)), State("b_in", "b_out")],
    )


def shift_register() -> ir.Model:
    """The state is put together from parts of itself and the input."""
    nodes = [
        helper.make_node("Slice", ["r_in", "from", "to", "axis"], ["rest"], name="rest"),
        helper.make_node("Concat", ["rest", "x"], ["r_out"], name="shift", axis=1),
        helper.make_node("ReduceMax", ["r_out"], ["y"], name="most", axes=[1]),
    ]
    constants = {"from": np.asarray([1]), "to": np.asarray([6]), "axis": np.asarray([1])}
    shapes = {"x": (1, 1), "r_in": (1, 6)}, {"y": (1, 1), "r_out": (1, 6)}
    return model(nodes, *shapes, constants, [State("r_in", "r_out")])


MODELS: Mapping[str, Callable[[], ir.Model]] = {
    "gru": gru,
    "gru_cell": gru_cell,
    "lstm_cell": lstm_cell,
    "streaming_conv": streaming_conv,
    "accumulator": accumulator,
    "read_late": read_late,
    "delay_line": delay_line,
    "swapped": swapped,
    "shift_register": shift_register,
}
