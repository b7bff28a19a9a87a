"""Layers with a memory, of floats: RNN, LSTM and SVDF. What they remember is a state of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.graph.tflite.importer import Importer
from microlith.graph.tflite.schema import ACTIVATIONS
from microlith.quant.types import QArray

Floats = NDArray[np.float32]

_FUNCTIONS = {"NONE": "Affine", "RELU": "Relu", "TANH": "Tanh"}
# Positions of the inputs of an LSTM; each list has the input gate, the forget gate, the cell and the output gate.
_INPUT_WEIGHTS, _STATE_WEIGHTS, _BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
_PEEPHOLES = (9, 10, 11)
_PROJECTION, _OUTPUT_STATE, _CELL_STATE, _NORMALIZATIONS = 16, 18, 19, (20, 21, 22, 23)
_PER_STEP = ("LSTM", "RNN")


def _reals(imp: Importer, position: int, shape: tuple[int, ...]) -> Floats | None:
    """A constant input of this shape as floats; None where it is absent."""
    index = imp.optional(position)
    if index is None:
        return None
    tensor = imp.tensor(index)
    if tensor.values is None or not imp.is_constant(index):
        raise imp.refuse(f"{tensor.name!r} is computed, expected constant weights")
    if tensor.shape != shape:
        raise ModelError(f"{tensor.name!r} has the shape {list(tensor.shape)}, expected {list(shape)}", node=imp.where)
    if tensor.qparams is not None:
        return QArray(tensor.values, tensor.qparams).dequantize()
    return np.asarray(tensor.values, np.float32)


def _needed(imp: Importer, position: int, shape: tuple[int, ...]) -> Floats:
    found = _reals(imp, position, shape)
    if found is None:
        raise ModelError(f"input {position} is missing", node=imp.where)
    return found


def _key(imp: Importer, position: int, shape: tuple[int, ...]) -> int:
    """The number of a tensor that is kept from one inference to the next."""
    index = imp.input(position)
    tensor = imp.tensor(index)
    if not tensor.is_variable or imp.place.depth:
        raise imp.refuse(
            f"{tensor.name!r} is no variable tensor of the model itself, expected one that keeps the state"
        )
    if tensor.shape != shape or tensor.dtype != "float32":
        raise ModelError(
            f"the state {tensor.name!r} is {tensor.dtype} {list(tensor.shape)}, expected float32 {list(shape)}",
            node=imp.where,
        )
    return index


def _held(imp: Importer, index: int) -> str:
    """What a variable tensor holds; it starts as zeros."""
    return imp.scope.variables.read(f"tensor {index}", imp.tensor(index), lambda: imp.own_name(index), zeros=True)


def _hold(imp: Importer, index: int, value: str) -> None:
    imp.scope.variables.write(f"tensor {index}", imp.tensor(index), value)


def _reshaped(imp: Importer, value: str, shape: Sequence[int]) -> str:
    return imp.node("Reshape", [value, imp.ints(shape, "shape")])


def _steps(imp: Importer) -> tuple[str, tuple[int, int, int], bool]:
    """The input as steps, sequences, features; those sizes; and whether steps came first."""
    index = imp.input(0)
    if imp.operator.name in _PER_STEP:
        batch, size = imp.shape(index, 2)
        return _reshaped(imp, imp.real(index), (1, batch, size)), (1, batch, size), True
    first, second, size = imp.shape(index, 3)
    if imp.operator.options["time_major"]:
        return imp.real(index), (first, second, size), True
    return imp.node("Transpose", [imp.real(index)], perm=(1, 0, 2)), (second, first, size), False


def _finish(imp: Importer, value: str, steps: int, batch: int, hidden: int, time_major: bool) -> None:
    """``value`` of steps, directions, sequences, elements as the result of the operator."""
    shape = (batch, hidden) if imp.operator.name in _PER_STEP else (steps, batch, hidden)
    value = _reshaped(imp, value, shape)
    if not time_major:
        value = imp.node("Transpose", [value], perm=(1, 0, 2))
    wanted = (*shape[:2], hidden) if time_major else (batch, steps, hidden)
    if imp.shape(imp.output()) != (shape if imp.operator.name in _PER_STEP else wanted):
        raise ModelError(f"the result has the shape {list(imp.shape(imp.output()))}, expected {wanted}", node=imp.where)
    imp.finish(value)


def _function(imp: Importer) -> str:
    number = imp.operator.options["activation"]
    name = ACTIVATIONS[number] if 0 <= number < len(ACTIVATIONS) else str(number)
    if name not in _FUNCTIONS:
        raise imp.refuse(f"the activation {name} of a layer with a memory cannot be imported")
    return _FUNCTIONS[name]


def _functions(names: Sequence[str]) -> dict[str, Any]:
    """The attributes of activations; an Affine is the identity."""
    affine = names.count("Affine")
    given: dict[str, Any] = {"activations": list(names)}
    return given | ({"activation_alpha": [1.0] * affine, "activation_beta": [0.0] * affine} if affine else {})


def _rnn(imp: Importer) -> None:
    """UNIDIRECTIONAL_SEQUENCE_RNN, and RNN of one step: ``h = f(W x + R h + b)``."""
    imp.float_only()
    x, (steps, batch, size), time_major = _steps(imp)
    hidden = imp.shape(imp.output())[-1]
    weights, again = _needed(imp, 1, (hidden, size)), _needed(imp, 2, (hidden, hidden))
    bias, state = _needed(imp, 3, (hidden,)), _key(imp, 4, (batch, hidden))
    operands = [
        x,
        imp.constant(weights[None], f"{imp.layer}/weights"),
        imp.constant(again[None], f"{imp.layer}/recurrent"),
        imp.constant(np.concatenate([bias, np.zeros_like(bias)])[None], f"{imp.layer}/bias"),
        "",
        _reshaped(imp, _held(imp, state), (1, batch, hidden)),
    ]
    y, last = imp.multi("RNN", operands, 2, hidden_size=hidden, **_functions([_function(imp)]))
    _hold(imp, state, _reshaped(imp, last, (batch, hidden)))
    _finish(imp, y, steps, batch, hidden, time_major)


def _lstm(imp: Importer) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM, and LSTM of one step, with peepholes, and with coupled gates or four."""
    imp.float_only()
    options = imp.operator.options
    if options.get("kernel_type") or options.get("diagonal"):
        raise imp.refuse("an LSTM of the BASIC kernel or with diagonal weights cannot be imported")
    if options["cell_clip"] or any(imp.optional(at) is not None for at in (_PROJECTION, *_NORMALIZATIONS)):
        raise imp.refuse("an LSTM with a projection, a clipped cell or a normalization cannot be imported")
    x, (steps, batch, size), time_major = _steps(imp)
    hidden = imp.shape(imp.output())[-1]
    inputs = _gates(imp, _INPUT_WEIGHTS, (hidden, size))
    again = _gates(imp, _STATE_WEIGHTS, (hidden, hidden))
    biases = _gates(imp, _BIASES, (hidden,))
    states = [_key(imp, at, (batch, hidden)) for at in (_OUTPUT_STATE, _CELL_STATE)]
    operands = [
        x,
        imp.constant(inputs[None], f"{imp.layer}/weights"),
        imp.constant(again[None], f"{imp.layer}/recurrent"),
        imp.constant(np.concatenate([biases, np.zeros_like(biases)])[None], f"{imp.layer}/bias"),
        "",
        *(_reshaped(imp, _held(imp, index), (1, batch, hidden)) for index in states),
    ]
    peepholes = _peepholes(imp, hidden)
    operands += [] if peepholes is None else [imp.constant(peepholes[None], f"{imp.layer}/peepholes")]
    function = _function(imp)
    given = _functions(["Sigmoid", function, function])
    y, *last = imp.multi("LSTM", operands, 3, hidden_size=hidden, **given)
    for index, value in zip(states, last, strict=True):
        _hold(imp, index, _reshaped(imp, value, (batch, hidden)))
    _finish(imp, y, steps, batch, hidden, time_major)


