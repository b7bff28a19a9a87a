"""What a model keeps from one run to the next.

Standard ONNX has no state: a streaming model takes what it remembers as graph inputs, and gives what it will remember
as graph outputs. Which input and which output are one state stands in the metadata of the model::

    microlith.state                = {"h_in": "h_out"}          the input, and the output that it is in the next run
    microlith.state.initial.h_in   = "AACAPw=="                 base64 of its first value, little-endian, row by row

Without an initial value a state starts as real zeros: as the zero point, where the metadata say what its integers stand
for. A state has one shape and one type. States are neither inputs nor outputs for whoever runs the model:
:func:`caller_inputs` and :func:`caller_outputs` are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.core.errors import ModelError
from microlith.graph.metadata import OWN_PREFIX, io_qparams
from microlith.graph.values import held_type, known_shape

Array = NDArray[np.generic]

_STATE = OWN_PREFIX + "state"
_INITIAL = _STATE + ".initial."


@dataclass(frozen=True, eq=False)
class State:
    """A graph input that a run finds as the run before left a graph output.

    Attributes:
        input: name of the graph input.
        output: name of the graph output; no node is needed to be between the two but an Identity.
        initial: value before the first run, of the input's shape and type; None for real zeros.
    """

    input: str
    output: str
    initial: Array | None = None


def state_entries(states: Sequence[State]) -> dict[str, str]:
    """The entries of the metadata that state these states, for whoever writes a ModelProto."""
    if not states:
        return {}
    entries = {_STATE: json.dumps({state.input: state.output for state in states})}
    for state in states:
        if state.initial is not None:
            values = np.ascontiguousarray(state.initial)
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            entries[_INITIAL + state.input] = base64.b64encode(little.tobytes()).decode()
    return entries


def set_states(model: ir.Model, states: Sequence[State]) -> None:
    """State all states of a model, in place of those that were stated before.

    Raises:
        ModelError: they do not fit the graph; see :func:`read_states`.
    """
    for key in [key for key in model.metadata_props if key == _STATE or key.startswith(_INITIAL)]:
        del model.metadata_props[key]
    for state in states:
        _check_initial(model, state)
    model.metadata_props.update(state_entries(states))
    read_states(model)


def read_states(model: ir.Model) -> tuple[State, ...]:
    """The states of a model, in the order in which they are stated; none for most models.

    Raises:
        ModelError: what the metadata say is malformed, names what the graph does not have or names it twice, or the two
            ends of a state differ in type or shape.
    """
    pairs = _pairs(model)
    inputs = {str(value.name): value for value in model.graph.inputs}
    outputs = {str(value.name): value for value in model.graph.outputs}
    if len(set(pairs.values())) != len(pairs):
        raise ModelError("two states of the model are the same output", hint="Put an Identity before one of them.")
    found = []
    for name, output in pairs.items():
        for what, end, there in (("input", name, inputs), ("output", output, outputs)):
            if end not in there:
                raise ModelError(
                    f"the state {name!r} = {output!r} is no pair of this model: it has no {what} {end!r}",
                    hint=f"Its {what}s are {', '.join(there)}.",
                )
        _check_same(model, inputs[name], outputs[output])
        found.append(State(name, output, _initial(model, inputs[name])))
    return tuple(found)


def caller_inputs(model: ir.Model) -> tuple[ir.Value, ...]:
    """The graph inputs that whoever runs the model gives: all but states."""
    names = _pairs(model)
    return tuple(value for value in model.graph.inputs if value.name not in names)


def caller_outputs(model: ir.Model) -> tuple[ir.Value, ...]:
    """The graph outputs that whoever runs the model gets: all but states."""
    names = set(_pairs(model).values())
    return tuple(value for value in model.graph.outputs if value.name not in names)


def initial_values(model: ir.Model) -> dict[str, Array]:
    """What every state holds before the first run, by the name of its input, in the input's shape and type.

    Raises:
        ModelError: see :func:`read_states`; or a shape is not known.
    """
    values = {str(value.name): value for value in model.graph.inputs}
    return {state.input: _first(model, values[state.input], state) for state in read_states(model)}


def _first(model: ir.Model, value: ir.Value, state: State) -> Array:
    if state.initial is not None:
        return state.initial
    shape = known_shape(value)
    if shape is None or value.dtype is None:
        raise ModelError(f"the shape of the state {state.input!r} is not known", hint="Give it with --shape.")
    qparams = io_qparams(model, state.input)
    zero = 0 if qparams is None else int(qparams.zero_point)
    if qparams is not None and qparams.dtype != value.dtype.name.lower():
        raise ModelError(f"the state {state.input!r} is {value.dtype}, and its metadata speak of {qparams.dtype}")
    return np.full(shape, zero, held_type(value.dtype))


def _pairs(model: ir.Model) -> dict[str, str]:
    text = model.metadata_props.get(_STATE)
    if text is None:
        return {}
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{_STATE} in the model's metadata is not JSON") from error
    if not isinstance(pairs, dict) or not all(isinstance(item, str) for item in pairs.values()):
        raise ModelError(f"{_STATE} in the model's metadata is malformed, expected names of outputs by names of inputs")
    return pairs


def _initial(model: ir.Model, value: ir.Value) -> Array | None:
    text = model.metadata_props.get(_INITIAL + str(value.name))
    if text is None:
        return None
    shape = known_shape(value)
    if shape is None or value.dtype is None:
        raise ModelError(f"the shape of the state {value.name!r} is not known", hint="Give it with --shape.")
    dtype = held_type(value.dtype)
    try:
        array = np.frombuffer(base64.b64decode(text, validate=True), dtype.newbyteorder("<")).reshape(shape)
    except ValueError as error:
        raise ModelError(f"the initial value of the state {value.name!r} is malformed: {error}") from error
    # A bool of a file may be any byte.
    values: Array = array.view(np.uint8) != 0 if dtype == np.bool_ else array.astype(dtype)
    _check_finite(str(value.name), values)
    return values


def _check_initial(model: ir.Model, state: State) -> None:
    value = next((value for value in model.graph.inputs if value.name == state.input), None)
    if value is None or value.dtype is None or state.initial is None:
        return  # an input that is not there is refused where the pair is read
    wanted = held_type(value.dtype)
    if state.initial.shape != known_shape(value) or state.initial.dtype != wanted:
        raise ModelError(
            f"the initial value of the state {state.input!r} is {state.initial.dtype} {state.initial.shape}, "
            f"expected {wanted} {known_shape(value)}"
        )
    _check_finite(state.input, state.initial)


def _check_finite(name: str, values: Array) -> None:
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise ModelError(f"the initial value of the state {name!r} is not finite")


def _check_same(model: ir.Model, source: ir.Value, result: ir.Value) -> None:
    before, after = (io_qparams(model, str(value.name)) for value in (source, result))
    if before is not None and after is not None and not before.same(after):
        raise ModelError(
            f"the integers of the state {source.name!r} = {result.name!r} stand for {before} before a run and for "
            f"{after} after it, expected one meaning"
        )
    if source.dtype != result.dtype or known_shape(source) != known_shape(result):
        raise ModelError(
            f"the state {source.name!r} = {result.name!r} is {source.dtype} {source.shape} before a run and "
            f"{result.dtype} {result.shape} after it, expected one type and shape",
        )
