"""An artifact with its evidence: compiled, built, run and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from microlith.compile.bound import bound
from microlith.compile.choose import Goal
from microlith.compile.manifest import Compiler, Manifest
from microlith.compile.package import Package
from microlith.compile.pipeline import compile_graph, float_nodes, random_feeds
from microlith.core.details import BufferRow, CheckRow, LayerRow, MemoryPlanRow, RegionRow, RunDetails, TradeRow
from microlith.core.errors import ToolchainError, UnsupportedError, VerificationError
from microlith.core.evidence import Evidence, EvidenceSet
from microlith.device.emulator import Counts, Emulator
from microlith.device.host import HostRunner
from microlith.device.load import device as find_device
from microlith.device.profile import Device
from microlith.device.toolchain import Toolchain, find_toolchain
from microlith.graph.macs import node_macs
from microlith.program.types import OpCall, calls
from microlith.search.code_sizes import linked_code_bytes
from microlith.search.fit import fitting_package, package_on_device, package_within_ram, unlinked_goal
from microlith.verify.agreement import compare, to_bytes
from microlith.verify.figures import Figures, emulated_figures, host_figures, planned_figures
from microlith.verify.outside import layers_against_outside, whole_against_outside
from microlith.verify.workbench import Workbench

Feeds = Mapping[str, NDArray[np.generic]]
Progress = Callable[[str, int, int | None], None]

_MOST_NAMES = 8
_MOVES = ("copy", "flip_sign")


def no_progress(what: str, done: int, total: int | None) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Artifact:
    """What ``out/`` is written from.

    Attributes:
        model: the graph that was compiled.
        package: its files.
        evidence: figures.
        details: layers, memory, passes and checks.
        recipe: YAML text of the recipe that made the model; empty where none was applied.
    """

    model: ir.Model
    package: Package
    evidence: EvidenceSet
    details: RunDetails
    recipe: str = ""

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest."""
        return self.package.manifest


@dataclass(frozen=True)
class Tools:
    """The toolchains that there are.

    Attributes:
        device: what to compile for.
        target: toolchain for it; None where there is none, in which case figures that need it are absent.
        why_not: the reason.
    """

    device: Device
    target: Toolchain | None
    why_not: str = ""

    @classmethod
    def find(cls, device: Device, compiler: str | None, *, required: bool) -> Tools:
        """Look for the toolchain.

        Raises:
            ToolchainError: there is none, and it is required or was named.
        """
        try:
            return cls(device, find_toolchain(device, compiler))
        except ToolchainError as error:
            if required or compiler is not None:
                raise
            return cls(device, None, str(error))

    @classmethod
    def for_this_machine(cls) -> Tools:
        """The toolchain for the host.

        Raises:
            ToolchainError: there is none.
        """
        return cls.find(find_device("host"), None, required=True)

    @property
    def compiler(self) -> Compiler | None:
        """For the manifest."""
        if self.target is None:
            return None
        return Compiler(name=self.target.name, version=self.target.version, flags=self.target.flags)


def build_package(
    model: ir.Model,
    tools: Tools,
    name: str,
    samples: Sequence[Feeds] = (),
    seed: int = 0,
    packages: Sequence[str] = ("c",),
    *,
    goal: Goal = Goal(),  # noqa: B008 - frozen
    flash_bytes: int | None = None,
    ram_bytes: int | None = None,
) -> Package:
    """Compile a graph for the tools' device.

    Args:
        model: through the graph passes.
        tools: toolchains; one for the device is needed where flash or RAM is limited.
        name: prefix of every C symbol.
        samples: inputs for the golden vectors.
        seed: of random inputs.
        packages: build systems to package the library for, beside plain C.
        goal: what kernels are chosen by.
        flash_bytes: most bytes of the linked minimal application.
        ram_bytes: most bytes of RAM that it uses, its stack among them; a host has no limit.

    Raises:
        BudgetUnmetError: nothing takes as little flash or RAM.
    """

    def build(wanted: Goal) -> Package:
        return compile_graph(
            model,
            tools.device,
            name=name,
            compiler=tools.compiler,
            samples=samples,
            seed=seed,
            packages=packages,
            goal=wanted,
        )

    def within_flash(wanted: Goal) -> Package:
        target = tools.target
        if target is not None and wanted.opt == "size" and not tools.device.is_host:
            linked = {**linked_code_bytes(model, target), **wanted.known.code_bytes}
            wanted = replace(wanted, known=replace(wanted.known, code_bytes=linked))
        if flash_bytes is None or tools.device.is_host:
            return build(unlinked_goal(wanted, tools.device.capacity("flash")))
        assert target is not None, "whoever limits flash looks for a toolchain"
        return fitting_package(build, lambda: linked_code_bytes(model, target), target, wanted, flash_bytes)

    if ram_bytes is None or tools.device.is_host:
        return package_on_device(within_flash, goal, tools.device.capacity("ram"))
    return package_within_ram(within_flash, lambda package: _ram_bytes(model, package, tools, samples), goal, ram_bytes)


