"""The reference executor: the meaning of a graph, in NumPy, for many samples at once.

The samples of a model with state are the steps of one sequence; see :mod:`microlith.graph.state`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from microlith.core.errors import InputError, MicrolithError, ModelError, UnsupportedError
from microlith.graph.metadata import requantization
from microlith.graph.state import caller_inputs, caller_outputs, initial_values, read_states
from microlith.graph.units import Unit, activation_bounds, clamp_limits, units
from microlith.graph.values import WIDER, held_type, integer_limits
from microlith.ops import op_of
from microlith.ops.base import Array, Op, Output, Shape
from microlith.ops.nodes import where
from microlith.quant.types import QArray, QParams, Requantization, as_held

# Elements of the largest tensor in one turn: larger turns would not stay in the cache between two ops.
_TURN_ELEMENTS = 1 << 19


Arrays = Sequence[Array | None]
Sweep = Generator[tuple[Unit, Arrays], Arrays, None]
"""Gives units with what they read, and takes what they are to be computed from."""


@dataclass(frozen=True, eq=False)
class _Step:
    """A unit made ready: what to call, on which values, and how samples go through it.

    Attributes:
        unit: the unit.
        inputs: values read, None for an absent one.
        outputs: values computed, None for one that nothing reads.
        compute: from arrays in graph order to the results.
        per_sample: whether the result differs from sample to sample.
        stacked: whether samples may be stacked along axis 0.
        dies: values that nothing reads after this step.
    """

    unit: Unit
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value | None, ...]
    compute: Callable[[Sequence[Array | None]], tuple[Array, ...]]
    per_sample: bool
    stacked: bool
    dies: tuple[ir.Value, ...]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class Reference:
    """Evaluates a model of batch 1 on any number of samples.

    Args:
        model: every graph input must have a static shape.

    Raises:
        UnsupportedError: an op, or an attribute of one, cannot be evaluated.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._shapes: dict[ir.Value, Shape] = {}
        self._constants: dict[ir.Value, Array] = {}
        self._varying: set[ir.Value] = set()
        for value in model.graph.inputs:
            if value.const_value is None:
                self._shapes[value] = _static_shape(value)
                self._varying.add(value)
        inputs = {value.name or "": value for value in model.graph.inputs}
        outputs = {value.name or "": value for value in model.graph.outputs}
        self._states = {inputs[state.input]: outputs[state.output] for state in read_states(model)}
        self._initial = initial_values(model)
        mode = requantization(model)
        found = units(model)
        last_readers = _last_readers(found)
        self._steps = tuple(self._prepare(unit, required_output(unit, mode), last_readers) for unit in found)
        self._largest = max((int(np.prod(shape, dtype=np.int64)) for shape in self._shapes.values()), default=1)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs that are no states."""
        return tuple(value.name or "" for value in caller_outputs(self._model))

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every value that is computed by itself, by name, for one sample."""
        return {value.name or "": shape for value, shape in self._shapes.items()}

    def run(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        *,
        keep: Collection[str] | None = None,
        state: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> dict[str, NDArray[np.generic]]:
        """Evaluate samples; of a model with state, steps that follow each other.

        Args:
            feeds: by input name, of shape (samples, ...) where the graph's shape is (1, ...), and of the graph's own
                shape otherwise, for one sample; states are no inputs.
            keep: names of the values to return; the graph's outputs that are no states unless given. Values within a
                unit, such as the float result that a QuantizeLinear takes up, have no name here.
            state: what the states hold before the first step, by input name; their initial values unless given.

        Returns:
            Arrays by name, integers as they are stored, of shape (samples, ...) likewise.

        Raises:
            InputError: a feed or a name to keep does not fit the graph.
        """
        arrays, samples = self._check_feeds(feeds)
        kept = self._check_keep(keep, samples)
        turn = 1 if self._states else max(1, _TURN_ELEMENTS // max(1, self._largest))
        held = self._check_state(state)
        wanted = {**kept, **{value.name or "": value for value in self._states.values()}}
        parts: dict[str, list[Array]] = {name: [] for name in kept}
        # One thread: how a product is split among threads changes float sums, and so calibrated scales; and on products
        # as small as these, threads mostly wait for each other.
        # Floats beyond their range become infinity or NaN, as in C, and whoever takes the results judges them.
        with _blas().limit(limits=1), np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, samples, turn):
                values = {value: array[start : start + turn] for value, array in arrays.items()}
                found = self._run_turn(values | held, wanted)
                held = {into: self._one(found[out.name or ""], out)[None] for into, out in self._states.items()}
                for name in kept:
                    parts[name].append(found[name])
        return {name: self._joined(kept[name], pieces, samples) for name, pieces in parts.items()}

    def sweep(self, feeds: Mapping[str, NDArray[np.generic]]) -> Sweep:
        """Evaluate op by op, each for all samples before the next one.

        Yields each unit before it is computed with what it reads (arrays of values that differ from sample to sample
        have an axis of samples in front), and computes it from what is sent back.

        Args:
            feeds: as for :meth:`run`; the model keeps no state.
        """
        assert not self._states, "samples of a model with state follow each other"
        given, _ = self._check_feeds(feeds)
        values = {**self._constants, **given}
        for step in self._steps:
            arrays = yield step.unit, [None if value is None else values[value] for value in step.inputs]
            with _blas().limit(limits=1), np.errstate(over="ignore", invalid="ignore"):
                self._compute(step, arrays, values)
            for value in step.dies:
                del values[value]

    # ---- preparation

    def _prepare(self, unit: Unit, output: Output | None, last_readers: Mapping[ir.Value, Unit]) -> _Step:
        op = op_of(unit.node)
        attrs = op.parse(unit.node)
        inputs = tuple(None if item is None else item.value for item in unit.inputs)
        shapes = [None if value is None else self._shape(value, unit) for value in inputs]
        try:
            results = op.infer(attrs, [() if shape is None else shape for shape in shapes])
        except ModelError as error:
            error.node = error.node or where(unit.node)
            raise
        varying = [value is not None and value in self._varying for value in inputs]
        outputs = (unit.output.value, *(None if item is None else item.value for item in unit.others))
        for value, shape in zip(outputs, results, strict=False):
            if value is not None:
                self._shapes[value] = shape
                if any(varying):
                    self._varying.add(value)
        seen = [shape if varies else None for shape, varies in zip(shapes, varying, strict=True)]
        stacked = (
            all(shape is None or shape[:1] == (1,) for shape in seen)
            and all(shape[:1] == (1,) for shape in results)
            and op.batches(attrs, seen, results[0])
        )
        dies = tuple({v for v in inputs if v is not None and v in self._varying and last_readers.get(v) is unit})
        return _Step(unit, inputs, outputs, _computation(unit, op, attrs, output), any(varying), stacked, dies)

    def _shape(self, value: ir.Value, unit: Unit) -> Shape:
        if value not in self._shapes:
            if value.const_value is None:
                raise UnsupportedError(f"input {value.name!r} is not computed before it is read", node=where(unit.node))
            self._constants[value] = as_held(np.asarray(value.const_value.numpy()))
            self._shapes[value] = self._constants[value].shape
        return self._shapes[value]

    # ---- evaluation

    def _run_turn(self, values: dict[ir.Value, Array], kept: Mapping[str, ir.Value]) -> dict[str, Array]:
        values = {**self._constants, **values}
        wanted = set(kept.values())
        for step in self._steps:
            self._compute(step, [None if value is None else values[value] for value in step.inputs], values)
            for value in step.dies:
                if value not in wanted:
                    del values[value]
        return {name: values[value] for name, value in kept.items()}

    def _compute(self, step: _Step, arrays: Sequence[Array | None], values: dict[ir.Value, Array]) -> None:
        """Put the results of a step among the values."""
        try:
            results = self._evaluate(step, arrays)
        except MicrolithError as error:
            if error.node is None:
                error.node = where(step.unit.node)
            raise
        values.update((v, array) for v, array in zip(step.outputs, results, strict=False) if v is not None)

    def _evaluate(self, step: _Step, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        """Arrays that vary have an axis of samples in front of the graph's own axes, and so have the results."""
        if not step.per_sample:
            return step.compute(arrays)
        varying = [value in self._varying for value in step.inputs]
        samples = next(len(a) for a, varies in zip(arrays, varying, strict=True) if varies and a is not None)
        if step.stacked:
            flat = [
                array.reshape(samples, *array.shape[2:]) if varies and array is not None else array
                for array, varies in zip(arrays, varying, strict=True)
            ]
            return tuple(item.reshape(samples, 1, *item.shape[1:]) for item in step.compute(flat))
        found = [
            step.compute([a[i] if varies and a is not None else a for a, varies in zip(arrays, varying, strict=True)])
            for i in range(samples)
        ]
        return tuple(np.stack(items) for items in zip(*found, strict=True))

    # ---- borders

    def _check_feeds(self, feeds: Mapping[str, NDArray[np.generic]]) -> tuple[dict[ir.Value, Array], int]:
        inputs = {value.name or "": value for value in caller_inputs(self._model) if value in self._varying}
        if set(feeds) != set(inputs):
            raise InputError(f"inputs {sorted(feeds)} were given, expected {sorted(inputs)}")
        arrays: dict[ir.Value, Array] = {}
        samples = None
        for name, value in inputs.items():
            array = _converted(name, np.asarray(feeds[name]), value)
            shape = self._shapes[value]
            stacks = shape[:1] == (1,)
            count = array.shape[0] if stacks and array.ndim else 1
            if array.shape != ((count, *shape[1:]) if stacks else shape) or count == 0:
                raise InputError(f"input {name!r} has shape {array.shape}, expected {_described(shape)}")
            if samples not in (None, count):
                raise InputError(f"input {name!r} has {count} samples where another has {samples}")
            samples = count
            arrays[value] = array.reshape(count, *shape)
        return arrays, 1 if samples is None else samples

    def _check_state(self, given: Mapping[str, Array] | None) -> dict[ir.Value, Array]:
        held = {}
        for value in self._states:
            name = value.name or ""
            array = self._initial[name] if given is None else _converted(name, np.asarray(given[name]), value)
            if array.shape != self._shapes[value]:
                raise InputError(f"state {name!r} has shape {array.shape}, expected {self._shapes[value]}")
            held[value] = array[None]
        return held

    def _one(self, array: Array, value: ir.Value) -> Array:
        """The value of the one sample that was computed."""
        return array[0] if value in self._varying else array

    def _check_keep(self, keep: Collection[str] | None, samples: int) -> dict[str, ir.Value]:
        names = {value.name or "": value for value in (*self._model.graph.inputs, *self._model.graph.outputs)}
        names |= {value.name or "": value for value in self._shapes}
        kept = list(self.outputs) if keep is None else list(keep)
        for name in kept:
            if name not in names or names[name] not in self._shapes:
                raise InputError(f"no value {name!r} is computed by itself in this graph")
            shape = self._shapes[names[name]]
            if samples > 1 and names[name] in self._varying and shape[:1] != (1,):
                raise InputError(
                    f"value {name!r} of shape {shape} has no axis of samples",
                    hint="Evaluate one sample at a time.",
                )
        return {name: names[name] for name in kept}

    def _joined(self, value: ir.Value, pieces: list[Array], samples: int) -> Array:
        if value not in self._varying:
            return pieces[0]
        array = np.concatenate(pieces)
        shape = self._shapes[value]
        return array.reshape(samples, *shape[1:]) if shape[:1] == (1,) else array[0]


def required_output(unit: Unit, mode: Requantization) -> Output | None:
    """What an integer unit must deliver; None for another kind."""
    qparams = unit.output.qparams
    if unit.kind != "integer" or qparams is None:
        return None
    low, high = clamp_limits(activation_bounds(unit.activation), qparams, mode)
    return Output(qparams, mode, low, high)


def _computation(
    unit: Unit, op: Op[Any], attrs: Any, output: Output | None
) -> Callable[[Sequence[Array | None]], tuple[Array, ...]]:
    several = any(item is not None for item in unit.others)
    results = op.results if several else None
    if several and results is None:
        raise UnsupportedError(f"{op.op_type} has one result only", node=where(unit.node))
    if output is not None:
        if op.quantized is None:
            raise UnsupportedError("the op has no integer form", node=where(unit.node), hint="Leave it in float.")
        qparams = tuple(None if item is None else item.qparams for item in unit.inputs)
        return partial(_integers, op, attrs, qparams, output, results)
    if unit.activation is None and results is not None:
        return partial(results, attrs)
    if unit.activation is None:
        return lambda arrays: (op.reference(attrs, arrays),)
    activation = op_of(unit.activation)
    return partial(_activated, op, attrs, activation, activation.parse(unit.activation))


def _integers(
    op: Op[Any],
    attrs: Any,
    qparams: Sequence[QParams | None],
    output: Output,
    results: Callable[[Any, Sequence[Array | None]], tuple[Array, ...]] | None,
    arrays: Sequence[Array | None],
) -> tuple[Array, ...]:
    assert op.quantized is not None, "checked when the step was made ready"
    operands = [
        None if array is None else QArray.itself(array) if q is None else QArray(array, q)  # type: ignore[arg-type]
        for array, q in zip(arrays, qparams, strict=True)
    ]
    others = () if results is None else results(attrs, arrays)[1:]
    return op.quantized(attrs, operands, output), *others


def _activated(
    op: Op[Any], attrs: Any, activation: Op[Any], activation_attrs: Any, arrays: Sequence[Array | None]
) -> tuple[Array, ...]:
    return (activation.reference(activation_attrs, [op.reference(attrs, arrays)]),)


def _last_readers(found: Sequence[Unit]) -> dict[ir.Value, Unit]:
    return {item.value: unit for unit in found for item in unit.inputs if item is not None}


def _static_shape(value: ir.Value) -> Shape:
    if value.shape is None or not value.shape.is_static():
        raise UnsupportedError(
            f"the shape of input {value.name!r} is not known", hint="Give the dynamic dimensions with --shape."
        )
    return tuple(int(size) for size in value.shape.numpy())


def _converted(name: str, array: Array, value: ir.Value) -> Array:
    expected = np.dtype(np.float32) if value.dtype is None else held_type(value.dtype)
    if array.dtype == expected:
        if value.dtype in WIDER:
            _check_range(name, array, integer_limits(value.dtype))
        return array
    if expected == np.float32 and array.dtype.kind in "fiu":
        return array.astype(np.float32)
    raise InputError(f"input {name!r} is {array.dtype}, expected {expected}")


def _check_range(name: str, array: Array, limits: tuple[int, int]) -> None:
    if array.size and (array.min() < limits[0] or array.max() > limits[1]):
        raise InputError(f"input {name!r} holds {array.min()} to {array.max()}, its type {limits[0]} to {limits[1]}")


def _described(shape: Shape) -> str:
    return f"(samples, {', '.join(map(str, shape[1:]))})" if shape[:1] == (1,) else str(shape)


def sweep_through(sweep: Sweep, visit: Callable[[Unit, Arrays], Arrays]) -> None:
    """Go through a sweep; ``visit`` gives what each unit is to be computed from."""
    item = next(sweep, None)
    while item is not None:
        try:
            item = sweep.send(visit(*item))
        except StopIteration:
            return
