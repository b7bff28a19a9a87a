"""LSTM, GRU and RNN, one step after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from microlith.ops.recurrent import DEFAULTS, GATES, Activation, RecurrentAttrs
from microlith.train.forms.base import Form, Function, Site

_FUNCTIONS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "Affine": lambda x, a, b: a * x + b,
    "Elu": lambda x, a, b: F.elu(x, a),
    "HardSigmoid": lambda x, a, b: torch.clamp(a * x + b, 0, 1),
    "LeakyRelu": lambda x, a, b: F.leaky_relu(x, a),
    "Relu": lambda x, a, b: torch.relu(x),
    "ScaledTanh": lambda x, a, b: a * torch.tanh(b * x),
    "Sigmoid": lambda x, a, b: torch.sigmoid(x),
    "Softplus": lambda x, a, b: F.softplus(x),
    "Softsign": lambda x, a, b: F.softsign(x),
    "Tanh": lambda x, a, b: torch.tanh(x),
    "ThresholdedRelu": lambda x, a, b: torch.where(x > a, x, torch.zeros_like(x)),
}


@dataclass(frozen=True, eq=False)
class _Cell:
    """Weights and activations of one direction."""

    attrs: RecurrentAttrs
    w: Tensor
    r: Tensor
    input_bias: Tensor
    state_bias: Tensor
    peepholes: Tensor | None
    activations: Sequence[Activation]

    def activate(self, index: int, x: Tensor, clips: bool = True) -> Tensor:
        chosen, clip = self.activations[index], self.attrs.clip
        bounded = torch.clamp(x, -clip, clip) if clip and clips else x
        return _FUNCTIONS[chosen.name](bounded, chosen.alpha, chosen.beta)


def _lstm(cell: _Cell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    taken, out, kept, new = (x + F.linear(h, cell.r, cell.state_bias)).chunk(4, -1)
    of_cell = (0.0,) * 3 if cell.peepholes is None else cell.peepholes.chunk(3)
    taken = cell.activate(0, taken + of_cell[0] * c)
    kept = 1 - taken if cell.attrs.coupled else cell.activate(0, kept + of_cell[2] * c)
    c = kept * c + taken * cell.activate(1, new)
    return cell.activate(0, out + of_cell[1] * c) * cell.activate(2, c, clips=False), c


def _gru(cell: _Cell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    n = cell.attrs.hidden
    of_state = F.linear(h, cell.r, cell.state_bias)
    update, reset = (cell.activate(0, x[:, i * n : i * n + n] + of_state[:, i * n : i * n + n]) for i in (0, 1))
    if cell.attrs.linear_before_reset:
        state = reset * of_state[:, 2 * n :]
    else:
        state = F.linear(reset * h, cell.r[2 * n :], cell.state_bias[2 * n :])
    candidate = cell.activate(1, x[:, 2 * n :] + state)
    return (1 - update) * candidate + update * h, c


def _rnn(cell: _Cell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return cell.activate(0, x + F.linear(h, cell.r, cell.state_bias)), c


_STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def _layer(attrs: RecurrentAttrs, site: Site) -> Function:
    def layer(x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None, *given: Tensor | None) -> tuple[Tensor, ...]:
        operands: list[Tensor | None] = [*given, None, None, None, None]
        lengths, first, first_cell, peepholes = operands[:4]
        x = x.transpose(0, 1) if attrs.batch_first else x
        steps, batch = x.shape[:2]
        ends = None if lengths is None else lengths.long().clamp(0, steps).expand(batch).reshape(-1, 1)
        start = [_initial(attrs, state, x) for state in (first, first_cell)]
        found = []
        for direction in range(attrs.directions):
            cell = _cell(attrs, direction, w, r, bias, peepholes)
            backwards = attrs.direction == "reverse" or direction > 0
            found.append(_run(cell, x, start[0][direction], start[1][direction], ends, backwards))
        everything = torch.stack([item[0] for item in found], 1)
        last = [torch.stack([item[index] for item in found]) for index in (1, 2)]
        if attrs.batch_first:
            everything = everything.permute(2, 0, 1, 3)
            last = [state.transpose(0, 1) for state in last]
        return (everything, *last) if attrs.kind == "lstm" else (everything, last[0])

    return layer


def _cell(
    attrs: RecurrentAttrs, direction: int, w: Tensor, r: Tensor, bias: Tensor | None, peepholes: Tensor | None
) -> _Cell:
    gates, named = GATES[attrs.kind] * attrs.hidden, len(DEFAULTS[attrs.kind])
    halves = torch.zeros(2 * gates, dtype=w.dtype, device=w.device) if bias is None else bias[direction]
    functions = attrs.activations[direction * named : (direction + 1) * named]
    holes = None if peepholes is None else peepholes[direction]
    return _Cell(attrs, w[direction], r[direction], halves[:gates], halves[gates:], holes, functions)


def _initial(attrs: RecurrentAttrs, given: Tensor | None, x: Tensor) -> Tensor:
    if given is None:
        return torch.zeros((attrs.directions, x.shape[1], attrs.hidden), dtype=x.dtype, device=x.device)
    state = given.transpose(0, 1) if attrs.batch_first else given
    return state.expand(-1, x.shape[1], -1)


def _run(
    cell: _Cell, x: Tensor, h: Tensor, c: Tensor, ends: Tensor | None, backwards: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """All states of one direction, 0 beyond the end of a sequence, the last state and the last cell."""
    of_inputs = F.linear(x, cell.w, cell.input_bias)
    times = range(x.shape[0])
    states: list[Tensor] = [h] * len(times)
    for time in reversed(times) if backwards else times:
        new_h, new_c = _STEPS[cell.attrs.kind](cell, of_inputs[time], h, c)
        if ends is None:
            h, c = new_h, new_c
            states[time] = h
        else:
            runs = time < ends
            h, c = torch.where(runs, new_h, h), torch.where(runs, new_c, c)
            states[time] = torch.where(runs, new_h, torch.zeros_like(new_h))
    return torch.stack(states), h, c


RECURRENT = tuple(
    Form(op_type, _layer, learned=(1, 2, 3, 7), fixed=(4, 5, 6), several=True) for op_type in ("GRU", "LSTM", "RNN")
)