def _ram_bytes(model: ir.Model, package: Package, tools: Tools, samples: Sequence[Feeds]) -> int | None:
    """RAM of the minimal application; None where it cannot be emulated."""
    figures = figures_of(model, package, tools, samples, thorough=False)
    item = EvidenceSet(figures.evidence).get("ram_bytes")
    return None if item is None else int(item.high)


def figures_of(
    model: ir.Model,
    package: Package,
    tools: Tools,
    samples: Sequence[Feeds] = (),
    *,
    thorough: bool = True,
    beside: Sequence[str] = (),
) -> Figures:
    """Every figure that the tools allow; without a toolchain those of the plan only.

    Args:
        model: the compiled graph.
        package: for the tools' device.
        tools: toolchains.
        samples: the first is what runs; a random input without.
        thorough: see :func:`microlith.verify.figures.emulated_figures`.
        beside: likewise; none for a host.
    """
    macs = sum(node_macs(model).values())
    planned = planned_figures(package.manifest, macs)
    if tools.target is None:
        return Figures(planned, None, float_notes(model, package, None))
    feeds = samples[0] if samples else random_feeds(model, 1, 0)[0]
    inputs = to_bytes(package.manifest.entries[0], feeds)
    with Workbench(package.files, package.manifest, tools.target) as bench:
        run = (
            host_figures(bench, inputs)
            if tools.device.is_host
            else emulated_figures(bench, inputs, thorough=thorough, beside=beside)
        )
    notes = float_notes(model, package, run.counts) + run.notes
    return replace(run, evidence=planned + run.evidence, notes=notes)


def float_notes(model: ir.Model, package: Package, counts: Counts | None) -> tuple[str, ...]:
    """What of a quantized model is computed in float, and what that costs; empty where nothing is.

    Args:
        model: the compiled graph.
        package: of it.
        counts: instructions of each layer, where they were counted.
    """
    names = {name.rsplit(" (", 1)[0]: name for name in float_nodes(model)}
    if not names:
        return ()
    rows = layer_rows(model, package, counts, {})
    left = [row for row in rows if names.keys() & set(row.name.split(", "))]
    shown = ", ".join(list(names.values())[:_MOST_NAMES]) + (" ..." if len(names) > _MOST_NAMES else "")
    costs = [f"{sum(row.macs for row in left):,} of {sum(row.macs for row in rows):,} MACs"]
    costs.append(f"{sum(row.weight_bytes for row in left):,} B of constants")
    if counts is not None:
        share = sum(row.instructions or 0 for row in left) / max(1, sum(row.instructions or 0 for row in rows))
        costs.append(f"{share:.1%} of the instructions of all layers")
    which = "1 op stays" if len(names) == 1 else f"{len(names)} ops stay"
    return (f"{which} in float32 by choice (float_ops): {shown}; {', '.join(costs)}.",)


def check_compiled(
    model: ir.Model,
    files: Mapping[str, bytes],
    manifest: Manifest,
    tools: Tools,
    samples: Sequence[Feeds],
    *,
    emulated_samples: int,
    progress: Progress = no_progress,
) -> list[CheckRow]:
    """Compiled code against the reference: on this machine and, for a microcontroller, in the emulator.

    Args:
        model: the compiled graph.
        files: of the package.
        manifest: of the package.
        tools: toolchains.
        samples: inputs, batch 1.
        emulated_samples: how many of them run on the emulated device.
        progress: called with what is being compared, samples done, and their number.
    """
    rows = [_on_host(model, files, manifest, tools, samples, progress)]
    if tools.target is not None and not tools.device.is_host:
        what = f"C on the emulated {tools.device.name}"
        counted = _counted(progress, what)
        with (
            Workbench(files, manifest, tools.target) as bench,
            Emulator(bench.selftest(), tools.device) as emulator,
        ):
            rows.append(compare(what, model, manifest.entries[0], emulator, samples[:emulated_samples], counted))
    return rows


def outside_checks(model: ir.Model, samples: Sequence[Feeds]) -> list[CheckRow]:
    """ONNX Runtime, layer by layer for a quantized graph and from end to end.

    Nothing where it is not installed; a row of no samples that says why where it cannot run the graph.
    """
    try:
        rows = [whole_against_outside(model, samples)]
    except ToolchainError:
        return []
    except UnsupportedError as error:
        what = f"not compared: {error.what}"
        return [CheckRow(what=what, samples=0, elements=0, differing=0, worst=0.0, bound=0.0, passed=True)]
    if any(node.op_type == "QuantizeLinear" for node in model.graph):
        rows.insert(0, layers_against_outside(model, samples))
    return rows


def _counted(progress: Progress, what: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"verify {what}", done, total)


