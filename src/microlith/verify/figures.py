"""The figures of an artifact, each with how it was obtained."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from microlith.compile.manifest import Manifest
from microlith.core.errors import TimeLimitError, VerificationError
from microlith.core.evidence import Evidence
from microlith.device.elf import ElfSizes, sizes
from microlith.device.emulator import Counts, Emulator
from microlith.device.host import HostRunner
from microlith.device.profile import Device
from microlith.device.toolchain import Toolchain, find_toolchain
from microlith.program.types import STATE_SPACE
from microlith.verify.workbench import Workbench

HOST_REPEATS = 50
SECOND_COMPILER = "arm-none-eabi-gcc"


@dataclass(frozen=True)
class Figures:
    """Evidence, the counts of each layer where the artifact was emulated, and why figures are absent."""

    evidence: tuple[Evidence, ...]
    counts: Counts | None
    notes: tuple[str, ...] = ()


def context_of(manifest: Manifest) -> dict[str, str]:
    """What every figure of an artifact depends on."""
    compiler = manifest.toolchain
    flags = {} if compiler is None else {"compiler": f"{compiler.name} {compiler.version}", "flags": compiler.flags}
    return {"device": manifest.device.name, "artifact": manifest.artifact_hash[:16]} | flags


def planned_figures(manifest: Manifest, macs: int) -> tuple[Evidence, ...]:
    """What needs no toolchain: arena, state and MACs."""
    context = context_of(manifest)
    state = manifest.spaces.get(STATE_SPACE, 0)
    arena = sum(manifest.spaces.values()) - state
    return (
        Evidence.exact("macs", macs, "MACs", "counted", context),
        Evidence.exact("arena_bytes", arena, "B", "counted", context),
        *([Evidence.exact("state_bytes", state, "B", "counted", context)] if manifest.states else []),
        Evidence.exact("weights_bytes", sum(segment.bytes for segment in manifest.segments), "B", "counted", context),
    )


def emulated_figures(bench: Workbench, inputs: list[bytes], *, thorough: bool, beside: Sequence[str] = ()) -> Figures:
    """Flash, RAM, stack, instructions, and cycles where the core has a table; one counted inference.

    Where the emulator takes too long, the figures that need it are absent and a note says so.

    Args:
        bench: where the artifact is built.
        inputs: of the inference.
        thorough: also look for misaligned accesses, and count flash with a second compiler.
        beside: compilers by which all figures are obtained too; they stand in the evidence's contexts.

    Raises:
        VerificationError: the code of another compiler computes something else.
    """
    manifest, device = bench.manifest, bench.manifest.device
    context = context_of(manifest)
    with ThreadPoolExecutor(1) as pool:
        linking = pool.submit(_linked_sizes, bench, thorough)
        counts, notes = _counts(bench.selftest(), bench, inputs, thorough)
        minimal, empty, second = linking.result()
    others = _beside(bench, inputs, None if counts is None else counts.outputs, beside)
    found = [
        Evidence.exact("flash_bytes", minimal.flash, "B", "counted", context | second | others["flash_bytes"]),
        Evidence.exact("flash_increment_bytes", minimal.flash - empty.flash, "B", "counted", context),
        Evidence.exact("data_bss_bytes", minimal.ram_static, "B", "counted", context),
    ]
    if counts is None:
        return Figures(tuple(found), None, notes)
    ram, instructions = minimal.ram_static + counts.stack_bytes, counts.instructions
    found += [
        Evidence.exact("stack_bytes", counts.stack_bytes, "B", "emulated", context),
        Evidence.exact("ram_bytes", ram, "B", "emulated", context | others["ram_bytes"]),
        Evidence.exact("instructions", instructions, "instructions", "emulated", context | others["instructions"]),
    ]
    if counts.cycles is not None:
        found += cycle_figures(device, counts.cycles, context, others["cycles"])
    return Figures(tuple(found), counts)


def _beside(
    bench: Workbench, inputs: list[bytes], outputs: list[bytes] | None, compilers: Sequence[str]
) -> dict[str, dict[str, str]]:
    """By metric, what other compilers make of the artifact, as contexts name it."""
    found: dict[str, dict[str, str]] = {name: {} for name in ("flash_bytes", "ram_bytes", "instructions", "cycles")}
    for compiler in compilers:
        other = find_toolchain(bench.manifest.device, compiler, opt=bench.toolchain.opt)
        with Workbench(bench.files, bench.manifest, other) as again:
            minimal = sizes(again.minimal())
            counts, _ = _counts(again.selftest(), again, inputs, thorough=False)
        figures: dict[str, int | None] = {"flash_bytes": minimal.flash}
        if counts is not None:
            if outputs is not None and counts.outputs != outputs:
                raise VerificationError(
                    f"{other.title} and {bench.toolchain.title} make code of other results from the same sources"
                )
            ram = minimal.ram_static + counts.stack_bytes
            figures |= {"ram_bytes": ram, "instructions": counts.instructions, "cycles": counts.cycles}
        for metric, value in figures.items():
            if value is not None:
                found[metric][context_key(metric, other)] = str(value)
    return found


def context_key(metric: str, other: Toolchain) -> str:
    """The key in a figure's context under which that of another compiler stands."""
    return f"{metric}_with_{other.name}_{other.version}"


