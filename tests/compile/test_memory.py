"""Regions of streamed rows and the choice of how calls run: same bits, less memory, the cheapest way within a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

import compiled
import models
from microlith.compile.check_rows import check_rows
from microlith.compile.choose import Goal
from microlith.compile.context import call_context
from microlith.compile.lower import lower
from microlith.compile.memory import TURN_ROWS, Stretch, cheapest_path, lowest_peak
from microlith.compile.pipeline import FLOAT_BOUND, compile_graph
from microlith.compile.plan import Planned, plan
from microlith.compile.stream import TURN_CYCLES, Streams
from microlith.device.load import device
from microlith.device.profile import Device
from microlith.graph.metadata import io_qparams
from microlith.kernels import kernel
from microlith.program.types import Program, Region, calls
from microlith.quant.integer_move import quantize
from microlith.search.artifact import Tools, build_package, check_compiled

LEAST = Goal(ram_bytes=1)
M4 = "stm32l4r5"
PORTABLE: Device = device("host").model_copy(update={"isas": ("portable",)})


def _conv(name: str, x: str, y: str, kernel: int, **attributes: object) -> onnx.NodeProto:
    pad = kernel // 2
    found = {"kernel_shape": [kernel] * 2, "pads": [pad] * 4, **attributes}
    return helper.make_node("Conv", [x, f"w_{name}"], [y], name=name, **found)


def residual() -> onnx.ModelProto:
    """A first layer, a block with its input added, and a block of half the rows with a 1x1 beside it."""
    nodes = [
        _conv("first", "x", "a", 3),
        helper.make_node("Relu", ["a"], ["b"], name="relu_0"),
        _conv("one", "b", "c", 3),
        helper.make_node("Relu", ["c"], ["d"], name="relu_1"),
        _conv("two", "d", "e", 3),
        helper.make_node("Add", ["e", "b"], ["f"], name="add_0"),
        helper.make_node("Relu", ["f"], ["g"], name="relu_2"),
        _conv("three", "g", "h", 3, strides=[2, 2]),
        _conv("beside", "g", "i", 1, strides=[2, 2]),
        helper.make_node("Add", ["h", "i"], ["j"], name="add_1"),
        helper.make_node("GlobalAveragePool", ["j"], ["y"], name="pool"),
    ]
    shapes = {
        "first": (8, 1, 3, 3),
        "one": (8, 8, 3, 3),
        "two": (8, 8, 3, 3),
        "three": (12, 8, 3, 3),
        "beside": (12, 8, 1, 1),
    }
    return models.make_model(nodes, {"x": (1, 1, 17, 12)}, {"y": (1, 12, 1, 1)}, _weights(shapes))


def separable() -> onnx.ModelProto:
    """Depthwise and 1x1 convolutions that widen and shrink, a pool of overlapping windows, an uneven stride."""
    nodes = [
        _conv("first", "x", "a", 3, strides=[2, 2]),
        _conv("deep", "a", "b", 3, group=8),
        _conv("wide", "b", "c", 1),
        helper.make_node("Relu", ["c"], ["d"], name="relu"),
        _conv("half", "d", "e", 3, group=40, strides=[2, 2]),
        helper.make_node("MaxPool", ["e"], ["f"], name="max", kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 0]),
        _conv("last", "f", "y", 1),
    ]
    shapes = {
        "first": (8, 1, 3, 3),
        "deep": (8, 1, 3, 3),
        "wide": (40, 8, 1, 1),
        "half": (40, 1, 3, 3),
        "last": (4, 40, 1, 1),
    }
    return models.make_model(nodes, {"x": (1, 1, 30, 22)}, {"y": (1, 4, 8, 3)}, _weights(shapes))


def _weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    return {f"w_{name}": rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


MODELS = {"residual": residual, "separable": separable}


def _samples(graph: ir.Model, rng: np.random.Generator, count: int = 3) -> list[dict[str, np.ndarray]]:
    (x,) = graph.graph.inputs
    assert x.shape is not None
    return [{"x": rng.uniform(-2, 2, tuple(x.shape.numpy())).astype(np.float32)} for _ in range(count)]


def _graphs(name: str, rng: np.random.Generator) -> tuple[ir.Model, ir.Model]:
    """A float graph and its quantized form."""
    real = compiled.prepared(MODELS[name]())
    mode = "fixed" if name == "residual" else "float"
    return real, compiled.quantized(real, _samples(real, rng), mode)


def _regions(program: Program) -> list[Region]:
    return [step for step in program.entries[0].body if isinstance(step, Region)]


@pytest.mark.parametrize("name", MODELS)
def test_streamed_rows_give_the_same_bits_in_less_memory(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    real, whole = _graphs(name, rng)
    given = {"real": real, "whole": whole}
    plain = compiled.Library(tmp_path / "plain", given, PORTABLE)
    streamed = {
        key: compiled.Member(graph, compile_graph(graph, PORTABLE, name=key, goal=LEAST))
        for key, graph in given.items()
    }
    least = compiled.Library(tmp_path / "least", streamed, PORTABLE)
    for key in given:
        before, after = (library.members[key].package.planned for library in (plain, least))
        assert not _regions(before.program) and _regions(after.program)
        assert after.program.spaces["arena"] < 0.8 * before.program.spaces["arena"]
    qparams = io_qparams(whole, "x")
    for sample in _samples(real, rng):
        (found,), (wanted,) = least.run("real", sample), compiled.reference(real, sample)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=FLOAT_BOUND * np.abs(wanted).max())
        integers = {"x": quantize(sample["x"], qparams)}
        (found,), (wanted,) = least.run("whole", integers), compiled.reference(whole, integers)
        np.testing.assert_array_equal(found, wanted)
        assert np.unique(wanted).size > 4


@pytest.mark.mcu
@pytest.mark.parametrize("name", MODELS)
def test_streamed_rows_on_the_emulated_device(name: str, rng: np.random.Generator) -> None:
    real, whole = _graphs(name, rng)
    tools = Tools.find(device(M4), None, required=True)
    package = build_package(whole, tools, "net", goal=LEAST)
    assert _regions(package.planned.program)
    qparams = io_qparams(whole, "x")
    samples = [{"x": quantize(item["x"], qparams)} for item in _samples(real, rng)]
    rows = check_compiled(whole, package.files, package.manifest, tools, samples, emulated_samples=3)
    assert len(rows) == 2
    assert all(row.passed and row.differing == 0 and row.elements for row in rows)


def _planned(name: str, rng: np.random.Generator, goal: Goal) -> Planned:
    return plan(lower(_graphs(name, rng)[1], "net"), device(M4), goal)


def _cycles(planned: Planned) -> float:
    return sum(way.cycles for way in planned.stretches)


@pytest.mark.parametrize("name", MODELS)
def test_a_limit_is_met_by_the_cheapest_way(name: str, rng: np.random.Generator) -> None:
    program = lower(_graphs(name, rng)[1], "net")
    fastest, least = (plan(program, device(M4), goal) for goal in (Goal(ram_bytes=10**9), LEAST))
    spans = [item.program.spaces["arena"] for item in (least, fastest)]
    assert spans[0] < 0.7 * spans[1]
    cycles = [_cycles(least)]
    for limit in np.linspace(*spans, 5).astype(int):
        found = plan(program, device(M4), Goal(ram_bytes=int(limit)))
        assert found.program.spaces["arena"] <= limit
        cycles.append(_cycles(found))
    assert cycles == sorted(cycles, reverse=True) and cycles[-1] == _cycles(fastest) < cycles[0]
    balanced = plan(program, device(M4))
    assert _cycles(balanced) <= 1.02 * _cycles(fastest)
    assert balanced.program.spaces["arena"] <= spans[1]


@pytest.mark.parametrize("name", ["residual", "separable"])
def test_a_region_never_costs_less_than_its_calls(name: str, rng: np.random.Generator) -> None:
    program, board = _planned(name, rng, Goal(ram_bytes=10**9)).program, device(M4)
    streams = Streams(program, tuple(calls(program.entries[0].body)), board)
    found = 0
    for chain in (chain for begin in range(len(streams.calls)) for chain in streams.chains(begin)):
        for turns in (chain.turns(rows) for rows in TURN_ROWS if rows < chain.heights[-1]):
            scheduled = chain.scheduled(turns)
            whole = [kernel(call.kernel).cost(call_context(program, call), board).cycles for call in scheduled.calls]
            switches = TURN_CYCLES * sum(end > begin for turn in turns for begin, end in turn)
            assert scheduled.cycles(turns, board, whole) >= sum(whole) + switches - 1e-6
            found += 1
    assert found > 10


def test_checker_sees_a_ring_that_is_too_short(rng: np.random.Generator) -> None:
    program = _planned("residual", rng, LEAST).program
    check_rows(program)
    name = next(name for name, view in program.views.items() if (view.ring_rows or 0) > 1)
    view = program.views[name]
    assert view.ring_rows is not None
    short = dict(program.views) | {name: replace(view, ring_rows=view.ring_rows - 1)}
    with pytest.raises(AssertionError, match="does not find row"):
        check_rows(replace(program, views=short))


def test_checker_sees_a_result_that_is_too_near(rng: np.random.Generator) -> None:
    program = _planned("residual", rng, LEAST).program
    region = _regions(program)[0]
    last = list(calls((region,)))[-1]
    buffer = program.view(last.writes[0]).buffer
    rows = program.view(last.writes[0])
    for down in (rows.bytes // rows.shape[1], 2 * rows.bytes // rows.shape[1]):
        moved = dict(program.offsets) | {buffer: program.offsets[buffer] + down}
        spaces = dict(program.spaces) | {"arena": program.spaces["arena"] + down}
        with pytest.raises(AssertionError, match=r"does not find row|spoiled|writes over rows"):
            check_rows(replace(program, offsets=moved, spaces=spaces))


@st.composite
def _ways(draw: st.DrawFn) -> list[list[Stretch]]:
    count = draw(st.integers(1, 5))
    found: list[list[Stretch]] = []
    for begin in range(count):
        ends = [begin + 1, *draw(st.lists(st.integers(begin + 1, count), max_size=3))]
        found.append(
            [Stretch(begin, end, 0, (), draw(st.integers(1, 9)), float(draw(st.integers(1, 9)))) for end in ends]
        )
    return found


@settings(deadline=None, max_examples=200)
@given(_ways(), st.integers(0, 9))
def test_paths_are_the_best_ones(ways: list[list[Stretch]], more: int) -> None:
    def paths_from(begin: int) -> list[list[Stretch]]:
        if begin == len(ways):
            return [[]]
        return [[way, *rest] for way in ways[begin] for rest in paths_from(way.end)]

    paths = paths_from(0)
    lowest = lowest_peak(ways)
    assert lowest == min(max(way.live_bytes for way in path) for path in paths)
    found = cheapest_path(ways, lowest + more)
    possible = [path for path in paths if max(way.live_bytes for way in path) <= lowest + more]
    assert found in possible
    assert sum(way.cycles for way in found) == min(sum(way.cycles for way in path) for path in possible)
