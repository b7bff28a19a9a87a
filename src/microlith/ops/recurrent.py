"""LSTM, GRU and RNN: one file, since they differ in what one step computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.ops import nodes
from microlith.ops.base import Array, Op, Shape

Floats = NDArray[np.float32]
Kind = Literal["lstm", "gru", "rnn"]

GATES: Mapping[Kind, int] = {"lstm": 4, "gru": 3, "rnn": 1}
DEFAULTS: Mapping[Kind, tuple[str, ...]] = {
    "lstm": ("Sigmoid", "Tanh", "Tanh"),
    "gru": ("Sigmoid", "Tanh"),
    "rnn": ("Tanh",),
}


@dataclass(frozen=True)
class _Function:
    """An activation: default alpha and beta (None where it has none) and what it computes."""

    alpha: float | None
    beta: float | None
    compute: Callable[[Floats, float, float], Floats]


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -87, 87))), np.float32)


def _softplus(x: Floats, alpha: float, beta: float) -> Floats:
    return np.asarray(np.logaddexp(x, np.float32(0)), np.float32)


FUNCTIONS: Mapping[str, _Function] = {
    "Relu": _Function(None, None, lambda x, a, b: np.maximum(x, np.float32(0))),
    "Tanh": _Function(None, None, lambda x, a, b: np.tanh(x)),
    "Sigmoid": _Function(None, None, lambda x, a, b: _sigmoid(x)),
    "Affine": _Function(1.0, 0.0, lambda x, a, b: a * x + b),
    "LeakyRelu": _Function(0.01, None, lambda x, a, b: np.where(x < 0, a * x, x)),
    "ThresholdedRelu": _Function(1.0, None, lambda x, a, b: np.where(x > a, x, np.float32(0))),
    "ScaledTanh": _Function(1.0, 1.0, lambda x, a, b: a * np.tanh(b * x)),
    "HardSigmoid": _Function(0.2, 0.5, lambda x, a, b: np.clip(a * x + b, 0, 1)),
    "Elu": _Function(1.0, None, lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x)),
    "Softsign": _Function(None, None, lambda x, a, b: x / (1 + np.abs(x))),
    "Softplus": _Function(None, None, _softplus),
}
"""By lower-case name in the order of the enumeration in ``f32_recurrent.h``."""

_BY_NAME = {name.lower(): name for name in FUNCTIONS}


@dataclass(frozen=True)
class Activation:
    """A function with its parameters."""

    name: str
    alpha: float
    beta: float

    def __call__(self, x: Floats) -> Floats:
        """The function of every element."""
        return np.asarray(FUNCTIONS[self.name].compute(x, self.alpha, self.beta), np.float32)


@dataclass(frozen=True)
class RecurrentAttrs:
    """Attributes of a recurrent layer.

    Attributes:
        kind: what one step computes.
        hidden: elements of a state.
        direction: ``forward``, ``reverse`` or ``bidirectional``.
        activations: of every direction, one direction after another.
        batch_first: whether sequences come before steps (and before directions, in the last states).
        clip: magnitude to which the inputs of activations are cut; 0 for none.
        coupled: of an LSTM: whether what is forgotten is what is not taken in.
        linear_before_reset: of a GRU: whether the reset gate comes after the product.
    """

    kind: Kind
    hidden: int
    direction: str
    activations: tuple[Activation, ...]
    batch_first: bool
    clip: float
    coupled: bool
    linear_before_reset: bool

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.direction == "bidirectional" else 1


def parse(kind: Kind, node: ir.Node) -> RecurrentAttrs:
    """Attributes of a node, whose recurrent weights must have a known shape."""
    direction = nodes.text(node, "direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise ModelError(f"its direction is {direction!r}", node=nodes.where(node))
    shape = nodes.input_shape(node, 2)
    directions = 2 if direction == "bidirectional" else 1
    hidden = nodes.integer(node, "hidden_size", shape[-1] if shape else 0)
    if shape != (directions, GATES[kind] * hidden, hidden):
        expected = (directions, GATES[kind] * hidden, hidden)
        raise ModelError(f"its recurrent weights have shape {shape}, expected {expected}", node=nodes.where(node))
    if kind != "rnn" and nodes.integer(node, "hidden_size", hidden) != hidden:
        raise ModelError("hidden_size and the weights do not go together", node=nodes.where(node))
    _check_operands(kind, node, directions, hidden)
    clip = nodes.real(node, "clip", 0.0)
    if clip < 0:
        raise ModelError(f"its clip is {clip:g}, expected a number above 0", node=nodes.where(node))
    return RecurrentAttrs(
        kind,
        hidden,
        direction,
        _activations(kind, node, directions),
        bool(nodes.integer(node, "layout", 0)),
        clip,
        bool(nodes.integer(node, "input_forget", 0)),
        bool(nodes.integer(node, "linear_before_reset", 0)),
    )


def _check_operands(kind: Kind, node: ir.Node, directions: int, hidden: int) -> None:
    """Refuse biases, lengths, first states and peepholes of other shapes than the weights ask for."""
    batch_first = bool(nodes.integer(node, "layout", 0))
    batch = nodes.input_shape(node, 0)[0 if batch_first else 1]
    state = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    expected = {
        3: (directions, 2 * GATES[kind] * hidden),
        4: (batch,),
        5: state,
        6: state,
        7: (directions, 3 * hidden),
    }
    for index, shape in expected.items():
        if len(node.inputs) > index and node.inputs[index] is not None:
            found = nodes.input_shape(node, index)
            if found != shape:
                raise ModelError(f"input {index} has shape {found}, expected {shape}", node=nodes.where(node))


def _activations(kind: Kind, node: ir.Node, directions: int) -> tuple[Activation, ...]:
    attribute = node.attributes.get("activations")
    names = list(DEFAULTS[kind]) * directions if attribute is None else [str(name) for name in attribute.as_strings()]
    alphas, betas = (_reals(node, name) for name in ("activation_alpha", "activation_beta"))
    if len(names) != len(DEFAULTS[kind]) * directions:
        raise ModelError(f"its activations are {names}, expected {len(DEFAULTS[kind]) * directions}",
                         node=nodes.where(node))  # fmt: skip
    found = []
    for name in names:
        if name.lower() not in _BY_NAME:
            raise nodes.unsupported(node, f"activation {name} is not one of {', '.join(FUNCTIONS)}")
        function = FUNCTIONS[_BY_NAME[name.lower()]]
        # Values are consumed in the order of those functions that take one.
        alpha = function.alpha if function.alpha is None or not alphas else alphas.pop(0)
        beta = function.beta if function.beta is None or not betas else betas.pop(0)
        found.append(Activation(_BY_NAME[name.lower()], alpha or 0.0, beta or 0.0))
    return tuple(found)


def _reals(node: ir.Node, name: str) -> list[float]:
    attribute = node.attributes.get(name)
    return [] if attribute is None else [float(item) for item in attribute.as_floats()]


def infer(attrs: RecurrentAttrs, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """All states, the last ones, and of an LSTM the last cells."""
    x, w = inputs[:2]
    gates = GATES[attrs.kind] * attrs.hidden
    if len(x) != 3 or tuple(w) != (attrs.directions, gates, x[2]):
        raise ModelError(f"a recurrent layer got an input of shape {x} and weights of shape {w}")
    steps, batch = (x[1], x[0]) if attrs.batch_first else (x[0], x[1])
    hidden, directions = attrs.hidden, attrs.directions
    if attrs.batch_first:
        all_states, last = (batch, steps, directions, hidden), (batch, directions, hidden)
    else:
        all_states, last = (steps, directions, batch, hidden), (directions, batch, hidden)
    return (all_states, last, last) if attrs.kind == "lstm" else (all_states, last)


def macs(attrs: RecurrentAttrs, inputs: Sequence[Shape], output: Shape) -> int:
    """Products with the weights of inputs and states."""
    states = int(np.prod(output, dtype=np.int64))
    return states * GATES[attrs.kind] * (inputs[0][2] + attrs.hidden)


@dataclass(frozen=True, eq=False)
class _Cell:
    """Weights and activations of one direction."""

    attrs: RecurrentAttrs
    w: Floats
    r: Floats
    input_bias: Floats
    state_bias: Floats
    peepholes: Floats
    activations: tuple[Activation, ...]

    def activate(self, index: int, x: Floats) -> Floats:
        clip = self.attrs.clip
        return self.activations[index](np.clip(x, -clip, clip) if clip else x)


def _lstm(cell: _Cell, x: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats]:
    gates = x @ cell.w.T + cell.input_bias + h @ cell.r.T + cell.state_bias
    taken, out, kept, new = np.split(gates, 4, axis=-1)
    p_taken, p_out, p_kept = np.split(cell.peepholes, 3)
    taken = cell.activate(0, taken + p_taken * c)
    kept = 1 - taken if cell.attrs.coupled else cell.activate(0, kept + p_kept * c)
    c = kept * c + taken * cell.activate(1, new)
    return cell.activate(0, out + p_out * c) * cell.activations[2](c), c


def _gru(cell: _Cell, x: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats]:
    of_input, of_state = x @ cell.w.T + cell.input_bias, h @ cell.r.T + cell.state_bias
    n = cell.attrs.hidden
    update, reset = (cell.activate(0, of_input[:, i * n : i * n + n] + of_state[:, i * n : i * n + n]) for i in (0, 1))
    if cell.attrs.linear_before_reset:
        state = reset * of_state[:, 2 * n :]
    else:
        state = (reset * h) @ cell.r[2 * n :].T + cell.state_bias[2 * n :]
    candidate = cell.activate(1, of_input[:, 2 * n :] + state)
    return (1 - update) * candidate + update * h, c


def _rnn(cell: _Cell, x: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats]:
    return cell.activate(0, x @ cell.w.T + cell.input_bias + h @ cell.r.T + cell.state_bias), c


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def results(attrs: RecurrentAttrs, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """Float32, one step after another; states beyond the length of a sequence are 0."""
    x, w, r = (nodes.f32(inputs, index) for index in range(3))
    given = [*inputs, *[None] * (8 - len(inputs))]
    gates, hidden, directions = GATES[attrs.kind], attrs.hidden, attrs.directions
    x = x.swapaxes(0, 1) if attrs.batch_first else x
    steps, batch = x.shape[:2]
    bias = np.zeros((directions, 2 * gates * hidden), np.float32) if given[3] is None else nodes.f32(given, 3)
    lengths = np.full(batch, steps) if given[4] is None else np.clip(np.asarray(given[4], np.int64), 0, steps)
    states = [_initial(attrs, given[index], (directions, batch, hidden)) for index in (5, 6)]
    peepholes = np.zeros((directions, 3 * hidden), np.float32) if given[7] is None else nodes.f32(given, 7)
    named = len(DEFAULTS[attrs.kind])
    everything = np.zeros((steps, directions, batch, hidden), np.float32)
    for direction in range(directions):
        halves = np.split(bias[direction], 2)
        functions = attrs.activations[direction * named : (direction + 1) * named]
        cell = _Cell(attrs, w[direction], r[direction], halves[0], halves[1], peepholes[direction], functions)
        backwards = attrs.direction == "reverse" or direction > 0
        for n in range(batch):
            h, c = (state[direction, n : n + 1] for state in states)
            times = range(int(lengths[n]))
            for time in reversed(times) if backwards else times:
                h, c = _STEPS[attrs.kind](cell, x[time, n : n + 1], h, c)
                everything[time, direction, n] = h[0]
            states[0][direction, n], states[1][direction, n] = h[0], c[0]
    if attrs.batch_first:
        everything = everything.transpose(2, 0, 1, 3)
        states = [state.swapaxes(0, 1) for state in states]
    return (everything, *states) if attrs.kind == "lstm" else (everything, states[0])


def _initial(attrs: RecurrentAttrs, given: Array | None, shape: Shape) -> Floats:
    if given is None:
        return np.zeros(shape, np.float32)
    values = np.array(given, np.float32)
    return values.swapaxes(0, 1).copy() if attrs.batch_first else values


def reference(attrs: RecurrentAttrs, inputs: Sequence[Array | None]) -> Array:
    """All states."""
    return results(attrs, inputs)[0]


def _batches(attrs: RecurrentAttrs, inputs: Sequence[Shape | None], output: Shape) -> bool:
    return attrs.batch_first and inputs[0] is not None and all(item is None for item in inputs[1:])


def _op(op_type: str, kind: Kind) -> Op[RecurrentAttrs]:
    return Op(
        op_type,
        partial(parse, kind),
        infer,
        reference,
        None,
        macs,
        batches=_batches,
        results=results,
        lowering="lower_recurrent.lower_recurrent",
    )


LSTM, GRU, RNN = _op("LSTM", "lstm"), _op("GRU", "gru"), _op("RNN", "rnn")
