"""Units: the nodes that one integer or float operation computes together.

Quantization stands in the graph as QuantizeLinear and DequantizeLinear around float ops. An op whose data inputs all
come from DequantizeLinear and whose result goes, perhaps through one Relu or Clip, into one QuantizeLinear is a single
integer operation. Which nodes form such a unit is decided here and nowhere else, so that the reference executor and the
compiler cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from microlith.quant.types import QParams


@dataclass(frozen=True, eq=False)
class Operand:
    """A data input or the result of a unit.

    Attributes:
        value: the integer tensor where ``qparams`` is set (what DequantizeLinear reads or QuantizeLinear writes), else
            the tensor itself. A constant has ``value.const_value``.
        qparams: meaning of the integers; None for floats and for integers that are only moved.
    """

    value: ir.Value
    qparams: QParams | None


@dataclass(frozen=True, eq=False)
class Unit:
    """One operation.

    Attributes:
        kind: ``integer`` (quantized in and out), ``float``, ``quantize`` or ``dequantize`` (a node at the border between
            the two), or ``raw`` (moves integers that carry no meaning here, such as a Transpose of an uint8 input).
        node: the op itself.
        nodes: every node computed, in order: the op, a fused activation, the closing QuantizeLinear.
        inputs: data inputs of the op in order; None for an absent one.
        output: the result.
        activation: the fused Relu or Clip.
    """

    kind: Literal["integer", "float", "quantize", "dequantize", "raw"]
    node: ir.Node
    nodes: tuple[ir.Node, ...]
    inputs: tuple[Operand | None, ...]
    output: Operand
    activation: ir.Node | None