def _is_coupled(imp: Importer) -> bool:
    """Whether there are no weights of the input gate: it takes in what the forget gate lets go."""
    return imp.optional(_INPUT_WEIGHTS[0]) is None


def _gates(imp: Importer, positions: Sequence[int], shape: tuple[int, ...]) -> Floats:
    """Input gate, output gate, forget gate, cell, as ONNX has them; ``1 - sigmoid(x)`` is ``sigmoid(-x)``."""
    forget, cell, output = (_needed(imp, position, shape) for position in positions[1:])
    first = -forget if _is_coupled(imp) else _needed(imp, positions[0], shape)
    return np.concatenate([first, output, forget, cell])


def _peepholes(imp: Importer, hidden: int) -> Floats | None:
    """What gates see of the cell: input gate, output gate, forget gate."""
    first, forget, output = (_reals(imp, position, (hidden,)) for position in _PEEPHOLES)
    if forget is None or output is None:
        if first is not forget or output is not forget:
            raise ModelError("some gates have peepholes and others none", node=imp.where)
        return None
    if _is_coupled(imp):
        first = -forget
    if first is None:
        raise ModelError("the input gate has no peepholes, and the others have", node=imp.where)
    return np.concatenate([first, output, forget])


def _svdf(imp: Importer) -> None:
    """SVDF: each filter is a feature of the input, remembered for some steps and weighted by its age.

    Source: Nakkiran et al., Compressing Deep Neural Networks using a Rank-Constrained Topology (2015).
    """
    imp.float_only()
    index, rank = imp.input(0), imp.operator.options["rank"]
    batch, size = imp.shape(index, 2)
    filters, memory = imp.shape(imp.input(2), 2)
    if rank < 1 or filters % rank:
        raise ModelError(f"{filters} filters of rank {rank}", node=imp.where)
    units = filters // rank
    feature, ages = _needed(imp, 1, (filters, size)), _needed(imp, 2, (filters, memory))
    state = _key(imp, 4, (batch, memory * filters))
    kept = imp.node("Gemm", [imp.real(index), imp.constant(feature, f"{imp.layer}/feature")], transB=1)
    kept = _reshaped(imp, kept, (batch, filters, 1))
    if memory > 1:
        before = _reshaped(imp, _held(imp, state), (batch, filters, memory))
        bounds = [imp.ints(items, what) for items, what in (([1], "starts"), ([memory], "ends"), ([2], "axes"))]
        kept = imp.node("Concat", [imp.node("Slice", [before, *bounds]), kept], axis=2)
        _hold(imp, state, _reshaped(imp, kept, (batch, memory * filters)))
    weighted = imp.node("Mul", [kept, imp.constant(ages[None], f"{imp.layer}/time")])
    rows = _reshaped(imp, weighted, (batch, units, rank * memory))
    y = imp.node("ReduceSum", [rows, imp.ints([2], "axes")], keepdims=0)
    bias = _reals(imp, 3, (units,))
    if bias is not None:
        y = imp.node("Add", [y, imp.constant(bias, f"{imp.layer}/bias")])
    imp.finish(y, activation=imp.operator.options["activation"])


HANDLERS: Mapping[str, Callable[[Importer], None]] = {
    "LSTM": _lstm,
    "RNN": _rnn,
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn,
}
