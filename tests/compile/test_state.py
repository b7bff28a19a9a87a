"""Models with state, compiled: sequences against the reference, contexts apart from each other, states in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

import compiled
import state_models
from microlith.compile.check_plan import check_states
from microlith.compile.lower import lower
from microlith.compile.pipeline import random_feeds
from microlith.compile.plan import plan
from microlith.device.load import device
from microlith.graph.passes import DEFAULT_PASSES
from microlith.graph.pipeline import run_passes
from microlith.graph.state import initial_values
from microlith.graph.stepper import Stepper
from microlith.program.types import STATE_SPACE, Call, Program, calls
from microlith.quant.schemes import Scheme
from microlith.quant.types import Requantization

HOST = device("host")
STEPS = 7


def _prepared(build: Callable[[], ir.Model]) -> ir.Model:
    graph = build()
    run_passes(graph, DEFAULT_PASSES, verify=True)
    return graph


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    graphs = {name: _prepared(build) for name, build in state_models.MODELS.items()}
    return compiled.Library(tmp_path_factory.mktemp("states"), graphs, HOST)


_SCHEMES = {
    "int8": Scheme(calibration="minmax"),
    "uint8": Scheme(calibration="minmax", activations="uint8"),
}
_QUANTIZED = {
    "gru_cell_float": ("gru_cell", "float", "int8"),
    "lstm_cell_fixed": ("lstm_cell", "fixed", "int8"),
    "conv_fixed": ("streaming_conv", "fixed", "uint8"),
    "accumulator_float": ("accumulator", "float", "int8"),
    "delay_line_float": ("delay_line", "float", "uint8"),
    "shift_register_float": ("shift_register", "float", "int8"),
    "read_late_fixed": ("read_late", "fixed", "int8"),
}


def _quantized(build: Callable[[], ir.Model], mode: Requantization, scheme: Scheme) -> ir.Model:
    graph = _prepared(build)
    return compiled.quantized(graph, random_feeds(graph, 20, 5), mode, scheme)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> compiled.Library:
    graphs = {
        name: _quantized(state_models.MODELS[model], mode, _SCHEMES[scheme])
        for name, (model, mode, scheme) in _QUANTIZED.items()
    }
    return compiled.Library(tmp_path_factory.mktemp("quantized"), graphs, HOST)


@pytest.mark.parametrize("name", _QUANTIZED)
def test_a_quantized_sequence_is_exact(quantized: compiled.Library, name: str) -> None:
    member = quantized.members[name]
    instance, stepper = compiled.Instance(quantized, name), Stepper(member.graph)
    seen = []
    for _ in range(2):
        for step in random_feeds(member.graph, 12, 6):
            (got,), (wanted,) = instance.run(step), stepper.step(step).values()
            np.testing.assert_array_equal(got, wanted)
            seen.append(got.tobytes())
        instance.reset()
        stepper.reset()
    assert len(set(seen)) > 3
    assert seen[:12] == seen[12:]
    assert all(state.dtype == "s8" for state in member.package.manifest.states)


def _assert_step(got: list[np.ndarray], stepper: Stepper, feeds: dict[str, np.ndarray]) -> None:
    for found, wanted in zip(got, stepper.step(feeds).values(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", state_models.MODELS)
def test_a_sequence(library: compiled.Library, name: str) -> None:
    graph = library.members[name].graph
    instance, stepper = compiled.Instance(library, name), Stepper(graph)
    feeds = random_feeds(graph, STEPS, 3)
    for step in feeds:
        _assert_step(instance.run(step), stepper, step)
    instance.reset()
    stepper.reset()
    for step in feeds[::-1]:
        _assert_step(instance.run(step), stepper, step)


@pytest.mark.parametrize("shared", [False, True])
def test_two_sequences_at_a_time(library: compiled.Library, shared: bool) -> None:
    """Contexts with states of their own do not see each other, with arenas of their own or one for both."""
    graph = library.members["lstm_cell"].graph
    one = compiled.Instance(library, "lstm_cell")
    two = compiled.Instance(library, "lstm_cell", one.arena if shared else None)
    instances, steppers = (one, two), (Stepper(graph), Stepper(graph))
    for index, step in enumerate(random_feeds(graph, 10, 4)):
        turn = int(index % 3 == 0)
        _assert_step(instances[turn].run(step), steppers[turn], step)


def _planned(name: str) -> Program:
    return plan(lower(_prepared(state_models.MODELS[name]), "net"), HOST).program


@pytest.mark.parametrize(
    ("name", "copies"),
    [
        ("gru_cell", 0),
        ("lstm_cell", 0),
        ("accumulator", 0),  # its only reader may write in place
        ("read_late", 1),
        ("swapped", 3),  # one of the two is moved through the arena
        ("shift_register", 1),
    ],
)
def test_a_state_is_written_in_place_where_it_can_be(name: str, copies: int) -> None:
    program = _planned(name)
    moves = [call for call in calls(program.entries[0].body) if call.op == "copy"]
    updates = {slot.update for slot in program.states}
    into = [call for call in moves if updates & set(call.writes)]
    assert len(into) <= copies
    assert (len(into) == 0) == (copies == 0)
    sizes = [slot.initial.nbytes for slot in program.states]
    assert program.spaces[STATE_SPACE] >= sum(sizes)


def test_the_checker_sees_a_state_that_is_overwritten_too_early() -> None:
    lowered = lower(_prepared(state_models.read_late), "net")
    program = plan(lowered, HOST).program
    (entry,) = program.entries
    ops = list(calls(entry.body))
    update = next(call for call in ops if program.states[0].update in call.writes)
    ops.remove(update)
    late = next(index for index, call in enumerate(ops) if "late" in call.source_nodes)
    ops.insert(late, update)
    broken = replace(program, entries=(replace(entry, body=tuple(map(Call, ops))),))
    with pytest.raises(AssertionError, match="as planned"):
        check_states(lowered, broken)


def test_the_checker_sees_a_state_that_is_not_kept() -> None:
    lowered = lower(_prepared(state_models.accumulator), "net")
    program = plan(lowered, HOST).program
    name = program.view(program.states[0].view).buffer
    buffer = program.buffers[name]
    gone = replace(buffer, lifetime=replace(buffer.lifetime, last=0))
    with pytest.raises(AssertionError, match="not kept"):
        check_states(lowered, replace(program, buffers={**program.buffers, name: gone}))
    other = replace(program, entries=(replace(program.entries[0], body=()),))
    with pytest.raises(AssertionError, match="becomes"):
        check_states(lowered, other)


def test_header_and_manifest_tell_the_state(library: compiled.Library) -> None:
    package = library.members["gru"].package
    header = package.files["include/gru.h"].decode()
    assert "h_in, float32 1x1x8" in header
    assert "void gru_reset(const gru_ctx *ctx);" in header
    assert "gru_state *state)" in header
    (state,) = package.manifest.states
    assert (state.input, state.output, state.shape, state.bytes) == ("h_in", "h_out", (1, 1, 8), 32)
    assert [tensor.name for tensor in package.manifest.entries[0].inputs] == ["x"]
    assert [tensor.name for tensor in package.manifest.entries[0].outputs] == ["y"]


def test_initial_values_are_in_the_source(library: compiled.Library) -> None:
    first = initial_values(library.members["gru"].graph)["h_in"]
    assert np.unique(first).size > 1
    assert "gru_initial_0[8]" in library.members["gru"].package.files["src/gru.c"].decode()
    assert "_initial_" not in library.members["lstm_cell"].package.files["src/lstm_cell.c"].decode()
