"""ONNX Runtime beside the reference executor, and the integer arithmetic spelled out on Python's own numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from microlith.graph.reference import Reference
from microlith.quant.types import QParams

Array = NDArray[np.generic]

_ELEMENTS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def onnxruntime_run(model: onnx.ModelProto, feeds: Mapping[str, Array], *, optimize: bool = True) -> list[Array]:
    """Outputs of ONNX Runtime, without the saturating int8 kernels of some x86 processors.

    Without ``optimize`` the nodes are computed as they stand; with it, integer kernels are used, and of two changes of
    parameters in a row one is removed.
    """
    options = onnxruntime.SessionOptions()
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(item) for item in session.run(None, dict(feeds))]


def reference_run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of the reference executor, in the graph's order."""
    loaded = ir.serde.deserialize_model(model)
    results = Reference(loaded).run(feeds)
    return [results[value.name or ""] for value in loaded.graph.outputs]


def node_model(
    op: str, inputs: Mapping[str, Sequence[int]], weights: Mapping[str, Array], opset: int, **attributes: object
) -> onnx.ModelProto:
    """One float node on the inputs, then the weights; a weight whose name begins with ``-`` is an absent input."""
    names = [*inputs, *("" if name.startswith("-") else name for name in weights)]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="node", **attributes)],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items() if not name.startswith("-")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


@dataclass(frozen=True, eq=False)
class Operand:
    """Integers that an op reads through DequantizeLinear; a constant is an initializer, else a graph input."""

    values: Array
    qparams: QParams
    constant: bool = False


def qdq_model(
    op: str,
    operands: Sequence[Operand | None],
    out: QParams,
    *,
    parameters: Mapping[str, Array] | None = None,
    activation: str | None = None,
    opset: int = 17,
    **attributes: object,
) -> onnx.ModelProto:
    """DequantizeLinear of each operand, the op (and an activation), QuantizeLinear; inputs ``in0``, ``in1``, ..."""
    nodes, graph_inputs, weights, names = [], [], dict(parameters or {}), []
    for index, item in enumerate(operands):
        if item is None:
            names.append("")
            continue
        source, q = f"in{index}", item.qparams
        if item.constant:
            weights[source] = item.values
        else:
            graph_inputs.append(helper.make_tensor_value_info(source, _ELEMENTS[q.dtype], item.values.shape))
        weights |= {f"{source}.scale": q.scale, f"{source}.zero": q.zero_point.astype(q.dtype)}
        axis = {} if q.axis is None else {"axis": q.axis}
        dequantize = [source, f"{source}.scale", f"{source}.zero"]
        nodes.append(helper.make_node("DequantizeLinear", dequantize, [f"{source}.real"], name=f"dq{index}", **axis))
        names.append(f"{source}.real")
    names += list(parameters or {})
    nodes.append(helper.make_node(op, names, ["real"], name="node", **attributes))
    if activation is not None:
        nodes.append(helper.make_node(activation, ["real"], ["active"], name="activation"))
    weights |= {"out.scale": out.scale, "out.zero": out.zero_point.astype(out.dtype)}
    last = "real" if activation is None else "active"
    nodes.append(helper.make_node("QuantizeLinear", [last, "out.scale", "out.zero"], ["out"], name="q"))
    graph = helper.make_graph(
        nodes,
        "graph",
        graph_inputs,
        [helper.make_tensor_value_info("out", _ELEMENTS[out.dtype], None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def feeds_of(operands: Sequence[Operand | None]) -> dict[str, Array]:
    """What to feed a :func:`qdq_model`."""
    return {f"in{i}": item.values for i, item in enumerate(operands) if item is not None and not item.constant}


def f32(value: float) -> float:
    """The nearest float32, ties to even."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def scale_float(acc: int, scale: float) -> int:
    """``float`` requantization of one accumulator: three roundings, the first two to float32."""
    # Both factors have at most 24 significant bits, so their product is exact in Python's float.
    return round(f32(f32(acc) * f32(scale)))


def scale_fixed(acc: int, multiplier: int, shift: int, *, away: bool = False) -> int:
    """``fixed`` requantization of one accumulator: a product rounded twice, on exact fractions.

    The second rounding takes ties up, or away from zero as in sums and products of two tensors.
    """
    high = math.floor(Fraction((acc << max(shift, 0)) * multiplier, 2**31) + Fraction(1, 2))
    quotient = Fraction(high, 2 ** max(-shift, 0))
    if not away:
        return math.floor(quotient + Fraction(1, 2))
    quotient = abs(quotient)
    return (1 if high >= 0 else -1) * math.floor(quotient + Fraction(1, 2))
