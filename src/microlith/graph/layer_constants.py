"""The real weights and biases that a quantized graph computes with, and float graphs that compute with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from microlith.graph.units import Unit, units
from microlith.graph.values import Array, constant
from microlith.quant.types import QArray

Constants = Mapping[str, Sequence[Array | None]]
"""By the name of a node: what it reads behind its data, None for what is absent or no constant."""


def rounded_constants(quantized: ir.Model) -> dict[str, tuple[Array | None, ...]]:
    """The real numbers that the integer weights and biases of each operation stand for."""
    return {str(unit.node.name): _rounded(unit) for unit in units(quantized) if unit.kind == "integer"}


def _rounded(unit: Unit) -> tuple[Array | None, ...]:
    found: list[Array | None] = []
    for operand in unit.inputs[1:]:
        array = None if operand is None else constant(operand.value)
        if operand is not None and operand.qparams is not None and array is not None:
            array = QArray(array, operand.qparams).dequantize()  # type: ignore[arg-type]
        found.append(array)
    return tuple(found)


def with_constants(model: ir.Model, constants: Constants) -> ir.Model:
    """A copy of the model in which nodes read other constants behind their data; None leaves one as it is."""
    result = model.clone()
    for node in result.graph:
        for index, array in enumerate(constants.get(str(node.name), ()), 1):
            if array is None:
                continue
            name = f"{node.name}_constant_{index}"
            value = ir.Value(
                name=name,
                type=ir.TensorType(ir.DataType.FLOAT),
                shape=ir.Shape(array.shape),
                const_value=ir.tensor(array.astype(np.float32), name=name),
            )
            result.graph.register_initializer(value)
            node.replace_input_with(index, value)
    return result
