"""The seams of the Program that no lowering uses yet, each driven by hand through the emitter and run."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

import compiled
import models
from microlith.compile.arena import Overlap, Pin, plan_arena
from microlith.compile.check_plan import check_plan
from microlith.compile.emit import emit
from microlith.compile.emit_header import header
from microlith.compile.lower import lower
from microlith.compile.plan import Planned, plan
from microlith.core.errors import UnsupportedError
from microlith.device.load import device
from microlith.device.profile import Device
from microlith.device.toolchain import find_toolchain
from microlith.kernels import header_text, headers_needed
from microlith.program.types import (
    Buffer,
    Call,
    ConstRef,
    Entry,
    Lifetime,
    Load,
    Program,
    Region,
    View,
    calls,
    contiguous,
)

HOST: Device = device("host").model_copy(update={"isas": ("portable",)})


def _conv_pool(seed: int = 3) -> tuple[ir.Model, np.ndarray]:
    """A quantized 3x3 conv over 3 channels followed by a 3x3 max pool with stride 2, and an input for it."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["t"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["y"], name="pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    ]
    weights = {"w": rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32)}
    model = models.make_model(nodes, {"x": (1, 3, 13, 6)}, {"y": (1, 8, 7, 3)}, weights)
    samples = [{"x": rng.uniform(-2, 2, (1, 3, 13, 6)).astype(np.float32)} for _ in range(4)]
    graph = compiled.quantized(compiled.prepared(model), samples)
    return graph, rng.integers(-128, 128, (1, 3, 13, 6), np.int8)


def _planned(graph: ir.Model) -> Planned:
    return plan(lower(graph, "net"), HOST)


def _build(program: Program, directory: Path) -> ctypes.CDLL:
    emitted = emit(program, HOST)
    texts = {Path(path).name: text for path, text in emitted.files.items()}
    texts["net.h"] = header(program, "by hand")
    for used in emitted.kernels:
        texts |= {name: header_text(name) for name in headers_needed(used)}
    for name, text in texts.items():
        (directory / name).write_text(text)
    out = directory / "net.so"
    sources = [directory / "net.c", directory / "net_weights.c"]
    find_toolchain(HOST).compile_shared(sources, [directory], out, sanitize=True)
    return ctypes.CDLL(str(out))


def _run(library: ctypes.CDLL, program: Program, entry: Entry, given: np.ndarray) -> np.ndarray:
    memory = np.full(program.spaces["arena"] + 32, 0xA5, np.uint8)
    start = -memory.ctypes.data % 16
    context = (ctypes.c_uint8 * 256)()
    size = ctypes.c_size_t(program.spaces["arena"])
    assert library.net_init(context, ctypes.c_void_p(memory.ctypes.data + start), size) == 0
    arena = memory[start : start + program.spaces["arena"]]
    source, result = program.view(entry.inputs[0]), program.view(entry.outputs[0])
    first = program.offsets[source.buffer] + source.offset
    arena[first : first + given.nbytes] = given.view(np.uint8).reshape(-1)
    assert getattr(library, f"net_{entry.name}")(context) == 0
    last = program.offsets[result.buffer] + result.offset
    return arena[last : last + result.bytes].view(np.int8).reshape(result.shape).copy()


def _streamed(planned: Planned, rows: int, ring_rows: int) -> Program:
    """The planned Program with its conv and pool in a Region, and a ring of rows between them."""
    program = planned.program
    ops = list(calls(program.entries[0].body))
    at = next(index for index, op in enumerate(ops) if op.op == "conv2d")
    conv, pool = ops[at : at + 2]
    between = program.view(conv.writes[0])
    ring = replace(between, ring_rows=ring_rows)
    row_bytes = between.bytes // between.shape[1]
    buffers = dict(program.buffers) | {ring.buffer: replace(program.buffers[ring.buffer], bytes=ring_rows * row_bytes)}
    # While a region runs, all that it touches is alive.
    members = {program.view(name).buffer for op in (conv, pool) for name in (*op.reads, *op.writes)}
    for name in members:
        lifetime = buffers[name].lifetime
        buffers[name] = replace(buffers[name], lifetime=Lifetime(min(lifetime.first, at), max(lifetime.last, at + 1)))
    body = (*map(Call, ops[:at]), Region(1, rows, (Call(conv), Call(pool))), *map(Call, ops[at + 2 :]))
    views = dict(program.views) | {ring.id: ring}
    arena = plan_arena(buffers.values())
    streamed = replace(
        program,
        entries=(replace(program.entries[0], body=body),),
        buffers=buffers,
        views=views,
        offsets=arena.offsets,
        spaces=arena.spaces,
    )
    check_plan(streamed, ())
    return streamed


