"""One program that holds several ways to run each call of another, so that each can be counted by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from microlith.compile.arena import plan_arena
from microlith.compile.builder import SPACE
from microlith.compile.candidates import Candidate
from microlith.compile.emit import ARENA_ALIGN
from microlith.compile.package import Package, package
from microlith.compile.plan import Planned, with_lifetimes, with_scratch
from microlith.compile.select import Packer, Selection, with_storage
from microlith.device.profile import Device, Region
from microlith.program.types import Call, Entry, OpCall, Program, View, contiguous

IDLE = "idle.c"
"""The file of ``selftest`` with the main of a trial."""

_MOST_BYTES = 16 * 1024 * 1024
_IDLE_C = """#include "{name}.h"

uint8_t mlrun_arena[{upper}_ARENA_BYTES] __attribute__((aligned({align})));

int main(void)
{{
    return 0;
}}
"""


@dataclass(frozen=True, eq=False)
class Trial:
    """A program of candidates.

    Attributes:
        package: its files; layer ``i`` runs candidate ``i``.
        inputs: random content of everything that any candidate reads.
        device: that it runs on: the one that is asked for, with more memory.
    """

    package: Package
    inputs: list[bytes]
    device: Device


def trial(program: Program, candidates: Sequence[Candidate], device: Device, rng: np.random.Generator) -> Trial:
    """A program that runs the candidates one after the other; none sees what another has written.

    Args:
        program: whose calls the candidates run.
        candidates: at least one.
        device: what for.
        rng: of what they read.
    """
    roomy = _roomy(device)
    program = replace(
        program,
        buffers={name: replace(buffer, space=SPACE) for name, buffer in program.buffers.items()},
        states=(),
    )
    packer = Packer()
    packed = [packer.pack(program, Selection(item.call, item.kernel, "")) for item in candidates]
    program, packed = with_scratch(with_storage(program, packer), packed)
    read, inputs = _whole_buffers(program, packed, rng)
    views = {**program.views, **{view.id: view for view in read}}
    names = tuple(view.id for view in read)
    outputs = (packed[-1].writes[0],)
    body = tuple(Call(call) for call in packed)
    program = replace(program, views=views, entries=(Entry("run", names, outputs, body),))
    program = replace(program, buffers=with_lifetimes(program, packed, names, outputs))
    arena = plan_arena(program.buffers.values())
    program = replace(program, offsets=arena.offsets, spaces=arena.spaces)
    planned = Planned(program, (), arena.bounds, ("",) * len(packed), tuple(candidates), ())
    # Golden vectors are not linked; the emulator gives the inputs.
    vector = ([np.zeros(1, np.uint8)] * len(names), [np.zeros(1, np.int8)])
    made = package(planned, roomy, b"", [vector], title="candidates", tolerance=0.0, compiler=None)
    main = _IDLE_C.format(name=program.name, upper=program.name.upper(), align=ARENA_ALIGN)
    made = replace(made, files={**made.files, f"selftest/{IDLE}": main.encode()})
    return Trial(made, inputs, roomy)


def _whole_buffers(
    program: Program, packed: Sequence[OpCall], rng: np.random.Generator
) -> tuple[list[View], list[bytes]]:
    """A view of the whole of each buffer that is read, and its random content."""
    read: Mapping[str, View] = {
        program.view(name).buffer: program.view(name) for call in reversed(packed) for name in call.reads
    }
    views, inputs = [], []
    for buffer, view in read.items():
        size = program.buffers[buffer].bytes
        views.append(View(f"whole_{buffer}", buffer, 0, (size,), contiguous((size,)), (0,), "u8", source=buffer))
        content = rng.integers(0, 256, size, np.uint8).tobytes()
        if view.dtype == "f32":
            content = rng.standard_normal(size // 4, np.float32).tobytes().ljust(size, b"\0")
        inputs.append(content)
    return views, inputs


def _roomy(device: Device) -> Device:
    """The device with as much flash and RAM as addresses allow, up to a limit."""
    ordered = sorted(device.regions, key=lambda region: region.start)
    room = {low.name: high.start - low.start for low, high in pairwise(ordered)}

    def grown(region: Region) -> Region:
        if region.name not in ("flash", "ram"):
            return region
        most = min(room.get(region.name, _MOST_BYTES), _MOST_BYTES)
        return region.model_copy(update={"bytes": max(region.bytes, most)})

    return device.model_copy(update={"regions": tuple(grown(region) for region in device.regions)})
