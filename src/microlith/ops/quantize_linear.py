"""QuantizeLinear to 4, 8 and 16 bits, per tensor or channel; blocks are written out. Parameters are constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.ops import nodes
from microlith.ops.base import Array, Op, Output
from microlith.ops.qparams import LinearAttrs, parse_linear
from microlith.ops.unary import always, same_shape
from microlith.quant import fixed_curves
from microlith.quant.integer_move import quantize
from microlith.quant.lut import identity_table, lookup
from microlith.quant.types import QArray, QParams


def parse(node: ir.Node) -> LinearAttrs:
    """What the integers written stand for."""
    return parse_linear(node, node.outputs[0])


def reference(attrs: LinearAttrs, inputs: Sequence[Array | None]) -> Array:
    """Integers of float32 values, ties to even."""
    return quantize(nodes.f32(inputs), attrs.qparams)


def tables(attrs: LinearAttrs, x: QParams, output: Output) -> NDArray[np.integer]:
    """The change of parameters, where integers are read."""
    how = fixed_curves.change_of_parameters if output.requantization == "fixed" else identity_table
    return how(x, output.qparams, output.low, output.high)[None]


def quantized(attrs: LinearAttrs, inputs: Sequence[QArray | None], output: Output) -> Array:
    """The change of parameters, where integers are read."""
    x = inputs[0]
    assert x is not None, "an operand that is never absent"
    return lookup(x, tables(attrs, x.qparams, output))


QUANTIZE_LINEAR = Op(
    "QuantizeLinear", parse, same_shape, reference, quantized, data_inputs=(0,), tables=tables, batches=always
)
