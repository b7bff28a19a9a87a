"""The node cases that the ONNX package generates, with the inputs that a deployed model would hold as constants."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from microlith.ops import OPS
from microlith.quant.types import as_held

Array = NDArray[np.generic]

SHAPE_INPUTS: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "Attention": (6,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "Loop": (0, 1),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "RotaryEmbedding": (3,),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
}
"""Inputs that say what shape the result has, along which axis, or whether: by op."""

WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvInteger": (1, 2, 3),
    "ConvTranspose": (1, 2),
    "DeformConv": (1,),
    "DequantizeLinear": (1, 2),
    "GRU": (1, 2, 3),
    "Gemm": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "MatMulInteger": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
    "RNN": (1, 2, 3),
}
"""Inputs that training fixes: weights, statistics, scales."""


@dataclass(frozen=True, eq=False)
class Case:
    """One case.

    Attributes:
        name: of the ONNX package.
        op: what it is about; an expanded case is about the op that was expanded.
        model: as generated, but that frozen inputs are constants.
        feeds: by name, without the frozen ones.
        expected: in the graph's order; not an array where a sequence or an optional value is.
        rtol: relative tolerance.
        atol: absolute tolerance.
        frozen: names of the inputs that were made constants.
    """

    name: str
    op: str
    model: onnx.ModelProto
    feeds: Mapping[str, Array]
    expected: tuple[Any, ...]
    rtol: float
    atol: float
    frozen: tuple[str, ...]

    @property
    def expanded(self) -> bool:
        """Whether the op is written out as the body of its function."""
        return "_expanded" in self.name


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        generated = collect_testcases(None)
    nodes = {item.name: item.model.graph.node[0] for item in generated if "_expanded" not in item.name}
    return tuple(
        _case(item, nodes[item.name.partition("_expanded")[0]])
        for item in sorted(generated, key=lambda item: item.name)
    )


def _case(item: Any, node: onnx.NodeProto) -> Case:
    """A case made from the node that it is about; the graph inputs of an expanded one have the same names."""
    model = onnx.ModelProto()
    model.CopyFrom(item.model)
    inputs, outputs = item.data_sets[0]
    feeds = {value.name: _array(array) for value, array in zip(model.graph.input, inputs, strict=True)}
    frozen = tuple(name for name in _frozen(node) if isinstance(feeds.get(name), np.ndarray | np.generic))
    for name in frozen:
        _freeze(model.graph, name, feeds.pop(name))
    feeds = {name: _held(array) for name, array in feeds.items()}
    expected = tuple(_held(_array(output)) for output in outputs)
    return Case(item.name, node.op_type, model, feeds, expected, item.rtol, item.atol, frozen)


def _array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _held(value: Any) -> Any:
    """Integers of 4 bits one a byte, which is how C takes and gives them."""
    return as_held(value) if isinstance(value, np.ndarray | np.generic) else value


def _frozen(node: onnx.NodeProto) -> tuple[str, ...]:
    """Names of the inputs to freeze: those of the tables above, and whatever the op takes as constants only."""
    fixed = {*SHAPE_INPUTS.get(node.op_type, ()), *WEIGHTS.get(node.op_type, ())}
    known = OPS.get(node.op_type)
    if known is not None and known.data_inputs is not None:
        fixed |= set(range(len(node.input))) - set(known.data_inputs)
    return tuple(dict.fromkeys(node.input[i] for i in sorted(fixed) if i < len(node.input) and node.input[i]))


def _freeze(graph: onnx.GraphProto, name: str, array: Array) -> None:
    kept = [value for value in graph.input if value.name != name]
    tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.append(tensor)