def _on_host(
    model: ir.Model,
    files: Mapping[str, bytes],
    manifest: Manifest,
    tools: Tools,
    samples: Sequence[Feeds],
    progress: Progress,
) -> CheckRow:
    """C on this machine: the artifact itself, or for a microcontroller the same graph compiled for the host."""
    toolchain = tools.target
    if not tools.device.is_host:
        desk = Tools.for_this_machine()
        package = build_package(model, desk, manifest.name)
        files, manifest, toolchain = package.files, package.manifest, desk.target
    assert toolchain is not None, "a host artifact is checked with the toolchain that built it"
    what = "C on this machine"
    with (
        Workbench(files, manifest, toolchain) as bench,
        HostRunner(bench.shared_library(sanitize=True)) as runner,
    ):
        return compare(what, model, manifest.entries[0], runner, samples, _counted(progress, what))


def require_passed(checks: Sequence[CheckRow]) -> None:
    """Fail where a comparison does not hold.

    Raises:
        VerificationError: names the first that does not, with its figures.
    """
    for row in checks:
        if not row.passed:
            raise VerificationError(
                f"{row.what}: {row.differing:,} of {row.elements:,} values differ over {row.samples} samples, by up to "
                f"{row.worst:g} where {row.bound:g} is allowed"
            )


def check_evidence(checks: Sequence[CheckRow], context: Mapping[str, str]) -> list[Evidence]:
    """``bit_exact`` (1 or 0) over every comparison of compiled code, with the least number of samples of any."""
    compiled = [row for row in checks if row.what.startswith("NumPy reference against C")]
    if not compiled:
        return []
    exact = float(all(row.differing == 0 for row in compiled))
    samples = min(row.samples for row in compiled)
    return [Evidence("bit_exact", exact, exact, exact, samples, "1", "emulated", context)]


def layer_rows(
    model: ir.Model, package: Package, counts: Counts | None, sqnr: Mapping[str, float]
) -> tuple[LayerRow, ...]:
    """The per-layer table."""
    program = package.planned.program
    macs = call_macs(tuple(calls(program.entries[0].body)), node_macs(model))
    rows = []
    for index, op in enumerate(calls(program.entries[0].body)):
        view = program.view(op.writes[0])
        counted = None if counts is None else counts.layers[index]
        chosen = package.planned.chosen[index]
        stored = {reference.id for reference in op.consts.values()}
        const_bytes = sum(program.storage[name].bytes for name in stored)
        products = macs[index]
        rows.append(
            LayerRow(
                index=index,
                name=", ".join(op.source_nodes),
                op=op.op,
                kernel=op.kernel,
                why=package.planned.why[index],
                output_shape=view.shape,
                macs=products,
                weight_bytes=const_bytes,
                instructions=None if counted is None else counted.instructions,
                cycles=None if counted is None else counted.cycles,
                sqnr_db=sqnr.get(view.source),
                schedule="" if op.schedule == "default" else op.schedule,
                expected_cycles=chosen.cycles,
                expected_by="tuning" if chosen.measured else "estimate",
                bound=bound(program, op, package.manifest.device, products, const_bytes),
                read_bytes=sum(program.view(name).bytes for name in op.reads),
                written_bytes=sum(program.view(name).bytes for name in op.writes),
            )
        )
    return tuple(rows)


def call_macs(ops: Sequence[OpCall], macs: Mapping[str, int]) -> list[int]:
    """The products of each call: a node that several calls compute has its own in the one that multiplies."""
    found = [0] * len(ops)
    for node, count in macs.items():
        users = [index for index, op in enumerate(ops) if node in op.source_nodes]
        if users:
            found[max(users, key=lambda index: ("weights" in ops[index].consts, ops[index].op not in _MOVES))] += count
    return found


def trade_rows(package: Package) -> tuple[TradeRow, ...]:
    """Cycles for bytes, paid and on offer."""
    return tuple(TradeRow(**asdict(trade)) for trade in package.planned.trades)


def plan_row(package: Package) -> MemoryPlanRow:
    """How the memory plan came about."""
    planned = package.planned
    program, ordered = planned.program, planned.ordered
    assert ordered is not None, "a compiled program has an order"
    layer, live = planned.peak_layer()
    return MemoryPlanRow(
        peak_layer=layer,
        peak_bytes=live,
        arena_bytes=sum(program.spaces.values()),
        bound_bytes=sum(planned.bounds.values()),
        order_peak_bytes=ordered.peak_bytes,
        order_bound_bytes=ordered.bound_bytes,
        in_place=planned.in_place(),
        regions=tuple(
            RegionRow(
                first=way.begin,
                last=way.end - 1,
                rows=way.rows,
                ring_rows={program.view(name).source: rows for name, rows in way.rings.items()},
            )
            for way in planned.stretches
            if way.rows
        ),
    )


def memory_rows(package: Package) -> tuple[BufferRow, ...]:
    """The memory plan."""
    program = package.planned.program
    names = {view.buffer: view.source for view in program.views.values() if view.source}
    return tuple(
        BufferRow(
            name=names.get(buffer.id, buffer.id),
            space=buffer.space,
            offset=program.offsets[buffer.id],
            bytes=buffer.bytes,
            first=buffer.lifetime.first,
            last=buffer.lifetime.last,
        )
        for buffer in program.buffers.values()
    )
