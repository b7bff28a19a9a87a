"""The free check: what a model needs, whether it fits a device, and what stands in the way. No data, no compiler."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from microlith.compile.choose import Goal
from microlith.compile.fusions import fusion_rows
from microlith.compile.lower import HANDLERS, lower
from microlith.compile.pipeline import float_nodes
from microlith.compile.plan import plan
from microlith.core.details import FusionRow, PassRow
from microlith.core.errors import MicrolithError, UnsupportedError
from microlith.device.profile import Device
from microlith.graph.macs import node_macs
from microlith.graph.passes.place_qdq import place_qdq, values_to_observe
from microlith.quant.schemes import Scheme
from microlith.search.prepare import optimize_graph


@dataclass(frozen=True)
class Form:
    """The model in one arithmetic.

    Attributes:
        arithmetic: ``as given``, or ``int8`` after quantization with ranges that stand for those of real data.
        weights_bytes: stored constants; None where the form cannot be compiled.
        arena_bytes: activations, inputs and outputs at their peak.
        least_arena_bytes: the same where as much is done for it as can be.
        estimated_cycles: from the kernels' formulas; for comparison only.
        peak_layer: where the most bytes are alive.
        least_peak_layer: the same where the arena is the least.
        obstacles: why it cannot be compiled; empty where it can.
        fusions: what lowering joined.
        fits: whether weights and the least arena stay below the device's flash and RAM; code and stack come on top.
    """

    arithmetic: str
    weights_bytes: int | None
    arena_bytes: int | None
    estimated_cycles: float | None
    peak_layer: str
    obstacles: tuple[str, ...]
    fits: bool | None
    fusions: tuple[FusionRow, ...] = ()
    least_arena_bytes: int | None = None
    least_peak_layer: str = ""


@dataclass(frozen=True)
class Check:
    """What the free check found.

    Attributes:
        nodes: after the passes.
        macs: multiply-accumulates of one inference.
        ops: node count by op type.
        passes: what each pass did.
        forms: the model as given, and quantized where it is a float model.
        flash_bytes: the device's; None where it sets no limit.
        ram_bytes: likewise.
    """

    nodes: int
    macs: int
    ops: dict[str, int]
    passes: tuple[PassRow, ...]
    forms: tuple[Form, ...]
    flash_bytes: int | None
    ram_bytes: int | None


def check(model: ir.Model, device: Device) -> Check:
    """Look at a model for a device.

    Args:
        model: as loaded.
        device: what for.
    """
    optimized, passes = optimize_graph(model)
    ops: dict[str, int] = {}
    for node in optimized.graph:
        ops[node.op_type] = ops.get(node.op_type, 0) + 1
    quantized = any(node.op_type == "QuantizeLinear" for node in optimized.graph)
    unknown = _unknown_ops(optimized)
    macs = 0 if unknown else sum(node_macs(optimized).values())
    forms = [_form("as given", optimized, device, unknown)]
    if not quantized:
        forms.append(_quantized_form(optimized, device, unknown))
    return Check(
        len(optimized.graph),
        macs,
        dict(sorted(ops.items())),
        passes,
        tuple(forms),
        device.capacity("flash"),
        device.capacity("ram"),
    )


def _unknown_ops(model: ir.Model) -> tuple[str, ...]:
    return tuple(
        f"{node.op_type} cannot be compiled (node {node.name})"
        for node in model.graph
        if node.op_type not in HANDLERS and node.op_type != "QuantizeLinear"
    )


def _quantized_form(model: ir.Model, device: Device, unknown: tuple[str, ...]) -> Form:
    if unknown:
        return Form("int8", None, None, None, "", unknown, None)
    try:
        # Sizes and kernels do not depend on the ranges.
        ranges = dict.fromkeys(values_to_observe(model), (-1.0, 1.0))
        quantized = place_qdq(model, ranges, Scheme(), device.requantization)
    except MicrolithError as error:
        return Form("int8", None, None, None, "", (str(error),), None)
    return _form("int8", quantized, device, ())


def _form(arithmetic: str, model: ir.Model, device: Device, unknown: tuple[str, ...]) -> Form:
    if unknown:
        return Form(arithmetic, None, None, None, "", unknown, None)
    obstacles = tuple(f"{name} is computed in float" for name in float_nodes(model))
    try:
        lowered = lower(model, "model")
        planned, least = plan(lowered, device), plan(lowered, device, Goal(ram_bytes=1))
    except UnsupportedError as error:
        return Form(arithmetic, None, None, None, "", (*obstacles, str(error)), None)
    weights = sum(stored.bytes for stored in planned.program.storage.values())
    arena, least_arena = (sum(item.program.spaces.values()) for item in (planned, least))
    flash, ram = device.capacity("flash"), device.capacity("ram")
    fits = (flash is None or weights < flash) and (ram is None or least_arena < ram)
    fusions = fusion_rows(model, planned.program)
    return Form(
        arithmetic,
        weights,
        arena,
        sum(way.cycles for way in planned.stretches),
        planned.peak_layer()[0],
        obstacles,
        fits,
        fusions,
        least_arena,
        least.peak_layer()[0],
    )