def _linked_sizes(bench: Workbench, thorough: bool) -> tuple[ElfSizes, ElfSizes, dict[str, str]]:
    """Sizes of the minimal and of the empty application, and what a second compiler makes of the first."""
    return sizes(bench.minimal()), sizes(bench.empty()), _second_compiler_flash(bench) if thorough else {}


def _counts(
    selftest: Path, bench: Workbench, inputs: list[bytes], thorough: bool
) -> tuple[Counts | None, tuple[str, ...]]:
    """What one inference executed, or why that is not known."""
    try:
        with Emulator(selftest, bench.manifest.device) as emulator:
            return emulator.infer_counted(inputs, bench.manifest.layers, check_alignment=thorough), ()
    except TimeLimitError as error:
        return None, (f"RAM, stack, instructions and cycles were not counted: {error.what}.",)


def cycle_figures(
    device: Device, cycles: int, context: dict[str, str], others: Mapping[str, str] = MappingProxyType({})
) -> list[Evidence]:
    """Modelled cycles, and the latency and energy that follow from them at the profile's clock.

    Args:
        device: what runs.
        cycles: of an inference.
        context: of all of them.
        others: cycles by other compilers, for the context of the cycles.
    """
    model = context | {"model": "per-instruction table, zero wait states"}
    found = [Evidence.exact("cycles", cycles, "cycles", "modelled", {**model, **others})]
    if device.clock_hz is not None:
        clocked = model | {"clock_hz": f"{device.clock_hz:.0f}"}
        found.append(Evidence.exact("latency_s", cycles / device.clock_hz, "s", "modelled", clocked))
    if device.joules_per_cycle is not None:
        found.append(Evidence.exact("energy_j", cycles * device.joules_per_cycle, "J", "modelled", model))
    return found


def _second_compiler_flash(bench: Workbench) -> dict[str, str]:
    """The minimal application's size with a second compiler, where that is installed and knows the core."""
    if bench.manifest.device.is_riscv:
        return {}
    if bench.toolchain.name == SECOND_COMPILER or shutil.which(SECOND_COMPILER) is None:
        return {}
    other = find_toolchain(bench.manifest.device, SECOND_COMPILER, opt=bench.toolchain.opt)
    with Workbench(bench.files, bench.manifest, other) as again:
        return {context_key("flash_bytes", other): str(sizes(again.minimal()).flash)}


def host_figures(bench: Workbench, inputs: Sequence[bytes]) -> Figures:
    """Measured latency of a shared library on this machine, and its arena as RAM."""
    context = context_of(bench.manifest)
    library = bench.shared_library()
    with HostRunner(library) as runner:
        seconds = sorted(runner.measure(list(inputs), HOST_REPEATS))
    median = seconds[len(seconds) // 2]
    low, high = seconds[len(seconds) // 40], seconds[-1 - len(seconds) // 40]
    latency = Evidence("latency_s", median, low, high, len(seconds), "s", "measured", context)
    size = Evidence.exact("library_bytes", library.stat().st_size, "B", "counted", context)
    return Figures((latency, size), None)