@pytest.mark.parametrize(("rows", "ring_rows"), [(1, 3), (2, 5)])
def test_region_of_rows_equals_the_whole(tmp_path: Path, rows: int, ring_rows: int) -> None:
    graph, given = _conv_pool()
    planned = _planned(graph)
    streamed = _streamed(planned, rows, ring_rows)
    result = _run(_build(streamed, tmp_path), streamed, streamed.entries[0], given)
    (wanted,) = compiled.reference(graph, {"x": given})
    np.testing.assert_array_equal(result, wanted)
    assert np.unique(wanted).size > 4
    assert streamed.buffers[_ring(streamed).buffer].bytes == ring_rows * 6 * 8


def _ring(program: Program) -> View:
    return next(view for view in program.views.values() if view.ring_rows is not None)


def test_ring_that_is_too_short_is_seen(tmp_path: Path) -> None:
    """The comparison above can fail: with two rows the pool reads rows that were overwritten."""
    graph, given = _conv_pool()
    streamed = _streamed(_planned(graph), 1, 2)
    result = _run(_build(streamed, tmp_path), streamed, streamed.entries[0], given)
    (wanted,) = compiled.reference(graph, {"x": given})
    assert (result != wanted).any()


def test_overlap_places_a_result_over_its_operand() -> None:
    buffers = [
        Buffer("in", 64, 16, "arena", Lifetime(-1, 0)),
        Buffer("out", 48, 16, "arena", Lifetime(0, 1)),
    ]
    apart = plan_arena(buffers)
    assert apart.spaces["arena"] == 112
    over = plan_arena(buffers, overlaps=[Overlap("out", "in", 0)])
    assert over.spaces["arena"] == over.bounds["arena"] == 64
    lead = plan_arena(buffers, overlaps=[Overlap("out", "in", 16)])
    assert lead.offsets["out"] + 16 <= lead.offsets["in"]
    assert lead.spaces["arena"] == 80
    pinned = plan_arena(buffers, overlaps=[Overlap("out", "in", 0)], pins=[Pin("in", 32)])
    assert pinned.offsets["in"] == 32


def test_elementwise_op_runs_in_place(tmp_path: Path) -> None:
    node = helper.make_node("Tanh", ["x"], ["y"], name="tanh")
    model = models.make_model([node], {"x": (1, 4, 5, 6)}, {"y": (1, 4, 5, 6)})
    rng = np.random.default_rng(0)
    graph = compiled.quantized(compiled.prepared(model), [{"x": rng.uniform(-2, 2, (1, 4, 5, 6)).astype(np.float32)}])
    program = _planned(graph).program
    assert program.spaces["arena"] == 4 * 5 * 6
    given = rng.integers(-128, 128, (1, 4, 5, 6), np.int8)
    result = _run(_build(program, tmp_path), program, program.entries[0], given)
    np.testing.assert_array_equal(result, compiled.reference(graph, {"x": given})[0])


def test_entries_share_one_const(tmp_path: Path) -> None:
    """A second entry computes the first half of a layer's channels from a slice of the same weights."""
    rng = np.random.default_rng(5)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc", transB=1)
    weights = {"w": rng.normal(size=(8, 6)).astype(np.float32), "b": rng.normal(size=8).astype(np.float32)}
    model = models.make_model([node], {"x": (1, 6)}, {"y": (1, 8)}, weights)
    samples = [{"x": rng.uniform(-2, 2, (1, 6)).astype(np.float32)} for _ in range(4)]
    graph = compiled.quantized(compiled.prepared(model), samples)
    program = _planned(graph).program
    full = program.entries[0]
    (op,) = calls(full.body)
    output = program.view(op.writes[0])
    half_view = replace(output, id="half", shape=(1, 4), strides=contiguous((1, 4)))
    consts = {role: ConstRef(reference.id, (0, 4)) for role, reference in op.consts.items()}
    half = Entry("half", full.inputs, ("half",), (Call(replace(op, writes=("half",), consts=consts)),))
    both = replace(program, entries=(full, half), views=dict(program.views) | {"half": half_view})
    library = _build(both, tmp_path)
    given = rng.integers(-128, 128, (1, 6), np.int8)
    (wanted,) = compiled.reference(graph, {"x": given})
    np.testing.assert_array_equal(_run(library, both, full, given), wanted)
    np.testing.assert_array_equal(_run(library, both, half, given), wanted[:, :4])
    assert sum(stored.bytes for stored in both.storage.values()) == sum(
        stored.bytes for stored in program.storage.values()
    )


def test_steps_without_an_emitter_are_refused() -> None:
    graph, _ = _conv_pool()
    program = _planned(graph).program
    const = next(iter(program.consts))
    body = (Load(ConstRef(const), next(iter(program.views))), *program.entries[0].body)
    with pytest.raises(UnsupportedError, match="Load step"):
        emit(replace(program, entries=(replace(program.entries[0], body=body),)), HOST)
