"""Puts preprocessing into the graph, so that it takes stored data as it is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.details import PassRow
from microlith.core.errors import InputError, UnsupportedError
from microlith.data.preprocess import Preprocessing
from microlith.graph.values import add_initializer, new_value, static_shape, unique_name

Raw = Literal["uint8", "float"]

_INTEGRAL = 1e-6
"""A zero point this near an integer is one: the error is then far below the rounding of float32."""


def fold_preprocessing(model: ir.Model, input_name: str, spec: Preprocessing, raw: Raw = "uint8") -> PassRow:
    """Let an input take raw data in the user's own layout; the input keeps its name, in place.

    uint8 data goes through a Transpose where the layout differs, then DequantizeLinear, whose scale and zero point
    hold range, mean and standard deviation where one integral zero point can; otherwise they hold the range's width,
    and a BatchNormalization the rest, a channel. Float data goes through the Transpose and the BatchNormalization.

    Args:
        model: changed in place.
        input_name: of a float32 input in N,C,... order.
        spec: what :meth:`Preprocessing.apply` would do to the data; the graph then does the same, up to the rounding
            of float32.
        raw: type of the data.

    Returns:
        What was done.

    Raises:
        InputError: there is no such input, or the numbers do not fit its channels.
        UnsupportedError: the input takes integers already.
    """
    graph = model.graph
    index = _index_of(graph, input_name, spec)
    old = graph.inputs[index]
    shape = static_shape(old)
    channels = shape[1] if len(shape) > 1 else 1
    scale, offset = spec.affine(channels, raw_uint8=raw == "uint8")
    before = len(graph)
    builder = _Builder(graph, index, raw)
    builder.arrange(spec, shape)
    notes = builder.dequantize(spec, scale, offset) if raw == "uint8" else builder.normalize(scale, offset)
    builder.finish(old)
    note = ", ".join(builder.notes + notes) or "nothing to do"
    return PassRow(
        name="FoldPreprocessing",
        changes=len(graph) - before,
        nodes_before=before,
        nodes_after=len(graph),
        note=f"{input_name}: {note}",
    )


def _index_of(graph: ir.Graph, input_name: str, spec: Preprocessing) -> int:
    """Position of the input, once it is known to be one that preprocessing can be put in front of."""
    index = next((i for i, value in enumerate(graph.inputs) if value.name == input_name), None)
    if index is None:
        raise InputError(f"the model has no input {input_name!r}, it has {[value.name for value in graph.inputs]}")
    value = graph.inputs[index]
    if value.dtype != ir.DataType.FLOAT:
        raise UnsupportedError(
            f"the input {input_name!r} has type {value.dtype}, expected FLOAT: preprocessing is folded in already",
            hint="Leave out the preprocessing.",
        )
    shape = static_shape(value)
    if spec.layout == "nhwc" and len(shape) < 3:
        raise InputError(
            f"the input {input_name!r} of shape {shape} has no channel axis to move, expected (N, C, ...)",
            hint="Leave out the layout.",
        )
    return index


class _Builder:
    """Grows a chain of nodes at the start of a graph, from a new input to the readers of the old one."""

    def __init__(self, graph: ir.Graph, index: int, raw: Raw) -> None:
        self.graph = graph
        self.index = index
        self.old = graph.inputs[index]
        self.first = graph[0]
        self.notes: list[str] = []
        self.nodes: list[ir.Node] = []
        kind = ir.TensorType(ir.DataType.UINT8 if raw == "uint8" else ir.DataType.FLOAT)
        name = self.old.name
        assert name is not None
        self.name = name
        self.old.name = None  # the new input takes the name, and graph outputs are never inputs
        self.raw = ir.Value(name=name, type=kind, shape=self.old.shape)
        self.value = self.raw
        graph.inputs[index] = self.raw

    def arrange(self, spec: Preprocessing, shape: tuple[int, ...]) -> None:
        """Take the data in the user's layout and move its channels to axis 1."""
        if spec.layout != "nhwc":
            return
        perm = (0, len(shape) - 1, *range(1, len(shape) - 1))
        self.raw.shape = ir.Shape((shape[0], *shape[2:], shape[1]))
        moved = new_value(unique_name(self.graph, f"{self.name}_nchw"), self.raw, shape)
        self._add("Transpose", [self.raw], moved, [ir.AttrInt64s("perm", list(perm))])
        self.notes.append("channels last")

    def dequantize(self, spec: Preprocessing, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> list[str]:
        """uint8 to float, the whole affine map in the quantization parameters where one zero point can hold it."""
        zero_point = -offset[0] / scale[0]
        nearest = round(zero_point)
        uniform = bool((scale == scale[0]).all() and (offset == offset[0]).all())
        if uniform and abs(zero_point - nearest) <= _INTEGRAL and 0 <= nearest <= 255:
            self._dequantize(float(scale[0]), nearest)
            return [f"scale {scale[0]:g} and zero point {nearest}"]
        gain = (spec.high - spec.low) / 255.0
        self._dequantize(gain, 0)
        return [f"scale {gain:g}", *self.normalize(scale / gain, offset)]

    def normalize(self, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> list[str]:
        """``x * scale + offset`` a channel, as a BatchNormalization of mean 0 and variance 1."""
        if (scale == 1).all() and (offset == 0).all():
            return []
        parameters = {"scale": scale, "offset": offset, "mean": np.zeros_like(scale), "variance": np.ones_like(scale)}
        inputs = [
            add_initializer(self.graph, f"{self.name}_{name}", array.astype(np.float32))
            for name, array in parameters.items()
        ]
        result = new_value(unique_name(self.graph, f"{self.name}_normalized"), self.value)
        self._add("BatchNormalization", [self.value, *inputs], result, [ir.AttrFloat32("epsilon", 0.0)])
        return ["mean and standard deviation a channel"]

    def finish(self, old: ir.Value) -> None:
        """Let the readers of the old input read the end of the chain."""
        self.graph.insert_before(self.first, self.nodes)
        old.replace_all_uses_with(self.value)

    def _dequantize(self, scale: float, zero_point: int) -> None:
        inputs = [
            add_initializer(self.graph, f"{self.name}_scale", np.asarray(scale, np.float32)),
            add_initializer(self.graph, f"{self.name}_zero_point", np.asarray(zero_point, np.uint8)),
        ]
        shape = static_shape(self.value)
        name = unique_name(self.graph, f"{self.name}_float")
        result = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
        self._add("DequantizeLinear", [self.value, *inputs], result, [])

    def _add(self, op_type: str, inputs: list[ir.Value], output: ir.Value, attributes: list[ir.Attr]) -> None:
        node = ir.Node("", op_type, inputs, attributes=attributes, outputs=[output], name=output.name)
        self.nodes.append(node)
        self.value = output
