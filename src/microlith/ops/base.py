"""What the project knows of one ONNX op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.quant.types import QArray, QParams, Requantization

Array = NDArray[np.generic]
Shape = tuple[int, ...]
A = TypeVar("A")
Role = Literal["layer", "matmul", "binary", "pool", "table", "softmax", "movement", "concat", "order"]


@dataclass(frozen=True)
class Rule:
    """What quantization does with an op: which inputs carry data, and how its result gets its scale.

    Attributes:
        role: ``layer`` (constant weights and bias), ``matmul``, ``binary``, ``pool`` (averages), ``table`` (a function
            of one integer), ``softmax``, ``movement`` (integers are moved, their meaning stays), ``concat`` or
            ``order`` (the result is no float and depends on the order of the integers only).
        data: number of leading inputs among which the data inputs are, those that are floats; None for all inputs.
        scale: of the result, where the range of the function fixes it; its least value is 0, or -1 where ``signed``.
        signed: see ``scale``.
    """

    role: Role
    data: int | None = 1
    scale: float | None = None
    signed: bool = False


@dataclass(frozen=True)
class Pointwise:
    """How an op of one function of each element compiles: a table for quantized integers, a C function for floats.

    Attributes:
        function: name of the function in the kernels.
        parameters: attributes that are its parameters, by their names in the op's parsed attributes; at most two.
        header: of a function that comes with the op: the file in ``kernels/c`` that defines the kernel
            ``f32_FUNCTION__portable`` by ``ML_POINTWISE`` of ``ml_float.h``. Empty for one that kernels have.
    """

    function: str
    parameters: tuple[str, ...] = ()
    header: str = ""


@dataclass(frozen=True)
class Output:
    """The integer result that a quantized op must deliver.

    Attributes:
        qparams: per tensor.
        requantization: the model's.
        low: least integer stored (the type's own, or that of a fused Relu or Clip).
        high: greatest integer stored.
    """

    qparams: QParams
    requantization: Requantization
    low: int
    high: int


@dataclass(frozen=True)
class Op(Generic[A]):
    """One ONNX op.

    Attributes:
        op_type: ONNX name, unique among all ops, those of other domains included.
        parse: typed attributes of a node; refuses, naming the node, what cannot be done. Inputs that act as attributes
            (shape of Reshape, axes of Squeeze, pads of Pad ...) are read from their constants.
        data_inputs: indices of the inputs that carry data and not attributes; ``None`` for all.
        infer: output shapes from attributes and shapes of the data inputs, in graph order.
        macs: multiply-accumulates from attributes, shapes of the data inputs and the output shape.
        reference: meaning on arrays in graph order, in the types of the graph; a batch axis larger than the graph's 1
            is allowed.
        quantized: integer meaning: data inputs as QArrays (None for an absent bias), the output required, integers
            out. Data that is no float in the graph, such as indices, stands for itself. None for an op without one.
        tables: of an op that is one function of each element (or one a channel): the tables of its integer meaning,
            shape (1, 256) or (C, 256), from attributes, the input's parameters and the output required.
        batches: whether evaluating samples that are stacked along axis 0 of the data inputs equals evaluating them one
            by one, given that axis 0 of each and of the output is 1; from attributes, shapes of the data inputs (None
            for absent and constant ones) and the output shape.
        results: of an op with several outputs: all of them, of which ``reference`` is the first. An integer unit
            delivers the further ones, which no QuantizeLinear takes up, as this gives them for the integers read.
        written_out: whether a node must be written out as the ops by which ONNX defines it, since it cannot be computed
            by itself.
        rule: how it is quantized; None for an op that stays in float.
        lowering: how it compiles: its C function, or, as ``module.function``, what in :mod:`microlith.compile` makes
            its kernel calls; None for an op that the graph passes must have replaced.
        domain: of the op, for one that ONNX does not define. It has float results of the shapes that ``infer`` gives.
    """

    op_type: str
    parse: Callable[[ir.Node], A]
    infer: Callable[[A, Sequence[Shape]], tuple[Shape, ...]]
    reference: Callable[[A, Sequence[Array | None]], Array]
    quantized: Callable[[A, Sequence[QArray | None], Output], Array] | None = None
    macs: Callable[[A, Sequence[Shape], Shape], int] = lambda attrs, inputs, output: 0
    data_inputs: tuple[int, ...] | None = None
    tables: Callable[[A, QParams, Output], NDArray[np.integer]] | None = None
    batches: Callable[[A, Sequence[Shape | None], Shape], bool] = lambda attrs, inputs, output: False
    results: Callable[[A, Sequence[Array | None]], tuple[Array, ...]] | None = None
    written_out: Callable[[ir.Node], bool] = lambda node: False
    rule: Rule | None = None
    lowering: Pointwise | str | None = None
    domain: str = ""
